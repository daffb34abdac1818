"""The xgboost backend opens the library without its Python package, and reports in a line what is wrong with either."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.backends.finding.registry import imported
from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import BackendError, BackendUnavailable
from servefit.isolation import call_isolated

if TYPE_CHECKING:
    from servefit.backends.model import Model

pytestmark = pytest.mark.integration

Pretend = Callable[..., None]


@pytest.fixture
def artifact(model: Model, tmp_path: Path) -> Artifact:
    folder = tmp_path / "artifact"
    folder.mkdir()
    return Artifact(
        backend="xgboost",
        backend_version="1",
        model_digest=model.digest,
        target=Target.CPU,
        folder=folder,
        facts=imported("xgboost").compile(model, Target.CPU, folder),
    )


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Have child processes find another package called xgboost, of a version and with a library or none."""

    def install(version: str, library: bytes | Path | None) -> None:
        package = tmp_path / "other" / "xgboost"
        (package / "lib").mkdir(parents=True)
        (package / "__init__.py").write_text("raise ImportError('nobody is to import it')")
        (package / "VERSION").write_text(f"{version}\n")
        if isinstance(library, Path):
            (package / "lib" / "libxgboost.so").symlink_to(library)
            # Wheels bring the OpenMP that their library is linked with.
            (package.parent / "xgboost.libs").symlink_to(library.parents[2] / "xgboost.libs")
        elif library is not None:
            (package / "lib" / "libxgboost.so").write_bytes(library)
        monkeypatch.syspath_prepend(str(package.parent))

    return install


def predict_in_child(artifact: Artifact) -> np.ndarray:
    rows = np.zeros((2, 5), dtype=np.float32)
    [(together, _)] = call_isolated(
        "servefit.backends.checking.steps:predict_candidate", artifact, [rows], timeout_s=60
    )
    predictions: np.ndarray = together
    return predictions


def real_library() -> tuple[str, Path]:
    from xgboost import __version__, libpath

    return __version__, Path(libpath.find_lib_path()[0])


@pytest.mark.parametrize("suffix", ["", "rc1", "-dev", ".post1"])
def test_a_model_is_served_without_importing_the_package(artifact: Artifact, pretend: Pretend, suffix: str) -> None:
    version, library = real_library()
    pretend(re.sub(r"[^\d.].*", "", version) + suffix, library)
    assert predict_in_child(artifact).shape == (2,)


@pytest.mark.parametrize(
    ("library", "complaint"),
    [(None, "its package has no libxgboost.so"), (b"no library", "its library does not open: .*file too short")],
)
def test_a_library_that_is_missing_or_broken_is_named(
    artifact: Artifact, pretend: Pretend, library: bytes | None, complaint: str
) -> None:
    pretend("3.0.0", library)
    with pytest.raises(BackendUnavailable, match=f"^xgboost: {complaint}.*; pip install") as raised:
        predict_in_child(artifact)
    assert "\n" not in str(raised.value)


def test_a_library_of_another_version_than_the_package_is_refused(artifact: Artifact, pretend: Pretend) -> None:
    version, library = real_library()
    pretend(f"{version}1", library)
    with pytest.raises(
        BackendUnavailable, match=f"its package is version {version}1 and its library version {version}"
    ):
        predict_in_child(artifact)


@pytest.mark.parametrize("content", [b"", b"{L\0\0\0\0\0\0\0\7learner", b"no model at all"])
def test_a_damaged_artifact_is_an_error_of_one_line(artifact: Artifact, content: bytes) -> None:
    (artifact.folder / artifact.facts["file"]).write_bytes(content)
    with pytest.raises(BackendError, match=r"^xgboost: \w") as raised:
        imported("xgboost").load(artifact, Settings())
    assert "\n" not in str(raised.value)


def test_rows_of_another_width_are_an_error_of_one_line(artifact: Artifact) -> None:
    predictor = imported("xgboost").load(artifact, Settings())
    with pytest.raises(BackendError, match=r"^xgboost: Check failed") as raised:
        predictor.predict(np.zeros((1, 7), dtype=np.float32))
    assert "\n" not in str(raised.value)


@pytest.mark.timed
@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_predict_as_were_asked_for(artifact: Artifact, threads: int) -> None:
    script = f"""
import os, sys
import numpy as np
from servefit.backends.finding.registry import imported
from servefit.backends.types import Artifact, Settings, Target
from pathlib import Path
artifact = Artifact(backend="xgboost", backend_version="1", model_digest="", target=Target.CPU,
                    folder=Path({str(artifact.folder)!r}), facts={dict(artifact.facts)!r})
before = len(os.listdir("/proc/self/task"))
predictor = imported("xgboost").load(artifact, Settings(threads={threads}))
predictor.predict(np.zeros((4096, 5), dtype=np.float32))
print(len(os.listdir("/proc/self/task")) - before, "xgboost" in sys.modules)
"""
    # xgboost starts no more threads than OpenMP would by itself, so workers export the number as well.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [str(threads - 1), "False"]
    assert done.stderr == ""
