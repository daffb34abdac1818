"""Whether servefit's service time is that of a loop written by hand around the library's own call.

    python -m benchmarks.claims.agreement [--model FILE] [--sets N]

For xgboost and onnxruntime on one thread, one row and 64 rows a call, the median service time is measured by the
microbenchmark and by the in-process driver in a closed loop, and held against ``hand_written_loop``. The three
processes live side by side on the same CPU and measure in turns, 0.15 s each, in random order and then back, so that
what the machine does in the meantime happens to all of them. Where the memory of a process lies makes a difference of
several per cent, so that is repeated with fresh processes. All call xgboost's C function XGBoosterPredictFromDense, and
open the same files; what ``Booster.inplace_predict`` takes is printed beside it.

Prints one JSON object with ratios to the hand-written loop and their 95 % intervals over sets of processes; the aim is
an interval within 3 % of one. It takes about four minutes. Without ``--model`` it trains 1000 trees of depth 8 on 30
features first, once, and keeps them in the state folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.synthetic import machine
from servefit.backends.compilation import compile_model
from servefit.backends.model import Model
from servefit.backends.payload import Payload
from servefit.isolation import call_isolated
from servefit.profiler.drivers.inprocess.timing import WorkerTimeCalls
from servefit.profiler.drivers.start_driver import workers_for
from servefit.profiler.evidence.intervals import mean_interval
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.record.traffic import ClosedLoop
from servefit.profiler.record.types import Configuration
from servefit.state import state_folder

if TYPE_CHECKING:
    from servefit.backends.types import Artifact

FEATURES = 30
ROWS = 1024
WITHIN = 0.03
TURN_S = 0.15
ROUNDS = 8
HAND_WRITTEN = Path(__file__).parents[1] / "hand_written_loop.py"

Measure = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One backend and batch size. ``file`` is what the library opens, in the hand-written loop as in the backend."""

    artifact: Artifact
    file: Path
    batch: int
    rows: np.ndarray
    rows_file: Path
    host: Host

    @property
    def configuration(self) -> Configuration:
        return Configuration(vcpus=1, backend=self.artifact.backend, max_batch=self.batch)

    @contextmanager
    def hand_written(self, call: str | None = None) -> Iterator[Measure]:
        (cpu,) = choose_cpus(self.host.cpus, 1)
        what = [call or self.artifact.backend, str(self.file), str(self.rows_file), str(self.batch), str(cpu)]
        with subprocess.Popen(
            [sys.executable, str(HAND_WRITTEN), *what],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as loop:
            ask, answer = loop.stdin, loop.stdout
            if ask is None or answer is None:
                raise RuntimeError("the loop has no pipes")

            def measure() -> float:
                print(file=ask, flush=True)
                return float(answer.readline())

            yield measure
            ask.close()

    @contextmanager
    def microbenchmark(self) -> Iterator[Measure]:
        order = WorkerTimeCalls(requests_per_call=self.batch, duration_s=TURN_S, warm_up_s=0.03)
        with workers_for(self.configuration, self.artifact, self.rows, host=self.host) as workers:

            def measure() -> float:
                (times,) = workers.time_calls(order)
                if times.calls_per_duration != 1:
                    raise RuntimeError("calls are too short to be timed one by one; take a larger model")
                return float(np.median(times.durations_ns()))

            yield measure

    @contextmanager
    def driver(self) -> Iterator[Measure]:
        traffic = ClosedLoop.constant(users=self.batch, duration_s=TURN_S)
        with workers_for(self.configuration, self.artifact, self.rows, host=self.host) as workers:

            def measure() -> float:
                samples = workers.run(traffic).samples
                return float(np.median(samples.ended_ns() - samples.started_ns()))

            yield measure


def train(path: Path) -> None:
    """Train a binary classifier with full trees, for which all features matter. Runs in a child process."""
    import xgboost

    rng = np.random.default_rng(1)
    rows = rng.normal(size=(20_000, FEATURES)).astype(np.float32)
    labels = (rows @ rng.normal(size=FEATURES) + 2 * np.sin(3 * rows[:, 0]) * rows[:, 1] + rng.normal(size=20_000)) > 0
    settings = {"objective": "binary:logistic", "max_depth": 8, "eta": 0.1, "max_bin": 64, "seed": 1}
    xgboost.train(settings, xgboost.DMatrix(rows, labels), num_boost_round=1000).save_model(path)


def trained_model() -> Path:
    path = state_folder("benchmarks") / "agreement-1000-trees.ubj"
    if not path.exists():
        part = path.with_name(f"part-{os.getpid()}.ubj")
        call_isolated("benchmarks.claims.agreement:train", part, timeout_s=600)
        part.rename(path)
    return path


def in_turns(measures: dict[str, Measure], order: Random) -> dict[str, float]:
    """Take each of ``measures`` twice a round, in random order and then in reverse. Return the logarithms of the times
    in nanoseconds, averaged over the rounds."""
    logs: dict[str, list[float]] = {name: [] for name in measures}
    for measure in measures.values():
        measure()  # the first turn of a process is not like the others
    for _ in range(ROUNDS):
        there = order.sample(sorted(measures), len(measures))
        for name in (*there, *reversed(there)):
            logs[name].append(log(measures[name]()))
    return {name: fmean(values) for name, values in logs.items()}


def within(low: float, high: float) -> str:
    """Return whether the ratio with this interval lies within 3 % of one."""
    if low >= 1 - WITHIN and high <= 1 + WITHIN:
        return "yes"
    return "no" if high < 1 - WITHIN or low > 1 + WITHIN else "too noisy to tell"


def compared(case: Case, *, sets: int, seed: int) -> dict[str, Any]:
    order = Random(seed)
    measured: list[dict[str, float]] = []
    for _ in range(sets):
        with case.hand_written() as by_hand, case.microbenchmark() as alone, case.driver() as in_driver:
            measures = {"hand_written": by_hand, "microbenchmark": alone, "driver": in_driver}
            measured.append(in_turns(measures, order))
    result: dict[str, Any] = {"backend": case.artifact.backend, "rows_per_call": case.batch}
    for name in measured[0]:
        result[f"{name}_us"] = round(exp(fmean(times[name] for times in measured)) / 1000, 2)
    for name in ("microbenchmark", "driver"):
        logs = [times[name] - times["hand_written"] for times in measured]
        low, high = map(exp, mean_interval(logs))
        result[name] = {
            "ratio": round(exp(fmean(logs)), 4),
            "ci95": [round(low, 4), round(high, 4)],
            "within_3_percent": within(low, high),
        }
    if case.artifact.backend == "xgboost":
        with case.hand_written("inplace_predict") as measure:
            result["inplace_predict_us"] = round(measure() / 1000, 2)
    return result


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--model", type=Path, help="an XGBoost model of one output; default: one trained here")
    options.add_argument("--sets", type=int, default=6, help="sets of fresh processes a case, three or more")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    host = describe_host()
    model = Model.load(given.model or trained_model())
    columns = model.signature.features
    rows = np.random.default_rng(2).normal(size=(ROWS, columns)).astype(np.float32)
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        rows_file = Path(folder) / "rows.npy"
        np.save(rows_file, rows)
        for backend in ("xgboost", "onnxruntime"):
            artifact = compile_model(model, backend, payload=Payload(rows=rows, source="drawn")).artifact
            file = artifact.folder / artifact.facts.get("file", "model.onnx")
            for batch in (1, 64):
                case = Case(artifact=artifact, file=file, batch=batch, rows=rows, rows_file=rows_file, host=host)
                cases.append(compared(case, sets=given.sets, seed=given.seed))
    call = "XGBoosterPredictFromDense through ctypes; InferenceSession.run"
    print(json.dumps({"machine": machine(host), "sets": given.sets, "calls": call, "cases": cases}, indent=2))


if __name__ == "__main__":
    main()
