"""ONNX models that leave sizes to the request: what is found out about them, and that they predict what ONNX Runtime
says of each request alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import (
    BOOL,
    FLOAT,
    HIDDEN,
    INT8,
    INT64,
    STRING,
    TEXT_INPUTS,
    UINT8,
    node,
    of_all_outputs,
    save,
    text,
    texts,
)

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.libraries.onnx_session import open_session
from servefit.backends.model import Model
from servefit.backends.model.onnx_interface import interface_of
from servefit.backends.model.onnx_io import predict
from servefit.backends.model.packing import join
from servefit.backends.payload.reading import payload_of
from servefit.backends.payload.tensors import rows_of_arrays
from servefit.backends.types import Settings, Target
from servefit.errors import CompileFailed, RowsRefused, SpecError, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


def predictor(model: Model) -> Any:
    return load_predictor(compile_model(model, "onnxruntime").artifact, Settings())


def outputs(model: Model, predictions: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The outputs of each row, by name."""
    found: list[dict[str, np.ndarray]] = [{} for _ in predictions]
    packing = model.signature.output_packing
    for which, sizes in packing.groups(predictions):
        for place in packing.places(sizes):
            for row in which:
                found[row][place.tensor.name] = predictions[row, place.start : place.stop].reshape(place.shape)
    return found


def test_its_names_shapes_and_outputs_are_those_of_the_model(tmp_path: Path) -> None:
    signature = Model.load(texts(tmp_path / "texts.onnx")).signature
    assert [(each.name, each.datatype, each.shape) for each in signature.inputs] == [
        (name, "int64", ("tokens",)) for name in TEXT_INPUTS
    ]
    assert [size.name for size in signature.sizes] == ["tokens"]
    assert [(each.name, each.shape) for each in signature.output_tensors] == [
        ("states", ("states.1", HIDDEN)),
        ("embedding", (HIDDEN,)),
    ]
    assert signature.output_sizes == ("states.1",)


def test_texts_of_all_lengths_in_one_call_get_what_each_gets_alone(tmp_path: Path) -> None:
    model = Model.load(texts(tmp_path / "texts.onnx"))
    requests = [text(length, seed) for seed, length in enumerate((3, 7, 3, 1, 12, 7))]
    rows = join([rows_of_arrays(each, model.signature, "test") for each in requests])
    found = outputs(model, predictor(model).predict(rows))
    for request, answered in zip(requests, found, strict=True):
        for name, expected in of_all_outputs(tmp_path / "texts.onnx", request).items():
            np.testing.assert_allclose(answered[name], expected[0], rtol=1e-5, atol=1e-6)


def test_where_no_output_has_sizes_predictions_are_as_wide_as_ever(tmp_path: Path) -> None:
    model = Model.load(texts(tmp_path / "texts.onnx", states=False))
    assert (model.signature.outputs, model.signature.output_sizes) == (HIDDEN, ())
    request = text(5)
    predictions = predictor(model).predict(rows_of_arrays(request, model.signature, "test"))
    np.testing.assert_allclose(predictions, of_all_outputs(tmp_path / "texts.onnx", request)["embedding"], rtol=1e-5)


def test_images_of_any_height_and_width_keep_their_shape(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype(np.float32)
    convolution = node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1])
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 3, "h", "w_"])}, [convolution], {"y": FLOAT}, {"w": weights})
    model = Model.load(path)
    image = np.random.default_rng(1).standard_normal((2, 3, 10, 13)).astype(np.float32)
    found = outputs(model, predictor(model).predict(rows_of_arrays({"x": image}, model.signature, "test")))
    expected = of_all_outputs(path, {"x": image})["y"]
    assert expected.shape == (2, 2, 5, 7)
    np.testing.assert_allclose([each["y"] for each in found], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_images_whose_channels_are_open_too_are_taken(channels: int, tmp_path: Path) -> None:
    """So exporters write them, and a network takes one number of channels."""
    nodes = [node("Conv", ["image", "kernel"], ["found"]), node("GlobalAveragePool", ["found"], ["y"])]
    inputs = {"image": (FLOAT, ["n", "channels", "height", "width"])}
    kernel = np.ones((2, channels, 10, 10), np.float32)
    model = Model.load(save(tmp_path / "image.onnx", inputs, nodes, {"y": FLOAT}, {"kernel": kernel}))
    assert [size.usual for size in model.signature.sizes] == [channels, 16, 16]


def test_two_sizes_without_a_name_are_two_sizes(tmp_path: Path) -> None:
    for unnamed in (None, "?"):
        path = save(
            tmp_path / "m.onnx", {"x": (FLOAT, ["n", unnamed, unnamed])}, [node("Relu", ["x"], ["y"])], {"y": FLOAT}
        )
        assert [size.name for size in Model.load(path).signature.sizes] == ["x.1", "x.2"]


def test_an_output_that_has_several_rows_for_each_of_a_request_keeps_them_apart(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "shape"], ["y"])]
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4, 2])}, nodes, {"y": FLOAT}, {"shape": np.array([-1, 2])})
    model = Model.load(path)
    assert [each.shape for each in model.signature.output_tensors] == [(4, 2)]
    rows = np.arange(16, dtype=np.float32).reshape(2, 8)
    np.testing.assert_array_equal(predictor(model).predict(rows), rows)


@pytest.mark.parametrize("shape", [["n", "t"], ["n", 2]])
def test_words_beside_what_has_sizes_of_its_own_count(shape: list[Any], tmp_path: Path) -> None:
    """Words have no size of their own where a row has some of them, and do where it has any number."""
    nodes = [
        node(
            "LabelEncoder",
            ["words"],
            ["worth"],
            domain="ai.onnx.ml",
            keys_strings=["one", "two"],
            values_floats=[1.0, 2.0],
            default_float=0.0,
        ),
        node("ReduceSum", ["worth", "axis"], ["of_words"]),
        node("ReduceSum", ["x", "axis"], ["of_numbers"]),
        node("Mul", ["of_words", "of_numbers"], ["y"]),
    ]
    inputs: dict[str, tuple[int, list[Any]]] = {"words": (STRING, shape), "x": (FLOAT, ["n", "length"])}
    model = Model.load(save(tmp_path / "m.onnx", inputs, nodes, {"y": FLOAT}, {"axis": np.array([1])}))
    requests = [{"words": ["one", "two"], "x": [1.0, 2.0, 3.0]}, {"words": ["two", "three"], "x": [1.0]}]
    rows = payload_of(requests, model.signature).rows
    assert predictor(model).predict(rows).tolist() == [18, 2]


def test_what_a_network_hands_to_its_next_call_is_no_output_of_a_row(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("Transpose", ["y"], ["state"], perm=[1, 0])]
    model = Model.load(save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4])}, nodes, {"y": FLOAT, "state": FLOAT}))
    assert [each.name for each in model.signature.output_tensors] == ["y"]


def test_all_outputs_of_a_network_of_fixed_sizes_are_given(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["y"]), node("ArgMax", ["x"], ["best"], axis=1, keepdims=0)]
    model = Model.load(save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4])}, nodes, {"y": FLOAT, "best": INT64}))
    rows = np.array([[1, -2, 3, 0], [4, 0, 0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(predictor(model).predict(rows), [[1, 0, 3, 0, 2], [4, 0, 0, 0, 0]])
    assert [(each.name, each.datatype) for each in model.signature.output_tensors] == [
        ("y", "float32"),
        ("best", "int64"),
    ]


def test_rows_that_are_not_in_the_first_dimension_are_refused(tmp_path: Path) -> None:
    inputs = {"x": (FLOAT, ["n", 4]), "state": (FLOAT, [2, "n", 4])}
    path = save(tmp_path / "m.onnx", inputs, [node("Add", ["x", "state"], ["y"])], {"y": FLOAT})
    with pytest.raises(UnsupportedModel, match=r"'state' has its rows \(n\) not in the first dimension") as refused:
        Model.load(path)
    assert refused.value.remedy == "if it is the same in all requests, say so: --input state=zeros"


def test_a_model_that_takes_none_of_the_sizes_that_are_tried_says_which_were(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "shape"], ["y"])]
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", "k"])}, nodes, {"y": FLOAT}, {"shape": np.array([-1, 97])})
    with pytest.raises(UnsupportedModel, match=r"it takes none of 16, 32, .* for its sizes k"):
        Model.load(path)


def test_sizes_of_requests_that_are_drawn_may_be_given(tmp_path: Path) -> None:
    from servefit.backends.payload.reading import payload_for

    model = Model.load(texts(tmp_path / "texts.onnx"), sizes={"tokens": [3, 9]})
    payload = payload_for(model)
    assert set(payload.rows[:, 0].tolist()) == {3, 9}
    assert list(map(str, payload.sizes)) == ["tokens 3 to 9, median 3"]
    assert abs(int((payload.rows[:, 0] == 3).sum()) - 500) <= 1


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ({"words": [3]}, "words"),
        ({"tokens": [0]}, "0"),
        ({"tokens": [-4]}, "-4"),
        ({"tokens": [10**9]}, "1000000000"),
        ({"tokens": 3}, r"3 is not a list of whole numbers, such as \[32, 128\]"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(sizes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    path = texts(tmp_path / "texts.onnx")
    with pytest.raises(SpecError, match=problem):
        Model.load(path, sizes=sizes)


def test_rows_that_the_model_refuses_are_refused_with_its_own_words(tmp_path: Path) -> None:
    model = Model.load(texts(tmp_path / "texts.onnx"))
    request = {**text(3), "input_ids": np.array([[1, 2, 5000]])}
    opened = predictor(model)
    with pytest.raises(RowsRefused, match="idx=5000 must be within the inclusive range"):
        opened.predict(rows_of_arrays(request, model.signature, "test"))


def positions(path: Path) -> Path:
    """A network of texts of at most 16 words: each has a weight for its place."""
    constants = {"table": np.arange(1, 17, dtype=np.float32), "zero": np.array(0), "one": np.array(1), "axis": 1}
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "axis"], ["length"]),
        node("Range", ["zero", "length", "one"], ["places"]),
        node("Gather", ["table", "places"], ["weights"]),
        node("Mul", ["x", "weights"], ["y"]),
    ]
    return save(path, {"x": (FLOAT, ["n", "words"])}, nodes, {"y": FLOAT}, constants)


@pytest.mark.parametrize("pad", [None, "zeros"])
def test_a_text_beyond_the_position_table_is_refused_by_the_model_itself(pad: str | None, tmp_path: Path) -> None:
    model = Model.load(positions(tmp_path / "positions.onnx"), pad=pad)
    rows = [rows_of_arrays({"x": np.ones((1, size), np.float32)}, model.signature, "test") for size in (3, 16, 17)]
    opened = predictor(model)
    assert opened.predict(join(rows[:2])).shape[0] == 2
    with pytest.raises(RowsRefused, match=r"the model refuses rows: .*16"):
        opened.predict(join(rows))


def test_what_the_model_refuses_of_a_payload_is_told_with_its_reason(tmp_path: Path) -> None:
    """Also where it is one of many that are not compared."""
    model = Model.load(positions(tmp_path / "positions.onnx"))
    lengths = [3 + nth % 14 for nth in range(500)]
    lengths[3] = 17
    payload = payload_of([{"x": [1.0] * length} for length in lengths], model.signature)
    said = "refuses rows that predictions are compared on: indices element .*idx=16.*, in a request of words 17"
    with pytest.raises(CompileFailed, match=said) as e:
        compile_model(model, "onnxruntime", payload=payload)
    assert e.value.remedy is not None
    assert "leave out of the payload" in e.value.remedy


@pytest.mark.thorough
@pytest.mark.parametrize("pad", [None, "zeros"])
def test_ten_thousand_shapes_in_one_call_get_what_each_gets_alone(pad: str | None, tmp_path: Path) -> None:
    nodes = [
        node("ReduceSum", ["query", "axis"], ["of_query"], keepdims=0),
        node("ReduceSum", ["document", "axis"], ["of_document"], keepdims=0),
        node("Sub", ["of_query", "of_document"], ["y"]),
    ]
    inputs: dict[str, tuple[int, list[Any]]] = {name: (FLOAT, ["n", f"{name}s"]) for name in ("query", "document")}
    path = save(tmp_path / "pairs.onnx", inputs, nodes, {"y": FLOAT}, {"axis": np.array([1])})
    model = Model.load(path, pad=pad)
    lengths = [(1 + nth % 100, 1 + nth // 100) for nth in range(10_000)]
    sizes = [dict(zip(model.signature.packing.sizes, each, strict=True)) for each in lengths]
    rows = join(
        [
            model.signature.packing.pack([np.ones((1, n)), np.ones((1, m))], size, "float32")
            for (n, m), size in zip(lengths, sizes, strict=True)
        ]
    )
    np.testing.assert_allclose(predictor(model).predict(rows), [n - m for n, m in lengths], atol=1e-4)


def answered(model: Model, feeds: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    return outputs(model, predictor(model).predict(rows_of_arrays(feeds, model.signature, "test")))


def test_frames_of_a_window_are_as_many_as_the_request_has(tmp_path: Path) -> None:
    nodes = [
        node("Slice", ["x", "begin", "end", "axis", "step"], ["frames"]),
        node("ReduceSum", ["x", "axis"], ["sum"], keepdims=0),
    ]
    constants = {"begin": np.array([0]), "end": np.array([10**6]), "axis": np.array([1]), "step": np.array([32])}
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", "s"])}, nodes, {"frames": FLOAT, "sum": FLOAT}, constants)
    for size in (16, 32, 64, 100):
        feeds = {"x": np.arange(size, dtype=np.float32)[np.newaxis]}
        (found,) = answered(Model.load(path), feeds)
        np.testing.assert_array_equal(found["frames"], feeds["x"][0, ::32])
        assert found["sum"] == feeds["x"].sum()


def test_what_has_a_value_for_each_pair_of_rows_or_each_layer_is_no_output_of_a_row(tmp_path: Path) -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0]),
        node("MatMul", ["x", "t"], ["pairs"]),
        node("Unsqueeze", ["x", "first"], ["one"]),
        node("Concat", ["one", "one", "one", "one", "one", "one"], ["layers"], axis=0),
        node("Relu", ["x"], ["y"]),
    ]
    kinds = {"pairs": FLOAT, "layers": FLOAT, "y": FLOAT}
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4])}, nodes, kinds, {"first": np.array([0])})
    assert [each.name for each in Model.load(path).signature.output_tensors] == ["y"]


def test_labels_of_every_token_are_no_label_of_a_row(tmp_path: Path) -> None:
    nodes = [
        node("OneHot", ["ids", "depth", "range"], ["logits"]),
        node("ArgMax", ["logits"], ["labels"], axis=2, keepdims=0),
    ]
    constants = {"depth": np.int64(3), "range": np.array([0, 1], np.float32)}
    inputs: dict[str, tuple[int, list[Any]]] = {"ids": (INT64, ["n", "s"])}
    path = save(tmp_path / "m.onnx", inputs, nodes, {"labels": INT64, "logits": FLOAT}, constants)
    model = Model.load(path)
    requests = [np.array([[0, 2]]), np.array([[1, 1, 2, 0, 2]])]
    rows = join([rows_of_arrays({"ids": each}, model.signature, "test") for each in requests])
    for request, found in zip(requests, outputs(model, predictor(model).predict(rows)), strict=True):
        assert found["labels"].tolist() == request[0].tolist()
        assert found["logits"].shape == (request.shape[1], 3)


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "size"), [(BOOL, 40), (10, 2049), (UINT8, 300), (INT8, 200)])
def test_sizes_of_outputs_are_kept_beside_values_of_any_datatype(kind: int, size: int, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", "s"])}, [node("Cast", ["x"], ["y"], to=kind)], {"y": kind})
    (found,) = answered(Model.load(path), {"x": np.ones((1, size), np.float32)})
    assert found["y"].tolist() == [1] * size


def test_an_output_whose_shape_depends_on_the_values_is_no_output_of_a_row(tmp_path: Path) -> None:
    nodes = [node("NonZero", ["x"], ["places"]), node("Relu", ["x"], ["y"])]
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, [1, 4])}, nodes, {"y": FLOAT, "places": INT64})
    model = Model.load(path)
    assert [each.name for each in model.signature.output_tensors] == ["y"]
    rows = np.array([[1, 0, 2, 0]], dtype=np.float32)
    np.testing.assert_array_equal(predictor(model).predict(rows), rows)


def test_an_output_of_another_shape_than_it_was_found_to_have_is_refused(tmp_path: Path) -> None:
    # Of ones and of zeros there are as many; of minus one there are none.
    nodes = [
        node("Abs", ["x"], ["a"]),
        node("Equal", ["a", "x"], ["positive"]),
        node("Compress", ["x", "flat"], ["y"]),
        node("Reshape", ["positive", "any"], ["flat"]),
    ]
    ordered = [nodes[0], nodes[1], nodes[3], nodes[2]]
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, [1, 4])}, ordered, {"y": FLOAT}, {"any": np.array([-1])})
    opened = predictor_of_one_row(path)
    with pytest.raises(RowsRefused, match=r"its output 'y' has the shape \(3\) for 1 of them"):
        opened(np.array([[1, -1, 2, 3]], dtype=np.float32))


def predictor_of_one_row(path: Path) -> Any:
    """What calls the model at ``path`` as it was found to be called by rows of zeros and ones."""
    session = open_session(path, Target.CPU, Settings())
    interface, _ = interface_of(session)
    return lambda rows: predict(session, interface, rows)
