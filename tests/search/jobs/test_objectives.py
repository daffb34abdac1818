"""Jobs on real workers whose objective cannot be measured here, or fails."""

from __future__ import annotations

import importlib
import re
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.search.jobs.conftest import QUICK
from tests.tiny_model import tiny_model

import servefit
from servefit.errors import ObjectiveError, SpecError
from servefit.profiler.drivers.inprocess import workers
from servefit.profiler.machine.telemetry.watching import watching
from servefit.report.sentences import headline
from servefit.search.jobs.lifecycle import load_job, resume_job
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.results.energy import energy_j_per_million
from servefit.search.results.objectives import energy
from servefit.search.results.objectives.registry import objective
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.search.conftest import InstallObjective

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short")]

WATTS = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "model.ubj")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def powered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose one processor package draws 40 W: its counter goes on every few milliseconds."""
    package = tmp_path / "sys/class/powercap/intel-rapl:0"
    package.mkdir(parents=True)
    (package / "max_energy_range_uj").write_text("999999999999\n")
    counter = (package / "energy_uj").open("w+")
    ended = threading.Event()

    def count() -> None:
        begin = time.monotonic()
        while True:
            counter.seek(0)
            counter.write(f"{round(1e6 * WATTS * (time.monotonic() - begin)):012}\n")
            counter.flush()
            if ended.wait(0.005):
                return

    counting = threading.Thread(target=count, name="energy counter")
    counting.start()
    monkeypatch.setattr(workers, "watching", partial(watching, sys=tmp_path / "sys"))
    monkeypatch.setattr(objective("energy"), "_sys", tmp_path / "sys")
    yield
    ended.set()
    counting.join()
    counter.close()


@pytest.mark.thorough
@pytest.mark.timed
@pytest.mark.usefixtures("powered")
def test_a_job_finds_what_takes_the_least_energy_and_knows_how_much(model: Path) -> None:
    job = servefit.right_size(model, goal="energy", **{**QUICK, "max_tests": 4, "batch_sizes": [1, 2, 4]})
    assert job.status == "COMPLETED"
    assert job.best is not None
    best = energy_j_per_million(job.best.trial)
    # The counter is a thread of this process: on a busy machine it falls behind.
    assert best == pytest.approx(1e6 * WATTS / job.best.trial.judged.throughput_per_s, rel=0.5)
    assert not any("no test shows" in warning for warning in job.warnings)
    assert re.search(r"; [\d.,]+ J per million \(\d+ tests? in ", headline(job))
    figures = [energy_j_per_million(trial) for trial in load_job("job").trials]
    assert len(figures) > 1
    assert all(figure is not None for figure in figures)


def test_energy_is_refused_before_the_model_is_opened_where_nothing_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective("energy"), "_sys", tmp_path / "nothing")
    monkeypatch.setattr(energy, "reports_power", lambda _: False)
    with pytest.raises(SpecError, match="goal: 'energy' cannot be measured here"):
        servefit.right_size(tmp_path / "no-model", goal="energy", **QUICK)


@pytest.mark.usefixtures("powered")
def test_what_is_of_the_whole_machine_is_not_measured_at_once(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="max_parallel_tests: 2 cannot be combined with the goal energy"):
        servefit.right_size(tmp_path / "no-model", goal="energy", max_parallel_tests=2, **QUICK)


RATE = """
from servefit.search.results.objectives.contract import Objective

FIGURE = "trial.capacity.throughput_per_s"

class Offered(Objective):
    name, unit, aim, direction = {name!r}, "/s", "the highest rate", "max"
    def of_trial(self, trial, context): return eval(FIGURE)
    def predicted(self, prediction, context): return prediction.capacity_per_s
"""
"""An objective of another package, whose figure a test may replace."""


@pytest.mark.thorough
def test_a_job_whose_objective_fails_keeps_what_was_measured_and_goes_on_once_that_is_mended(
    model: Path, install_objective: InstallObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_objective("mended", "rate-mended", RATE.format(name="rate-mended"))
    monkeypatch.setattr(importlib.import_module("mended_objective"), "FIGURE", "float('nan')")
    with pytest.raises(ObjectiveError, match=r"goal 'rate-mended' of mended 1\.0 failed: of_trial\(\) gave nan"):
        servefit.right_size(model, goal="rate-mended", **{**QUICK, "max_tests": 1})
    with JobStore.open(None) as store:
        (kept,) = store.overview()
        assert kept.state is not None
        assert kept.state.status == "STOPPED"
        assert any("gave nan" in remark for remark in kept.state.remarks)
        before = [step.number for step in store.job("job").steps() if step.kind == "load_test"]
    assert before
    # All that needs to be said of a ranking by it is said again to whoever reads the job.
    with pytest.raises(ObjectiveError, match="rate-mended"):
        load_job("job")
    monkeypatch.setattr(importlib.import_module("mended_objective"), "FIGURE", "trial.capacity.throughput_per_s")
    job = resume_job("job", progress=SilentProgress())
    assert job.status == "COMPLETED"
    assert job.best is not None
    assert [step.number for step in job.steps if step.kind == "load_test"][: len(before)] == before


def test_an_objective_whose_check_fails_ends_the_job_before_the_model_is_opened(
    tmp_path: Path, install_objective: InstallObjective
) -> None:
    wrong = RATE.format(name="rate-checked") + "    def check(self, host): return host.watts\n"
    install_objective("checked", "rate-checked", wrong)
    with pytest.raises(ObjectiveError, match=r"goal 'rate-checked' of checked 1\.0 failed: check\(\) raised Attrib"):
        servefit.right_size(tmp_path / "no-model", goal="rate-checked", **QUICK)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "method", ["lower(self, figure)", pytest.param("uncertainty(self, *of)", marks=pytest.mark.thorough)]
)
def test_what_cannot_be_compared_ends_the_job_in_place_of_an_order_by_chance(
    model: Path, install_objective: InstallObjective, method: str
) -> None:
    name = method.partition("(")[0]
    wrong = RATE.format(name=f"rate-{name}") + f"    def {method}: return float('nan')\n"
    install_objective(name, f"rate-{name}", wrong)
    with pytest.raises(ObjectiveError, match=rf"goal 'rate-{name}' of {name} 1\.0 failed: {name}\(\) gave nan"):
        servefit.right_size(model, goal=f"rate-{name}", **QUICK)
    with JobStore.open(None) as store:
        assert [job.state and job.state.status for job in store.overview()] == ["STOPPED"]
