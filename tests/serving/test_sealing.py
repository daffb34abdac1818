"""The private copy of an artifact stays the same, whatever happens to the files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import xgboost
from catboost import CatBoostRegressor
from lightgbm import LGBMRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.backends.engines.torch.modules import DYNAMIC, feeds, mlp, save_program
from tests.in_this_process import call_all_here
from tests.onnx_models import perceptron
from tests.scripts import MEANS, scripted
from tests.serving.conftest import Running, eventually, launch

from servefit.backends.checking import steps
from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.finding.registry import BUILT_IN, imported
from servefit.backends.model import Model
from servefit.backends.model.opaque import OpaqueRequest, request_row
from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import BackendError
from servefit.profiler.drivers.hosted_endpoint import endpoint_config
from servefit.profiler.record.types import Configuration
from servefit.serving.config import ArtifactFacts
from servefit.serving.private_folders import FOLDERS_BEGIN
from servefit.serving.sealing import PrivateCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = np.random.default_rng(3).normal(size=(200, 4)).astype(np.float32)
TARGET = ROWS[:, 0] * 2 + ROWS[:, 1]
_LIBRARIES = {
    "lightgbm": lambda: LGBMRegressor(n_estimators=3, num_leaves=4, n_jobs=1, verbose=-1),
    "catboost": lambda: CatBoostRegressor(iterations=3, depth=3, thread_count=1, verbose=0, allow_writing_files=False),
    "sklearn": lambda: RandomForestRegressor(n_estimators=3, max_depth=3, random_state=0),
    "pipeline": lambda: make_pipeline(StandardScaler(), LinearRegression()),
}
_OWN = (*_LIBRARIES, "torch", "script")
_NETWORKS = ("openvino", "onnxruntime/")
_DEAR = ("torch", "openvino/int8", "onnxruntime/int8")
"""Backends that compile or calibrate for seconds."""
RUN_HERE = [name for name in BUILT_IN if imported(name).probe().available]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """The model that a backend takes: of its own library, a network, a script, or of xgboost."""
    folder, opened = tmp_path_factory.mktemp("models"), dict[str, Model]()

    def model_for(backend: str) -> Model:
        library = backend if backend in _OWN else "network" if backend.startswith(_NETWORKS) else "xgboost"
        if library not in opened:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SERVEFIT_HOME", str(folder / "state"))
                if library != "script":
                    call_all_here(patch)
                opened[library] = Model.load(_trained(library, folder), trust_pickle=True, trust_code=True)
        return opened[library]

    return model_for


def _trained(library: str, folder: Path) -> Any:
    if library == "network":
        return perceptron(folder / "network.onnx", 4, 8, 1)
    if library == "torch":
        return save_program(folder / "module.pt2", mlp(), (torch.zeros(2, 6),), ({0: DYNAMIC},))
    if library == "script":
        return scripted(folder / "model.tar.gz", MEANS, offset__txt="1.5")
    if library == "xgboost":
        return xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(ROWS, TARGET), num_boost_round=3)
    return _LIBRARIES[library]().fit(ROWS, TARGET)


def rows_for(backend: str) -> np.ndarray:
    """Five rows of what the model of a backend takes."""
    if backend == "script":
        body = OpaqueRequest(body=b"photo", content_type="image/jpeg")
        return np.stack([request_row(body)] * 5)
    if backend == "torch":
        return feeds("mlp", 5)["input"]
    return ROWS[:5]


def compiled(backend: str, model: Model, folder: Path) -> Artifact:
    facts = steps.compile_artifact(backend, model, Target.CPU, folder, ROWS if imported(backend).calibrates else None)
    return Artifact(
        backend=backend,
        backend_version="1",
        model_digest=model.digest,
        target=Target.CPU,
        folder=folder,
        facts=facts,
    )


def facts_of(folder: Path, backend: str = "forest") -> ArtifactFacts:
    return ArtifactFacts(
        backend=backend, backend_version="1", model_digest="", target=Target.CPU, folder=str(folder), facts={}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where private copies are made."""
    parent = tmp_path / "temporary"
    parent.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(parent))
        yield parent


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """Two files, one in a folder of its own, and what a manifest says of them."""
    made = tmp_path / "artifact"
    (made / "deep").mkdir(parents=True)
    (made / "model.bin").write_bytes(b"model")
    (made / "deep" / "weights").write_bytes(b"weights")
    files = {name: {"bytes": (made / name).stat().st_size, "sha256": _sha256(made / name)} for name in _names(made)}
    (made / "artifact.json").write_text(json.dumps({"schema": 1, "files": files}))
    return made


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


@contextmanager
def copied(artifact: Path, backend: str = "forest") -> Iterator[PrivateCopy]:
    copy = PrivateCopy(facts_of(artifact, backend))
    try:
        yield copy
    finally:
        copy.close()


@pytest.mark.integration
@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.thorough if name in _DEAR else ()) for name in RUN_HERE]
)
def test_every_backend_opens_a_copy_and_predicts_as_before_when_the_files_are_gone(
    backend: str, models: Callable[[str], Model], tmp_path: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    artifact = compiled(backend, models(backend), tmp_path)
    # From files that stay: a library whose file is truncated brings this process down when it ends.
    whole = shutil.copytree(tmp_path, tmp_path_factory.mktemp("whole"), dirs_exist_ok=True)
    expected = load_predictor(replace(artifact, folder=whole), Settings()).predict(rows_for(backend))
    with copied(tmp_path, backend) as copy:
        for path in tmp_path.iterdir():
            if path.is_file():
                os.truncate(path, 0)
        predictor = load_predictor(replace(artifact, folder=copy.folder), Settings())
        assert predictor.predict(rows_for(backend)).tolist() == expected.tolist()
        predictor.close()


def test_nobody_can_write_what_was_sealed_and_the_folder_is_for_this_user_alone(artifact: Path, folder: Path) -> None:
    with copied(artifact) as copy:
        assert sorted(_names(copy.folder)) == ["deep/weights", "model.bin"]
        assert (copy.folder / "deep" / "weights").read_bytes() == b"weights"
        assert copy.folder.stat().st_mode & 0o777 == 0o700
        assert len(copy.descriptors) == 2
        for descriptor in copy.descriptors:
            with pytest.raises(PermissionError):
                os.pwrite(descriptor, b"x", 0)
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, 0)
        with pytest.raises(PermissionError):
            (copy.folder / "model.bin").write_bytes(b"other")
    assert list(folder.iterdir()) == []


def test_a_file_of_several_large_pages_is_sealed_as_it_is_and_nothing_of_it_stays_mapped(
    artifact: Path, folder: Path
) -> None:
    content = os.urandom(5 * 2**20 + 77)
    (artifact / "artifact.json").unlink()
    (artifact / "model.bin").write_bytes(content)
    mapped = Path("/proc/self/maps").read_text().count("servefit-model.bin")
    with copied(artifact) as copy:
        assert (copy.folder / "model.bin").read_bytes() == content
        assert Path("/proc/self/maps").read_text().count("servefit-model.bin") == mapped == 0
        with pytest.raises(PermissionError):
            os.pwrite(copy.descriptors[-1], b"x", 0)


def test_what_a_backend_only_reads_is_a_file_that_nobody_writes(artifact: Path, folder: Path) -> None:
    with copied(artifact, "xgboost") as copy:
        assert copy.descriptors == ()
        assert (copy.folder / "model.bin").read_bytes() == b"model"
        assert (copy.folder / "model.bin").stat().st_mode & 0o777 == 0o400
        assert not (copy.folder / "model.bin").is_symlink()


@pytest.mark.parametrize("damage", ["changed", "shortened", "missing", "unlisted", "listed elsewhere"])
def test_an_artifact_that_is_not_what_its_manifest_says_is_refused_in_one_line_and_nothing_is_left(
    artifact: Path, folder: Path, damage: str
) -> None:
    model, manifest = artifact / "model.bin", artifact / "artifact.json"
    match damage:
        case "changed":
            model.write_bytes(b"modem")
        case "shortened":
            os.truncate(model, 2)
        case "missing":
            model.unlink()
        case "unlisted":
            manifest.write_text("{}")
        case _:
            manifest.write_text(json.dumps({"files": {"../model.bin": {"bytes": 1, "sha256": "0"}}}))
    with pytest.raises(BackendError) as error:
        PrivateCopy(facts_of(artifact))
    assert str(artifact) in str(error.value)
    assert "\n" not in str(error.value)
    assert list(folder.iterdir()) == []


def test_an_artifact_without_a_manifest_is_copied_as_it_is_and_one_that_is_not_there_is_refused(
    artifact: Path, folder: Path
) -> None:
    (artifact / "artifact.json").unlink()
    with copied(artifact) as copy:
        assert sorted(_names(copy.folder)) == ["deep/weights", "model.bin"]
    with pytest.raises(BackendError, match="is not there"):
        PrivateCopy(facts_of(artifact / "nowhere"))


def test_where_memory_cannot_be_sealed_private_files_are_served_and_that_is_said(
    artifact: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any) -> int:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "memfd_create", refused)
    with copied(artifact) as copy:
        shutil.rmtree(artifact)
        assert (copy.folder / "deep" / "weights").read_bytes() == b"weights"
        assert not (copy.folder / "model.bin").is_symlink()
        assert copy.descriptors == ()
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("servefit: no sealed memory can be had (Permission denied): private copies in ")
    assert list(folder.iterdir()) == []


@pytest.mark.integration
def test_folders_of_processes_that_were_killed_are_swept_and_those_of_others_stay(artifact: Path, folder: Path) -> None:
    abandoned, taken = folder / f"{FOLDERS_BEGIN}abandoned", folder / f"{FOLDERS_BEGIN}taken"
    for left in (abandoned, taken):
        left.mkdir()
        (left / "link").symlink_to("/proc/self/fd/1000")
    program = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, taken], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with copied(artifact) as copy, copied(artifact) as second:
            assert set(folder.iterdir()) == {taken, copy.folder, second.folder}
        holder.kill()
    with copied(artifact) as copy:
        assert set(folder.iterdir()) == {copy.folder}


def serve(artifact: Artifact, model: Model, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    configuration = Configuration(vcpus=1, backend=artifact.backend, workers=2)
    config = endpoint_config(configuration, artifact, model.signature, name="sealed")
    return launch(replace(config, port=0), folder)


@pytest.mark.integration
@pytest.mark.parametrize(
    "backend", ["forest", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("tl2cgen", "xgboost"))]
)
def test_an_endpoint_answers_the_same_while_its_artifact_is_changed_truncated_and_gone(
    backend: str, models: Callable[[str], Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers map, run or have read it; the second worker is started anew, with the same content."""
    (tmp_path / "made").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    model = models(backend)
    artifact = compiled(backend, model, tmp_path / "made")
    [file] = (tmp_path / "made").iterdir()
    process, ready = serve(artifact, model, tmp_path)
    try:
        told = json.loads(os.read(ready, 4096))
        endpoint = Running(process=process, port=told["port"], pids=told["pids"], printed=tmp_path / "stderr")
        body = "\n".join(",".join(map(repr, row)) for row in ROWS[:20].tolist()).encode()

        def answers() -> set[bytes]:
            return {endpoint.ask("POST", "/invocations", body, {"content-type": "text/csv"}).body for _ in range(4)}

        [before] = answers()
        content = file.read_bytes()
        with file.open("r+b") as stream:
            stream.seek(len(content) // 2)
            stream.write(bytes(byte ^ 0x55 for byte in content[len(content) // 2 :]))
        assert answers() == {before}
        os.truncate(file, 0)
        assert answers() == {before}
        file.unlink()
        os.kill(endpoint.pids[2], signal.SIGKILL)
        assert eventually(lambda: endpoint.metric("servefit_worker_restarts_total") == 1)
        assert eventually(lambda: endpoint.metric("servefit_workers") == 2)
        assert answers() == {before}
        assert endpoint.metric("servefit_worker_restarts_total") == 1
        assert len(list((tmp_path / "tmp").iterdir())) == 1
        assert endpoint.stop() == 0
        assert list((tmp_path / "tmp").iterdir()) == []
    finally:
        os.close(ready)
        process.kill()
        process.wait()


@pytest.mark.integration
def test_a_damaged_artifact_ends_the_endpoint_with_one_line(models: Callable[[str], Model], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
        made = compile_model(models("xgboost"), "xgboost").artifact
    [file] = [path for path in made.folder.iterdir() if path.name != "artifact.json"]
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    process, ready = serve(made, models("xgboost"), tmp_path)
    assert process.wait(20) == 4
    assert os.read(ready, 10) == b""
    os.close(ready)
    [line] = (tmp_path / "stderr").read_text().splitlines()
    assert line.startswith(f"servefit: xgboost: its artifact {made.folder} is damaged: {file.name} is not what was")
