"""Measuring a backend that hangs ends, and says what hung: within a budget, and where nobody gives one too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.delegating_backends import delegating_backend
from tests.installed_packages import write_package
from tests.tiny_model import tiny_model

from servefit.errors import CompileFailed, SpecError, TimedOut
from servefit.profiler.procedures import prepare
from servefit.profiler.procedures.profile import profile

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

HANG = "time.sleep(3600)"
HANG_IN_WORKERS = "time.sleep(3600 if 'servefit.profiler.drivers.driving.worker' in sys.orig_argv else 0)"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, and backends that hang when they compile, when they predict, and when they are measured."""
    folder = tmp_path / "plugins"
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))
    backends = {
        "compiling": {"compiling": HANG},
        "predicting": {"predicting": HANG},
        "stalling": {"predicting": HANG_IN_WORKERS},
    }
    for name, hangs in backends.items():
        source, target = delegating_backend(name, **hangs), f"{name}_backend:Backend"
        write_package(folder, name, group="servefit.backends", name=name, target=target, source=source)
    return tiny_model(tmp_path / "model.ubj")


@pytest.mark.timed
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("backend", "hung"),
    [
        ("compiling", "compiling: compiling"),
        ("predicting", "predicting: the check of its predictions"),
        ("stalling", "the warm-up of stalling"),
    ],
)
def test_a_budget_ends_it_and_says_what_hung(model: Path, backend: str, hung: str) -> None:
    began_s = time.monotonic()
    with pytest.raises((CompileFailed, TimedOut)) as caught:
        profile(model, backend=backend, duration_s=0.2, budget_s=8.0)
    assert f"{hung} did not finish before the budget of 8 s ran out" in caught.value.message
    assert caught.value.remedy == "use --budget 16s or more"
    assert time.monotonic() - began_s < 11


@pytest.mark.thorough
def test_without_a_budget_a_compilation_has_a_time_of_its_own(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "MIN_COMPILING_S", 2.0)
    with pytest.raises(CompileFailed, match=r"compiling did not finish before the default budget of \d s ran out"):
        profile(model, backend="compiling", duration_s=0.2)


@pytest.mark.parametrize("budget_s", [0.0, -1.0])
def test_a_budget_of_nothing_is_refused(model: Path, budget_s: float) -> None:
    with pytest.raises(SpecError, match="budget"):
        profile(model, duration_s=0.2, budget_s=budget_s)
