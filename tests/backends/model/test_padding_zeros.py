"""``--pad zeros``: requests of different sizes in one call of a network without a mask, if padding changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import FLOAT, HIDDEN, INT64, VOCABULARY, node, of_all_outputs, save, texts
from tests.tiny_model import tiny_model

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Model
from servefit.backends.model.packing import join
from servefit.backends.payload import Payload
from servefit.backends.payload.tensors import rows_of_arrays
from servefit.backends.types import Artifact, Settings
from servefit.errors import OutputMismatch, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


LENGTHS = (7, 3, 7, 1, 12)
FEATURES, CLASSES = 3, 4

FRAMES: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, ["n", "frames", FEATURES])}
CHANNELS: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, ["n", FEATURES, "frames"])}


def drawn(*shape: int) -> np.ndarray:
    """Weights."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def per_frame(path: Path) -> Path:
    """A network that sees one frame at a time, and makes something of a frame of zeros too."""
    constants = {"weights": drawn(FEATURES, CLASSES), "bias": drawn(CLASSES)}
    nodes = [
        node("MatMul", ["x", "weights"], ["product"]),
        node("Add", ["product", "bias"], ["sum"]),
        node("Sigmoid", ["sum"], ["y"]),
    ]
    return save(path, FRAMES, nodes, {"y": FLOAT}, constants)


def convolutions(path: Path, pads: Sequence[int]) -> Path:
    """Two convolutions over three frames, with so many zeros before the first and after the last."""
    constants = {
        "w0": drawn(CLASSES, FEATURES, 3),
        "b0": drawn(CLASSES),
        "w1": drawn(CLASSES, CLASSES, 3),
        "b1": drawn(CLASSES),
    }
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["first"], pads=list(pads)),
        node("Relu", ["first"], ["hidden"]),
        node("Conv", ["hidden", "w1", "b1"], ["y"], pads=list(pads)),
    ]
    return save(path, CHANNELS, nodes, {"y": FLOAT}, constants)


def causal(path: Path) -> Path:
    """A network that looks back, and not ahead."""
    return convolutions(path, (2, 0))


def own_mask(path: Path) -> Path:
    """The mean of the words of a text, where 0 is no word."""
    constants = {
        "words": drawn(VOCABULARY, HIDDEN),
        "nothing": np.array(0),
        "last": np.array([2]),
        "axis": np.array([1]),
    }
    nodes = [
        node("Equal", ["ids", "nothing"], ["is_padding"]),
        node("Not", ["is_padding"], ["is_word"]),
        node("Cast", ["is_word"], ["mask"], to=FLOAT),
        node("Unsqueeze", ["mask", "last"], ["column"]),
        node("Gather", ["words", "ids"], ["of_words"]),
        node("Mul", ["of_words", "column"], ["states"]),
        node("ReduceSum", ["states", "axis"], ["sum"], keepdims=0),
        node("ReduceSum", ["column", "axis"], ["count"], keepdims=0),
        node("Div", ["sum", "count"], ["y"]),
    ]
    return save(path, {"ids": (INT64, ["n", "tokens"])}, nodes, {"y": FLOAT}, constants)


def over_frames(path: Path, *nodes: Any, axes: np.ndarray | None = None) -> Path:
    constants = {} if axes is None else {"axes": axes}
    return save(path, FRAMES, nodes, {"y": FLOAT}, constants)


def mean(path: Path) -> Path:
    return over_frames(path, node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0))


def softmax(path: Path) -> Path:
    return over_frames(path, node("Softmax", ["x"], ["y"], axis=1))


def maximum(path: Path) -> Path:
    return over_frames(path, node("ReduceMax", ["x"], ["y"], axes=[1], keepdims=0))


def backwards(path: Path) -> Path:
    """A network that reads from the end, as half of each bidirectional one does."""
    nodes = [node("Sigmoid", ["x"], ["seen"]), node("CumSum", ["seen", "axes"], ["y"], reverse=1)]
    return over_frames(path, *nodes, axes=np.array(1))


def looks_ahead(path: Path) -> Path:
    """Of two layers: what the first makes of zeros is not what the second puts around."""
    return convolutions(path, (1, 1))


def requests_of(path: Path) -> list[dict[str, np.ndarray]]:
    """A request of each length, for any of these networks."""
    generator = np.random.default_rng(0)
    name = path.stem
    made: list[dict[str, np.ndarray]] = []
    for length in LENGTHS:
        if name == "own_mask":
            made.append({"ids": generator.integers(1, VOCABULARY, (1, length))})
        else:
            shape = (1, FEATURES, length) if name in ("causal", "looks_ahead") else (1, length, FEATURES)
            made.append({"x": generator.standard_normal(shape).astype(np.float32)})
    return made


def packed(model: Model, requests: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    return join([rows_of_arrays(request, model.signature, "test") for request in requests])


class Calls:
    """A session that notes the shape of its first input in each call."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.shapes: list[tuple[int, ...]] = []

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> Any:
        self.shapes.append(next(iter(feeds.values())).shape)
        return self._session.run(names, feeds)


def calls_of(artifact: Artifact, rows: np.ndarray) -> list[tuple[int, ...]]:
    predictor: Any = load_predictor(artifact, Settings())
    predictor._session = Calls(predictor._session)
    predictor.predict(rows)
    shapes: list[tuple[int, ...]] = predictor._session.shapes
    return shapes


def output(model: Model, prediction: np.ndarray) -> np.ndarray:
    """The only output of a row."""
    packing = model.signature.output_packing
    [(_, sizes)] = packing.groups(prediction[np.newaxis])
    [place] = packing.places(sizes)
    found: np.ndarray = prediction[place.start : place.stop].reshape(place.shape)
    return found


@pytest.mark.parametrize("make", [per_frame, causal, own_mask])
def test_requests_of_all_sizes_are_one_call_with_the_predictions_of_each_alone(make: Any, tmp_path: Path) -> None:
    path = make(tmp_path / f"{make.__name__}.onnx")
    model = Model.load(path, pad="zeros")
    artifact = compile_model(model, "onnxruntime").artifact
    requests = requests_of(path)
    rows = packed(model, requests)
    [shape] = calls_of(artifact, rows)
    assert (shape[0], max(shape[1:])) == (len(LENGTHS), max(LENGTHS))
    predictions = load_predictor(artifact, Settings()).predict(rows)
    for request, prediction in zip(requests, predictions, strict=True):
        expected = of_all_outputs(path, request)["y"][0]
        got = output(model, prediction)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("make", [mean, softmax, maximum, backwards, looks_ahead])
def test_where_padding_changes_predictions_the_artifact_is_refused_with_a_remedy(make: Any, tmp_path: Path) -> None:
    path = make(tmp_path / f"{make.__name__}.onnx")
    assert compile_model(Model.load(path), "onnxruntime").artifact
    with pytest.raises(OutputMismatch, match="padding with zeros changes its predictions") as refused:
        compile_model(Model.load(path, pad="zeros"), "onnxruntime")
    assert refused.value.max_abs_error > 0
    assert "leave --pad (pad=) out" in str(refused.value.remedy)
    assert "name the input that says which places count" in str(refused.value.remedy)


def test_a_payload_may_show_what_drawn_rows_did_not(tmp_path: Path) -> None:
    """A sum of frames, to which their mean is added where a frame is louder than any that is drawn."""
    constants = {"axes": np.array([1]), "loud": np.float32(1000)}
    nodes = [
        node("ReduceSum", ["x", "axes"], ["sum"], keepdims=0),
        node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0),
        node("ReduceMax", ["x"], ["max"], axes=[1], keepdims=0),
        node("Greater", ["max", "loud"], ["is_loud"]),
        node("Cast", ["is_loud"], ["times"], to=FLOAT),
        node("Mul", ["mean", "times"], ["of_loud"]),
        node("Add", ["sum", "of_loud"], ["y"]),
    ]
    model = Model.load(save(tmp_path / "loud.onnx", FRAMES, nodes, {"y": FLOAT}, constants), pad="zeros")
    quiet = [{"x": drawn(1, length, FEATURES)} for length in LENGTHS]
    assert compile_model(model, "onnxruntime", payload=Payload(rows=packed(model, quiet), source="rows"))
    loud = [{"x": 1e4 * np.abs(request["x"])} for request in quiet]
    with pytest.raises(OutputMismatch, match="padding with zeros changes its predictions"):
        compile_model(model, "onnxruntime", payload=Payload(rows=packed(model, loud), source="rows"))


def test_a_request_of_zeros_is_not_padded(tmp_path: Path) -> None:
    """Its words would be nothing over nothing, however many."""
    model = Model.load(own_mask(tmp_path / "own_mask.onnx"), pad="zeros")
    rows = packed(model, [{"ids": np.array(ids)} for ids in ([[0, 0, 0]], [[4, 0]], [[7]])])
    assert sorted(calls_of(compile_model(model, "onnxruntime").artifact, rows)) == [(1, 3), (2, 2)]


def test_all_sizes_are_padded_that_requests_have_for_themselves(tmp_path: Path) -> None:
    nodes = [node("Sigmoid", ["x"], ["y"])]
    path = save(tmp_path / "image.onnx", {"x": (FLOAT, ["n", 2, "height", "width"])}, nodes, {"y": FLOAT})
    model = Model.load(path, pad="zeros")
    assert model.signature.padding is not None
    assert (model.signature.padding.mask, model.signature.padding.sizes) == (None, ("height", "width"))
    rows = packed(model, [{"x": drawn(1, 2, *size)} for size in ((2, 5), (3, 1))])
    artifact = compile_model(model, "onnxruntime").artifact
    assert calls_of(artifact, rows) == [(2, 2, 3, 5)]
    shapes = [output(model, one).shape for one in load_predictor(artifact, Settings()).predict(rows)]
    assert shapes == [(2, 2, 5), (2, 3, 1)]


def test_a_size_of_which_the_model_takes_one_value_is_left_alone(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "weights"], ["y"])]
    open_sizes = {"x": (FLOAT, ["n", "frames", "features"])}
    path = save(tmp_path / "m.onnx", open_sizes, nodes, {"y": FLOAT}, {"weights": drawn(16, CLASSES)})
    padding = Model.load(path, pad="zeros").signature.padding
    assert padding is not None
    assert padding.sizes == ("frames",)


def test_a_model_that_takes_one_size_alone_is_refused(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "weights"], ["y"])]
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", "f"])}, nodes, {"y": FLOAT}, {"weights": drawn(16, CLASSES)})
    with pytest.raises(SpecError, match="the model takes no f but 16"):
        Model.load(path, pad="zeros")


def test_an_output_that_cannot_be_cut_back_is_refused(tmp_path: Path) -> None:
    path = convolutions(tmp_path / "m.onnx", (0, 0))
    with pytest.raises(SpecError, match=r"where frames is \d+, and cannot be cut back"):
        Model.load(path, pad="zeros")


def test_a_model_of_fixed_sizes_has_nothing_to_pad(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4])}, [node("Relu", ["x"], ["y"])], {"y": FLOAT})
    with pytest.raises(SpecError, match=r"pad: 'zeros' .* there is nothing to pad"):
        Model.load(path, pad="zeros")


def test_a_model_of_trees_has_nothing_to_pad(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="pad: 'zeros' is for ONNX files"):
        Model.load(tiny_model(tmp_path / "model.ubj"), pad="zeros")


def test_what_is_padded_is_another_model_and_its_file_says_so(tmp_path: Path) -> None:
    path = per_frame(tmp_path / "per_frame.onnx")
    plain, padded = Model.load(path), Model.load(path, pad="zeros")
    assert plain.digest != padded.digest
    assert (plain.signature.padding, padded.given.padded_by) == (None, "zeros")
    assert Model.load(padded.file).signature == padded.signature
    assert padded.signature.row_text == "x (frames, 3), padded by zeros"


def test_an_input_of_that_name_is_the_mask(tmp_path: Path) -> None:
    """Nobody who names an input means the word."""
    inputs: dict[str, tuple[int, list[Any]]] = {name: (FLOAT, ["n", "width"]) for name in ("x", "zeros")}
    path = save(tmp_path / "m.onnx", inputs, [node("Mul", ["x", "zeros"], ["y"])], {"y": FLOAT})
    padding = Model.load(path, pad="zeros").signature.padding
    assert padding is not None
    assert padding.mask == "zeros"


def test_a_mask_that_is_named_by_nobody_is_padded_as_every_input(tmp_path: Path) -> None:
    model = Model.load(texts(tmp_path / "texts.onnx"), pad="zeros")
    assert compile_model(model, "onnxruntime").artifact
