"""A compiled model in a process of its own, which times its calls slice by slice, whenever it is told to.

    with Contestant(artifact, loader=..., rows_file=..., cpus=..., threads=...) as one:
        one.time_slice(64).us  # a median call of 64 rows, in microseconds

The process is held to its CPUs before it loads anything and lives until the block ends, so that nothing is loaded or
set up while others are measured. Every batch size rotates through all rows.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from servefit.backends.types import Settings
from servefit.backends.variables.environment import worker_environment
from servefit.processes import die_with_parent

if TYPE_CHECKING:
    from servefit.backends.types import Artifact

BACKEND_LOADER = "servefit.backends.compilation:load_predictor"
SLICE_S, MIN_CALLS = 0.02, 3

_SETTLING_S = 0.004  # what others left in the caches is gone
_FIRST_S = 0.05  # of a batch size
_LONG_CALL_S = 0.1  # of a call this long, no more than a hundredth is settling
_GROUP_NS = 10_000  # calls are timed in groups of about so long: reading the clock takes some 60 ns
_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Slice:
    """A median call in microseconds, and the process's CPU time over the time that the slice took: 1 for one thread
    that nobody else took the CPU from."""

    us: float
    cpu_share: float


class Contestant:
    """The parent's side. Raises RuntimeError where the process has ended, of which stderr has the reason."""

    def __init__(
        self, artifact: Artifact, *, rows_file: Path, cpus: tuple[int, ...], threads: int, loader: str = BACKEND_LOADER
    ) -> None:
        self.name = artifact.backend
        setup = (cpus, loader, replace(artifact, facts=dict(artifact.facts)), threads, rows_file)
        with tempfile.NamedTemporaryFile(prefix="servefit-contestant-", delete=False) as file:
            pickle.dump(setup, file)
        self._setup_file = Path(file.name)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.forest.contestant", file.name],
            cwd=_REPOSITORY,
            env={**os.environ, **worker_environment(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._setup_file.unlink(missing_ok=True)

    def wait_until_loaded(self) -> None:
        self._answer()
        self._process.send_signal(signal.SIGSTOP)

    def time_slice(self, rows: int) -> Slice:
        """Time calls of so many rows for SLICE_S, at least MIN_CALLS of them. Between slices the process is stopped:
        threads of OpenMP and onnxruntime would go on looking for work for a while, on others' processors."""
        if self._process.stdin is None:
            raise RuntimeError("the process has no pipes")
        self._process.send_signal(signal.SIGCONT)
        print(rows, file=self._process.stdin, flush=True)
        answer = self._answer()
        self._process.send_signal(signal.SIGSTOP)
        return Slice(*answer)

    def _answer(self) -> Any:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError(f"the process of {self.name} ended with status {self._process.wait()}")
        return json.loads(line)


def main() -> None:
    """Answer every line of stdin, a number of rows, with a line that has the figures of a slice. Runs in the process of
    the contestant."""
    die_with_parent()
    setup_file = Path(sys.argv[1])
    cpus, loader, artifact, threads, rows_file = pickle.loads(setup_file.read_bytes())
    setup_file.unlink()
    os.sched_setaffinity(0, cpus)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # for what libraries print
    module, _, function = loader.partition(":")
    predictor = getattr(import_module(module), function)(artifact, Settings(threads=threads))
    rows = np.load(rows_file)
    all_rows = rows.astype(getattr(predictor, "row_type", rows.dtype), order="C")
    rotations: dict[int, Iterator[np.ndarray]] = {}
    gc.disable()
    print(json.dumps(None), file=answers, flush=True)
    for line in sys.stdin:
        rows = int(line)
        if rows not in rotations:
            begins = range(0, len(all_rows) - rows + 1, rows)
            rotations[rows] = cycle([all_rows[begin : begin + rows] for begin in begins])
            _timed_ns(predictor.predict, rotations[rows], group=1, least=1, for_s=_FIRST_S)
        print(json.dumps(_slice(predictor.predict, rotations[rows])), file=answers, flush=True)


def _slice(predict: Callable[[np.ndarray], Any], rotation: Iterator[np.ndarray]) -> tuple[float, float]:
    began_ns, began_cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    call_ns = median(_timed_ns(predict, rotation, group=1, least=1, for_s=_SETTLING_S))
    group = max(1, int(_GROUP_NS // call_ns))
    long = call_ns > 1e9 * _LONG_CALL_S
    rest = _timed_ns(predict, rotation, group=group, least=MIN_CALLS - long, for_s=SLICE_S)
    # A call that takes so long was settled for nearly all of its first run too.
    us = median([call_ns, *rest] if long else rest) / 1000
    return us, (time.process_time_ns() - began_cpu_ns) / (time.perf_counter_ns() - began_ns)


def _timed_ns(
    predict: Callable[[np.ndarray], Any], rotation: Iterator[np.ndarray], *, group: int, least: int, for_s: float
) -> list[float]:
    """Return nanoseconds a call, for each group of ``group`` calls in a row."""
    times: list[float] = []
    clock = time.perf_counter_ns
    end = clock() + round(1e9 * for_s)
    ended = 0
    while ended < end or len(times) * group < least:
        batches = islice(rotation, group)
        began = clock()
        for rows in batches:
            predict(rows)
        ended = clock()
        times.append((ended - began) / group)
    return times


if __name__ == "__main__":
    main()
