"""The findings about a machine's noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servefit.profiler.procedures.comparing.comparison import NoiseFloor
from servefit.profiler.procedures.noise.activity import Activity, Competitor
from servefit.profiler.procedures.noise.findings import findings
from servefit.profiler.procedures.noise.tuning import Tuning

GOOD = Tuning(governors=("performance",), boost=False, smt=True, shared_siblings=(), thermal_throttles=0)
QUIET = Activity(
    over_s=0.5,
    cpus=2,
    foreign_percent=3.0,
    competitors=(Competitor(pid=1, name="init", cpu_percent=1.5),),
    steal_percent=0.1,
    cpu_pressure_percent=1.0,
    memory_pressure_percent=0.0,
    thermal_throttles=0,
)
SILENT = replace(QUIET, foreign_percent=None, competitors=(), steal_percent=None, memory_pressure_percent=None)


def floor(resolvable: float) -> NoiseFloor:
    return NoiseFloor(resolvable=resolvable, median_ratio=1.0, log_ratios=(0.0, 0.0, 0.0, 0.0))


def test_nothing_is_said_of_a_quiet_machine_or_of_one_that_does_not_tell() -> None:
    assert findings(GOOD, cpu_quota=None, activity=QUIET, floor=floor(0.01)) == ()
    untold = Tuning(governors=(), boost=None, smt=None, shared_siblings=(), thermal_throttles=None)
    assert findings(untold, cpu_quota=None, activity=SILENT) == ()


@pytest.mark.parametrize(
    ("tuning", "subject", "warning", "remedy"),
    [
        (
            {"governors": ("performance", "powersave")},
            "governor",
            "governor is powersave",
            "frequency-set -g performance",
        ),
        ({"boost": True}, "boost", "run faster while", "no_turbo"),
        ({"shared_siblings": (2, 3)}, "SMT", "CPUs 2, 3 run on the same cores", "whole cores"),
        ({"thermal_throttles": 5}, "heat", "5 times since boot", "cooling"),
    ],
)
def test_each_setting_that_makes_noise_comes_with_its_remedy(
    tuning: dict[str, Any], subject: str, warning: str, remedy: str
) -> None:
    (finding,) = findings(replace(GOOD, **tuning), cpu_quota=None, activity=QUIET)
    assert finding.subject == subject
    assert warning in finding.warning
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("seen", "subject", "warning"),
    [
        ({"foreign_percent": 97.0}, "competing load", "other processes use 97 % of a CPU: init (1) 1.5 %"),
        ({"foreign_percent": 97.0, "competitors": ()}, "competing load", "none that can be seen from here"),
        ({"steal_percent": 4.0}, "steal", "takes 4 %"),
        ({"memory_pressure_percent": 30.0}, "memory pressure", "30 % of the time"),
        ({"thermal_throttles": 1}, "heat", "being slowed down"),
    ],
)
def test_each_disturbance_is_named(seen: dict[str, Any], subject: str, warning: str) -> None:
    (finding,) = findings(GOOD, cpu_quota=None, activity=replace(QUIET, **seen))
    assert finding.subject == subject
    assert warning in finding.warning
    assert finding.remedy


def test_a_quota_and_a_coarse_noise_floor_are_warned_of() -> None:
    quota, coarse = findings(GOOD, cpu_quota=1.5, activity=QUIET, floor=floor(0.2))
    assert "1.5 CPUs" in quota.warning
    assert "nothing below 20 %" in coarse.warning
