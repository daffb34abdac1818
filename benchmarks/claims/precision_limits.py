"""Whether what servefit recommends within a limit of accuracy is at least as fast as what NNCF's accuracy control and
Olive's search find within the same one, and whether each keeps it on rows that it has not seen.

    python -m benchmarks.claims.precision_limits [--olive PYTHON] [--limit 0.005] [--sets 5] [--only TEXT]

A perceptron of scikit-learn and a small convolutional network of PyTorch are trained on digits. Then three look for an
artifact whose accuracy drops by the limit at most, each with the same 300 rows to calibrate on and the same 3,700 to
judge on: a job of servefit (``--allow-precision int8,bf16 --quality``), ``nncf.quantize_with_accuracy_control``, and
Olive, if PYTHON is that of an environment with olive-ai and onnxruntime (pip install olive-ai onnxruntime requests).

What they found, and the network itself in ONNX Runtime, is called by ``precision/timed_artifact.py``, which imports
nothing of servefit: NNCF's with OpenVINO's defaults, the others as their own library opens them; one row a call, one
thread, all on one CPU, in turns of A B B A, in fresh processes for each set. A ratio is the other's time over
servefit's, with its 95 % interval over the sets. Each artifact's drop is told on 10,000 other rows, with bounds of 95 %
each.

Prints one JSON object. The exit status is 1 if servefit's artifact is shown to break the limit, or to be more than 5 %
slower than another that is not; what is too noisy to tell is said. It takes about twenty minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import servefit as sf
from benchmarks.precision.beside_each_other import SILENT, STUDENT_95, Found, classes, dropped, in_turns
from benchmarks.precision.digits import GIVEN, HELD, TRAINED, Labelled, drawn
from benchmarks.synthetic import machine
from servefit.backends.checking.calibration import calibrating_and_rest
from servefit.backends.payload.reading import payload_for
from servefit.isolation import call_isolated
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import describe_host

NETWORKS = {"MLP 576-1024-1024-10": "perceptron", "three convolutions, 24 x 24": "convolutions"}
SEARCH = Path(__file__).parents[1] / "precision" / "programs" / "olive_search.py"
TIMED_ROWS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A network, the rows that all three are given, and those that none is."""

    file: Path
    folder: Path
    rows: np.ndarray
    labels: np.ndarray
    held_labels: np.ndarray
    limit: float

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the rows to calibrate on, and to judge on, as servefit divides them."""
        return calibrating_and_rest(len(self.rows))


def made(function: str, trained: Labelled, given: Labelled, held: Labelled, folder: Path, limit: float) -> Case:
    """Train a network, and write the rows."""
    folder.mkdir()
    file = folder / "digits.onnx"
    call_isolated(f"benchmarks.precision.digits:{function}", trained, file, timeout_s=1800)
    flat = function == "perceptron"
    rows, others = (
        each.images.reshape(len(each.images), -1) if flat else each.images[:, None] for each in (given, held)
    )
    case = Case(file=file, folder=folder, rows=rows, labels=given.labels, held_labels=held.labels, limit=limit)
    calibrating, judged = case.parts
    for name, array in (
        ("held", others),
        ("timed", others[:TIMED_ROWS]),
        ("calibration", rows[calibrating]),
        ("judged", rows[judged]),
        ("labels", given.labels[judged]),
    ):
        np.save(folder / f"{name}.npy", array)
    return case


def by_servefit(case: Case, budget: str) -> Found | None:
    """Let a job recommend, and give the artifact of what it recommends; None if that is nothing."""
    limits = sf.PrecisionLimits.of(
        allow_precision="int8,bf16", quality=case.labels, metric="accuracy", quality_drop=case.limit
    )
    job = sf.recommend(
        case.file,
        payload=case.rows,
        storage=f"sqlite:///{case.folder}/jobs.db",
        name=f"precision-limits-{os.getpid()}-{case.folder.name}",
        profile="local-1c",
        batch=1,
        goal="latency",
        rate="200/s",
        sla="p95<=50ms",
        budget=budget,
        deploy="library",
        allow_noise=True,
        allow_precision="int8,bf16",
        quality=case.labels,
        metric="accuracy",
        quality_drop=case.limit,
    )
    if job.best is None:
        return None
    name = job.best.trial.configuration.backend
    model = sf.Model.load(case.file)
    artifact = sf.compile_model(model, name, payload=payload_for(model, case.rows), precision=limits).artifact
    said = {
        "backend": name,
        "seconds": round(job.elapsed_s, 1),
        "left out": {
            each.name: each.reason for each in job.skipped if each.name.startswith(("onnxruntime", "openvino"))
        },
        "compiled": {
            each.backend: each.reason or (each.status if each.quality is None else each.quality.short)
            for each in job.compilation
        },
    }
    if not name.startswith("openvino"):
        return Found(runtime="onnxruntime", file=artifact.folder / artifact.facts.get("file", "model.onnx"), said=said)
    asked = {
        "INFERENCE_PRECISION_HINT": "bf16" if name.endswith("bf16") else "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
        "ENABLE_CPU_PINNING": False,
    }
    return Found(runtime=f"openvino:{json.dumps(asked)}", file=artifact.folder / "model.xml", said=said)


def by_nncf(case: Case) -> Found:
    """Let NNCF's accuracy control quantise the network."""
    calibrating, judged = case.parts
    path = case.folder / "nncf.xml"
    call_isolated(
        "benchmarks.precision.accuracy_control:with_accuracy_control",
        *(case.file, case.rows[calibrating], case.rows[judged], case.labels[judged], case.limit, path),
        timeout_s=3600,
    )
    return Found(runtime="openvino", file=path, said={})


def by_olive(case: Case, python: Path) -> Found:
    """Let Olive search, in its own environment."""
    words = [str(python), str(SEARCH), str(case.folder), str(case.file), str(case.limit)]
    ended = subprocess.run(
        words, env={**os.environ, **SILENT}, cwd=case.folder, capture_output=True, text=True, check=False
    )
    told = case.folder / "olive.json"
    if ended.returncode or not told.exists():
        raise RuntimeError(f"Olive ended with {ended.returncode}: {ended.stderr[-2000:]}")
    said = json.loads(told.read_text())
    return Found(runtime="onnxruntime", file=Path(said.pop("file")), said=said)


def compared(case: Case, python: Path | None, budget: str, sets: int) -> dict[str, Any]:
    """Return what the three found for one network, and how that compares."""
    (cpu,) = choose_cpus(describe_host().cpus, 1)
    own = by_servefit(case, budget)
    if own is None:
        return {"servefit": "recommends nothing", "met": False}
    plain = Found(runtime="onnxruntime", file=case.file, said={})
    artifacts = {"servefit": own, "ONNX Runtime, float32": plain, "NNCF": by_nncf(case)}
    if python is not None:
        artifacts["Olive"] = by_olive(case, python)
    document: dict[str, Any] = {}
    held = case.folder / "held.npy"
    before = classes(plain, held, cpu) == case.held_labels
    for name, found in artifacts.items():
        after = classes(found, held, cpu) == case.held_labels
        document[name] = {**found.said, **dropped(before, after, case.limit)}
        print(name, json.dumps(document[name]), file=sys.stderr, flush=True)
    broken = {name for name in artifacts if document[name]["limit"] == "broken"}
    turns = in_turns(artifacts, case.folder / "timed.npy", cpu, sets)
    for name, told in turns.items():
        document[name] |= told
    slower = {name for name, told in turns.items() if told.get("servefit is as fast") == "no"}
    return {**document, "met": "servefit" not in broken and slower <= broken}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--olive", type=Path, metavar="PYTHON", help="of an environment that has olive-ai")
    parser.add_argument("--limit", type=float, default=0.005, help="of the drop of accuracy")
    parser.add_argument("--budget", default="180s", help="of servefit's job; the others take what they take")
    parser.add_argument("--sets", type=int, default=5, choices=STUDENT_95, help="of fresh processes")
    parser.add_argument("--only", default="", help="networks whose names have this in them")
    asked = parser.parse_args()
    trained, given, held = (
        drawn(np.random.default_rng(nth), rows, training=rows == TRAINED)
        for nth, rows in enumerate((TRAINED, GIVEN, HELD))
    )
    document: dict[str, Any] = {"machine": machine(describe_host()), "limit": asked.limit, "networks": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, function in NETWORKS.items():
            if asked.only in name:
                case = made(function, trained, given, held, folder=Path(folder, function), limit=asked.limit)
                document["networks"][name] = compared(case, asked.olive, asked.budget, asked.sets)
    document["met"] = all(each["met"] for each in document["networks"].values())
    print(json.dumps(document, indent=1))
    return 0 if document["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
