"""Payloads for models whose requests have sizes of their own."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import text, texts

from servefit.backends.model import Input, Model, Signature, Task
from servefit.backends.model.types import Size
from servefit.backends.payload.reading import payload_for, payload_of
from servefit.backends.payload.tensors import rows_of_document, rows_of_documents
from servefit.backends.payload.types import with_sizes_of
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = Signature(
    task=Task.TENSOR,
    features=0,
    outputs=1,
    accepts_missing=False,
    inputs=tuple(
        Input(name=name, datatype="int64", shape=("tokens",), start=0, stop=0)
        for name in ("input_ids", "attention_mask")
    ),
    sizes=(Size(name="tokens", usual=1),),
).of_sizes({})
IMAGES = Signature(
    task=Task.TENSOR,
    features=0,
    outputs=1,
    accepts_missing=False,
    inputs=(Input(name="image", datatype="float32", shape=(3, "height", "width"), start=0, stop=0),),
    sizes=(Size(name="height", usual=1), Size(name="width", usual=1)),
).of_sizes({})

LENGTHS = (3, 7, 2)
REQUESTS = [text(length, length) for length in LENGTHS]
OBJECTS = [{name: values[0].tolist() for name, values in request.items()} for request in REQUESTS]


def written(folder: Path, content: Any) -> Path:
    path = folder / "payload"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def tensors(rows: np.ndarray, signature: Signature = TEXTS) -> list[dict[str, list[Any]]]:
    """What each row holds, by the names of the inputs."""
    found: list[dict[str, list[Any]]] = [{} for _ in rows]
    for which, sizes in signature.packing.groups(rows):
        for place in signature.packing.places(sizes):
            for row in which:
                found[row][place.tensor.name] = rows[row, place.start : place.stop].reshape(place.shape).tolist()
    return found


FORMS: dict[str, Any] = {
    "a list of objects": OBJECTS,
    "instances": {"instances": OBJECTS},
    "a line for each": "\n".join(map(json.dumps, OBJECTS)),
    "the protocol, a line for each": "\n".join(
        json.dumps(
            {
                "inputs": [
                    {"name": name, "shape": [1, len(values)], "datatype": "INT64", "data": values}
                    for name, values in reversed(item.items())
                ]
            }
        )
        for item in OBJECTS
    ),
    "columns by name, a line for each": "\n".join(
        json.dumps({"inputs": {name: [values] for name, values in item.items()}}) for item in OBJECTS
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_requests_of_their_own_sizes_are_read_by_name(form: str, tmp_path: Path) -> None:
    payload = payload_of(written(tmp_path, FORMS[form]), TEXTS)
    assert tensors(payload.rows) == OBJECTS
    assert list(map(str, payload.sizes)) == ["tokens 2 to 7, median 3"]


def test_an_array_for_each_input_is_read_by_name(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"attention_mask": np.ones((5, 6), np.int8), "input_ids": np.arange(30).reshape(5, 6)}
    np.savez(tmp_path / "payload.npz", **arrays)
    expected = [{"input_ids": ids.tolist(), "attention_mask": [1] * 6} for ids in arrays["input_ids"]]
    assert tensors(payload_of(tmp_path / "payload.npz", TEXTS).rows) == expected
    assert tensors(payload_of(arrays, TEXTS).rows) == expected


def test_requests_of_python_are_mappings_without_a_dimension_for_rows() -> None:
    assert tensors(payload_of(OBJECTS, TEXTS).rows) == OBJECTS


def test_where_there_is_one_input_its_name_need_not_be_said(tmp_path: Path) -> None:
    images = [np.full((3, height, 2), float(height)).tolist() for height in (1, 4)]
    expected = [{"image": image} for image in images]
    assert tensors(payload_of(written(tmp_path, {"instances": images}), IMAGES).rows, IMAGES) == expected
    np.save(tmp_path / "image.npy", np.array(images[1])[np.newaxis])
    assert tensors(payload_of(tmp_path / "image.npy", IMAGES).rows, IMAGES) == expected[1:]


@pytest.mark.integration
def test_files_of_an_archive_may_have_other_sizes(tmp_path: Path) -> None:
    for number, item in enumerate(OBJECTS):
        (tmp_path / f"{number}.json").write_text(json.dumps(item))
    with tarfile.open(tmp_path / "payload.tar.gz", "w:gz") as archive:
        for number in range(len(OBJECTS)):
            archive.add(tmp_path / f"{number}.json", arcname=f"{number}.json")
    assert tensors(payload_of(tmp_path / "payload.tar.gz", TEXTS).rows) == OBJECTS


@pytest.mark.integration
@pytest.mark.thorough
def test_two_thousand_shapes_of_images_are_kept_and_told(tmp_path: Path) -> None:
    lines = "\n".join(
        json.dumps({"image": np.zeros((3, 1 + nth % 100, 1 + nth // 100)).tolist()}) for nth in range(2000)
    )
    payload = payload_of(written(tmp_path, lines), IMAGES)
    assert len({tuple(row) for row in payload.rows[:, :2].tolist()}) == 2000
    assert list(map(str, payload.sizes)) == ["height 1 to 100, median 50", "width 1 to 20, median 10"]


@pytest.mark.integration
def test_what_is_drawn_is_what_the_model_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
    model = Model.load(texts(tmp_path / "texts.onnx"))
    for request in tensors(payload_for(model).rows, model.signature):
        assert len(request["input_ids"]) == len(request["attention_mask"]) == 16
        assert set(request["attention_mask"]) <= {0, 1}
        assert all(0 <= each < 50 for each in request["input_ids"])


BAD = {
    "another size": ([{"input_ids": [1, 2], "attention_mask": [1]}], "2 for 'tokens' in 'attention_mask' too, got 1"),
    "no mask": ([{"input_ids": [1]}], "got no 'attention_mask'"),
    "one more": ([{"input_ids": [1], "attention_mask": [1], "token_type_ids": [0]}], "got 'token_type_ids'"),
    "an empty text": ([{"input_ids": [], "attention_mask": []}], "at least one value in 'input_ids', got none"),
    "ragged": ([{"input_ids": [[1], [2, 3]], "attention_mask": [[1], [1, 1]]}], "lists of one length"),
    "a list beside a number": ([{"input_ids": [1, [2]], "attention_mask": [1, 1]}], "lists of one depth"),
    "a number": ([{"input_ids": 3, "attention_mask": 1}], r"of the shape \(n, tokens\), got \(n\)"),
    "one dimension more": ([{"input_ids": [[1]], "attention_mask": [[1]]}], r"of the shape \(n, tokens\)"),
    "a fraction": ([{"input_ids": [1.5], "attention_mask": [1]}], "input_ids: expected a whole number in row 1"),
    "a missing value": ([{"input_ids": [None], "attention_mask": [1]}], "expected numbers, got None"),
    "a text": ([{"input_ids": ["a"], "attention_mask": [1]}], "expected numbers, got 'a'"),
    "beyond int64": ([{"input_ids": [2**63], "attention_mask": [1]}], "holds exactly|within 64 bits|from"),
    "no rows": ([], "at least one row"),
    "a doubled name": (
        {"inputs": [{"name": "input_ids", "shape": [1, 1], "data": [1]}] * 2},
        "got 'input_ids' twice",
    ),
    "a shape that overflows": (
        {"inputs": [{"name": name, "shape": [2**40, 2**40], "data": [1]} for name in ("input_ids", "attention_mask")]},
        "a shape of whole numbers",
    ),
    "a hundred dimensions": (
        {"inputs": [{"name": name, "shape": [1] * 100, "data": [1]} for name in ("input_ids", "attention_mask")]},
        "a shape of whole numbers",
    ),
    "nothing in a huge shape": (
        {"inputs": [{"name": name, "shape": [0, 2**23], "data": []} for name in ("input_ids", "attention_mask")]},
        "a shape of whole numbers",
    ),
    "a shape that does not fit": (
        {"inputs": [{"name": name, "shape": [1, 3], "data": [1]} for name in ("input_ids", "attention_mask")]},
        "the values that shape",
    ),
}


def test_a_name_that_an_object_has_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "payload.jsonl"
    path.write_text('{"input_ids": [1], "attention_mask": [1], "input_ids": [2]}')
    with pytest.raises(PayloadMismatch, match="each name once in an object, got 'input_ids' twice"):
        payload_of(path, TEXTS)


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    document, problem = BAD[case]
    path = tmp_path / "payload.json"
    path.write_text(json.dumps(document))
    with pytest.raises(PayloadMismatch, match=problem):
        payload_of(path, TEXTS)


def test_2_to_the_53_and_one_is_not_rounded(tmp_path: Path) -> None:
    path = written(tmp_path, [{"input_ids": [2**53 + 1], "attention_mask": [1]}])
    assert tensors(payload_of(path, TEXTS).rows)[0]["input_ids"] == [2**53 + 1]


def test_a_text_that_holds_no_rows_is_not_called_a_table(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Texts\n\nSome words about them, and some more.\n\n- a list\n- of words\n")
    with pytest.raises(
        PayloadMismatch, match=r"expected NPZ, NPY, JSON or JSON Lines, .* got a file of something else"
    ):
        payload_of(path, TEXTS)


def test_a_table_does_not_tell_sizes(tmp_path: Path) -> None:
    path = tmp_path / "payload.csv"
    path.write_text("1,2,3\n4,5,6\n")
    with pytest.raises(PayloadMismatch, match=r"which tell the sizes of a request \(tokens\), got a table"):
        payload_of(path, TEXTS)


@pytest.mark.parametrize(
    "arrays", [{"input_ids": np.ones((2, 3))}, {"input_ids": np.ones((2, 3)), "attention_mask": np.ones((3, 3))}]
)
def test_arrays_that_do_not_belong_together_are_refused(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(PayloadMismatch):
        payload_of(arrays, TEXTS)


def test_texts_in_arrays_are_no_numbers() -> None:
    with pytest.raises(PayloadMismatch, match="numbers in 'input_ids'"):
        payload_of({"input_ids": np.array([["a"]]), "attention_mask": np.ones((1, 1), int)}, TEXTS)


def test_true_and_false_are_for_inputs_of_truths_alone() -> None:
    ids, mask = TEXTS.inputs
    signature = replace(TEXTS, inputs=(ids, replace(mask, datatype="bool")))
    request = {"input_ids": [1, 2], "attention_mask": [True, False]}
    rows, _ = rows_of_document(request, signature, "test", booleans=False)
    assert tensors(rows, signature) == [{"input_ids": [1, 2], "attention_mask": [1, 0]}]
    with pytest.raises(PayloadMismatch, match="expected numbers, got True"):
        rows_of_document(request, TEXTS, "test", booleans=False)


def test_a_whole_number_that_rows_beside_floats_do_not_hold_is_refused() -> None:
    ids, mask = TEXTS.inputs
    signature = replace(TEXTS, inputs=(ids, replace(mask, datatype="float64")))
    assert signature.row_datatype == "float64"
    feeds = {"input_ids": np.array([[2**53 + 1]]), "attention_mask": np.ones((1, 1))}
    with pytest.raises(PayloadMismatch, match=r"whole numbers in 'input_ids' that float64.*, got 9007199254740993"):
        payload_of(feeds, signature)


def test_one_long_request_among_many_short_ones_is_refused_before_it_takes_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short, long = ({"input_ids": [1] * size, "attention_mask": [1] * size} for size in (1, 600))
    monkeypatch.setattr("servefit.backends.payload.tensors.MAX_VALUES", 10_000)
    with pytest.raises(PayloadMismatch, match="with all rows as long as the longest, got 21 rows of up to 1200") as e:
        rows_of_document([short] * 20 + [long], TEXTS, "test")
    assert e.value.remedy == "send long requests apart from short ones"
    with pytest.raises(PayloadMismatch, match="got 21 rows of up to 1201"):
        rows_of_documents([short] * 20 + [long], TEXTS, "test")


def test_arrays_beside_the_rows_of_a_table_are_not_looked_at(tmp_path: Path) -> None:
    table = Signature(task=Task.REGRESSION, features=2, outputs=1)
    np.savez(tmp_path / "payload.npz", X=np.ones((3, 2)), names=np.array(["a", "b"], dtype=object))
    assert payload_of(tmp_path / "payload.npz", table).rows.shape == (3, 2)


def test_several_inputs_of_fixed_sizes_are_read_from_an_array_each(tmp_path: Path) -> None:
    ids, mask = (replace(one, shape=(2,), start=2 * nth, stop=2 * nth + 2) for nth, one in enumerate(TEXTS.inputs))
    fixed = Signature(
        task=Task.TENSOR,
        features=4,
        outputs=1,
        accepts_missing=False,
        inputs=(ids, mask),
        integer_features=(0, 1, 2, 3),
    )
    np.savez(tmp_path / "payload.npz", attention_mask=np.ones((2, 2), int), input_ids=np.array([[1, 2], [3, 4]]))
    assert payload_of(tmp_path / "payload.npz", fixed).rows.tolist() == [[1, 2, 1, 1], [3, 4, 1, 1]]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("lengths", "drawn"),
    [
        ([5], (5,)),
        ([3, 9, 5, 9], (3, 5, 9)),
        (range(1, 101), (1, 7, 14, 20, 27, 34, 40, 47, 53, 60, 67, 73, 80, 86, 93, 100)),
    ],
)
@pytest.mark.usefixtures("in_this_process")
def test_the_sizes_of_a_payload_are_told_with_the_model_from_the_smallest_to_the_largest(
    lengths: Sequence[int], drawn: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
    model = Model.load(texts(tmp_path / "texts.onnx"))
    payload = payload_for(model, [{name: values[0] for name, values in text(length).items()} for length in lengths])
    assert [size.drawn for size in with_sizes_of(model, payload).signature.sizes] == [drawn]
