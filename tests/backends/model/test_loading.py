"""``Model.load`` on good files and on bad ones, with a real child process."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servefit.backends.model import Format, Library, Model, Task, finding, kept, loading
from servefit.errors import (
    BackendUnavailable,
    CorruptModel,
    ServefitError,
    StateError,
    TimedOut,
    UnsupportedModel,
    UntrustedModel,
)

pytestmark = pytest.mark.integration

WriteArchive = Callable[[Path, dict[str, bytes]], Path]
Edit = Callable[[Callable[[dict[str, Any]], None]], Path]


def refusal(source: Any, kind: type[ServefitError] = CorruptModel, *, trust_pickle: bool = False) -> str:
    """The one line with which ``source`` is refused."""
    with pytest.raises(kind) as caught:
        Model.load(source, trust_pickle=trust_pickle)
    line = str(caught.value)
    assert "\n" not in line
    assert "Traceback" not in line
    return line


def test_a_copy_of_a_file_is_kept_by_its_content(xgboost_json: Path, home: Path) -> None:
    model = Model.load(str(xgboost_json))
    assert model.source == str(xgboost_json)
    assert model.format is Format.XGBOOST_JSON
    assert model.digest == hashlib.sha256(xgboost_json.read_bytes()).hexdigest()
    assert model.file == home / "models" / model.digest / "model.json"
    assert model.file.read_bytes() == xgboost_json.read_bytes()
    assert stat.S_IMODE(model.file.stat().st_mode) == 0o400
    assert not list((home / "models").glob(".*")), "nothing else is left there"
    assert model.size_bytes == xgboost_json.stat().st_size
    assert (model.signature.task, model.signature.features, model.signature.outputs) == (Task.BINARY, 5, 1)
    assert model.trees is not None
    assert (model.trees.trees, model.trees.objective, model.trees.booster) == (4, "binary:logistic", "gbtree")
    assert model.reference == "xgboost"


def test_a_second_load_starts_no_child(xgboost_json: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Model.load(xgboost_json)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(loading, "call_isolated", refuse)
    monkeypatch.setattr(finding, "call_isolated", refuse)
    assert Model.load(xgboost_json) == first


def test_a_file_whose_name_lies_is_kept_under_a_true_one(xgboost_json: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(xgboost_json, tmp_path / "model.ubj"))
    model = Model.load(path)
    assert model.file.suffix == ".json"
    assert model.file.read_bytes() == xgboost_json.read_bytes()


def test_a_sagemaker_archive_holds_one_model(
    xgboost_ubjson: Path, tmp_path: Path, home: Path, write_archive: WriteArchive
) -> None:
    members = {"xgboost-model": xgboost_ubjson.read_bytes(), "._xgboost-model": b"junk", "code/a.py": b"pass"}
    path = write_archive(tmp_path / "model.tar.gz", members)
    model = Model.load(path)
    assert model.source == str(path)
    assert model.format is Format.XGBOOST_UBJSON
    assert model.file.is_relative_to(home)
    assert model.digest == hashlib.sha256(xgboost_ubjson.read_bytes()).hexdigest()


@pytest.mark.usefixtures("in_this_process")
def test_a_folder_holds_one_model(lightgbm_text: Path) -> None:
    model = Model.load(lightgbm_text.parent)
    assert model.source == str(lightgbm_text.parent)
    assert model.file.read_bytes() == lightgbm_text.read_bytes()
    assert model.library is Library.LIGHTGBM


@pytest.mark.usefixtures("in_this_process")
def test_only_the_iterations_up_to_the_best_are_kept(booster: Any, rows: np.ndarray, tmp_path: Path) -> None:
    import xgboost

    early = booster.copy()
    early.set_attr(best_iteration="1")
    early.save_model(tmp_path / "early.json")
    model = Model.load(tmp_path / "early.json")
    assert model.trees is not None
    assert model.trees.trees == 2
    assert "2 of its 4 iterations" in model.warnings[0]
    assert model.digest == hashlib.sha256(model.file.read_bytes()).hexdigest()
    kept = xgboost.Booster(model_file=model.file).inplace_predict(rows)
    np.testing.assert_array_equal(kept, booster.inplace_predict(rows, iteration_range=(0, 2)))


@pytest.mark.usefixtures("in_this_process")
def test_a_rewritten_model_that_is_damaged_is_rewritten_once_more(booster: Any, tmp_path: Path) -> None:
    early = booster.copy()
    early.set_attr(best_iteration="2")
    early.save_model(tmp_path / "early.ubj")
    model = Model.load(tmp_path / "early.ubj")
    content = model.file.read_bytes()
    model.file.chmod(0o600)
    model.file.write_bytes(b"damaged")
    kept.check_kept(model)
    assert model.file.read_bytes() == content
    model.file.unlink()
    assert Model.load(tmp_path / "early.ubj") == model
    model.file.unlink()
    (tmp_path / "early.ubj").write_bytes(b"{}")
    with pytest.raises(CorruptModel, match="it is gone, or not what it was"):
        kept.check_kept(model)


@pytest.mark.usefixtures("in_this_process")
def test_a_model_that_an_earlier_servefit_had_rewritten_is_kept_as_it_is(booster: Any, tmp_path: Path) -> None:
    early = booster.copy()
    early.set_attr(best_iteration="0")
    early.save_model(tmp_path / "early.ubj")
    model = Model.load(tmp_path / "early.ubj")
    once = tmp_path / "inspection-2" / "model.ubj"
    once.parent.mkdir()
    once.write_bytes(model.file.read_bytes())
    today = kept.as_kept(replace(model, file=once, splits=None))
    assert (today.digest, today.source, today.trees) == (model.digest, model.source, model.trees)
    assert today.file.read_bytes() == once.read_bytes()
    assert today.warnings == model.warnings
    assert kept.as_kept(today) == today


class Marker:
    """A pickle that says that it was opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.usefixtures("in_this_process")
def test_a_pickle_that_was_trusted_with_another_content_is_not_opened(tmp_path: Path) -> None:
    from sklearn.tree import DecisionTreeRegressor

    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(DecisionTreeRegressor().fit([[1.0], [2.0]], [1.0, 2.0])))
    model = Model.load(path, trust_pickle=True)
    model.file.unlink()
    path.write_bytes(pickle.dumps(Marker(tmp_path / "opened")))
    with pytest.raises(CorruptModel, match="not what it was when it was opened"):
        kept.as_kept(replace(model, file=path))
    with pytest.raises(CorruptModel, match="it is gone, or not what it was"):
        kept.check_kept(model)
    assert not (tmp_path / "opened").exists()


def test_a_child_out_of_range_is_refused(edited_xgboost: Edit, capfd: pytest.CaptureFixture[str]) -> None:
    path = edited_xgboost(lambda tree: tree["left_children"].__setitem__(0, 100_000))
    assert "100000" in refusal(path)
    assert capfd.readouterr() == ("", "")


def test_a_loop_is_refused(edited_xgboost: Edit) -> None:
    path = edited_xgboost(lambda tree: tree["left_children"].__setitem__(1, 0))
    assert "loop" in refusal(path)


def test_a_feature_out_of_range_is_refused(edited_xgboost: Edit) -> None:
    path = edited_xgboost(lambda tree: tree["split_indices"].__setitem__(0, 99))
    assert "splits on feature 99, and there are 5" in refusal(path)


def test_a_library_that_aborts_is_a_corrupt_model(
    lightgbm_text: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.txt"
    path.write_text(lightgbm_text.read_text().replace("leaf_value=", "leaf_other="))
    assert "lightgbm gives up on it: Tree model string format error, should contain leaf_value" in refusal(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("in_this_process")
def test_a_truncated_lightgbm_file_is_refused(lightgbm_text: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    text = lightgbm_text.read_text()
    path.write_text(text[: text.index("left_child")])
    assert "tree 0 has no left_child" in refusal(path)


def test_a_truncated_xgboost_file_is_refused(xgboost_ubjson: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ubj"
    path.write_bytes(xgboost_ubjson.read_bytes()[:-200])
    assert str(path) in refusal(path)


class Sleeper:
    def __reduce__(self) -> tuple[Any, ...]:
        import time

        return time.sleep, (60,)


def test_a_model_that_never_finishes_loading_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "INSPECTION_TIMEOUT_S", 1.0)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Sleeper()))
    with pytest.raises(TimedOut, match=rf"opening {path} with \S+ did not finish within 1 s"):
        Model.load(path, trust_pickle=True)


@pytest.mark.usefixtures("in_this_process")
def test_a_model_without_trees_is_refused(rows: np.ndarray, labels: np.ndarray, tmp_path: Path) -> None:
    import xgboost

    path = tmp_path / "model.json"
    xgboost.train({"nthread": 1}, xgboost.DMatrix(rows, labels), 0).save_model(path)
    assert "it has no trees" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("missing", None, "no such file"), ("empty", b"", "empty"), ("image.png", b"\x89PNG\r\n", "PNG image")],
)
def test_what_is_no_model_is_refused(name: str, content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert reason in refusal(path)


def test_json_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"learner": {}, "version": [3, 0, 0]}))
    assert str(path) in refusal(path)


def test_an_archive_of_other_files_is_named_in_the_refusal(tmp_path: Path, write_archive: WriteArchive) -> None:
    path = write_archive(tmp_path / "m.tar.gz", {"a.csv": b"1,2", "b.csv": b"1,2"})
    assert f"{path}: none of its 2 files is a model" in refusal(path)


@pytest.mark.usefixtures("in_this_process")
def test_what_is_no_model_is_named_as_the_user_named_it(
    tmp_path: Path, write_archive: WriteArchive, home: Path
) -> None:
    config, weights = json.dumps({"model_type": "bert"}).encode(), b"@\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32"}}'
    archive = write_archive(tmp_path / "m.tar.gz", {"config.json": config, "model.safetensors": weights})
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(weights)
    for source in (archive, folder):
        assert f"unsupported model: {source} is a Hugging Face model (bert)" in refusal(source, UnsupportedModel)
    broken = tmp_path / "broken.ubj"
    broken.write_bytes(b"{L\0\0\0\0\0\0\0\x07learner{")
    line = refusal(broken)
    assert str(broken) in line
    assert str(home) not in line
    digest = hashlib.sha256(broken.read_bytes()).hexdigest()
    assert not list((home / "models" / digest).iterdir()), "what is no model is not kept"


def test_a_pickle_waits_for_trust_alone_and_in_an_archive(tmp_path: Path, write_archive: WriteArchive) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Sleeper()))
    archive = write_archive(tmp_path / "m.tar.gz", {"model.pkl": path.read_bytes()})
    for source in (path, archive):
        line = refusal(source, UntrustedModel)
        assert str(source) in line
        assert "--trust-pickle" in line


def test_a_missing_library_is_named_with_its_remedy(lightgbm_text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert "pip install 'servefit[lightgbm]'" in refusal(lightgbm_text, BackendUnavailable)


def test_an_unwritable_state_folder_is_a_state_error(
    xgboost_json: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "file" / "home"))
    assert "SERVEFIT_HOME" in refusal(xgboost_json, StateError)
