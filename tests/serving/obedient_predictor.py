"""A predictor that rows and facts tell what to do, opened in real workers in place of a backend's.

A prediction is the first value of its row, except for rows that begin with one of the orders below. Where the facts say
how many ``outputs`` there are, it is followed by others, each larger by one.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.errors import BackendUnavailable, RowsRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.backends.types import Artifact, Settings

RAISE, DIE, SLEEP, TELL_PROCESS, TELL_CALL, WAIT = -1.0, -2.0, -3.0, -4.0, -5.0, -6.0
"""Raise an exception; die; sleep for as many seconds as the second value says; predict the process id, or how many rows
the call has; wait until the gate is opened (see ``Gate``)."""


class Gate:
    """A folder where calls of predictors that have it as their ``gate`` wait until it is opened."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._open = self._folder / "open"

    @property
    def facts(self) -> dict[str, str]:
        return {"gate": str(self._folder)}

    @property
    def waiting(self) -> int:
        """How many calls have come to wait here."""
        return sum(1 for _ in self._folder.glob("call of *"))

    def open(self) -> None:
        self._open.touch()

    def wait(self) -> None:
        time.sleep(0.01)  # by when the supervisor takes it for a long call
        (self._folder / f"call of {os.getpid()}").touch()
        while not self._open.exists():
            time.sleep(0.002)


class Obedient:
    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._us = facts.get("us", 0)
        self._outputs = facts.get("outputs", 1)
        self._refused_rows = facts.get("refused_rows")
        self._gate = Gate(facts.get("gate", "/nonexistent"))

    def predict(self, rows: np.ndarray) -> np.ndarray:
        if not rows.flags.c_contiguous or rows.dtype != np.float32:
            raise TypeError("the contract of predict is broken")
        if len(rows) == self._refused_rows:
            raise RowsRefused("obedient", f"{len(rows)} are the wrong number")
        predictions = rows[:, 0].copy()
        orders = set(predictions.tolist())
        if RAISE in orders:
            raise ValueError("these rows are\nnot to my taste")
        if DIE in orders:
            os.kill(os.getpid(), signal.SIGKILL)
        if SLEEP in orders:
            time.sleep(float(rows[predictions == SLEEP, 1].max()))
        if WAIT in orders:
            self._gate.wait()
        predictions[predictions == TELL_PROCESS] = os.getpid()
        predictions[predictions == TELL_CALL] = len(rows)
        end_ns = time.perf_counter_ns() + 1000 * self._us
        while time.perf_counter_ns() < end_ns:
            pass
        return predictions if self._outputs == 1 else predictions[:, None] + np.arange(self._outputs, dtype=np.float32)

    def close(self) -> None:
        pass


def load(artifact: Artifact, settings: Settings) -> Obedient:
    facts = artifact.facts
    time.sleep(facts.get("loads_s", 0))
    if "writes_environment" in facts:
        Path(facts["writes_environment"]).write_text(f"{os.environ['OMP_NUM_THREADS']} {os.environ.get('COLOUR')}")
    if "broken_by" in facts and Path(facts["broken_by"]).exists():
        raise BackendUnavailable("obedient", "no such library", remedy="install it")
    if facts.get("crashes"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return Obedient(facts)
