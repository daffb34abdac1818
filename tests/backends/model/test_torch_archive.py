"""ZIP archives of PyTorch, looked at without it."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest

from servefit.backends.model.formats import model_format
from servefit.backends.model.given import Given
from servefit.backends.model.input_shapes import InputShape
from servefit.backends.model.keeping import ModelFile, file_digest
from servefit.backends.model.torch_archive import said_in, with_said
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel, SpecError

SAID = Given(shapes={"x": InputShape("float32", ("rows", 3))}, padded_by="x", constants={"sr": 16000.0})


def archive(path: Path, **more: bytes) -> Path:
    """A ZIP archive that has the names of a TorchScript module."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in {"code/__torch__.py": b"def forward", "constants.pkl": b"x", **more}.items():
            opened.writestr(f"net/{name}", content)
    return path


def found(path: Path) -> ModelFile:
    return ModelFile(file=path, digest=file_digest(path), format=Format.TORCHSCRIPT)


def test_what_was_said_is_read_back(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.pt")
    shaped = with_said(found(path), SAID, tmp_path / "shaped")
    assert said_in(shaped.file) == SAID
    assert not said_in(path)
    assert shaped.digest == file_digest(shaped.file) != file_digest(path)


def test_it_is_said_once(tmp_path: Path) -> None:
    shaped = with_said(found(archive(tmp_path / "model.pt")), SAID, tmp_path / "shaped")
    with pytest.raises(SpecError, match="is said in the file already"):
        with_said(shaped, SAID, tmp_path / "again")


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"{}", b'{"input": 3}', b'{"input": {"x": "int[3]"}}', b'{"input": {}, "pad": 3}', b"[" * 50_000],
)
def test_what_somebody_else_wrote_there_is_refused(content: bytes, tmp_path: Path) -> None:
    path = archive(tmp_path / "model.pt", **{"extra/servefit.json": content})
    with pytest.raises(CorruptModel, match="does not tell what was said of its inputs"):
        said_in(path)


@pytest.mark.integration
def test_a_bomb_is_refused_before_pytorch_sees_it(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.pt", **{"data/0": bytes(200 * 2**20)})
    with pytest.raises(CorruptModel, match=r"unpacks to 209,715,\d+, as a bomb does"):
        model_format(path)


def test_a_module_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.pt")
    os.truncate(path, path.stat().st_size - 30)
    with pytest.raises(CorruptModel, match="is a ZIP archive that is damaged or cut off") as caught:
        model_format(path)
    assert caught.value.remedy == "copy the whole file"


def test_the_same_words_make_the_same_file(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.pt")
    first, second = (with_said(found(path), SAID, tmp_path / name) for name in ("a", "b"))
    assert first.digest == second.digest
    assert json.loads(zipfile.ZipFile(first.file).read("net/extra/servefit.json")) == {
        "input": {"x": "float32[rows,3]", "sr": 16000.0},
        "pad": "x",
    }
