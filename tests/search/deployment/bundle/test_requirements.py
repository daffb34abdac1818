"""The lock of a bundle holds all packages that serving needs, in the installed versions, and no others."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

import lightgbm
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tests.column_pipelines import fitted, opened

from servefit.backends.finding.registry import imported
from servefit.backends.types import Artifact, Target
from servefit.errors import BackendUnavailable, UnsupportedModel
from servefit.search.deployment.bundle.lock import Lock
from servefit.search.deployment.bundle.requirements import SERVING, modules_of_code, modules_of_pickle, requirements

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.deployment.bundle.conftest import CompiledWith, Export

    from servefit.search.deployment.bundle.writing import Bundle
    from servefit.search.deployment.deployable import Deployable

ROWS = np.arange(40, dtype=np.float32).reshape(20, 2)

# Imports only what the lock brings, and of servefit only what is in the bundle; says what the artifact predicts.
_SERVE_WITH_THE_LOCK_ALONE = """
import sys
from importlib.machinery import PathFinder
from pathlib import Path

description, *missing = sys.argv[1:]

class Missing(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if path is None and name in missing:
            raise ModuleNotFoundError(f"{name} is not in the lock", name=name)
        return super().find_spec(name, path, target)

sys.meta_path = [finder for finder in sys.meta_path if finder is not PathFinder] + [Missing]
import numpy as np
import servefit.serving.supervisor, servefit.serving.worker
from servefit.backends.compilation import load_predictor
from servefit.serving.config import EndpointConfig

assert Path(servefit.__file__).is_relative_to(Path(description).parent)
config = EndpointConfig.read(Path(description))
predictor = load_predictor(config.opened(), config.settings)
print(*predictor.predict(np.zeros((3, 2), dtype=np.float32)))
"""


def served_with_the_lock_alone(bundle: Bundle) -> list[float]:
    """What the bundle predicts of three rows of zeros where nothing is installed but what its lock lists."""
    locked = {pin.partition("==")[0] for pin in bundle.contents.pins}
    missing = [
        module
        for module, names in metadata.packages_distributions().items()
        if not locked & {name.lower().replace("_", "-") for name in names} and module != "servefit"
    ]
    ended = subprocess.run(
        [sys.executable, "-P", "-c", _SERVE_WITH_THE_LOCK_ALONE, str(bundle.folder / "endpoint.json"), *missing],
        env={"PYTHONPATH": str(bundle.folder / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [float(word) for word in ended.stdout.split()]


def artifact_of(backend: str, folder: Path, target: Target = Target.CPU) -> Artifact:
    return Artifact(backend=backend, backend_version="1", model_digest="", target=target, folder=folder)


def names(pins: tuple[str, ...]) -> set[str]:
    return {pin.partition("==")[0] for pin in pins}


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.parametrize("backend", ["xgboost", "treelite", "tl2cgen"])
def test_an_artifact_is_served_with_nothing_but_what_the_lock_lists(
    export: Export, deployable: Deployable, compiled_with: CompiledWith, backend: str
) -> None:
    bundle = export(of=deployable if backend == "xgboost" else compiled_with(backend))
    assert served_with_the_lock_alone(bundle) == pytest.approx(reference_of_zeros(deployable), rel=1e-5)


def reference_of_zeros(deployable: Deployable) -> list[float]:
    import xgboost

    booster = xgboost.Booster(model_file=deployable.model.file)
    found: list[float] = booster.predict(xgboost.DMatrix(np.zeros((3, 2), dtype=np.float32))).tolist()
    return found


@pytest.mark.integration
@pytest.mark.thorough
def test_models_of_lightgbm_are_too(export: Export, deployable: Deployable, tmp_path: Path) -> None:
    artifact = replace(artifact_of("lightgbm", tmp_path / "artifact"), facts={"features": 2, "outputs": 1})
    artifact.folder.mkdir()
    options = {"min_data_in_leaf": 2, "verbose": -1}
    booster = lightgbm.train(options, lightgbm.Dataset(ROWS, ROWS[:, 0].copy()), num_boost_round=3)
    booster.save_model(artifact.folder / "model.txt")
    bundle = export(of=replace(deployable, artifact=artifact), folder=tmp_path / "bundle")
    assert "scipy" not in names(bundle.contents.pins)
    assert served_with_the_lock_alone(bundle) == pytest.approx(booster.predict(np.zeros((3, 2))))


@pytest.mark.thorough
@pytest.mark.integration
def test_pickles_of_scikit_learn_are_too(export: Export, deployable: Deployable, tmp_path: Path) -> None:
    forest = RandomForestRegressor(3, random_state=0).fit(ROWS, ROWS[:, 0])
    artifact = replace(artifact_of("sklearn", tmp_path / "artifact"), facts={"task": "regression"})
    artifact.folder.mkdir()
    (artifact.folder / "model.pkl").write_bytes(pickle.dumps(forest))
    bundle = export(of=replace(deployable, artifact=artifact), folder=tmp_path / "bundle")
    assert {"scikit-learn", "scipy", "joblib", "threadpoolctl"} <= names(bundle.contents.pins)
    assert served_with_the_lock_alone(bundle) == pytest.approx(forest.predict(np.zeros((3, 2))))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("backend", "listed", "left_out"),
    [
        ("onnxruntime", {"onnxruntime", "protobuf", "flatbuffers", "packaging"}, {"onnx", "scipy"}),
        ("xgboost", {"xgboost"}, {"scipy", "nvidia-nccl-cu12"}),
        pytest.param("tl2cgen", set(), {"tl2cgen", "treelite", "scipy"}, marks=pytest.mark.thorough),
        pytest.param(
            "openvino", {"openvino"}, {"openvino-telemetry", "nncf", "onnxruntime"}, marks=pytest.mark.thorough
        ),
        pytest.param("openvino/bf16", {"openvino"}, {"openvino-telemetry"}, marks=pytest.mark.thorough),
        pytest.param(
            "onedal", {"scikit-learn-intelex", "daal", "tbb", "scikit-learn"}, {"xgboost"}, marks=pytest.mark.thorough
        ),
    ],
)
def test_the_lock_pins_what_the_backend_needs_as_it_is_installed(
    tmp_path: Path, backend: str, listed: set[str], left_out: set[str]
) -> None:
    pins = requirements(artifact_of(backend, tmp_path))
    assert names(pins) >= listed | set(SERVING)
    assert not names(pins) & (left_out | {"servefit", "optuna", "pytest"})
    in_order = [pin.partition("==")[0] for pin in pins]
    assert in_order == sorted(in_order)
    for pin in pins:
        name, _, version = pin.partition("==")
        assert metadata.version(name) == version


def test_on_a_gpu_nothing_is_left_out(tmp_path: Path) -> None:
    pins = requirements(artifact_of("xgboost", tmp_path, Target.CUDA))
    assert names(pins) >= {"xgboost", "scipy"}


@pytest.mark.integration
def test_pip_takes_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "requirements.lock"
    path.write_text(Lock(pins=requirements(artifact_of("onnxruntime", tmp_path)), reason="nobody was asked").text)
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--dry-run", "--report", "-", "-q"]
    ended = subprocess.run([*command, "-r", path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["install"] == [], "every pin is what is installed here"


@pytest.mark.integration
@pytest.mark.parametrize(("backend", "listed"), [("sklearn", {"scikit-learn", "pandas"}), ("forest", set())])
def test_the_lock_of_a_pipeline_holds_what_it_is_called_through(backend: str, listed: set[str], tmp_path: Path) -> None:
    columns = [
        ("scaled", StandardScaler(), ["age", "income"]),
        ("encoded", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city"]),
    ]
    model = opened(fitted(*columns, last=RandomForestClassifier(2, random_state=0)), tmp_path)
    folder = tmp_path / "artifact"
    folder.mkdir()
    facts = imported(backend).compile(model, Target.CPU, folder)
    found = names(requirements(replace(artifact_of(backend, folder), facts=facts)))
    assert found & {"scikit-learn", "pandas", "scipy", "onnxruntime"} >= listed
    assert bool(found & {"scikit-learn", "pandas", "onnxruntime"}) == bool(listed)


def test_a_pickle_is_read_without_running_it(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    transformer = FunctionTransformer(np.log1p)
    pipeline = make_pipeline(transformer, RandomForestRegressor(2).fit(ROWS, ROWS[:, 0]))
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps([pipeline, Bomb()]))
    assert modules_of_pickle(path) >= {"sklearn", "numpy", "builtins"}
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_needs_what_no_package_brings_cannot_be_exported(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"cmy_own_code\nTransformer\n.")
    with pytest.raises(UnsupportedModel, match="module 'my_own_code', which no installed distribution brings"):
        requirements(artifact_of("sklearn", tmp_path))


def test_a_package_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(BackendUnavailable, match="is not installed; pip install"):
        requirements(artifact_of("tl2cgen", tmp_path))


@pytest.mark.thorough
@pytest.mark.integration
def test_the_lock_of_a_script_holds_what_its_code_imports_and_what_it_requires(tmp_path: Path) -> None:
    code = tmp_path / "model" / "code"
    (code / "own").mkdir(parents=True)
    (code / "inference.py").write_text(
        "import own.parts\nfrom sklearn import svm\ntry:\n    import missing\nexcept ImportError: ...\n"
    )
    (code / "own" / "parts.py").write_text("from . import more\nimport os, msgspec.json\n")
    (code / "own" / "template.py").write_text("import {{ name }}\n")  # which nothing can import
    (code / "requirements.txt").write_text("joblib>=1\nno-such-package\n")
    assert {"own", "sklearn", "missing", "os", "msgspec", "joblib"} <= modules_of_code(tmp_path / "model")
    artifact = Artifact(backend="script", backend_version="1", model_digest="", target=Target.CPU, folder=tmp_path)
    pinned = {line.partition("==")[0] for line in requirements(artifact)}
    assert {"scikit-learn", "joblib", "msgspec", *SERVING} <= pinned
    assert not {"own", "missing", "no-such-package", "xgboost"} & pinned
