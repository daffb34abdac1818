"""POST /invocations in every format."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.backends.model.types import Signature, Task
from servefit.backends.payload.json_rows import json_table
from servefit.backends.payload.reading import read_payload
from servefit.backends.payload.table import rows_for
from servefit.errors import PayloadMismatch
from servefit.serving.messages import Inference, Refused, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.serving.config import EndpointConfig

Decode = Callable[..., Inference]
Rows = Callable[[Inference], list[list[float]]]

NAN = float("nan")
ABC = Signature(task=Task.REGRESSION, features=3, outputs=1, feature_names=("a", "b", "c"))
WANTED = [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    "document",
    [
        [[1, 2, 3], [4, 5, 6]],
        {"instances": [[1, 2, 3], [4, 5, 6]]},
        {"instances": [{"features": [1, 2, 3]}, {"features": [4, 5, 6]}]},
        {"instances": [{"c": 3, "b": 2, "a": 1}, {"c": 6, "b": 5, "a": 4}]},
        {"instances": [[1, 2, 3], [4, 5, 6]], "signature_name": "serving_default", "deep": [[["x"]]]},
        {"data": [[1, 2, 3], [4, 5, 6]]},
        {"columns": ["c", "b", "a"], "data": [[3, 2, 1], [6, 5, 4]]},
        {"inputs": [[1, 2, 3], [4, 5, 6]]},
        {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}]},
        [{"c": 3, "b": 2, "a": 1}, {"a": 4, "b": 5, "c": 6}],
        {"dataframe_split": {"columns": ["id", "c", "b", "a"], "data": [["x", 3, 2, 1], [None, 6, 5, 4]]}},
        {"dataframe_records": [{"c": 3, "b": 2, "a": 1}, {"a": 4, "b": 5, "c": 6}]},
        [{"id": "x", "c": 3, "b": 2, "a": 1}, {"a": 4, "b": 5, "c": 6, "id": None}],
        [{"id": 9, "c": 3, "b": 2, "a": 1}, {"a": 4, "b": 5, "c": 6, "id": 8}],
        [{"c": 3, "b": 2, "a": 1}, {"a": 4, "b": 5, "c": 6, "id": "x"}],
        [{"features": [1, 2, 3]}, {"features": [4, 5, 6]}],
    ],
)
def test_json_in_the_shapes_of_model_servers(document: Any, invoke: Decode, rows_of: Rows) -> None:
    assert rows_of(invoke(json.dumps(document))) == WANTED
    assert rows_of(invoke("\ufeff \n" + json.dumps(document, indent=1))) == WANTED


@pytest.mark.parametrize("other", ["instances", "data", "inputs", "features", "dataframe_records", "dataframe_split"])
def test_an_object_with_all_of_the_models_names_is_a_row_whatever_else_it_has(
    other: str, invoke: Decode, rows_of: Rows, tmp_path: Path
) -> None:
    value = {"columns": ["a"], "data": [[7]]} if other == "dataframe_split" else [[7, 8, 9]]
    row = {"a": 1, "b": 2, "c": 3, other: value}
    for document in (row, dict(reversed(row.items())), [row], {"instances": [row]}):
        assert rows_of(invoke(json.dumps(document))) == [[1, 2, 3]]
        file = tmp_path / "payload.json"
        file.write_text(json.dumps(document))
        assert read_payload(file, ABC).rows.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (
            {"data": [[1, 2, 3]], "instances": [[1, 2, 3]]},
            "expected rows under one key, got rows under 'instances' and",
        ),
        ({"features": [1, 2, 3], "instances": [[1, 2, 3]]}, "got rows under 'instances' and 'features'"),
        ({"data": [], "dataframe_records": []}, "got rows under 'data' and 'dataframe_records'"),
        ({"dataframe_split": {"columns": ["a", "b", "c"]}}, "expected 'data', a list of rows, in 'dataframe_split'"),
        ({"dataframe_split": {"columns": "abc", "data": [[1, 2, 3]]}}, "expected a list of names in 'columns'"),
        ({"columns": ["a", ["b"], "c"], "data": [[1, 2, 3]]}, "expected a list of names in 'columns'"),
    ],
)
def test_objects_of_two_forms_or_of_none_are_refused_as_in_a_file(
    document: Any, reason: str, invoke: Decode, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=reason):
        invoke(json.dumps(document))
    file = tmp_path / "payload.json"
    file.write_text(json.dumps(document))
    with pytest.raises(PayloadMismatch, match=reason):
        read_payload(file, ABC)


@pytest.mark.parametrize(
    "content", ["[1, 2, 3]", '{"features": [1, 2, 3]}', '{"a": 1, "b": 2, "c": 3}', '{"c": 3e0, "a": 1, "b": 2.0}']
)
def test_one_row_of_json(content: str, invoke: Decode, rows_of: Rows) -> None:
    assert rows_of(invoke(content)) == [[1, 2, 3]]
    assert rows_of(invoke(content, "application/jsonlines")) == [[1, 2, 3]]


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2, 3]\n[4, 5, 6]\n",
        "[1, 2, 3]\r\n\r\n[4, 5, 6]",
        '{"features": [1, 2, 3]}\n{"features": [4, 5, 6]}',
        '{"a": 1, "b": 2, "c": 3}\n{"a": 4, "b": 5, "c": 6}\n',
        '{"a": 1, "b": 2, "c": 3}\n{"c": 6, "a": 4, "b": 5}\n',
        '{"a": 1, "b": 2, "c": 3}\n{"c": 6, "id": "x", "a": 4, "b": 5}\n',
        '{"instances": [[1, 2, 3]]}\n{"instances": [[4, 5, 6]]}\n',
        '{\n "instances": [[1, 2, 3],\n [4, 5, 6]]\n}',
    ],
)
@pytest.mark.parametrize("content_type", ["application/jsonlines", "application/x-ndjson", "application/x-jsonlines"])
def test_json_lines(content: str, content_type: str, invoke: Decode, rows_of: Rows) -> None:
    assert rows_of(invoke(content, content_type)) == WANTED


@pytest.mark.parametrize(
    "content",
    [
        "1,2,3\n4,5,6\n",
        "1,2,3\n4,5,6",
        "1;2;3\r\n4;5;6\r\n",
        "1\t2\t3\n4\t5\t6",
        '"1","2","3"\n"4","5","6"\n',
        "\ufeff1,2,3\n\n4,5,6\n\n",
        " 1 , 2 , 3 \r\n+4,5.,.6e1",
        "a,b,c\n1,2,3\n4,5,6\n",
        "c,b,a\n3,2,1\n6,5,4\n",
        "id,c,target,b,a\n0,3,1,2,1\n1,6,0,5,4\n",
        "x,y,z\n1,2,3\n4,5,6\n",
    ],
)
@pytest.mark.parametrize("content_type", ["text/csv", "Text/CSV; charset=UTF-8", "text/csv;label_size=0"])
def test_csv_in_its_dialects(content: str, content_type: str, invoke: Decode, rows_of: Rows) -> None:
    assert rows_of(invoke(content, content_type)) == WANTED


def test_a_line_of_numbers_is_a_header_if_the_model_has_those_names(invoke: Decode, rows_of: Rows) -> None:
    numbered = {"features": 2, "feature_names": ("0", "1")}
    assert rows_of(invoke("1,0\n7,8\n", "text/csv", **numbered)) == [[8, 7]]


def test_csv_in_latin_1_is_read(invoke: Decode, rows_of: Rows) -> None:
    names = ("alter", "größe")
    body = "größe,alter\n2,1\n".encode("latin-1")
    found = invoke(body, "text/csv; charset=ISO-8859-1", features=2, feature_names=names)
    assert rows_of(found) == [[1, 2]]


def test_an_array_of_numpy_is_read_and_answered(invoke: Decode, rows_of: Rows) -> None:
    for dtype in ("float32", "float64", "int64", "uint8", ">f4", "bool"):
        for order in ("C", "F"):
            stream = io.BytesIO()
            np.save(stream, np.asarray(np.array(WANTED).astype(dtype), order=order))
            inference = invoke(stream.getvalue(), "application/x-npy")
            assert rows_of(inference) == np.array(WANTED).astype(dtype).tolist()
    reply = inference.encode(np.array([0.5, 0.25], dtype=np.float32))
    assert reply.content_type == b"application/x-npy"
    assert np.load(io.BytesIO(reply.body)).tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("[[1, null, 3]]", "application/json"),
        ("[[1, NaN, 3]]", "application/json"),
        ('{"a": 1, "b": null, "c": 3}', "application/json"),
        ("[1, null, 3]", "application/jsonlines"),
        ("1,,3", "text/csv"),
        ("1,NA,3", "text/csv"),
        ("1,nan,3", "text/csv"),
        ("1,null,3", "text/csv"),
    ],
)
def test_a_missing_value_has_many_names(content: str, content_type: str, invoke: Decode, rows_of: Rows) -> None:
    np.testing.assert_array_equal(rows_of(invoke(content, content_type)), [[1, NAN, 3]])


def test_empty_cells_are_missing_wherever_they_are(invoke: Decode, rows_of: Rows) -> None:
    np.testing.assert_array_equal(
        rows_of(invoke(",,\n1,,\r\n,2,\n,,3", "text/csv")),
        [[NAN, NAN, NAN], [1, NAN, NAN], [NAN, 2, NAN], [NAN, NAN, 3]],
    )


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("1,2,3\n4,5,6", None),
        ("1,2,3\n4,5,6", "application/octet-stream"),
        ("[[1, 2, 3], [4, 5, 6]]", None),
        (' {"instances": [[1, 2, 3], [4, 5, 6]]}', "binary/octet-stream"),
        ("[1, 2, 3]\n[4, 5, 6]", ""),
    ],
)
def test_a_body_of_no_type_is_told_by_how_it_begins(
    content: str, content_type: str | None, invoke: Decode, rows_of: Rows
) -> None:
    assert rows_of(invoke(content, content_type)) == WANTED


BODIES = {"application/json": "[1, 2, 3]", "text/csv": "1,2,3", "application/x-ndjson": "[1, 2, 3]"}
ANSWERS = {
    "application/json": (b"application/json", b'{"predictions":[0.5,0.25]}'),
    "text/csv": (b"text/csv; charset=utf-8", b"0.5\n0.25\n"),
    "application/x-ndjson": (b"application/x-ndjson", b'{"prediction":0.5}\n{"prediction":0.25}\n'),
}


def answered(reply: Reply) -> tuple[bytes, bytes]:
    assert reply.status == 200
    return reply.content_type, reply.body


@pytest.mark.parametrize("accept", [None, "", "*/*", "text/html, */*;q=0.1"])
@pytest.mark.parametrize("content_type", BODIES)
def test_the_answer_has_the_format_of_the_request(content_type: str, accept: str | None, invoke: Decode) -> None:
    reply = invoke(BODIES[content_type], content_type, accept).encode(np.array([0.5, 0.25], dtype=np.float32))
    assert answered(reply) == ANSWERS[content_type]


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("application/json", "application/json"),
        ("text/csv", "text/csv"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("text/*", "text/csv"),
        ("application/*", "application/json"),
        ("text/csv;q=0.5, application/json;q=0.9", "application/json"),
        ("text/csv, application/json;q=0.9", "text/csv"),
        ("text/csv;q=0, */*", "application/json"),
        ("image/png, text/csv;q=oops", "text/csv"),
    ],
)
def test_the_answer_has_the_format_that_is_accepted(accept: str, answer: str, invoke: Decode) -> None:
    reply = invoke("[1, 2, 3]", accept=accept).encode(np.array([0.5, 0.25], dtype=np.float32))
    assert answered(reply) == ANSWERS[answer]


def test_several_values_a_row_are_a_list_or_a_line(invoke: Decode) -> None:
    predictions = np.array([[0.5, 0.25], [0.125, 1]], dtype=np.float32)
    bodies = {accept: invoke("[1, 2, 3]", accept=accept).encode(predictions).body for accept in ANSWERS}
    assert bodies["application/json"] == b'{"predictions":[[0.5,0.25],[0.125,1.0]]}'
    assert bodies["text/csv"] == b"0.5,0.25\n0.125,1.0\n"
    assert bodies["application/x-ndjson"] == b'{"prediction":[0.5,0.25]}\n{"prediction":[0.125,1.0]}\n'


def test_predictions_that_are_no_finite_numbers_leave_the_answer_readable(invoke: Decode) -> None:
    predictions = np.array([NAN, np.inf, 1], dtype=np.float32)
    bodies = {accept: invoke("[1, 2, 3]", accept=accept).encode(predictions).body for accept in ANSWERS}
    assert json.loads(bodies["application/json"]) == {"predictions": [None, None, 1]}
    assert bodies["text/csv"] == b"nan\ninf\n1.0\n"
    assert bodies["application/x-ndjson"].splitlines()[0] == b'{"prediction":null}'
    several = invoke("1,2,3", "text/csv").encode(np.array([[NAN, 1]], dtype=np.float32))
    assert several.body == b"nan,1.0\n"


@pytest.mark.parametrize(
    ("form", "content_type"),
    [("[[%s]]", "application/json"), ("[%s]", "application/jsonlines"), ("%s", "text/csv")],
)
def test_a_row_of_a_million_columns_is_read(form: str, content_type: str, invoke: Decode) -> None:
    content = form % ",".join(["1"] * 10**6)
    assert invoke(content, content_type, features=10**6, feature_names=()).rows.shape == (1, 10**6)


def test_as_many_rows_as_are_allowed_are_read_however_wide_they_are(invoke: Decode) -> None:
    wide = {"features": 50_000, "feature_names": ()}
    row = ",".join(["1"] * 50_000)
    assert invoke(f"{row}\n" * 20, "text/csv", **wide).rows.shape == (20, 50_000)
    assert invoke(f'{{"instances": [{",".join([f"[{row}]"] * 20)}]}}', **wide).rows.shape == (20, 50_000)


@pytest.mark.timed
def test_the_usual_shape_is_read_several_times_faster_than_the_unusual(invoke: Decode, config: EndpointConfig) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 30)).tolist()
    content = json.dumps({"instances": rows})
    signature = Signature(task=config.signature.task, features=30, outputs=1)

    def best_s(call: Callable[[], object]) -> float:
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        return min(times)

    quick = best_s(lambda: invoke(content, features=30, feature_names=()))
    slow = best_s(lambda: rows_for(json_table(content, "body"), signature, "body"))
    assert quick * 2 < slow
