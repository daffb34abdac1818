"""The noise floor of this machine, with real processes."""

from __future__ import annotations

import os
import time
from math import exp

import psutil
import pytest

from servefit.errors import SpecError, WorkerCrashed
from servefit.profiler.procedures.comparing.noise_floor import noise_floor

pytestmark = pytest.mark.timed

CPUS = tuple(sorted(os.sched_getaffinity(0)))


def test_this_machine_has_a_noise_floor_and_no_process_is_left() -> None:
    began = time.monotonic()
    floor = noise_floor(CPUS, seconds=0.5)
    assert time.monotonic() - began < 30
    assert 4 <= len(floor.log_ratios) <= 8
    assert floor.resolvable > 0
    assert exp(min(floor.log_ratios)) <= floor.median_ratio <= exp(max(floor.log_ratios))
    assert psutil.Process().children(recursive=True) == []


def test_a_cpu_that_this_process_may_not_use_is_a_clear_error() -> None:
    with pytest.raises(WorkerCrashed, match="Invalid argument") as caught:
        noise_floor((max(CPUS) + 1000, CPUS[0]), seconds=0.1)
    assert "\n" not in str(caught.value)
    assert psutil.Process().children(recursive=True) == []


def test_nonsense_is_refused() -> None:
    with pytest.raises(SpecError, match="names no CPU"):
        noise_floor(())
    with pytest.raises(SpecError, match="not above zero"):
        noise_floor(CPUS, seconds=0)
