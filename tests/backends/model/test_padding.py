"""Requests of different sizes in one call of a network: padded where a mask says so, and cut back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples
from tests.onnx_models import FLOAT, HIDDEN, INT64, VOCABULARY, node, of_all_outputs, save, text, texts
from tests.tiny_model import tiny_model

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Input, Model
from servefit.backends.model.kept import check_kept
from servefit.backends.model.packing import Packing, join
from servefit.backends.model.padding import cut, padded_batches
from servefit.backends.model.types import Output, Padding
from servefit.backends.payload import Payload
from servefit.backends.payload.tensors import rows_of_arrays
from servefit.backends.types import Artifact, Settings
from servefit.errors import OutputMismatch, RowsRefused, SpecError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


LENGTHS = (7, 3, 7, 1, 12)
BEYOND = 2**40 + 1


def rows_of(model: Model, lengths: tuple[int, ...] = LENGTHS) -> np.ndarray:
    """A text of each length, packed."""
    requests = [text(length, seed) for seed, length in enumerate(lengths)]
    return join([rows_of_arrays(request, model.signature, "test") for request in requests])


def outputs(model: Model, prediction: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of a row, by name."""
    packing = model.signature.output_packing
    [(_, sizes)] = packing.groups(prediction[np.newaxis])
    return {at.tensor.name: prediction[at.start : at.stop].reshape(at.shape) for at in packing.places(sizes)}


class Calls:
    """A session that notes how many rows each call had, and of what length."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.shapes: list[tuple[int, ...]] = []

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> Any:
        self.shapes.append(feeds["input_ids"].shape)
        return self._session.run(names, feeds)


def calls_of(artifact: Artifact, rows: np.ndarray) -> list[tuple[int, ...]]:
    predictor: Any = load_predictor(artifact, Settings())
    predictor._session = Calls(predictor._session)
    predictor.predict(rows)
    shapes: list[tuple[int, ...]] = predictor._session.shapes
    return shapes


def test_requests_of_all_sizes_are_one_call_with_the_predictions_of_each_alone(tmp_path: Path) -> None:
    path = texts(tmp_path / "texts.onnx")
    model = Model.load(path, pad="attention_mask")
    artifact = compile_model(model, "onnxruntime").artifact
    rows = rows_of(model)
    assert calls_of(artifact, rows) == [(5, 12)]
    predictions = load_predictor(artifact, Settings()).predict(rows)
    for seed, length in enumerate(LENGTHS):
        expected = of_all_outputs(path, text(length, seed))
        got = outputs(model, predictions[seed])
        assert got["states"].shape == (length, HIDDEN)
        for name, values in expected.items():
            np.testing.assert_allclose(got[name], values[0], rtol=1e-5, atol=1e-6)


def test_without_a_mask_each_size_is_a_call(tmp_path: Path) -> None:
    model = Model.load(texts(tmp_path / "texts.onnx"))
    assert sorted(calls_of(compile_model(model, "onnxruntime").artifact, rows_of(model))) == [
        (1, 1),
        (1, 3),
        (1, 12),
        (2, 7),
    ]


def test_a_request_that_counts_no_place_is_not_padded(tmp_path: Path) -> None:
    model = Model.load(texts(tmp_path / "texts.onnx"), pad="attention_mask")
    requests = [text(3), text(5)]
    requests[0]["attention_mask"][:] = 0
    rows = join([rows_of_arrays(request, model.signature, "test") for request in requests])
    assert sorted(calls_of(compile_model(model, "onnxruntime").artifact, rows)) == [(1, 3), (1, 5)]


def test_what_is_padded_is_another_model(tmp_path: Path) -> None:
    path = texts(tmp_path / "texts.onnx")
    plain, padded = Model.load(path), Model.load(path, pad="attention_mask")
    assert plain.digest != padded.digest
    assert padded.digest == Model.load(path, pad="attention_mask").digest
    assert (plain.signature.padding, padded.given.padded_by) == (None, "attention_mask")
    # The file that is kept says so by itself, as bundles and other hosts need.
    assert Model.load(padded.file).signature == padded.signature


def test_a_file_that_is_gone_is_made_again_of_what_it_came_from(tmp_path: Path) -> None:
    model = Model.load(texts(tmp_path / "texts.onnx"), pad="attention_mask")
    model.file.unlink()
    check_kept(model)
    assert Model.load(model.file).digest == model.digest


def unmasked(path: Path) -> Path:
    """A model of texts that takes a mask and does not look at it: the mean over all places."""
    constants = {"words": np.random.default_rng(0).standard_normal((VOCABULARY, HIDDEN)).astype(np.float32)}
    nodes = [
        node("Gather", ["words", "input_ids"], ["of_words"]),
        node("Cast", ["attention_mask"], ["mask"], to=FLOAT),
        node("ReduceMean", ["mask"], ["counted"], axes=[1], keepdims=1),
        node("ReduceMean", ["of_words"], ["mean"], axes=[1], keepdims=0),
        node("Mul", ["mean", "counted"], ["embedding"]),
    ]
    inputs = {name: (INT64, ["n", "tokens"]) for name in ("input_ids", "attention_mask")}
    return save(path, inputs, nodes, {"embedding": FLOAT}, constants)


def test_where_padding_changes_predictions_the_artifact_is_refused(tmp_path: Path) -> None:
    path = unmasked(tmp_path / "unmasked.onnx")
    assert compile_model(Model.load(path), "onnxruntime").artifact
    with pytest.raises(OutputMismatch, match="padding changes its predictions") as refused:
        compile_model(Model.load(path, pad="attention_mask"), "onnxruntime")
    assert "leave --pad (pad=) out" in str(refused.value.remedy)


def test_a_payload_may_show_what_drawn_rows_did_not(tmp_path: Path) -> None:
    """The share of places that the mask counts, which is that of the request unless a word beyond all vocabularies is
    in it: then all places count."""
    constants = {"one": np.array(1), "beyond": np.array(BEYOND)}
    nodes = [
        node("Equal", ["input_ids", "beyond"], ["found"]),
        node("Cast", ["found"], ["found_numbers"], to=INT64),
        node("ReduceMax", ["found_numbers"], ["any_found"], axes=[1], keepdims=1),
        node("Max", ["attention_mask", "any_found"], ["counted"]),
        node("Cast", ["counted"], ["counted_floats"], to=FLOAT),
        node("Cast", ["attention_mask"], ["mask_floats"], to=FLOAT),
        node("ReduceMean", ["counted_floats"], ["share"], axes=[1], keepdims=0),
        node("ReduceMean", ["mask_floats"], ["own_share"], axes=[1], keepdims=0),
        node("Div", ["share", "own_share"], ["y"]),
    ]
    inputs = {name: (INT64, ["n", "tokens"]) for name in ("input_ids", "attention_mask")}
    path = save(tmp_path / "odd.onnx", inputs, nodes, {"y": FLOAT}, constants)
    model = Model.load(path, pad="attention_mask")
    assert compile_model(model, "onnxruntime").artifact
    odd = text(3)
    odd["input_ids"][:] = BEYOND
    rows = join([rows_of_arrays(request, model.signature, "test") for request in (odd, text(6))])
    with pytest.raises(OutputMismatch, match="padding changes its predictions"):
        compile_model(model, "onnxruntime", payload=Payload(rows=rows, source="rows"))


def test_a_request_that_the_model_refuses_is_refused_when_it_is_padded_too(tmp_path: Path) -> None:
    model = Model.load(texts(tmp_path / "texts.onnx"), pad="attention_mask")
    predictor = load_predictor(compile_model(model, "onnxruntime").artifact, Settings())
    beyond = text(3)
    beyond["input_ids"][:] = VOCABULARY
    rows = join([rows_of_arrays(request, model.signature, "test") for request in (beyond, text(6))])
    with pytest.raises(RowsRefused):
        predictor.predict(rows)


@pytest.mark.parametrize(
    ("pad", "problem"),
    [
        ("attention", "'attention' is not known; did you mean 'attention_mask'"),
        ("states", "'states' is not known"),
        (3, "pad"),
    ],
)
def test_only_an_input_of_the_model_can_be_the_mask(pad: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=problem):
        Model.load(texts(tmp_path / "texts.onnx"), pad=pad)


def test_a_mask_of_one_size_is_refused(tmp_path: Path) -> None:
    inputs: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, ["n", "width"]), "mask": (FLOAT, ["n", 1])}
    path = save(tmp_path / "m.onnx", inputs, [node("Mul", ["x", "mask"], ["y"])], {"y": FLOAT})
    with pytest.raises(SpecError, match="has the same size in all requests"):
        Model.load(path, pad="mask")


def test_a_model_of_trees_has_nothing_to_pad(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="pad: 'mask' is for ONNX files"):
        Model.load(tiny_model(tmp_path / "model.ubj"), pad="mask")


def test_an_output_that_cannot_be_cut_back_is_refused(tmp_path: Path) -> None:
    """Two values for each place: which of them are padding is the model's own."""
    nodes = [node("Concat", ["x", "mask"], ["y"], axis=1)]
    inputs: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, ["n", "width"]), "mask": (FLOAT, ["n", "width"])}
    path = save(tmp_path / "m.onnx", inputs, nodes, {"y": FLOAT})
    with pytest.raises(SpecError, match=r"y\.1 is 16 where width is 8, and cannot be cut back"):
        Model.load(path, pad="mask")


def test_a_model_that_takes_one_size_alone_is_refused(tmp_path: Path) -> None:
    nodes = [node("Mul", ["x", "mask"], ["masked"]), node("MatMul", ["masked", "weights"], ["y"])]
    inputs: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, ["n", "width"]), "mask": (FLOAT, ["n", "width"])}
    weights = np.ones((16, 4), np.float32)
    path = save(tmp_path / "m.onnx", inputs, nodes, {"y": FLOAT}, {"weights": weights})
    with pytest.raises(SpecError, match="the model takes no width but 16"):
        Model.load(path, pad="mask")


TENSORS = (
    Input(name="ids", datatype="int64", shape=("length",), start=0, stop=0),
    Input(name="image", datatype="float32", shape=(2, "height", "length"), start=0, stop=0),
    Input(name="mask", datatype="int64", shape=("length",), start=0, stop=0),
    Input(name="rate", datatype="float32", shape=(), start=0, stop=0),
)
PACKING = Packing(TENSORS, ("height", "length"))
OUTPUTS = Packing(
    (
        Output(name="states", datatype="float32", shape=("states.1", 3), start=0, stop=0),
        Output(name="sum", datatype="float32", shape=(), start=0, stop=0),
    ),
    ("states.1",),
)
PADDING = Padding(mask="mask", sizes=("length",), others=(2,), outputs=("length",))


@settings(deadline=None, max_examples=examples(20, drawn=80))
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5), st.booleans()), min_size=1, max_size=8),
    st.integers(),
    st.sampled_from(["mask", None]),
)
def test_every_row_is_in_one_call_with_zeros_around_it(
    sizes: list[tuple[int, int, bool]], seed: int, mask: str | None
) -> None:
    padding = replace(PADDING, mask=mask)
    generator = np.random.default_rng(abs(seed))
    parts = []
    for height, length, counts in sizes:
        own = {"height": height, "length": length}
        blocks = [generator.integers(1, 9, (1, at.stop - at.start)) for at in PACKING.places(own)]
        blocks[2][:] = counts
        parts.append(PACKING.pack(blocks, own, "float32"))
    rows = join(parts)
    seen: list[int] = []
    for batch in padded_batches(PACKING, padding, rows):
        numbers = np.concatenate([which for which, _ in batch.groups])
        seen += numbers.tolist()
        assert len(batch.rows) == len(numbers)
        for nth, row in zip(numbers, batch.rows, strict=True):
            own = dict(zip(PACKING.sizes, map(int, rows[nth, :2]), strict=True))
            for place, there in zip(PACKING.places(own), PACKING.places(batch.longest), strict=True):
                expected = np.zeros(there.shape)
                expected[tuple(map(slice, place.shape))] = rows[nth, place.start : place.stop].reshape(place.shape)
                np.testing.assert_array_equal(row[there.start : there.stop].reshape(there.shape), expected)
        states = np.zeros((len(numbers), batch.longest["length"], 3))
        states[:] = np.arange(batch.longest["length"])[:, None]
        block = [states.reshape(len(numbers), -1), numbers[:, None]]
        back = cut(OUTPUTS, padding, batch, OUTPUTS.pack(block, {"states.1": batch.longest["length"]}, "float32"))
        for nth, prediction in zip(numbers, back, strict=True):
            length = int(rows[nth, 1])
            assert prediction[0] == length
            np.testing.assert_array_equal(prediction[1 : 1 + 3 * length], np.repeat(np.arange(length), 3))
            assert prediction[1 + 3 * length] == nth
    assert sorted(seen) == list(range(len(rows)))
