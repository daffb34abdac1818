"""Whether servefit's service time is that of a loop written by hand around the library's own call.

    python -m benchmarks.agreement [--model FILE] [--blocks N]

For xgboost and onnxruntime on one thread, one row and 64 rows a call, the median service time is measured by the
microbenchmark and by the in-process driver in a closed loop, and held against ``hand_written_loop``, each in a fresh
process on the same CPU. Blocks go through the three in random order and then back, so that a steady drift cancels.
Both call xgboost's C function XGBoosterPredictFromDense, and open the same files; what ``Booster.inplace_predict``
takes is printed beside it.

Prints one JSON object with ratios to the hand-written loop and their 95 % intervals over blocks; the aim is an interval
within 3 % of one. It takes about three and a half minutes. Without ``--model`` it trains 1000 trees of depth 8 on 30
features first, once, and keeps them in the state folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.synthetic import machine
from servefit.backends.compilation import compile_model
from servefit.backends.model import Model
from servefit.backends.payload import Payload
from servefit.isolation import call_isolated
from servefit.profiler.comparing.intervals import mean_interval
from servefit.profiler.cpus import choose_cpus
from servefit.profiler.host import Host, describe_host
from servefit.profiler.measuring import workers_for
from servefit.profiler.microbenchmark.timing import TimeCalls
from servefit.profiler.summary import summarize
from servefit.profiler.traffic import ClosedLoop
from servefit.profiler.types import Configuration
from servefit.state import state_folder

if TYPE_CHECKING:
    from servefit.backends.types import Artifact

FEATURES = 30
ROWS = 1024
WITHIN = 0.03
HAND_WRITTEN = Path(__file__).with_name("hand_written_loop.py")

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

    def hand_written_ns(self, call: str | None = None) -> float:
        (cpu,) = choose_cpus(self.host.cpus, 1)
        what = [call or self.artifact.backend, str(self.file), str(self.rows_file), str(self.batch), str(cpu)]
        ended = subprocess.run(
            [sys.executable, str(HAND_WRITTEN), *what],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return float(ended.stdout)

    def microbenchmark_ns(self) -> float:
        with workers_for(self.configuration, self.artifact, self.rows, host=self.host) as workers:
            order = TimeCalls(requests_per_call=self.batch, duration_s=0.6, warm_up_s=0.6)
            (times,) = workers.time_calls(order)
        if times.calls_per_duration != 1:
            raise RuntimeError("calls are too short to be timed one by one; take a larger model")
        return float(np.median(times.durations_ns()))

    def driver_ns(self) -> float:
        with workers_for(self.configuration, self.artifact, self.rows, host=self.host) as workers:
            run = workers.run(ClosedLoop.constant(users=self.batch, duration_s=0.6))
        p50_ms = summarize(run).service_ms["p50"]
        if p50_ms is None:
            raise RuntimeError("too few requests for a median; take a smaller model")
        return p50_ms * 1e6


def train(path: Path) -> None:
    """A binary classifier whose trees are full and whose features all matter. Runs in a child process."""
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
        call_isolated("benchmarks.agreement:train", part, timeout_s=600)
        part.rename(path)
    return path


def in_blocks(measures: dict[str, Measure], *, blocks: int, seed: int) -> list[dict[str, list[float]]]:
    """Each of ``measures`` twice in every block: in random order, and back."""
    order = Random(seed)
    results = []
    for _ in range(blocks):
        there = order.sample(sorted(measures), len(measures))
        first = [measures[name]() for name in there]
        back = [measures[name]() for name in reversed(there)]
        results.append({name: pair for name, *pair in zip(there, first, reversed(back), strict=True)})
    return results


def ratio(block: dict[str, list[float]], name: str) -> float:
    """The log of what ``name`` came to, over what the hand-written loop did."""
    return fmean(map(log, block[name])) - fmean(map(log, block["hand_written"]))


def within(low: float, high: float) -> str:
    """Whether a ratio whose interval this is lies within 3 % of one."""
    if low >= 1 - WITHIN and high <= 1 + WITHIN:
        return "yes"
    return "no" if high < 1 - WITHIN or low > 1 + WITHIN else "too noisy to tell"


def compared(case: Case, *, blocks: int, seed: int) -> dict[str, Any]:
    measures: dict[str, Measure] = {
        "hand_written": case.hand_written_ns,
        "microbenchmark": case.microbenchmark_ns,
        "driver": case.driver_ns,
    }
    measured = in_blocks(measures, blocks=blocks, seed=seed)
    result: dict[str, Any] = {"backend": case.artifact.backend, "rows_per_call": case.batch}
    for name in measures:
        result[f"{name}_us"] = round(median(one for block in measured for one in block[name]) / 1000, 2)
    for name in ("microbenchmark", "driver"):
        logs = [ratio(block, name) for block in measured]
        low, high = map(exp, mean_interval(logs))
        result[name] = {
            "ratio": round(exp(fmean(logs)), 4),
            "ci95": [round(low, 4), round(high, 4)],
            "within_3_percent": within(low, high),
        }
    if case.artifact.backend == "xgboost":
        result["inplace_predict_us"] = round(case.hand_written_ns("inplace_predict") / 1000, 2)
    return result


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--model", type=Path, help="an XGBoost model of one output; default: one trained here")
    options.add_argument("--blocks", type=int, default=5, help="blocks of six measurements a case, three or more")
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
                cases.append(compared(case, blocks=given.blocks, seed=given.seed))
    call = "XGBoosterPredictFromDense through ctypes; InferenceSession.run"
    print(json.dumps({"machine": machine(host), "blocks": given.blocks, "calls": call, "cases": cases}, indent=2))


if __name__ == "__main__":
    main()
