"""Archives are unpacked safely, and the one model in them is found."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from servefit.backends.model import archive
from servefit.backends.model.archive import find_model, unpack
from servefit.errors import CorruptModel, UnsupportedModel

WriteArchive = Callable[[Path, dict[str, bytes]], Path]


def test_files_keep_their_names_and_contents(tmp_path: Path, write_archive: WriteArchive) -> None:
    path = write_archive(tmp_path / "m.tar.gz", {"./xgboost-model": b"abc", "code/inference.py": b"pass"})
    unpack(path, tmp_path / "out")
    assert (tmp_path / "out" / "xgboost-model").read_bytes() == b"abc"
    assert (tmp_path / "out" / "code" / "inference.py").read_bytes() == b"pass"


@pytest.mark.parametrize(
    ("flavour", "name", "content"),
    [
        ("sklearn", "model.pkl", b"\x80\x05."),
        ("xgboost", "model.xgb", b'{"learner":{}}'),
        ("lightgbm", "model.lgb", b"tree\nversion=v4\n"),
        ("catboost", "model.cb", b"CBM1\0\0\0\x10"),
    ],
)
def test_the_model_of_a_folder_of_mlflow_is_found(flavour: str, name: str, content: bytes, tmp_path: Path) -> None:
    """By https://mlflow.org/docs/latest/ml/model: what lies beside it is a table of contents, and environments."""
    (tmp_path / name).write_bytes(content)
    (tmp_path / "MLmodel").write_text(f"flavors:\n  {flavour}:\n    data: {name}\nmodel_uuid: 4d7a\n")
    (tmp_path / "conda.yaml").write_text("channels: [conda-forge]\n")
    (tmp_path / "python_env.yaml").write_text("python: 3.11.7\n")
    (tmp_path / "requirements.txt").write_text("scikit-learn==1.7.2\n")
    (tmp_path / "input_example.json").write_text('{"columns": ["age"], "data": [[30.0]]}')
    (tmp_path / "serving_input_example.json").write_text('{"dataframe_split": {"columns": ["age"], "data": [[30.0]]}}')
    assert find_model(tmp_path) == tmp_path / name


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a" * 300])
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path, write_archive: WriteArchive) -> None:
    path = write_archive(tmp_path / "m.tar.gz", {name: b"abc"})
    with pytest.raises(CorruptModel, match="not safe"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.tar.gz"
    with tarfile.open(path, "w:gz") as stream:
        member = tarfile.TarInfo("model")
        member.type, member.linkname = kind, "/etc/passwd"
        stream.addfile(member)
    with pytest.raises(CorruptModel, match="link or a device"):
        unpack(path, tmp_path / "out")


def test_a_bomb_is_refused_before_it_is_written(tmp_path: Path, write_archive: WriteArchive) -> None:
    path = write_archive(tmp_path / "m.tar.gz", {"model": bytes(archive._ALWAYS_ALLOWED_BYTES + 1)})
    with pytest.raises(CorruptModel, match="far more"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out" / "model").exists()


def test_two_files_of_one_name_are_refused(tmp_path: Path, write_archive: WriteArchive) -> None:
    path = write_archive(tmp_path / "m.tar.gz", {"model": b"a", "./model": b"b"})
    with pytest.raises(CorruptModel, match="two files"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_archive_is_refused_in_one_line(kept: float, tmp_path: Path, write_archive: WriteArchive) -> None:
    path = write_archive(tmp_path / "m.tar.gz", {"model": bytes(range(256)) * 400})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(CorruptModel, match=r"no complete \.tar\.gz") as caught:
        unpack(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_the_one_model_is_found_beside_code_and_hidden_files(xgboost_ubjson: Path, tmp_path: Path) -> None:
    model = xgboost_ubjson.read_bytes()
    (tmp_path / "code").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "code" / "inference.py").write_text("pass")
    (tmp_path / "xgboost-model").write_bytes(model)
    (tmp_path / "._xgboost-model").write_bytes(model)
    (tmp_path / ".cache" / "model.ubj").write_bytes(model)
    assert find_model(tmp_path) == tmp_path / "xgboost-model"


def test_several_models_are_an_error_that_names_them(xgboost_ubjson: Path, tmp_path: Path) -> None:
    for name in ("a.ubj", "b.ubj"):
        (tmp_path / name).write_bytes(xgboost_ubjson.read_bytes())
    with pytest.raises(UnsupportedModel, match=r"a\.ubj, b\.ubj"):
        find_model(tmp_path)


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(CorruptModel, match="no files"):
        find_model(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "b.txt").write_text("hello")
    with pytest.raises(CorruptModel, match="none of its 2 files"):
        find_model(tmp_path)
