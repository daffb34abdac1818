"""Whether a reference load on another CPU tells what the machine does to this one.

    python -m benchmarks.claims.reference_load [--seconds 60]

Duet measurement [Bulej et al. 2020] runs a reference beside what is measured, on a CPU of its own, and divides one by
the other: what slows both down cancels out. Here a model is called by one process on one CPU, first alone and then
beside the same model with another backend (or its own) on a second one, and calls are counted in windows. By window
length: how much the logarithm of the counts scatters, of the one that is measured and of their quotient, and how the
two correlate. A quotient scatters less only where the correlation is above half of what the reference scatters over
what the measured one does.
"slower" is how much slower the reference alone makes what is measured, by the caches and the memory that they share.

Prints one JSON object. It takes about six minutes, and two CPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from multiprocessing import get_context
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models.compiled import CompiledModel
from benchmarks.models.forest_models import benchmark_model
from benchmarks.synthetic import machine
from servefit.backends.compilation import load_predictor
from servefit.backends.types import Settings
from servefit.profiler.machine.host import describe_host

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

    from benchmarks.queues import Floats
    from servefit.backends.types import Artifact

MODEL = "fraud"
PAIRS = (("forest", "forest"), ("forest", "xgboost"), ("onnxruntime", "xgboost"))
WINDOW_S = 0.1
WINDOWS = (1, 10, 50)
"""Counted together: rounds of a search take about a second, and a confirmation five runs of two."""
WARM_UP_S = 1.0
START_S = 60.0


def count_calls(
    cpu: int, artifact: Artifact, rows: np.ndarray, seconds: float, start: Barrier, found: Queue[Any]
) -> None:
    """Call the predictor for one row after the other, and put the number of calls of every window into ``found``."""
    os.sched_setaffinity(0, {cpu})
    predict, row = load_predictor(artifact, Settings(threads=1)).predict, rows[:1]
    until = time.monotonic() + WARM_UP_S
    while time.monotonic() < until:
        predict(row)
    start.wait(START_S)
    counts = [0] * round(seconds / WINDOW_S)
    began = time.monotonic()
    while (nth := int((time.monotonic() - began) / WINDOW_S)) < len(counts):
        predict(row)
        counts[nth] += 1
    found.put((cpu, counts))


def counted(subject: CompiledModel, backends: tuple[str, ...], seconds: float) -> list[Floats]:
    """Return the calls of every window by each of ``backends``, which run at once, each on a CPU of its own."""
    context = get_context("spawn")
    start, found = context.Barrier(len(backends)), context.Queue()
    cpus = [each.cpu for each in subject.host.cpus][: len(backends)]
    processes = [
        context.Process(
            target=count_calls, args=(cpu, subject.artifacts[backend], subject.model.rows, seconds, start, found)
        )
        for cpu, backend in zip(cpus, backends, strict=True)
    ]
    for process in processes:
        process.start()
    by_cpu = dict(found.get(timeout=START_S + 2 * seconds) for _ in processes)
    for process in processes:
        process.join()
    return [np.array(by_cpu[cpu], dtype=np.float64) for cpu in cpus]


def in_windows(counts: Floats, length: int) -> Floats:
    """Return the logarithms of how many calls there were in every ``length`` windows together."""
    whole = len(counts) // length * length
    logs: Floats = np.log(counts[:whole].reshape(-1, length).sum(axis=1))
    return logs


def compared(subject: CompiledModel, measured: str, reference: str, seconds: float) -> dict[str, Any]:
    """Return how much both scatter, alone and divided."""
    (alone,) = counted(subject, (measured,), seconds)
    own, other = counted(subject, (measured, reference), seconds)
    rows = {}
    for length in WINDOWS:
        of_alone, of_own, of_other = (in_windows(each, length) for each in (alone, own, other))
        rows[f"{length * WINDOW_S:g} s"] = {
            "alone_percent": percent(of_alone),
            "beside_percent": percent(of_own),
            "reference_percent": percent(of_other),
            "quotient_percent": percent(of_own - of_other),
            "correlation": round(float(np.corrcoef(of_own, of_other)[0, 1]), 2),
        }
    slower = median(alone) / median(own)
    return {"measured": measured, "reference": reference, "slower": round(slower, 3), "windows": rows}


def percent(logs: Floats) -> float:
    return round(100 * float(logs.std(ddof=1)), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each count")
    given = parser.parse_args()
    subject = CompiledModel(benchmark_model(MODEL), describe_host())
    pairs = [compared(subject, measured, reference, given.seconds) for measured, reference in PAIRS]
    print(json.dumps({"machine": machine(subject.host), "model": MODEL, "pairs": pairs}, indent=2))


if __name__ == "__main__":
    main()
