"""Compilation from a model to a verified artifact, in real child processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.delegating_backends import delegating_backend

from servefit.backends.checking import verification
from servefit.backends.compilation import compile_model, estimate_s, export, is_cached, load_predictor
from servefit.backends.payload import Payload
from servefit.backends.types import Settings, Target
from servefit.errors import BackendUnavailable, CompileFailed, OutputMismatch, SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.model import Model

pytestmark = pytest.mark.integration

Install = Callable[[str, str, str], None]


def wrong(install: Install, *, compiling: str = "", predicting: str = "") -> None:
    install("wrong", "wrong_backend:Backend", delegating_backend("wrong", compiling=compiling, predicting=predicting))


@pytest.fixture
def no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a child process would be started."""

    def call(function: str, *_: object, **__: object) -> None:
        raise AssertionError(f"{function} was called")

    monkeypatch.setattr(verification, "call_isolated", call)


@pytest.fixture
def compiled(model: Model, payload: Payload) -> None:
    compile_model(model, "onnxruntime", payload=payload)


@pytest.mark.usefixtures("own_home")
def test_a_compiled_model_has_been_checked_and_is_cached(model: Model, payload: Payload) -> None:
    assert not is_cached(model, "onnxruntime")
    compiled = compile_model(model, "onnxruntime", payload=payload)
    assert (compiled.backend, compiled.target, compiled.cached) == ("onnxruntime", Target.CPU, False)
    assert compiled.rows_checked == 1024 + 50
    assert compiled.seconds > 0
    assert 0 < compiled.max_rel_error < 1e-4
    assert is_cached(model, "onnxruntime")
    assert not is_cached(model, "treelite")


@pytest.mark.usefixtures("compiled", "no_children")
def test_a_cached_artifact_and_a_known_payload_start_no_child_process(model: Model, payload: Payload) -> None:
    again = compile_model(model, "onnxruntime", payload=payload)
    assert again.cached
    assert again.rows_checked == 1024 + 50
    assert compile_model(model, "onnxruntime").rows_checked == 1024


@pytest.mark.usefixtures("compiled")
def test_a_cached_artifact_is_checked_on_a_new_payload_without_compiling(model: Model) -> None:
    payload = Payload(rows=np.ones((3, 5), dtype=np.float32), source="ones.csv")
    again = compile_model(model, "onnxruntime", payload=payload)
    assert again.cached
    assert again.rows_checked == 1024 + 3


@pytest.mark.usefixtures("compiled")
def test_a_damaged_artifact_is_compiled_anew(model: Model) -> None:
    folder = compile_model(model, "onnxruntime").artifact.folder
    (folder / "model.onnx").write_bytes(b"damaged")
    assert not is_cached(model, "onnxruntime")
    assert not compile_model(model, "onnxruntime").cached


@pytest.mark.usefixtures("compiled")
def test_an_artifact_predicts_what_the_booster_does(model: Model, payload: Payload, booster: object) -> None:
    import xgboost

    assert isinstance(booster, xgboost.Booster)
    predictor = load_predictor(compile_model(model, "onnxruntime").artifact, Settings(threads=1))
    expected = booster.predict(xgboost.DMatrix(payload.rows))
    np.testing.assert_allclose(predictor.predict(payload.rows), expected, rtol=1e-4)
    predictor.close()


def test_a_file_is_opened_before_it_is_compiled(model: Model) -> None:
    assert compile_model(str(model.file), "xgboost").artifact.model_digest == model.digest


@pytest.mark.usefixtures("own_home", "in_this_process")
def test_a_wrong_artifact_is_reported_and_not_kept(model: Model, install: Install, own_home: Path) -> None:
    wrong(install, predicting="return self.right.predict(rows) * 1.01")
    with pytest.raises(OutputMismatch, match="predictions differ from the reference on 1024 of 1024") as raised:
        compile_model(model, "wrong")
    assert raised.value.max_rel_error == pytest.approx(0.01, rel=0.01)
    assert not is_cached(model, "wrong")
    assert not list((own_home / "artifacts").iterdir())


@pytest.mark.usefixtures("own_home", "in_this_process")
def test_an_artifact_that_is_wrong_on_a_later_payload_is_dropped(model: Model, install: Install) -> None:
    wrong(install, predicting="return self.right.predict(rows) * (1.5 if (rows == 1234.5).any() else 1)")
    compile_model(model, "wrong")
    payload = Payload(rows=np.full((2, 5), 1234.5, dtype=np.float32), source="rare.csv")
    with pytest.raises(OutputMismatch, match="payload rows"):
        compile_model(model, "wrong", payload=payload)
    assert not is_cached(model, "wrong")


@pytest.mark.usefixtures("own_home", "in_this_process")
def test_an_artifact_that_is_wrong_for_single_rows_is_refused(model: Model, install: Install) -> None:
    wrong(install, predicting="return self.right.predict(rows) * (1 if len(rows) > 1 else 1.01)")
    with pytest.raises(OutputMismatch, match="one at a time"):
        compile_model(model, "wrong")


@pytest.mark.usefixtures("own_home", "in_this_process")
def test_an_artifact_that_refuses_rows_which_the_library_predicts_is_to_blame_and_not_the_rows(
    model: Model, install: Install
) -> None:
    wrong(install, predicting="from servefit.errors import RowsRefused; raise RowsRefused('wrong', 'no such category')")
    with pytest.raises(CompileFailed) as raised:
        compile_model(model, "wrong")
    assert str(raised.value) == (
        "wrong: its artifact refuses rows that the model's own library predicts: no such category"
    )


@pytest.mark.usefixtures("own_home", "in_this_process")
def test_a_predictor_that_modifies_its_rows_is_refused(model: Model, install: Install) -> None:
    wrong(install, predicting="result = self.right.predict(rows); rows[0] = 0.25; return result")
    with pytest.raises(CompileFailed, match="modifies the rows"):
        compile_model(model, "wrong")


@pytest.mark.usefixtures("own_home")
@pytest.mark.parametrize(
    ("compiling", "limit_s", "reason"),
    [
        ("import os; os.abort()", 60, "SIGABRT"),
        ("raise RuntimeError('no such layer')", 60, "no such layer"),
        ("import time; time.sleep(60)", 2, r"compiling did not finish within [01]\.\d+ s"),
        ("b'0' * 2**33", 60, "out of memory"),
    ],
)
def test_a_compilation_that_dies_is_reported(
    model: Model, install: Install, compiling: str, limit_s: float, reason: str
) -> None:
    wrong(install, compiling=compiling)
    with pytest.raises(CompileFailed, match=reason):
        compile_model(model, "wrong", timeout_s=limit_s, memory_bytes=2**32)
    assert not is_cached(model, "wrong")


def test_a_model_that_a_backend_does_not_take_is_refused_in_one_line(model: Model) -> None:
    with pytest.raises(CompileFailed, match="it serves LightGBM models"):
        compile_model(model, "lightgbm")


def test_a_target_that_is_not_here_is_refused_with_the_reason(model: Model) -> None:
    with pytest.raises(BackendUnavailable, match="CPU only"):
        compile_model(model, "treelite", target=Target.CUDA)


def test_an_unknown_backend_is_refused(model: Model) -> None:
    for ask in (compile_model, is_cached, estimate_s):
        with pytest.raises(SpecError, match="treelite"):
            ask(model, "treelit")


def test_estimates_grow_with_the_model_for_compilers(model: Model) -> None:
    assert estimate_s(model, "tl2cgen") > estimate_s(model, "xgboost") > 0


@pytest.mark.usefixtures("compiled")
def test_an_exported_artifact_is_complete_and_described(model: Model, tmp_path: Path) -> None:
    artifact = compile_model(model, "onnxruntime").artifact
    folder = tmp_path / "new" / "folder"
    export(artifact, folder)
    manifest = json.loads((folder / "artifact.json").read_bytes())
    assert manifest["backend"] == "onnxruntime"
    assert manifest["model_digest"] == model.digest
    assert {*manifest["files"], "artifact.json"} == {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("compiled")
def test_nothing_is_exported_over_files_that_are_there(model: Model, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(SpecError, match="not an empty folder"):
        export(compile_model(model, "onnxruntime").artifact, tmp_path)
