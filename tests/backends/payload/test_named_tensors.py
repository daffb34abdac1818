"""Payload files with tensors, which are matched by name and shaped for the model, and unused columns."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow
import pytest
from tests.onnx_models import TOKENS, answers, encoder, sentences

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Input, Model, Signature, Task
from servefit.backends.model.types import Output
from servefit.backends.payload.reading import payload_for, payload_of, read_payload
from servefit.backends.types import Settings
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMED = Signature(task=Task.BINARY, features=3, outputs=1, feature_names=("a", "b", "c"))
WHOLE = replace(
    NAMED,
    integer_features=(2,),
    inputs=(
        Input(name="x", datatype="float32", shape=(2,), start=0, stop=2),
        Input(name="y", datatype="int64", shape=(1,), start=2, stop=3),
    ),
)
IMAGES = replace(
    NAMED,
    features=48,
    feature_names=(),
    inputs=(Input(name="image", datatype="float32", shape=(3, 4, 4), start=0, stop=48),),
)
FLAT = replace(NAMED, features=48, feature_names=())


def written(folder: Path, document: Any) -> Path:
    path = folder / "payload.json"
    path.write_text(json.dumps(document))
    return path


def tensor(name: str | None, values: np.ndarray) -> dict[str, Any]:
    described = {"shape": list(values.shape), "data": values.tolist()}
    return described if name is None else {"name": name, **described}


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_inputs_are_read_by_name_whatever_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
    path, feeds = encoder(tmp_path / "encoder.onnx"), sentences()
    model = Model.load(path)
    payload = payload_for(model, written(tmp_path, {"inputs": [tensor(name, rows) for name, rows in feeds.items()]}))
    predictor = load_predictor(compile_model(model, "onnxruntime", payload=payload).artifact, Settings())
    np.testing.assert_allclose(predictor.predict(payload.rows), answers(path, feeds), atol=1e-6)
    lines = tmp_path / "payload.jsonl"
    lines.write_text(
        "\n".join(
            json.dumps({"inputs": [tensor(name, rows[nth : nth + 1]) for name, rows in feeds.items()]})
            for nth in range(6)
        )
    )
    np.testing.assert_array_equal(payload_for(model, lines).rows, payload.rows)


@pytest.mark.parametrize(
    ("names", "got"),
    [
        (("input_ids", "mask", "token_type_ids"), "'mask'"),
        (("input_ids", None, "token_type_ids"), "one without a name"),
        (("input_ids", "attention_mask"), "no 'token_type_ids'"),
        (("input_ids", "attention_mask", "attention_mask"), "'attention_mask' twice"),
    ],
)
def test_names_that_the_model_does_not_have_are_refused(names: tuple[str, ...], got: str, tmp_path: Path) -> None:
    inputs = tuple(
        Input(name=name, datatype="int64", shape=(TOKENS,), start=TOKENS * n, stop=TOKENS * (n + 1))
        for n, name in enumerate(("input_ids", "attention_mask", "token_type_ids"))
    )
    model = replace(NAMED, features=3 * TOKENS, feature_names=(), inputs=inputs, integer_features=tuple(range(12)))
    path = written(tmp_path, {"inputs": [tensor(name, np.ones((2, TOKENS), dtype=int)) for name in names]})
    with pytest.raises(PayloadMismatch, match=f"'input_ids', 'attention_mask', 'token_type_ids', got {got}$"):
        read_payload(path, model)


def test_a_table_may_come_as_one_tensor_a_feature(tmp_path: Path) -> None:
    columns = {"c": [3, 6], "a": [1, 4], "b": [2, 5]}
    inputs = [tensor(name, np.array(values).reshape(-1, 1)) for name, values in columns.items()]
    assert read_payload(written(tmp_path, {"inputs": inputs}), NAMED).rows.tolist() == [[1, 2, 3], [4, 5, 6]]
    inputs[0]["name"] = "d"
    with pytest.raises(PayloadMismatch, match="features 'a', 'b', 'c', got no 'c'"):
        read_payload(written(tmp_path, {"inputs": inputs}), NAMED)


@pytest.mark.parametrize("names", [(None, None), ("x", "y"), ("a", "b")])
def test_several_tensors_for_one_input_are_refused(names: tuple[str | None, ...], tmp_path: Path) -> None:
    inputs = [tensor(names[0], np.array([[1], [4]])), tensor(names[1], np.array([[2, 3], [5, 6]]))]
    with pytest.raises(PayloadMismatch, match="one tensor of 3 columns, as the model has one input"):
        read_payload(written(tmp_path, {"inputs": inputs}), NAMED)
    with pytest.raises(PayloadMismatch, match="one tensor of 3 columns, as the model has one input, got 2 tensors"):
        read_payload(written(tmp_path, {"inputs": inputs}), replace(NAMED, feature_names=()))


@pytest.mark.parametrize("shape", [(2, 3, 16), (2, 48, 1), (2, 3, 4, 4)])
def test_an_array_of_three_dimensions_is_refused_for_a_model_of_tables(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "payload.npy", np.zeros(shape))
    with pytest.raises(PayloadMismatch, match=r"expected rows of the shape \(48\), got an array of"):
        read_payload(tmp_path / "payload.npy", FLAT)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 48)])
def test_images_have_the_shape_of_the_input_or_are_flat(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "payload.npy", np.zeros(shape, dtype=np.uint8))
    assert read_payload(tmp_path / "payload.npy", IMAGES).rows.shape == (2, 48)


def test_images_with_their_channels_last_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "payload.npy", np.zeros((2, 4, 4, 3)))
    with pytest.raises(PayloadMismatch, match=r"rows of the shape \(3, 4, 4\), got an array of \(2, 4, 4, 3\)"):
        read_payload(tmp_path / "payload.npy", IMAGES)
    path = written(tmp_path, {"inputs": [tensor("image", np.zeros((2, 4, 4, 3)))]})
    with pytest.raises(PayloadMismatch, match=r"rows of the shape \(n, 3, 4, 4\), got \(n, 4, 4, 3\)"):
        read_payload(path, IMAGES)


def test_columns_that_the_model_does_not_have_are_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "payload.csv").write_text("id,c,target,b,a\n0,3,1,2,1\n1,6,0,5,4\n")
    payload = read_payload(tmp_path / "payload.csv", NAMED)
    assert payload.rows.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert payload.unused_columns == ("id", "target")
    assert payload.warnings == (
        "payload.csv has 2 columns that the model does not have, left out of every request: id, target",
    )


@pytest.mark.parametrize("form", ["csv", "json", "lines", "frame"])
def test_columns_that_are_left_out_may_hold_anything(form: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["C-1", None], "c": [3, 6], "b": [2, 5], "a": [1, 4], "tags": ["x, y", "z"]})
    path = tmp_path / "payload"
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form != "frame":
        frame.to_json(path, orient="records", lines=form == "lines")
    payload = payload_of(frame if form == "frame" else path, NAMED)
    assert payload.rows.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert payload.unused_columns == ("id", "tags")


ANYTHING = {"id": ["C-1", None], "c": [3, 6], "b": [2, None], "a": [1.5, 4], "at": [datetime(9999, 1, 1), None]}
"""Beside columns of numbers, of which one has a missing value, columns of anything."""
FRAMES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "pandas with its own missing value": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "pyarrow": pyarrow.table,
}


@pytest.mark.parametrize("library", FRAMES)
def test_data_frames_are_read_column_by_column(library: str) -> None:
    payload = payload_of(FRAMES[library](ANYTHING), NAMED)
    np.testing.assert_array_equal(payload.rows, [[1.5, 2, 3], [4, np.nan, 6]])
    assert payload.unused_columns == ("id", "at")


@pytest.mark.parametrize("library", FRAMES)
def test_a_column_of_a_frame_that_holds_texts_is_called_by_name(library: str) -> None:
    with pytest.raises(PayloadMismatch, match="expected numbers in the column 'b', got could not convert string"):
        payload_of(FRAMES[library]({**ANYTHING, "b": ["x", "y"]}), NAMED)


@pytest.mark.parametrize("library", FRAMES)
def test_large_whole_numbers_of_a_frame_are_not_rounded(library: str) -> None:
    with pytest.raises(PayloadMismatch, match=r"holds exactly in row 1, column 3 \(c\), got 9007199254740993"):
        payload_of(FRAMES[library]({**ANYTHING, "c": [2**53 + 1, 6]}), WHOLE)


def test_what_python_does_not_hold_is_refused_by_the_name_of_its_column() -> None:
    far = pyarrow.array([2**62], pyarrow.timestamp("s"))
    with pytest.raises(PayloadMismatch, match="numbers in the column 'a'"):
        payload_of(pyarrow.table({"a": far, "b": [2], "c": [3]}), NAMED)


def test_a_column_that_is_left_out_may_be_there_twice() -> None:
    frame = pd.DataFrame([["x", 3, 2, 1, "y"]], columns=["id", "c", "b", "a", "id"])
    assert payload_of(frame, NAMED).rows.tolist() == [[1, 2, 3]]
    with pytest.raises(PayloadMismatch, match="'c' twice"):
        payload_of(pd.DataFrame([[3, 2, 1, 3]], columns=["c", "b", "a", "c"]), NAMED)


def test_a_column_that_is_not_left_out_holds_numbers(tmp_path: Path) -> None:
    (tmp_path / "payload.csv").write_text("id,c,b,a\nC-1,3,none,C-2\n")
    with pytest.raises(PayloadMismatch, match=r"a number in row 1, column 4 \(a\), got 'C-2'"):
        read_payload(tmp_path / "payload.csv", NAMED)


@pytest.mark.parametrize("content", ["a,b,c\n1,2,3\n", "x,y,z\n1,2,3\n", "1,2,3\n"])
def test_where_every_column_is_used_nothing_is_said(content: str, tmp_path: Path) -> None:
    (tmp_path / "payload.csv").write_text(content)
    assert read_payload(tmp_path / "payload.csv", NAMED).warnings == ()


PAIR = {"input_ids": [[1, 2, 3, 4], [5, 6, 7, 8]], "attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]]}
PAIR_ROWS = [[1, 2, 3, 4, 1, 1, 1, 1], [5, 6, 7, 8, 1, 1, 0, 0]]
IDS, MASK = (
    Input(name=name, datatype="int64", shape=(4,), start=4 * nth, stop=4 * nth + 4) for nth, name in enumerate(PAIR)
)
OUTPUT = Output(name="y", datatype="float32", shape=(), start=0, stop=1)
FIXED = Signature(
    task=Task.TENSOR,
    features=8,
    outputs=1,
    accepts_missing=False,
    integer_features=tuple(range(8)),
    inputs=(IDS, MASK),
    output_tensors=(OUTPUT,),
)
LISTED = [{name: values[nth] for name, values in PAIR.items()} for nth in range(2)]


@pytest.mark.parametrize(
    "document", [{"inputs": PAIR}, {"instances": LISTED}, LISTED, {"instances": PAIR_ROWS}, PAIR_ROWS]
)
def test_a_network_of_fixed_sizes_takes_requests_as_others_do(document: Any, tmp_path: Path) -> None:
    assert read_payload(written(tmp_path, document), FIXED).rows.tolist() == PAIR_ROWS


def test_lines_and_python_may_name_the_tensors_of_a_network_of_fixed_sizes(tmp_path: Path) -> None:
    (tmp_path / "payload.jsonl").write_text("\n".join(map(json.dumps, LISTED)))
    for source in (tmp_path / "payload.jsonl", PAIR, LISTED, {name: np.array(rows) for name, rows in PAIR.items()}):
        assert payload_of(source, FIXED).rows.tolist() == PAIR_ROWS


def test_an_image_may_be_nested_as_its_input_is(tmp_path: Path) -> None:
    network = replace(IMAGES, task=Task.TENSOR, accepts_missing=False, output_tensors=(OUTPUT,))
    images = np.arange(96).reshape(2, 3, 4, 4)
    for document in ({"instances": images.tolist()}, images.tolist(), {"inputs": {"image": images.tolist()}}):
        np.testing.assert_array_equal(read_payload(written(tmp_path, document), network).rows, images.reshape(2, 48))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([{"input_ids": [1, 2, 3, 4], "mask": [1, 1, 1, 1]}], "'input_ids', 'attention_mask', got 'mask'"),
        ([{"input_ids": [1, 2, 3], "attention_mask": [1, 1, 1, 1]}], "of the shape"),
        ({"inputs": {"input_ids": [[1, 2, 3, 4]]}}, "got no 'attention_mask'"),
        ([{"input_ids": [1, 2, 3, 0.5], "attention_mask": [1, 1, 1, 1]}], "whole number"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(document: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(PayloadMismatch, match=said):
        read_payload(written(tmp_path, document), FIXED)
