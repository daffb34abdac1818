"""Modules of TorchScript, whose shapes the user says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.backends.engines.torch.modules import WORDS, Recurrent, encoder, feeds, mlp, save_script
from tests.backends.engines.torch.test_programs import expected

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.inspection import inspect
from servefit.backends.inspection.torch_export import ROWS_FIXED
from servefit.backends.model import Format, Model
from servefit.backends.model.given import Given
from servefit.backends.model.keeping import ModelFile
from servefit.backends.model.kept import check_kept
from servefit.backends.model.torch_archive import with_said
from servefit.backends.payload.reading import payload_of
from servefit.backends.types import Settings
from servefit.errors import RowsRefused, SpecError, UnsupportedModel, UntrustedModel

pytestmark = pytest.mark.usefixtures("in_this_process")

TEXTS = {"input_ids": "int64[rows,words]", "attention_mask": "float32[rows,words]"}


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_script(tmp_path_factory.mktemp("scripts") / "model.pth", encoder())


def opened(path: Path, shapes: dict[str, str], folder: Path) -> list[str]:
    """Open a module in this process; return its warnings."""
    kept = ModelFile(file=path, digest="", format=Format.TORCHSCRIPT)
    shaped = with_said(kept, Given.checked(shapes, None), folder / "shaped") if shapes else kept
    (folder / "found").mkdir()
    return list(inspect(shaped.file, Format.TORCHSCRIPT, folder / "found").warnings)


@pytest.mark.integration
def test_a_scripted_module_is_served_at_any_length_as_pytorch_predicts(scripted: Path) -> None:
    model = Model.load(scripted, trust_pickle=True, inputs=TEXTS)
    assert model.format is Format.TORCHSCRIPT
    assert [size.name for size in model.signature.sizes] == ["words"]
    given = feeds("encoder", 3, length=11)
    payload = payload_of(given, model.signature)
    for backend in ("onnxruntime", "torch"):
        predictor = load_predictor(compile_model(model, backend, payload=payload).artifact, Settings())
        got = predictor.predict(payload.rows)[:, len(model.signature.output_sizes) :]
        np.testing.assert_allclose(got, np.hstack(expected(encoder(), given)), rtol=1e-4, atol=1e-5)


def test_the_shapes_are_part_of_the_model(scripted: Path, tmp_path: Path) -> None:
    kept = ModelFile(file=scripted, digest="", format=Format.TORCHSCRIPT)
    digests = [
        with_said(kept, Given.checked({"x": f"float32[rows,{size}]"}, None), tmp_path / f"{nth}").digest
        for nth, size in enumerate(("4", "5", "5"))
    ]
    assert digests[0] != digests[1] == digests[2]


@pytest.mark.integration
def test_a_module_waits_for_consent(scripted: Path) -> None:
    with pytest.raises(UntrustedModel, match="a TorchScript module of PyTorch, and opening it runs whatever code"):
        Model.load(scripted, inputs=TEXTS)


@pytest.mark.integration
def test_without_shapes_it_is_said_how_to_give_them(scripted: Path) -> None:
    with pytest.raises(
        UnsupportedModel, match=r"does not tell the shapes of its inputs \(input_ids, attention_mask\)"
    ) as caught:
        Model.load(scripted, trust_pickle=True)
    assert "give a payload in NPZ" in (caught.value.remedy or "")
    assert "--input 'input_ids=float32[rows," in (caught.value.remedy or "")


@pytest.mark.integration
def test_a_request_that_it_refuses_has_its_reason_without_a_trace(scripted: Path) -> None:
    model = Model.load(scripted, trust_pickle=True, inputs=TEXTS)
    unknown = {"input_ids": np.full((1, 4), WORDS), "attention_mask": np.ones((1, 4), np.float32)}
    predictor = load_predictor(compile_model(model, "torch").artifact, Settings())
    with pytest.raises(RowsRefused, match="index out of range") as caught:
        predictor.predict(payload_of(unknown, model.signature).rows)
    assert "Traceback" not in str(caught.value)


@pytest.mark.integration
def test_without_words_the_shapes_are_those_of_the_payload(scripted: Path, tmp_path: Path) -> None:
    arrays: dict[str, Any] = feeds("encoder", 4, length=6)
    np.savez(tmp_path / "rows.npz", **arrays)
    model = Model.load(scripted, trust_pickle=True, sample=tmp_path / "rows.npz")
    assert [(each.name, each.shape) for each in model.shapes] == [
        ("input_ids", "int64[rows,6]"),
        ("attention_mask", "float32[rows,6]"),
    ]
    assert "input_ids=int64[rows,6], attention_mask=float32[rows,6]; --input" in model.warnings[-1]
    said = {each.name: each.shape for each in model.shapes}
    assert Model.load(scripted, trust_pickle=True, inputs=said).digest == model.digest
    model.file.chmod(0o600)
    model.file.write_bytes(b"damaged")
    check_kept(model)
    assert Model.load(model.file, trust_pickle=True).digest == model.digest


@pytest.mark.integration
def test_arrays_without_names_are_inputs_in_their_order(scripted: Path, tmp_path: Path) -> None:
    given = feeds("encoder", 4, length=6)
    np.savez(tmp_path / "rows.npz", *given.values())
    model = Model.load(scripted, trust_pickle=True, sample=tmp_path / "rows.npz")
    payload, named = payload_of(tmp_path / "rows.npz", model.signature), payload_of(given, model.signature)
    np.testing.assert_array_equal(payload.rows, named.rows)


@pytest.mark.integration
def test_payloads_of_several_sizes_leave_these_open(scripted: Path) -> None:
    requests = [{name: each[0] for name, each in feeds("encoder", 1, length).items()} for length in (4, 9)]
    model = Model.load(scripted, trust_pickle=True, sample=requests)
    assert [size.name for size in model.signature.sizes] == ["size_1"]
    assert payload_of(requests, model.signature).sizes


@pytest.mark.integration
def test_texts_of_all_lengths_go_into_one_call_where_a_mask_is_named(scripted: Path) -> None:
    model = Model.load(scripted, trust_pickle=True, inputs=TEXTS, pad="attention_mask")
    assert model.signature.padding is not None
    assert model.digest != Model.load(scripted, trust_pickle=True, inputs=TEXTS).digest


@pytest.mark.integration
def test_a_mask_that_it_does_not_have_is_refused(scripted: Path) -> None:
    with pytest.raises(SpecError, match="mask"):
        Model.load(scripted, trust_pickle=True, inputs=TEXTS, pad="mask")


def test_an_input_that_has_a_default_may_be_left_out(tmp_path: Path) -> None:
    path = save_script(tmp_path / "m.pt", Recurrent())
    assert opened(path, {"x": "float32[rows,4]"}, tmp_path) == []


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"input": "float32[rows,5]"}, "mat1 and mat2 shapes cannot be multiplied"),
        ({"x": "float32[rows,6]"}, "it takes input, and shapes are given for x"),
        ({"input": "int64[rows,6]"}, "does not take input=int64"),
    ],
)
def test_shapes_that_it_does_not_take_are_refused_with_its_reason(
    shapes: dict[str, str], reason: str, tmp_path: Path
) -> None:
    path = save_script(tmp_path / "m.pt", mlp(), torch.zeros(2, 6))
    with pytest.raises(UnsupportedModel, match=reason):
        opened(path, shapes, tmp_path)


def test_an_input_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    class Scaled(torch.nn.Module):  # type: ignore[misc] # PyTorch is not read: see pyproject.toml
        def forward(self, x: torch.Tensor, factors: list[float]) -> torch.Tensor:
            return x * factors[0]

    path = save_script(tmp_path / "m.pt", Scaled())
    with pytest.raises(UnsupportedModel, match=r"its input 'factors' takes List\[float\], and requests are tensors"):
        opened(path, {"x": "float32[rows,4]"}, tmp_path)


def test_an_export_that_holds_for_one_row_alone_is_called_with_one(tmp_path: Path) -> None:
    class Unrolled(torch.nn.Module):  # type: ignore[misc] # PyTorch is not read: see pyproject.toml
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows: list[torch.Tensor] = []
            for row in range(x.shape[0]):
                rows.append(x[row] * 2)  # noqa: PERF401 - TorchScript unrolls no comprehension
            return torch.stack(rows)

    path = save_script(tmp_path / "m.pt", Unrolled())
    warnings = opened(path, {"x": "float32[rows,4]"}, tmp_path)
    assert set(warnings) <= {ROWS_FIXED}


@pytest.mark.integration
def test_shapes_are_for_torchscript_alone(scripted: Path, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("tree\nversion=v4\n")
    with pytest.raises(SpecError, match="has a shape, which models other than TorchScript tell"):
        Model.load(tmp_path / "model.txt", inputs={"x": "float32[rows,4]"})
    with pytest.raises(SpecError, match="TorchScript does not tell the datatype") as caught:
        Model.load(scripted, trust_pickle=True, inputs={"attention_mask": 1})
    assert "wrap the module" in (caught.value.remedy or "")
