"""Files of PyTorch that mean no good, or are of another kind than they seem."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from tests.backends.engines.torch.modules import mlp, save_script

from servefit.backends.model import Model, loading
from servefit.errors import CorruptModel, ModelError, TimedOut, UnsupportedModel, UntrustedModel

pytestmark = pytest.mark.integration


class Touching:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def with_pickle(source: Path, name: str, touched: Path) -> None:
    """Replace the pickle ``name`` of an archive by one that makes a file."""
    with zipfile.ZipFile(source) as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    files[next(each for each in files if each.endswith(name))] = pickle.dumps(Touching(touched))
    with zipfile.ZipFile(source, "w") as archive:
        for each, content in files.items():
            archive.writestr(each, content)


def test_a_pickle_in_a_module_is_not_opened_without_consent(tmp_path: Path) -> None:
    path = save_script(tmp_path / "model.pt", mlp(), torch.zeros(2, 6))
    with_pickle(path, "data.pkl", tmp_path / "ran")
    with pytest.raises(UntrustedModel):
        Model.load(path, inputs={"input": "float32[rows,6]"})
    assert not (tmp_path / "ran").exists()


def test_weights_alone_and_a_pickled_module_are_told_apart(tmp_path: Path) -> None:
    torch.save(mlp().state_dict(), tmp_path / "weights.pt")
    torch.save(mlp(), tmp_path / "module.pt")
    for name, what in (("weights.pt", "is a state_dict of"), ("module.pt", "is a module in a pickle of")):
        with pytest.raises(UnsupportedModel, match=what) as caught:
            Model.load(tmp_path / name, trust_pickle=True)
        assert "torch.onnx.export(module, (example_input,)" in (caught.value.remedy or "")


@pytest.mark.thorough
def test_a_module_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(torch.nn.Module):  # type: ignore[misc] # PyTorch is not read: see pyproject.toml
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            while bool(x.abs().sum() >= 0):
                x = x + 1
            return x

    path = save_script(tmp_path / "model.pt", Endless())
    monkeypatch.setattr(loading, "CONVERSION_TIMEOUT_S", 15.0)
    with pytest.raises(TimedOut, match=rf"opening {path} with torch did not finish within 15 s"):
        Model.load(path, trust_pickle=True, inputs={"x": "float32[rows,4]"})


def test_a_module_that_wants_all_memory_is_refused(tmp_path: Path) -> None:
    class Greedy(torch.nn.Module):  # type: ignore[misc] # PyTorch is not read: see pyproject.toml
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(4398046511104).sum()

    path = save_script(tmp_path / "model.pt", Greedy())
    with pytest.raises(ModelError, match=r"allocate memory|needs more than") as caught:
        Model.load(path, trust_pickle=True, inputs={"x": "float32[rows,4]"})
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("in_this_process")
def test_a_damaged_module_is_refused_in_one_line(tmp_path: Path) -> None:
    path = save_script(tmp_path / "model.pt", mlp(), torch.zeros(2, 6))
    with zipfile.ZipFile(path) as archive:
        files = {each: archive.read(each) for each in archive.namelist() if not each.endswith("data.pkl")}
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in files.items():
            archive.writestr(each, content)
    with pytest.raises(CorruptModel) as caught:
        Model.load(path, trust_pickle=True, inputs={"input": "float32[rows,6]"})
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
