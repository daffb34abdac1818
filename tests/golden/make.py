"""``python tests/golden/make.py NAME`` writes the files that this servefit keeps and prints into tests/golden/NAME.

They are made once, with the code of the release whose files they are, and never again: the tests beside this script
have every later servefit read them. So run it in a checkout of a release to add its set, and call the set by the schema
numbers in it. It takes ten minutes, and a machine with two CPUs that are otherwise idle. What a set holds:

- ``home``: a state folder with jobs of all shapes (``cases``), without what can be made again
- ``show``, ``steps``, ``scale``, ``report``: what the commands of these names print of the jobs, as JSON
- ``measurements``: files of raw samples, and beside each what was printed when it was written
- ``compiled``: artifacts, each with the description of an endpoint that serves it, and ``predictions.json``
- ``bundle``: what ``servefit export`` writes, without the code in it
- ``sources``: the models and the payload
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.golden.cases import (
    COMPILED,
    JOBS,
    NOT_SAVED,
    PROFILES,
    RECORDINGS,
    REPORTED,
    ROOT,
    SCALED,
    WITH_SAMPLES,
    Job,
    Recording,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = (sys.executable, "-m", "servefit")
WORK = Path(ROOT)
SOURCES = WORK / "sources"
HOME = WORK / "home"
MODEL, PAYLOAD, MANY = SOURCES / "model.ubj", SOURCES / "payload.csv", WORK / "many.npy"

ROWS = 40
"""Few, since each job keeps its payload."""

LONGEST_S = 300
"""No command takes nearly as long."""


def make_sources() -> None:
    """Write models of each library of one small data set, and a payload."""
    import lightgbm
    import xgboost
    from sklearn.ensemble import RandomForestClassifier

    generator = np.random.default_rng(0)
    rows = generator.normal(size=(200, 6)).astype(np.float32)
    labels = (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).astype(int)
    SOURCES.mkdir()
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, labels), 5
    )
    booster.save_model(MODEL)
    lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_leaves": 7}, lightgbm.Dataset(rows, labels), 5
    ).save_model(SOURCES / "model.txt")
    forest = RandomForestClassifier(3, max_depth=3, random_state=0).fit(rows, labels)
    (SOURCES / "model.pkl").write_bytes(pickle.dumps(forest))
    np.savetxt(PAYLOAD, rows[:ROWS], delimiter=",", fmt="%.6g")
    np.save(MANY, np.tile(rows, (40, 1)))


def servefit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Carry a command out, and say how it ended: what is asked here may well be unmet."""
    print("servefit", *arguments, flush=True)
    ended = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
        cwd=WORK,
        env={**os.environ, "SERVEFIT_HOME": str(HOME)},
    )
    print("  ended with", ended.returncode, *ended.stderr.splitlines()[-1:], flush=True)
    return ended


def printed(*arguments: str | Path) -> Any:
    """The JSON document that a command prints."""
    return json.loads(servefit(*arguments, "--format", "json").stdout)


def write(document: Any, *names: str) -> None:
    """Write ``document`` compactly, below the folder of the set: it is for programs."""
    path = WORK.joinpath(*names).with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n")


@contextmanager
def disturbance() -> Iterator[None]:
    """Have a process on every CPU that wants all of it."""
    with ExitStack() as stack:
        for _ in os.sched_getaffinity(0):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        yield


def run(job: Job) -> None:
    payload = ("--payload", PAYLOAD) if job.payload else ()
    arguments = ("recommend", SOURCES / job.model, *payload, "--name", job.name, *job.options)
    if job.signal is not None:
        interrupt(arguments, signal.Signals[job.signal])
    elif job.disturbed:
        with disturbance():
            servefit(*arguments)
    else:
        servefit(*arguments)


def interrupt(arguments: tuple[str | Path, ...], number: signal.Signals) -> None:
    """Begin a job, and end it by a signal in its second test."""
    print("servefit", *arguments, number.name, flush=True)
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=WORK,
        env={**os.environ, "SERVEFIT_HOME": str(HOME)},
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "(2 of " in line:
                break
        time.sleep(0.5)  # workers have been started
        process.send_signal(number)
        process.stderr.read()
    print("  ended with", process.returncode, flush=True)


def keep_outputs() -> None:
    """Write down what the commands print of the jobs."""
    for job in JOBS:
        write(printed("show", job.name), "show", job.name)
        write(printed("steps", job.name), "steps", job.name)
    for name in SCALED:
        planned = servefit("scale", name, "--rate", "1000/s", "--format", "json")
        if planned.returncode == 0:
            write(json.loads(planned.stdout), "scale", name)
    for name in REPORTED:
        write(printed("report", name), "report", name)
    write(printed("jobs"), "jobs")


def record(recording: Recording) -> None:
    """Write down a measurement, and what is printed with it."""
    folder = WORK / "measurements"
    folder.mkdir(exist_ok=True)
    payload = MANY if "4000" in recording.options else PAYLOAD
    save = () if recording.name in NOT_SAVED else ("--save", folder / f"{recording.name}.servefit")
    with endpoint(MODEL) if recording.load else nullcontext(MODEL) as subject:
        command = "load" if recording.load else "profile"
        document = printed(command, subject, "--payload", payload, *recording.options, *save)
    write(document, "measurements", recording.name)


@contextmanager
def endpoint(model: Path) -> Iterator[str]:
    """An endpoint of ``model`` that takes 4000 rows, until the block ends."""
    arguments = [*COMMAND, "serve", "--model", str(model), "--port", "8765", "--quiet"]
    with subprocess.Popen(arguments, env={**os.environ, "SERVEFIT_HOME": str(HOME)}, cwd=WORK) as process:
        try:
            url = "http://127.0.0.1:8765"
            wait_for(url)
            yield url
        finally:
            process.terminate()


def wait_for(url: str) -> None:
    for _ in range(200):
        try:
            with urlopen(f"{url}/ping"):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def compile_all() -> None:
    """Write artifacts, the endpoints that serve them, and what those answer."""
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
        with serving(folder / "endpoint.json") as url:
            asked = Request(f"{url}/invocations", data=body, headers={"content-type": "text/csv"})
            with urlopen(asked) as answer:
                predictions[backend] = np.loadtxt(answer, delimiter=",").tolist()
        shutil.rmtree(bundle)
    write(predictions, "compiled", "predictions")
    servefit("export", "sla-met", "-o", WORK / "bundle")
    shutil.rmtree(WORK / "bundle" / "lib")


@contextmanager
def serving(description: Path) -> Iterator[str]:
    arguments = [sys.executable, "-P", "-m", "servefit.serving", str(description), "--port", "8766"]
    with subprocess.Popen(arguments) as process:
        try:
            wait_for("http://127.0.0.1:8766")
            yield "http://127.0.0.1:8766"
        finally:
            process.terminate()


def trim() -> None:
    """Remove what is made again when it is needed, most raw samples, and what this machine is called."""
    for made_again in ("artifacts", "references"):
        shutil.rmtree(HOME / made_again)
    for job in JOBS:
        kept = [best["step"] for best in printed("show", job.name)["recommendations"][:1] if job.name in WITH_SAMPLES]
        for samples in (HOME / "jobs" / job.name / "measurements").glob("*.servefit"):
            if int(samples.stem) not in kept:
                samples.unlink()
    kernel, plain = os.uname().release, "6.12.0"
    for document in WORK.rglob("*.json"):
        text = document.read_text()
        if kernel in text:
            document.write_text(text.replace(kernel, plain))
    with sqlite3.connect(HOME / "jobs.db") as database:
        database.execute("UPDATE study_user_attributes SET value_json = replace(value_json, ?, ?)", (kernel, plain))
        database.execute(
            "UPDATE study_user_attributes SET value_json = json_set(value_json, '$.host', 'golden')"
            " WHERE key = 'servefit:owner' AND value_json <> 'null'"
        )
    # Texts of 3 KiB fill smaller pages better.
    database.execute("PRAGMA page_size = 1024")
    database.execute("VACUUM")
    database.close()
    MANY.unlink()


def main() -> None:
    name = sys.argv[1]
    shutil.rmtree(WORK, ignore_errors=True)
    HOME.mkdir(parents=True)
    (HOME / "profiles.toml").write_text(PROFILES)
    make_sources()
    servefit("compile", MODEL, "-b", "onnxruntime", "-o", WORK / "onnx")
    (onnx,) = (WORK / "onnx").rglob("*.onnx")
    shutil.move(onnx, SOURCES / "model.onnx")
    shutil.rmtree(WORK / "onnx")
    for job in JOBS:
        run(job)
    compile_all()
    for recording in RECORDINGS:
        record(recording)
    trim()
    keep_outputs()
    shutil.copytree(WORK, Path(__file__).with_name(name))


if __name__ == "__main__":
    main()
