"""Artifacts of a network beside each other: how long a call takes, in turns, and how far their accuracy drops.

Calls are timed by ``timed_artifact`` in processes of its own. No code of servefit has a part in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import exp, log, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

LOOP = Path(__file__).with_name("timed_artifact.py")
WITHIN = 0.05
"""Of one: what counts as as fast."""

ROUNDS = 4
ONE_SIDED_95 = 1.645
STUDENT_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36}
"""By the number of sets."""

SILENT = {"ORT_DISABLE_TELEMETRY": "1", "OLIVE_DISABLE_TELEMETRY": "1", "CI": "true"}
"""The last of them keeps Olive from its heartbeat, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An artifact as ``timed_artifact`` opens it, and what whoever found it said of it."""

    runtime: str
    file: Path
    said: Mapping[str, Any]


def words_for(found: Found, rows: Path, cpu: int) -> list[str]:
    return [sys.executable, str(LOOP), found.runtime, str(found.file), str(rows), str(cpu)]


def classes(found: Found, rows: Path, cpu: int) -> np.ndarray:
    """Return the class that each row is put into, one row a call."""
    path = rows.with_name("predictions.npy")
    words = [*words_for(found, rows, cpu), str(path)]
    subprocess.run(words, env={**os.environ, **SILENT}, check=True)
    predicted: np.ndarray = np.load(path).argmax(axis=1)
    return predicted


def dropped(before: np.ndarray, after: np.ndarray, limit: float) -> dict[str, Any]:
    """Return the drop between outcomes of the same rows, and how it stands to the limit."""
    changed = before.astype(float) - after
    drop, error = float(changed.mean()), float(changed.std()) / sqrt(len(changed))
    low, high = drop - ONE_SIDED_95 * error, drop + ONE_SIDED_95 * error
    return {
        "accuracy": round(float(after.mean()), 4),
        "drop": round(drop, 5),
        "bounds": [round(low, 5), round(high, 5)],
        "limit": "kept" if high <= limit else "broken" if low > limit else "too close to tell",
    }


@contextmanager
def loop(found: Found, rows: Path, cpu: int) -> Iterator[subprocess.Popen[str]]:
    """A process that times calls whenever it is asked."""
    with subprocess.Popen(
        words_for(found, rows, cpu),
        env={**os.environ, **SILENT, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        if process.stdin is not None:
            process.stdin.close()


def timed_once(process: subprocess.Popen[str]) -> float:
    """Return the median time of a call, in ns."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the loop has no pipes")
    print(file=process.stdin, flush=True)
    return float(process.stdout.readline())


def in_turns(artifacts: Mapping[str, Found], rows: Path, cpu: int, sets: int) -> dict[str, dict[str, Any]]:
    """Return the median time of a call of each artifact, and how many times as long it is as one of the first."""
    first, *others = artifacts
    logs: dict[str, list[float]] = {name: [] for name in others}
    spent: dict[str, list[float]] = {name: [] for name in artifacts}
    for _ in range(sets):
        with ExitStack() as stack:
            loops = {name: stack.enter_context(loop(found, rows, cpu)) for name, found in artifacts.items()}
            for process in loops.values():
                timed_once(process)
            for name, ratios in logs.items():
                turns = []
                for _ in range(ROUNDS):
                    taken = [(who, timed_once(loops[who])) for who in (first, name, name, first)]
                    turns.append(fmean(log(ns) * (1 if who == name else -1) for who, ns in taken) * 2)
                    for who, ns in taken:
                        spent[who].append(ns)
                ratios.append(fmean(turns))
    medians = {name: {"us": round(float(np.median(values)) / 1000, 2)} for name, values in spent.items()}
    return {name: {**told, **(over(logs[name], first) if name in logs else {})} for name, told in medians.items()}


def over(logs: list[float], first: str) -> dict[str, Any]:
    """Return the ratio that these logarithms are of, one a set, with its interval, and what it says of the first."""
    half = STUDENT_95[len(logs)] * stdev(logs) / sqrt(len(logs))
    low, high = exp(fmean(logs) - half), exp(fmean(logs) + half)
    return {
        "ratio": round(exp(fmean(logs)), 3),
        "ci95": [round(low, 3), round(high, 3)],
        f"{first} is as fast": "yes" if low >= 1 - WITHIN else "no" if high < 1 - WITHIN else "too noisy to tell",
    }
