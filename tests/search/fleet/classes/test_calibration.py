"""The calibration of this host, quiet and beside a process that wants its CPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tiny_model import ROWS, tiny_model

from servefit.backends.compilation import compile_model
from servefit.backends.model import Model
from servefit.errors import MeasurementError, TimedOut, WorkerCrashed
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.search.fleet.classes import calibration
from servefit.search.fleet.classes.calibration import TimedModel, calibrate_host
from servefit.search.fleet.classes.grouping import host_classes
from servefit.search.fleet.classes.host_facts import host_facts

if TYPE_CHECKING:
    from tests.conftest import Hog

pytestmark = pytest.mark.integration


@pytest.fixture
def fixed_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What takes the place of the fixed work."""
    path = tmp_path / "work.py"
    monkeypatch.setattr(calibration, "_FIXED_WORK", path)
    return path


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))


@pytest.mark.thorough
@pytest.mark.timed
def test_a_host_whose_cpu_is_taken_for_half_of_the_time_is_half_as_fast_as_when_it_is_quiet(
    tmp_path: Path, hog: Hog
) -> None:
    host = describe_host()
    model = Model.load(tiny_model(tmp_path / "model.ubj"))
    timed = TimedModel(artifact=compile_model(model, model.reference).artifact, rows=ROWS)
    (cpu,) = choose_cpus(host.cpus, 1)
    with measuring_slot("test") as slot:
        quiet = calibrate_host(host, slot=slot, model=timed)
        with hog(cpu):
            busy = calibrate_host(host, slot=slot, model=timed)
    assert quiet.subject == f"{model.digest}/xgboost"
    assert [each.requests for each in quiet.calls] == [1, 64]
    for work, time in busy.works().items():
        assert 1.4 < time.time_ns / quiet.works()[work].time_ns < 3, work
    assert busy.cpu_taken == pytest.approx(0.5, abs=0.2)
    facts = host_facts(host)
    found = host_classes({"quiet": (facts, quiet), "busy": (facts, busy)})
    assert found.remarks[0].startswith("busy is ")
    assert "% slower than quiet; something else had its CPU for " in found.remarks[0]


def test_fixed_work_that_fails_says_why(fixed_work: Path) -> None:
    fixed_work.write_text("raise SystemExit('no such CPU')")
    with measuring_slot("test") as slot, pytest.raises(WorkerCrashed, match="timing fixed work failed: no such CPU"):
        calibrate_host(describe_host(), slot=slot)


def test_fixed_work_that_does_not_end_is_ended(fixed_work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed_work.write_text("while True: pass")
    monkeypatch.setattr(calibration, "_GRACE_S", 0.1)
    with measuring_slot("test") as slot, pytest.raises(TimedOut, match="timing fixed work did not finish"):
        calibrate_host(describe_host(), slot=slot)


def test_where_no_process_can_be_started_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with measuring_slot("test") as slot:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
        with pytest.raises(MeasurementError, match="cannot start a process to time: No such file"):
            calibrate_host(describe_host(), slot=slot)


def test_what_is_started_keeps_the_slot_for_as_long_as_it_lives(fixed_work: Path) -> None:
    fixed_work.write_text(
        "import os\n"
        "links = ['/proc/self/fd/' + number for number in os.listdir('/proc/self/fd')]\n"
        "raise SystemExit(' '.join(os.readlink(link) for link in links if os.path.exists(link)))"
    )
    with measuring_slot("test") as slot, pytest.raises(WorkerCrashed) as failed:
        calibrate_host(describe_host(), slot=slot)
    assert "/servefit-measuring" in failed.value.stderr
