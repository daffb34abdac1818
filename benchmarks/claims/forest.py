"""The backend forest beside every other backend, and lleaves, on models of many shapes.

    python -m benchmarks.claims.forest [--models NAME ...] [--rows N ...] [--threads N ...] [--rounds 5]

For every model, and for one thread on one CPU and two on two, everything that takes the model is loaded in a process
of its own. Then, for each number of rows a call, they take turns in slices of 20 ms, in random order, for some rounds.
A slice's figure is its median call, a point's the median over rounds of the best other backend's time over forest's.
Rows rotate through 8192 that the model was not trained on. Everything is checked against the model's own library
before it is timed. Who takes three times what the best other takes in the first round sits out the others.

forest is compiled anew, so that the seconds are this run's; what others need is found in the state folder the second
time, and so are the models. tl2cgen's C compiler takes minutes for the biggest: --skip-tl2cgen-above NODES leaves it
out. lleaves takes part in what it can, LightGBM's models, where it is installed: pip install lleaves 'llvmlite<0.45'.

Beside each point are the comparisons that a row cannot do without and what they take; ``forest.floor`` says how the
floor is found. Prints one JSON object; every point that loses is in it by name.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.forest import lleaves
from benchmarks.forest.floor import find_floor
from benchmarks.forest.rounds import LLEAVES, OURS, Field
from benchmarks.forest.summary import described, summary
from benchmarks.models.forest_models import NAMES, benchmark_model, one_leaf_model
from benchmarks.synthetic import machine
from servefit.backends.artifacts import cache
from servefit.backends.compilation import compile_model
from servefit.backends.finding.capabilities import backend
from servefit.backends.finding.registry import backend_names
from servefit.backends.payload import Payload
from servefit.backends.types import Target
from servefit.errors import ServefitError
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import describe_host

if TYPE_CHECKING:
    from benchmarks.forest.rounds import Point
    from benchmarks.models.forest_models import BenchmarkModel
    from servefit.backends.model import Model
    from servefit.backends.types import Artifact
    from servefit.profiler.machine.host import Host

ROWS, THREADS = (1, 8, 64, 512, 4096), (1, 2)
FLOOR_ROWS = 4096
TL2CGEN_NODES = 300_000
COMPILE_LIMIT_S = 600.0
SECONDS_PER_1000_TREES = 2.0
PYTHON_NS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What takes a model, by name: artifacts, the seconds that compiling took, and why others were left out."""

    artifacts: dict[str, Artifact]
    seconds: dict[str, float]
    left_out: dict[str, str]

    def report(self, trees: int) -> dict[str, Any]:
        """Return the times of compiling. The limit for few trees is that for 1000, since half a second of compiling is
        the start of a process."""
        limit_s = SECONDS_PER_1000_TREES * max(trees, 1000) / 1000
        return {
            "compile_s": {name: round(seconds, 2) for name, seconds in self.seconds.items()},
            "forest_compile_s_per_1000_trees": round(self.seconds[OURS] * 1000 / trees, 2),
            "forest_compile_in_time": self.seconds[OURS] <= limit_s,
            "left_out": self.left_out,
        }


def entries(given: BenchmarkModel, *, skip_tl2cgen_above: int) -> Entries:
    """Compile with everything that takes the model; forest has to."""
    model = given.model
    found = Entries(artifacts={}, seconds={}, left_out={})
    _forget_forest(model)
    for name in backend_names():
        if name == "tl2cgen" and model.trees is not None and model.trees.nodes > skip_tl2cgen_above:
            found.left_out[name] = f"{model.trees.nodes} nodes are more than {skip_tl2cgen_above}"
            continue
        try:
            payload = Payload(rows=given.rows, source="held out")
            compiled = compile_model(model, name, payload=payload, timeout_s=COMPILE_LIMIT_S)
        except ServefitError as error:
            if name == OURS:
                raise
            found.left_out[name] = str(error)
            continue
        found.artifacts[name], found.seconds[name] = compiled.artifact, compiled.seconds
    if lleaves.takes(model):
        try:
            found.artifacts[LLEAVES], found.seconds[LLEAVES] = lleaves.compile_lleaves(model, given.rows)
        except ServefitError as error:
            found.left_out[LLEAVES] = str(error)
    return found


def _forget_forest(model: Model) -> None:
    """Remove the artifact of an earlier run from the cache, so that compiling is timed."""
    ours = backend(OURS)
    key = cache.artifact_key(model, ours, ours.probe().version or "", Target.CPU)
    if cache.find(key) is not None:
        cache.remove(key)


class Benchmark:
    """Measures model after model on ``host``."""

    def __init__(self, options: argparse.Namespace, host: Host) -> None:
        self._options, self._host, self._random = options, host, Random(options.seed)
        self.points: list[Point] = []
        self.models: list[dict[str, Any]] = []
        self.described: list[dict[str, Any]] = []

    def run(self, given: BenchmarkModel) -> None:
        say(f"{given.name}: compiling")
        taking_part = entries(given, skip_tl2cgen_above=self._options.skip_tl2cgen_above)
        floor = find_floor(given.model, given.rows[:FLOOR_ROWS], choose_cpus(self._host.cpus, 1)[0])
        trees = given.model.trees
        if trees is None:
            raise RuntimeError(f"{given.name} has no trees")
        shape = {"trees": trees.trees, "nodes": trees.nodes, "max_depth": trees.max_depth}
        features, outputs = given.model.signature.features, given.model.signature.outputs
        counted = {
            "visits_per_row": round(floor.visits, 1),
            "kilobytes_touched_by_1_row": round(floor.lines[0] / 16, 1),
            f"kilobytes_touched_by_{floor.rows}_rows": round(floor.lines[1] / 16, 1),
            "compared_per_ns": round(floor.compared_per_ns, 1),
            "bytes_per_ns": [round(each, 1) for each in floor.bytes_per_ns],
        }
        shape |= {"features": features, "outputs": outputs}
        self.models.append({"model": given.name, **shape, **taking_part.report(trees.trees), "floor": counted})
        for threads in self._options.threads:
            points = self._measure(given, taking_part.artifacts, threads, self._options.rows)
            self.points += points
            self.described += [described(point, floor) for point in points]

    def python_overhead(self) -> dict[str, Any]:
        """Measure calls with one row of a model with nothing to predict: the time that Python takes."""
        given = one_leaf_model()
        taking_part = entries(given, skip_tl2cgen_above=self._options.skip_tl2cgen_above)
        (point,) = self._measure(given, taking_part.artifacts, 1, [1])
        ns = {name: round(1000 * us) for name, us in sorted(point.us().items(), key=lambda item: item[1])}
        return {"features": given.model.signature.features, "call_ns": ns, "within_1_us": ns[OURS] <= PYTHON_NS}

    def _measure(
        self, given: BenchmarkModel, artifacts: dict[str, Artifact], threads: int, rows: list[int]
    ) -> list[Point]:
        say(f"{given.name}: {threads} thread{'s' * (threads > 1)}")
        with tempfile.TemporaryDirectory(prefix="servefit-rows-") as folder:
            file = Path(folder) / "rows.npy"
            np.save(file, given.rows)
            with Field(
                given.name,
                artifacts,
                {LLEAVES: lleaves.LOADER},
                rows_file=file,
                cpus=choose_cpus(self._host.cpus, threads),
                random=self._random,
            ) as contestants:
                return [_said(contestants.measure(each, self._options.rounds)) for each in rows]


def _said(point: Point) -> Point:
    """Print a line about ``point``, so that a run that is stopped leaves its results, and return it."""
    best, ratio, to_lleaves = point.best_other(), point.ratio_to_best(), point.ratio_to_lleaves()
    others = f"{ratio.middle:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f}) to {best}" if ratio else "no other"
    others += f", {to_lleaves.middle:.2f} to lleaves" if to_lleaves else ""
    say(f"{point.model}: rows {point.rows}, threads {point.threads}: {point.us()[OURS]:.4g} us, {others}")
    return point


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--rows", nargs="+", type=int, default=list(ROWS))
    parser.add_argument("--threads", nargs="+", type=int, default=list(THREADS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip-tl2cgen-above", type=int, default=TL2CGEN_NODES, metavar="NODES")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which contestants take turns")
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < max(options.threads):
        parser.error("needs a CPU for every thread")
    host = describe_host()
    benchmark = Benchmark(options, host)
    began = time.monotonic()
    for name in options.models:
        benchmark.run(benchmark_model(name))
    result = {
        "machine": machine(host),
        "rounds": options.rounds,
        "python_overhead": benchmark.python_overhead(),
        "minutes": round((time.monotonic() - began) / 60, 1),
        **summary(benchmark.points),
        "models": benchmark.models,
        "points": benchmark.described,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
