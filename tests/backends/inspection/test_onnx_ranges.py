"""The whole numbers that are drawn for integer inputs of an ONNX model are those that its graph accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import DOUBLE, FLOAT, INT8, INT64, UINT8, VOCABULARY, encoder, hashed, node, save

from servefit.backends.inspection import inspect, onnx_trying
from servefit.backends.model import Format, Model
from servefit.backends.payload.rows import parity_rows, synthetic_rows

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = (-(2**63), 2**63 - 1)
TABLE = np.arange(60, dtype=np.float32).reshape(20, 3)


def ranges(path: Path) -> dict[str, tuple[int | None, int | None]]:
    inputs = inspect(path, Format.ONNX, path.parent).signature.inputs
    return {model_input.name: (model_input.lowest, model_input.highest) for model_input in inputs}


def of_one(folder: Path, nodes: list[Any], *, kind: int = INT64, **constants: Any) -> tuple[int | None, int | None]:
    """The range of the input "x" (n, 3) of a model of these nodes, which make "y" of it."""
    known = {"table": TABLE, "one": np.int64(1), "seven": np.int64(7), **constants}
    path = save(folder / "model.onnx", {"x": (kind, ["n", 3])}, nodes, {"y": FLOAT}, known)
    return ranges(path)["x"]


def test_a_token_is_a_row_of_its_embedding_and_a_mask_is_0_or_1(tmp_path: Path) -> None:
    found = ranges(encoder(tmp_path / "model.onnx"))
    assert found == {"input_ids": (0, VOCABULARY - 1), "attention_mask": (0, 1), "token_type_ids": (0, 1)}


def test_numbers_that_are_hashed_may_be_any(tmp_path: Path) -> None:
    assert ranges(hashed(tmp_path / "model.onnx")) == {"ids": WHOLE}


@pytest.mark.parametrize(
    ("nodes", "constants", "expected"),
    [
        ([node("Gather", ["table", "x"], ["y"])], {}, (0, 19)),
        (
            [node("Gather", ["table", "x"], ["g"], axis=1), node("Transpose", ["g"], ["y"], perm=[1, 2, 0])],
            {},
            (0, 2),
        ),
        ([node("Gather", ["table", "x"], ["y"], axis=-2)], {}, (0, 19)),
        ([node("GatherElements", ["wide", "x"], ["y"], axis=1)], {"wide": np.ones((40, 9), np.float32)}, (0, 8)),
        (
            [node("OneHot", ["x", "depth", "values"], ["y"])],
            {"depth": np.int64(6), "values": np.array([0, 1], np.float32)},
            (0, 5),
        ),
        (
            [
                node("Unsqueeze", ["x", "axes"], ["a"]),
                node("Cast", ["a"], ["b"], to=6),
                node("Slice", ["b", "begin", "end"], ["c"]),
                node("Concat", ["c", "c"], ["d"], axis=1),
                node("Gather", ["table", "d"], ["y"]),
            ],
            {"axes": np.array([2]), "begin": np.array([0]), "end": np.array([9])},
            (0, 19),
        ),
        (
            [
                node("DequantizeLinear", ["small", "scale"], ["table_of_floats"]),
                node("Gather", ["table_of_floats", "x"], ["y"]),
            ],
            {"small": np.ones((11, 2), np.int8), "scale": np.float32(0.5)},
            (0, 10),
        ),
        (
            [
                node("Gather", ["table", "x"], ["a"]),
                node("Gather", ["few", "x"], ["b"]),
                node("Add", ["a", "b"], ["y"]),
            ],
            {"few": np.ones((4, 3), np.float32)},
            (0, 3),
        ),
    ],
)
def test_an_index_is_within_what_it_chooses_from(
    nodes: list[Any], constants: dict[str, Any], expected: tuple[int, int], tmp_path: Path
) -> None:
    assert of_one(tmp_path, nodes, **constants) == expected


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Cast", ["x"], ["m"], to=FLOAT), node("Mul", ["m", "penalty"], ["y"])],
        [node("Cast", ["x"], ["m"], to=FLOAT), node("Sub", ["one_", "m"], ["i"]), node("Mul", ["i", "large"], ["y"])],
        [node("Cast", ["x"], ["m"], to=9), node("Where", ["m", "large", "penalty"], ["y"])],
        [node("Equal", ["x", "zero"], ["m"]), node("Where", ["m", "large", "penalty"], ["y"])],
        [
            node("Cast", ["x"], ["m"], to=FLOAT),
            node("Softmax", ["m"], ["hidden"]),
            node("Mul", ["hidden", "m"], ["y"]),
        ],
    ],
)
def test_a_mask_stays_one(nodes: list[Any], tmp_path: Path) -> None:
    constants: dict[str, Any] = {
        "penalty": np.float32(-1e4),
        "large": np.float32(1e9),
        "one_": np.float32(1),
        "zero": np.int64(0),
    }
    assert of_one(tmp_path, nodes, **constants) == (0, 1)


def test_numbers_that_are_scaled_are_no_mask(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["x"], ["numbers"], to=FLOAT),
        node("Sub", ["numbers", "mean"], ["centred"]),
        node("Div", ["centred", "deviation"], ["y"]),
    ]
    assert of_one(tmp_path, nodes, mean=np.float32(40), deviation=np.float32(12)) == WHOLE


def test_numbers_that_are_multiplied_with_another_input_are_no_mask(tmp_path: Path) -> None:
    nodes = [node("Cast", ["count"], ["counts"], to=FLOAT), node("Mul", ["counts", "price"], ["y"])]
    inputs = {"count": (INT64, ["n", 1]), "price": (FLOAT, ["n", 1])}
    found = ranges(save(tmp_path / "model.onnx", inputs, nodes, {"y": FLOAT}))
    assert found == {"count": (-(2**53), 2**53), "price": (None, None)}


@pytest.mark.parametrize(("kind", "expected"), [(UINT8, (0, 255)), (INT8, (-128, 127)), (6, (-(2**31), 2**31 - 1))])
def test_smaller_datatypes_have_smaller_ranges(kind: int, expected: tuple[int, int], tmp_path: Path) -> None:
    assert of_one(tmp_path, [node("Cast", ["x"], ["y"], to=FLOAT)], kind=kind) == expected


def test_what_the_graph_does_not_tell_is_found_by_trying(tmp_path: Path) -> None:
    nodes = [node("Add", ["x", "seven"], ["shifted"]), node("Gather", ["table", "shifted"], ["y"])]
    assert of_one(tmp_path, nodes) == (0, 7)  # 12 is the last that is there, 15 is refused


def test_numbers_of_which_nothing_but_nan_comes_are_not_drawn(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["x"], ["numbers"], to=FLOAT),
        node("Mul", ["numbers", "large"], ["scaled"]),
        node("Sub", ["scaled", "scaled"], ["y"]),
    ]
    lowest, highest = of_one(tmp_path, nodes, large=np.float32(1e35))
    assert lowest == 0
    assert highest == 2047  # times 1e35 is within float32, twice as many are not


def test_a_number_of_turns_does_not_go_on_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    monkeypatch.setattr(onnx_trying, "_MAX_CALL_S", 0.2)
    monkeypatch.setattr(onnx_trying, "_MAX_TRIALS_S", 0.5)
    graph = onnx.helper.make_graph(
        [node("Identity", ["go_on"], ["goes_on"]), node("Add", ["sum", "step"], ["sums"])],
        "turn",
        [
            onnx.helper.make_tensor_value_info("turn", INT64, []),
            onnx.helper.make_tensor_value_info("go_on", 9, []),
            onnx.helper.make_tensor_value_info("sum", FLOAT, [1]),
        ],
        [onnx.helper.make_tensor_value_info("goes_on", 9, []), onnx.helper.make_tensor_value_info("sums", FLOAT, [1])],
    )
    nodes = [
        node("Cast", ["x"], ["numbers"], to=DOUBLE),
        node("Ceil", ["numbers"], ["ceilings"]),  # so that it is not seen to be a number of turns
        node("Cast", ["ceilings"], ["whole"], to=INT64),
        node("ReduceMax", ["whole"], ["turns"], keepdims=0),
        node("Loop", ["turns", "", "step"], ["sum"], body=graph),
        node("Cast", ["x"], ["floats"], to=FLOAT),
        node("Add", ["floats", "sum"], ["y"]),
    ]
    lowest, highest = of_one(tmp_path, nodes, step=np.array([1], np.float32))
    assert lowest == 0
    assert highest is not None
    assert highest < 2**31


@pytest.mark.integration
def test_rows_hold_both_ends_of_a_range_and_all_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
    words = Model.load(encoder(tmp_path / "encoder.onnx"))
    rows = parity_rows(words, count=32)
    assert rows.dtype == np.int64
    ids, masks = rows[:, :4], rows[:, 4:8]
    assert (ids[0] == 0).all()
    assert (ids[1] == VOCABULARY - 1).all()
    assert set(masks.ravel().tolist()) == {0, 1}
    assert set(synthetic_rows(words, 500)[:, :4].ravel().tolist()) == set(range(VOCABULARY))

    any_ids = Model.load(hashed(tmp_path / "hashed.onnx"))
    rows = parity_rows(any_ids, count=32)
    assert (rows[0].tolist(), rows[1].tolist()) == ([WHOLE[0]] * 4, [WHOLE[1]] * 4)
    drawn = synthetic_rows(any_ids, 500)
    for smallest, largest in ((2**24, 2**32), (2**53, 2**63 - 1), (0, 2**16)):
        assert ((drawn > smallest) & (drawn < largest)).any()
        assert ((drawn < -smallest) & (drawn > -largest)).any()


@pytest.mark.integration
def test_floats_of_64_bits_are_drawn_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
    nodes = [node("Cast", ["x"], ["y"], to=FLOAT)]
    model = Model.load(save(tmp_path / "model.onnx", {"x": (DOUBLE, ["n", 3])}, nodes, {"y": FLOAT}))
    for rows in (parity_rows(model, count=32), synthetic_rows(model, 32)):
        assert rows.dtype == np.float64
        assert (rows.astype(np.float32) != rows).any()
