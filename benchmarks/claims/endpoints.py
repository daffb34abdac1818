"""How many requests a second servefit's endpoint answers, and how fast, beside other servers of the same model.

    python -m benchmarks.claims.endpoints [--rounds 3] [--only NAME ...]

One worker with one thread on one CPU, wrk on another; one row a request, rotating through the demo's payload. In every
round all servers are started afresh, in an order of its own, checked against the model's own predictions, and loaded
with 1, 16 and 64 connections. Needs wrk and taskset, two CPUs, and PyPI the first time. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models.fraud import Fraud
from benchmarks.servers import wrk
from benchmarks.servers.contenders import FORMS, body, free_ports, others, servefit
from benchmarks.servers.running import FAILURES, running
from benchmarks.servers.summary import Run, summary
from servefit.demo import fraud_model, fraud_payload

if TYPE_CHECKING:
    from benchmarks.servers.contenders import Contender, Form

CONNECTIONS = (1, 16, 64)
BACKENDS = ("xgboost", "onnxruntime", "onedal", "treelite", "forest")
BATCHES = (1, 64)
WARM_UP_S = 1
MEASURED_S = 2
CHECKED = 128
CPUS = 2
TOLERANCE = 1e-6
"""How far predictions of a converted model may be off those of the model."""


class Payload:
    """The demo's rows as requests in every form, which are written into ``folder``, and what the model says to them."""

    def __init__(self, folder: Path, model: Path) -> None:
        self._rows = fraud_payload().read_text().splitlines()[1:]
        self.expected = predictions(model, self._rows)
        self.files: dict[Form, Path] = {form: folder / f"{form}.jsonl" for form in FORMS}
        for form, file in self.files.items():
            file.write_text("".join(f"{request}\n" for request in self.bodies(form, len(self._rows))))

    def __len__(self) -> int:
        return len(self._rows)

    def bodies(self, form: Form, count: int) -> list[str]:
        return [body(form, row) for row in self._rows[:count]]

    def largest_error(self, answers: Sequence[float]) -> float:
        return float(np.abs(np.array(answers, dtype=np.float32) - self.expected[: len(answers)]).max())


def predictions(model: Path, rows: Sequence[str]) -> np.ndarray:
    """Return the predictions of xgboost itself for ``rows`` of CSV, in order."""
    import xgboost

    booster = xgboost.Booster(model_file=model)
    booster.set_param({"nthread": 1})
    values = np.array([row.split(",") for row in rows], dtype=np.float32)
    return np.concatenate([booster.inplace_predict(values[row : row + 1]) for row in range(len(values))])


class Benchmark:
    """All servers and what they are asked, on two CPUs."""

    def __init__(self, contenders: Sequence[Contender], payload: Payload, *, seed: int) -> None:
        self.contenders = contenders
        self._payload = payload
        self._random = Random(seed)
        cpus = sorted(os.sched_getaffinity(0))
        self.client_cpu, self.server_cpu = cpus[0], cpus[-1]
        self.largest_errors = {contender.name: 0.0 for contender in contenders}
        self.start_s: dict[str, float] = {}
        self.failures: list[dict[str, Any]] = []

    def round(self, number: int) -> Iterator[Run]:
        """Load every server once, and yield the runs. A server that does not start, dies or predicts something else is
        added to ``failures``."""
        for contender in self._random.sample(self.contenders, len(self.contenders)):
            say(f"round {number}: {contender.name}")
            try:
                yield from self._runs(contender, number)
            except FAILURES as error:
                say(str(error))
                self.failures.append({"server": contender.name, "round": number, "reason": str(error)[-500:]})

    def _runs(self, contender: Contender, number: int) -> Iterator[Run]:
        bodies, file = self._payload.bodies(contender.form, CHECKED), self._payload.files[contender.form]
        began = time.monotonic()
        with running(contender, bodies[0], cpu=self.server_cpu) as server:
            self.start_s.setdefault(contender.name, round(time.monotonic() - began, 1))
            for connections in (1, max(CONNECTIONS)):
                self._check(contender, server.answers(bodies, connections=connections))
            for connections in self._random.sample(CONNECTIONS, len(CONNECTIONS)):
                first = self._random.randrange(len(self._payload))
                load = {"connections": connections, "first": first, "cpu": self.client_cpu}
                wrk.run(contender.url, file, seconds=WARM_UP_S, **load)
                cpu_s = server.cpu_s()
                found = wrk.run(contender.url, file, seconds=MEASURED_S, **load)
                yield Run(
                    server=contender.name,
                    serves=contender.serves,
                    round=number,
                    connections=connections,
                    found=found,
                    server_cpu=1e6 * (server.cpu_s() - cpu_s) / found.duration_us,
                )

    def _check(self, contender: Contender, answers: Sequence[float]) -> None:
        error = self._payload.largest_error(answers)
        self.largest_errors[contender.name] = max(error, self.largest_errors[contender.name])
        if error > (0.0 if contender.serves == "xgboost" else TOLERANCE):
            raise RuntimeError(f"{contender.name} is {error:g} off the model")


def measure(fraud: Fraud, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    model = fraud_model()
    onnx = fraud.artifacts["onnxruntime"].folder / "model.onnx"
    ports = free_ports()
    contenders = (*others(model, onnx, ports), *servefit(fraud.model, fraud.artifacts, ports, folder, batches=BATCHES))
    chosen = [
        contender
        for contender in contenders
        if not options.only or any(part in contender.name for part in options.only)
    ]
    benchmark = Benchmark(chosen, Payload(folder, model), seed=options.seed)
    began = time.monotonic()
    runs = [run for number in range(options.rounds) for run in benchmark.round(number)]
    return {
        "machine": fraud.machine(),
        "rounds": options.rounds,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "wrk": wrk.version(),
        "packages": {contender.name: dict(contender.packages) for contender in chosen},
        "seconds_to_first_answer": benchmark.start_s,
        "largest_errors": benchmark.largest_errors,
        "failures": benchmark.failures,
        **summary(runs),
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="servers whose name has one of these in it")
    parser.add_argument("--seed", type=int, default=0, help="of the order of servers and loads")
    options = parser.parse_args()
    if missing := [tool for tool in ("wrk", "taskset") if shutil.which(tool) is None]:
        parser.error(f"needs {' and '.join(missing)}: apt-get install wrk util-linux")
    if len(os.sched_getaffinity(0)) < CPUS:
        parser.error("needs a CPU for the server and one for wrk")
    fraud = Fraud.prepare(BACKENDS)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(fraud, Path(folder), options), indent=2))


if __name__ == "__main__":
    main()
