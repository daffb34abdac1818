"""``python tests/golden/make.py NAME`` writes the files that this servefit keeps and prints into tests/golden/NAME.

A set is made once, with the code of the release whose files it holds, and is not changed afterwards: the tests beside
this script read it with every later servefit. To add a set, run the script in a checkout of the release, and name the
set by its schema number. It takes five to ten minutes; let nothing else run on the machine. A set holds:

- ``home``: a state folder with the jobs of ``cases``, without what servefit makes again when it needs it
- ``show``, ``steps``, ``scale``, ``report``: what the commands of these names print of the jobs, as JSON; ``packages``:
  what ``show`` prints with the packages that a job asked for
- ``measurements``: files of raw samples, and beside each what was printed when it was written
- ``compiled``: artifacts, each with the description of an endpoint that serves it, and ``predictions.json``
- ``bundle``: the endpoint, the artifact and the model that ``servefit export`` writes
- ``sources``: the models, the payload, and a config file
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.golden.cases import (
    COMPILED,
    JOBS,
    PROFILES,
    RECORDINGS,
    REPORTED,
    SCALED,
    WITH_PACKAGES,
    WITH_SAMPLES,
    Job,
    Recording,
)
from tests.golden.commands import (
    HOME,
    WORK,
    busy_cpus,
    described_endpoint,
    endpoint,
    interrupt,
    printed,
    servefit,
    write,
)
from tests.golden.kept import replace_in_jobs
from tests.golden.packages import install

SOURCES = WORK / "sources"
MODEL, PAYLOAD, MANY = SOURCES / "model.ubj", SOURCES / "payload.csv", WORK / "many.npy"
PACKAGES = WORK / "installed"

ROWS = 40
"""Few, since each job keeps its payload."""

KERNEL = "6.12.0"
"""Written in place of the version of this machine's kernel, which nobody needs to know."""


def make_sources() -> None:
    """Write a model of xgboost, the same as ONNX, and a payload."""
    import xgboost

    generator = np.random.default_rng(0)
    rows = generator.normal(size=(200, 6)).astype(np.float32)
    labels = (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).astype(int)
    SOURCES.mkdir()
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, labels), 5
    )
    booster.save_model(MODEL)
    np.savetxt(PAYLOAD, rows[:ROWS], delimiter=",", fmt="%.6g")
    np.save(MANY, np.tile(rows, (40, 1)))
    servefit("compile", MODEL, "-b", "onnxruntime", "-o", WORK / "onnx")
    (onnx,) = (WORK / "onnx").rglob("*.onnx")
    shutil.move(onnx, SOURCES / "model.onnx")
    shutil.rmtree(WORK / "onnx")


def run(job: Job) -> None:
    model = SOURCES / job.model
    arguments: tuple[str | Path, ...] = ("recommend", model, "--payload", PAYLOAD, "--name", job.name, *job.options)
    if job.signal is not None:
        interrupt(arguments, signal.Signals[job.signal])
        return
    with busy_cpus() if job.disturbed else nullcontext():
        servefit(*arguments, packages=PACKAGES if job.name in WITH_PACKAGES else None)


def record(recording: Recording) -> None:
    """Write a measurement, and what is printed with it."""
    folder = WORK / "measurements"
    folder.mkdir(exist_ok=True)
    payload = MANY if "4000" in recording.options else PAYLOAD
    with endpoint(MODEL) if recording.load else nullcontext(MODEL) as subject:
        command = "load" if recording.load else "profile"
        file = folder / f"{recording.name}.servefit"
        document = printed(command, subject, "--payload", payload, *recording.options, "--save", file)
    write(document, "measurements", recording.name)


def compile_all() -> None:
    """Write artifacts, the endpoints that serve them, and their predictions."""
    predictions: dict[str, Any] = {}
    body = PAYLOAD.read_bytes()
    for backend in COMPILED:
        folder = WORK / "compiled" / backend
        write(printed("compile", MODEL, "-b", backend, "-o", folder / "artifact"), "compiled", backend)
        bundle = WORK / f"bundle-of-{backend}"
        servefit("export", "--model", MODEL, "-b", backend, "-o", bundle, "--name", "golden")
        description = json.loads((bundle / "endpoint.json").read_bytes())
        description["artifact"]["folder"] = "artifact"
        (folder / "endpoint.json").write_text(json.dumps(description, indent=2) + "\n")
        with described_endpoint(folder / "endpoint.json") as url:
            request = Request(f"{url}/invocations", data=body, headers={"content-type": "text/csv"})
            with urlopen(request) as answer:
                predictions[backend] = np.loadtxt(answer, delimiter=",").tolist()
        shutil.rmtree(bundle)
    write(predictions, "compiled", "predictions")


def export_bundle() -> None:
    """Write the parts of a bundle that an endpoint reads."""
    whole = WORK / "whole-bundle"
    servefit("export", "sla-met", "-o", whole)
    for name in ("artifact", "model"):
        shutil.copytree(whole / name, WORK / "bundle" / name)
    shutil.copy(whole / "endpoint.json", WORK / "bundle")
    shutil.rmtree(whole)


def trim() -> None:
    """Remove what is made again when it is needed, most raw samples, and what tells this machine from others."""
    for made_again in ("artifacts", "references"):
        shutil.rmtree(HOME / made_again)
    for job in JOBS:
        steps = [best["step"] for best in printed("show", job.name)["recommendations"][:1] if job.name in WITH_SAMPLES]
        for samples in (HOME / "jobs" / job.name / "measurements").glob("*.servefit"):
            if int(samples.stem) not in steps:
                samples.unlink()
    kernel = os.uname().release
    for document in WORK.rglob("*.json"):
        document.write_text(document.read_text().replace(kernel, KERNEL))
    replace_in_jobs(WORK, kernel, KERNEL)
    with closing(sqlite3.connect(HOME / "jobs.db")) as database:
        with database:
            database.execute(
                "UPDATE servefit_documents SET text = json_set(text, '$.host', 'golden')"
                " WHERE key = 'servefit:owner' AND text <> 'null'"
            )
        # Texts of 3 KiB fill smaller pages better.
        database.execute("PRAGMA page_size = 1024")
        database.execute("VACUUM")
    MANY.unlink()


def keep_outputs() -> None:
    """Write what the commands print of the jobs."""
    for job in JOBS:
        write(printed("show", job.name), "show", job.name)
        write(printed("steps", job.name), "steps", job.name)
    for name in SCALED:
        write(printed("scale", name, "--rate", "1000/s"), "scale", name)
    for name in REPORTED:
        write(printed("report", name), "report", name)
    for name in WITH_PACKAGES:
        write(printed("show", name, packages=PACKAGES), "packages", name)
    write(printed("jobs"), "jobs")


def main() -> None:
    name = sys.argv[1]
    # What is started in the background inherits an ignored SIGINT, and so would the job that one interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    shutil.rmtree(WORK, ignore_errors=True)
    HOME.mkdir(parents=True)
    (HOME / "profiles.toml").write_text(PROFILES)
    make_sources()
    install(PACKAGES)
    for job in JOBS:
        run(job)
    compile_all()
    export_bundle()
    for recording in RECORDINGS:
        record(recording)
    trim()
    keep_outputs()
    shutil.rmtree(PACKAGES)
    shutil.copytree(WORK, Path(__file__).with_name(name))


if __name__ == "__main__":
    main()
