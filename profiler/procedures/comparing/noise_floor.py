"""The smallest difference that can be told from noise on this host, without any model."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean

from servefit.checks import check_above_zero
from servefit.errors import MeasurementError, SpecError, TimedOut, WorkerCrashed
from servefit.profiler.machine.slot.holding import Slot, measuring_slot
from servefit.profiler.procedures.comparing.comparison import MIN_BLOCKS, NoiseFloor, compare_with_itself

_KERNEL = Path(__file__).with_name("kernel.py")
_BLOCKS = 2 * MIN_BLOCKS
"""Two analyses of the interval; walks are as long as so many blocks leave time for."""

_MEASUREMENTS_A_BLOCK = 4
"""A B B A."""

_MIN_WALK_MS = 20
"""A thousand walks or so, for a median. Chosen, not measured."""

_GRACE_S = 10.0
"""An interpreter starts in a fraction of that, also on a host whose CPUs are all busy. Chosen, not measured."""


def noise_floor(cpus: tuple[int, ...], *, seconds: float = 4.0, seed: int = 0) -> NoiseFloor:
    """Compare a fixed piece of work with itself on ``cpus``, all at once and in fresh processes, for about ``seconds``.

    A measurement is the median time of a walk through a list, the mean over the CPUs. It ends early where 1 % can be
    told apart. Raises SpecError without a CPU or time, MeasurementError where no process can be started, WorkerCrashed
    or TimedOut where one does not do its work.
    """
    if not cpus:
        raise SpecError("cpus", cpus, "names no CPU")
    check_above_zero("seconds", seconds)
    with measuring_slot("noise floor") as slot:
        began = time.monotonic()
        _walks_ns(cpus, _MIN_WALK_MS, slot)
        start_s = time.monotonic() - began - _MIN_WALK_MS / 1000
        share_ms = 1000 * (seconds / (_BLOCKS * _MEASUREMENTS_A_BLOCK) - start_s)
        walk_ms = max(_MIN_WALK_MS, round(share_ms))
        return compare_with_itself(
            lambda _: fmean(_walks_ns(cpus, walk_ms, slot)),
            blocks=_BLOCKS,
            budget_s=seconds - (time.monotonic() - began),
            seed=seed,
        )


def _walks_ns(cpus: tuple[int, ...], walk_ms: int, slot: Slot) -> list[float]:
    """Return the median time of a walk on each of ``cpus``, all walking for ``walk_ms`` at the same time."""
    with ExitStack() as stack:
        children = []
        for cpu in cpus:
            child = stack.enter_context(_start(cpu, walk_ms, slot))
            stack.callback(child.kill)
            children.append(child)
        return [_result(child, walk_ms) for child in children]


def _start(cpu: int, walk_ms: int, slot: Slot) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_KERNEL), str(cpu), str(walk_ms)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=slot.descriptors,
            start_new_session=True,  # so that Ctrl-C is ours to deal with
        )
    except OSError as error:
        raise MeasurementError(f"cannot start a process to time: {error.strerror}") from error


def _result(child: subprocess.Popen[bytes], walk_ms: int) -> float:
    limit_s = walk_ms / 1000 + _GRACE_S
    try:
        printed, complaint = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise TimedOut("timing a fixed piece of work", limit_s=limit_s) from error
    if child.returncode:
        said = complaint.decode(errors="replace").strip()
        last_line = said.splitlines()[-1] if said else f"status {child.returncode}"
        raise WorkerCrashed(f"timing a fixed piece of work failed: {last_line}", stderr=said)
    return float(printed)
