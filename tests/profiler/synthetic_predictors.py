"""Predictors with known behaviour, opened in real workers in place of a backend's.

What one does is said in the artifact's facts, so that a test reads as its configuration.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.errors import BackendUnavailable

if TYPE_CHECKING:
    from servefit.backends.types import Artifact, Settings

Act = Callable[[np.ndarray], None]


class Synthetic:
    def __init__(self, act: Act) -> None:
        self._act = act

    def predict(self, rows: np.ndarray) -> np.ndarray:
        self._act(rows)
        return rows[:, 0]

    def close(self) -> None:
        pass


def load(artifact: Artifact, settings: Settings) -> Synthetic:
    facts: Mapping[str, Any] = artifact.facts
    _fail(facts)
    if facts.get("forks"):
        for _ in range(2):
            if os.fork() == 0:
                time.sleep(3600)
    if "daemonises" in facts:
        _daemonise(Path(facts["daemonises"]))
    if "imports" in facts:
        import_module(facts["imports"])
    if facts.get("widens_its_mask"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if "announces_environment" in facts:
        Path(facts["announces_environment"]).write_text(
            f"{os.environ['OMP_NUM_THREADS']} {os.environ.get('COLOUR')} {sorted(os.sched_getaffinity(0))}"
        )
    return Synthetic(ACTS[facts.get("act", "nothing")](facts))


def _fail(facts: Mapping[str, Any]) -> None:
    if facts.get("fails_to_load"):
        raise BackendUnavailable("synthetic", "no such library", remedy="install it")
    if facts.get("raises_on_load"):
        raise RuntimeError("the library is in a bad mood")
    if facts.get("hangs_on_load"):
        time.sleep(3600)


def _daemonise(told: Path) -> None:
    """Leave a process behind that has left this one's group and session, and tell its id."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            told.write_text(str(os.getpid()))
            time.sleep(3600)
        os._exit(0)
    os.wait()


def _nothing(facts: Mapping[str, Any]) -> Act:
    return lambda rows: None


def _spin(facts: Mapping[str, Any]) -> Act:
    """Use the CPU for ``us`` microseconds a call, and ``us_per_row`` more a row."""

    def act(rows: np.ndarray) -> None:
        end = time.perf_counter_ns() + int(1000 * (facts.get("us", 0) + facts.get("us_per_row", 0) * len(rows)))
        while time.perf_counter_ns() < end:
            pass

    return act


def _sleep(facts: Mapping[str, Any]) -> Act:
    return lambda rows: time.sleep(facts["us"] / 1e6)


def _in_the_end(disaster: Callable[[], None]) -> Callable[[Mapping[str, Any]], Act]:
    """Behave for ``calls`` calls, then do what cannot be survived."""

    def make(facts: Mapping[str, Any]) -> Act:
        left = [facts.get("calls", 0)]

        def act(rows: np.ndarray) -> None:
            left[0] -= 1
            if left[0] < 0:
                disaster()

        return act

    return make


def _print_a_lot() -> None:
    for _ in range(2000):
        sys.stdout.write("x" * 9999 + "\n")
        sys.stderr.write("y" * 9999 + "\n")
    sys.stdout.flush()
    sys.stderr.write("these are my last words\n")
    os._exit(7)


def _raise() -> None:
    raise ValueError("these rows are not to my taste")


def _segfault() -> None:
    ctypes.string_at(0)


def _no_memory() -> None:
    raise MemoryError


def _leak(facts: Mapping[str, Any]) -> Act:
    """Keep ``mb`` megabytes more with every call, up to ``most_mb``."""
    kept: list[bytearray] = []

    def act(rows: np.ndarray) -> None:
        if len(kept) * facts["mb"] < facts["most_mb"]:
            kept.append(bytearray(facts["mb"] * 2**20))

    return act


def _log_rows(facts: Mapping[str, Any]) -> Act:
    """Append a line a call to the file ``log``: the first value of every row, which is of ``datatype``."""
    datatype = facts.get("datatype", "float32")
    log = os.open(facts["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def act(rows: np.ndarray) -> None:
        if not rows.flags.c_contiguous or rows.dtype != datatype:
            raise ValueError("the contract of predict is broken")
        os.write(log, (" ".join(str(int(value)) for value in rows[:, 0]) + "\n").encode())

    return act


ACTS: Mapping[str, Callable[[Mapping[str, Any]], Act]] = {
    "nothing": _nothing,
    "spin": _spin,
    "sleep": _sleep,
    "leak": _leak,
    "log rows": _log_rows,
    "segfault": _in_the_end(_segfault),
    "kill": _in_the_end(lambda: os.kill(os.getpid(), signal.SIGKILL)),
    "hang": _in_the_end(lambda: time.sleep(3600)),
    "print": _in_the_end(_print_a_lot),
    "raise": _in_the_end(_raise),
    "no memory": _in_the_end(_no_memory),
}


class Backend:
    """What another package would offer, as far as workers ask for it."""

    def load(self, artifact: Artifact, settings: Settings) -> Synthetic:
        return load(artifact, settings)
