"""A job says that scripts beside its model are not run."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from servefit.aws.jobs.model_scripts import script_warning


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as written:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3
            written.addfile(member, io.BytesIO(b"x=1"))
    return path


def test_scripts_in_an_archive_are_named(tmp_path: Path) -> None:
    said = script_warning(archive(tmp_path / "model.tar.gz", "xgboost-model", "code/inference.py", "code/helpers.py"))
    assert said is not None
    assert "code/inference.py, code/helpers.py" in said
    assert "no script is run" in said


def test_no_more_than_some_are_named(tmp_path: Path) -> None:
    said = script_warning(archive(tmp_path / "model.tar.gz", *(f"{number}.py" for number in range(100))))
    assert said is not None
    assert "2.py" in said
    assert "3.py" not in said


def test_scripts_in_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text("")
    assert "code/inference.py" in (script_warning(tmp_path) or "")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bbroken", b"{}"])
def test_a_file_that_is_no_archive_or_a_broken_one_has_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model").write_bytes(content)
    assert script_warning(tmp_path / "model") is None


def test_a_model_without_a_script_or_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert script_warning(archive(tmp_path / "model.tar.gz", "xgboost-model")) is None
    assert script_warning(tmp_path / "missing") is None
