"""What PyTorch writes by default is served as PyTorch predicts it: ONNX files with their weights beside them, and
programs of torch.export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.backends.engines.torch.modules import DYNAMIC, EXAMPLES, Masked, feeds, mlp, quiet, save_program

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Format, Library, Model
from servefit.backends.payload.reading import payload_of
from servefit.backends.types import Settings
from servefit.errors import OutputMismatch, SpecError, UnsupportedModel, UntrustedModel

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]


def predicted(model: Model, backend: str, given: dict[str, np.ndarray], threads: int = 1) -> np.ndarray:
    # A row of one fixed size is a row of a table.
    payload = payload_of(given if model.signature.sizes else next(iter(given.values())), model.signature)
    predictor = load_predictor(compile_model(model, backend, payload=payload).artifact, Settings(threads=threads))
    return predictor.predict(payload.rows)


def expected(module: Any, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What PyTorch predicts, an array (rows, values) for each output."""
    with torch.no_grad():
        found = module(*(torch.from_numpy(values) for values in given.values()))
    outputs = found.values() if isinstance(found, dict) else [found]
    return [each.numpy().reshape(len(each), -1) for each in outputs]


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["mlp", "cnn", "encoder"])
def test_the_default_onnx_export_predicts_what_pytorch_does(name: str, tmp_path: Path) -> None:
    make, example, free = EXAMPLES[name]
    module, path = make(), tmp_path / f"{name}.onnx"
    with quiet():
        torch.onnx.export(module, example, path, dynamic_shapes=free, verbose=False)
    assert (tmp_path / f"{name}.onnx.data").exists()
    model, given = Model.load(path), feeds(name, 4)
    assert model.format is Format.ONNX
    got = predicted(model, "onnxruntime", given)
    sizes = len(model.signature.output_sizes)
    np.testing.assert_allclose(got[:, sizes:], np.hstack(expected(module, given)), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("programs")
    return {
        name: save_program(folder / f"{name}.pt2", make(), example, free)
        for name, (make, example, free) in EXAMPLES.items()
    }


@pytest.mark.thorough
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_program_is_served_as_pytorch_predicts(name: str, programs: dict[str, Path]) -> None:
    model, given = Model.load(programs[name], trust_pickle=True), feeds(name, 4)
    assert (model.format, model.library, model.reference) == (Format.TORCH_EXPORT, Library.TORCH, "torch")
    wanted = np.hstack(expected(EXAMPLES[name][0](), given))
    sizes = len(model.signature.output_sizes)
    for backend in ("onnxruntime", "torch") if name == "encoder" else ("onnxruntime",):
        got = predicted(model, backend, given, threads=2)
        np.testing.assert_allclose(got[:, sizes:], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.thorough
def test_inputs_and_outputs_have_the_names_of_the_module(programs: dict[str, Path]) -> None:
    signature = Model.load(programs["encoder"], trust_pickle=True).signature
    assert [(each.name, each.datatype) for each in signature.inputs] == [
        ("input_ids", "int64"),
        ("attention_mask", "float32"),
    ]
    assert [each.name for each in signature.output_tensors] == ["logits", "hidden"]
    assert [size.name for size in signature.sizes] == ["input_ids.1"]


def test_a_program_waits_for_consent(programs: dict[str, Path]) -> None:
    with pytest.raises(UntrustedModel, match=r"a program of PyTorch's torch.export, and opening it runs whatever"):
        Model.load(programs["mlp"])


@pytest.mark.thorough
def test_a_program_of_a_fixed_number_of_rows_is_called_with_so_many(tmp_path: Path) -> None:
    path = save_program(tmp_path / "m.pt2", mlp(), (torch.zeros(2, 6),))
    model, given = Model.load(path, trust_pickle=True), feeds("mlp", 5)
    for backend in ("onnxruntime", "torch"):
        np.testing.assert_allclose(predicted(model, backend, given), expected(mlp(), given)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.thorough
def test_a_mask_is_drawn_as_ones_and_that_of_a_payload_compared_as_it_is(tmp_path: Path) -> None:
    texts = torch.ones(2, 7, dtype=torch.int64)
    path = save_program(tmp_path / "m.pt2", Masked().eval(), (texts, texts), ({0: DYNAMIC, 1: DYNAMIC},) * 2)
    model = Model.load(path, trust_pickle=True)
    assert compile_model(model, "onnxruntime").max_rel_error < 1e-4
    nothing = {"input_ids": np.ones((1, 6), np.int64), "attention_mask": np.zeros((1, 6), np.int64)}
    with pytest.raises(OutputMismatch, match="payload rows"):
        compile_model(model, "onnxruntime", payload=payload_of(nothing, model.signature))


def test_a_module_that_pytorch_does_not_export_is_refused_with_its_reason(tmp_path: Path) -> None:
    class Singular(torch.nn.Module):  # type: ignore[misc] # PyTorch is not read: see pyproject.toml
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svd(x)[1]

    path = save_program(tmp_path / "m.pt2", Singular(), (torch.randn(2, 3, 3),), ({0: torch.export.Dim.DYNAMIC},))
    with pytest.raises(UnsupportedModel) as caught:
        Model.load(path, trust_pickle=True)
    assert "torch does not export it to ONNX: " in caught.value.message
    assert "linalg_svd" in caught.value.message
    assert "\n" not in caught.value.message
    assert "torch.onnx.export(module" in (caught.value.remedy or "")


class Sampled(torch.nn.Module):  # type: ignore[misc] # PyTorch is not read: see pyproject.toml
    """Takes a rate beside its sound, and a state that starts with zeros."""

    def forward(self, sound: torch.Tensor, state: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        return sound * (rate / 1000) + state


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    example = (torch.ones(2, 4), torch.ones(2, 4), torch.tensor(16000))
    path = tmp_path_factory.mktemp("sampled") / "m.pt2"
    return save_program(path, Sampled(), example, ({0: DYNAMIC}, {0: DYNAMIC}, {}))


@pytest.mark.thorough
def test_inputs_that_never_change_become_part_of_the_model(sampled: Path) -> None:
    model = Model.load(sampled, trust_pickle=True, inputs={"rate": 8000, "state": "zeros"})
    assert [each.name for each in model.signature.inputs] == ["sound"]
    given = {"sound": np.arange(12, dtype=np.float32).reshape(3, 4)}
    for backend in ("onnxruntime", "torch"):
        np.testing.assert_allclose(predicted(model, backend, given), given["sound"] * 8, rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"rate": 8000.5}, "is no value of int64"),
        ({"speed": 1, "rate": 1}, "speed"),
        ({"rate": 1, "state": 0, "sound": 0}, "leaves no input for requests"),
    ],
)
def test_values_that_do_not_do_are_refused(inputs: dict[str, float], reason: str, sampled: Path) -> None:
    with pytest.raises(SpecError, match=reason):
        Model.load(sampled, trust_pickle=True, inputs=inputs)


def test_an_input_without_rows_is_refused_with_the_option_that_helps(sampled: Path) -> None:
    with pytest.raises(UnsupportedModel, match="'rate' has no dimension for rows") as caught:
        Model.load(sampled, trust_pickle=True)
    assert "--input rate=NUMBER" in (caught.value.remedy or "")


@pytest.mark.thorough
def test_a_mask_joins_texts_of_all_lengths_and_predictions_stay_their_own(tmp_path: Path) -> None:
    texts = torch.ones(2, 7, dtype=torch.int64)
    path = save_program(tmp_path / "m.pt2", Masked().eval(), (texts, texts), ({0: DYNAMIC, 1: DYNAMIC},) * 2)
    model = Model.load(path, trust_pickle=True, pad="attention_mask")
    assert model.signature.padding is not None
    requests = [{name: np.ones(length, np.int64) for name in ("input_ids", "attention_mask")} for length in (3, 9)]
    payload = payload_of(requests, model.signature)
    for backend in ("onnxruntime", "torch"):
        predictor = load_predictor(compile_model(model, backend, payload=payload).artifact, Settings())
        together, alone = predictor.predict(payload.rows), predictor.predict(payload.rows[:1])
        np.testing.assert_allclose(together[0, : alone.shape[1]], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.thorough
def test_a_mask_that_is_no_input_is_refused(programs: dict[str, Path]) -> None:
    with pytest.raises(SpecError, match="mask"):
        Model.load(programs["encoder"], trust_pickle=True, pad="mask")
