"""How long an endpoint keeps others waiting while it reads the worst bodies that it is sent.

    python -m benchmarks.claims.bodies [--features 30] [--mib 25] [--clients 2] [--only NAME ...]

One worker, whose predictor takes no time. Every body is sent by all clients at once. Meanwhile another process asks for
health checks, one after the other. Prints one JSON object: for every body how long its requests took, what they got,
and how long the longest health check and that of the 95th percentile took; and the longest of every format.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.serving.hostile_bodies import Body, hostile_bodies

from benchmarks.synthetic import machine
from servefit.backends.model.types import Signature, Task
from servefit.backends.types import Target
from servefit.profiler.machine.host import describe_host
from servefit.serving.config import ArtifactFacts, EndpointConfig

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

    from servefit.backends.types import Artifact, Settings

NAME = "bodies"
BETWEEN_PROBES_S = 0.002
PATIENCE_S = 300.0
REPOSITORY = Path(__file__).parents[2]


class FirstColumn:
    """A predictor that takes no time."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, 0].copy()

    def close(self) -> None:
        pass


def load(_: Artifact, __: Settings) -> FirstColumn:
    return FirstColumn()


def described(features: int) -> EndpointConfig:
    artifact = ArtifactFacts(
        backend=NAME, backend_version="1", model_digest="", target=Target.CPU, folder="artifact", facts={}
    )
    names = tuple(f"f{number}" for number in range(features))
    signature = Signature(task=Task.REGRESSION, features=features, outputs=1, feature_names=names)
    return EndpointConfig(
        name=NAME, artifact=artifact, signature=signature, port=0, loader="benchmarks.claims.bodies:load"
    )


@contextmanager
def endpoint(config: EndpointConfig) -> Iterator[int]:
    """Serve an endpoint within the block, and yield its port."""
    ready, told = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "endpoint.json"
        file.write_bytes(config.document())
        (Path(folder) / config.artifact.folder).mkdir()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "servefit.serving", str(file), "--ready-fd", str(told)],
            pass_fds=[told],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])},
        )
        os.close(told)
        try:
            with os.fdopen(ready) as said:
                yield json.loads(said.readline())["port"]
        finally:
            process.terminate()
            process.wait()


def probe(port: int, over: Event, told: Connection) -> None:
    """Ask again and again whether the endpoint lives, until it is ``over``; tell how many ms each answer took."""
    took_ms = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    while not over.is_set():
        began_s = time.perf_counter()
        connection.request("GET", "/v2/health/live")
        connection.getresponse().read()
        took_ms.append(1e3 * (time.perf_counter() - began_s))
        time.sleep(BETWEEN_PROBES_S)
    told.send(took_ms)


@contextmanager
def probing(port: int) -> Iterator[list[float]]:
    """Ask for health checks within the block, and yield a list that has their times in ms once the block is over.
    Another process asks, since the clients of this one hold Python's lock."""
    took_ms: list[float] = []
    over, (told, tells) = multiprocessing.Event(), multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=probe, args=(port, over, tells))
    process.start()
    try:
        yield took_ms
    finally:
        over.set()
        took_ms += told.recv()
        process.join()


def sent(port: int, body: Body) -> tuple[str, float]:
    """Send a request, and return what the client gets, and after how many ms."""
    path = f"/v2/models/{NAME}/infer" if body.tensors else "/invocations"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    began_s = time.perf_counter()
    try:
        connection.request("POST", path, body.content, body.headers)
        response = connection.getresponse()
        response.read()
        told = str(response.status)
    except (OSError, http.client.HTTPException) as error:
        told = type(error).__name__
    finally:
        connection.close()
    return told, 1e3 * (time.perf_counter() - began_s)


def measured(port: int, body: Body, *, clients: int) -> dict[str, Any]:
    with probing(port) as probes_ms, ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(lambda _: sent(port, body), range(clients)))
    return {
        "body": body.name,
        "format": body.format,
        "mib": round(len(body.content) / 2**20, 1),
        "got": sorted({told for told, _ in found}),
        "request_ms": round(max(ms for _, ms in found), 1),
        "probes": len(probes_ms),
        "probe_p95_ms": round(float(np.percentile(probes_ms, 95)), 1),
        "probe_longest_ms": round(max(probes_ms), 1),
    }


def worst(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the longest times of every format, of requests and of health checks."""
    figures = ("request_ms", "probe_p95_ms", "probe_longest_ms")
    return {
        name: {figure: max(result[figure] for result in found if result["format"] == name) for figure in figures}
        for name in dict.fromkeys(result["format"] for result in found)
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--mib", type=float, default=25.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="bodies whose name or format has one of these in it")
    options = parser.parse_args()
    found = []
    with endpoint(described(options.features)) as port:
        first = Body(name="first", headers={"content-type": "text/csv"}, content=b"0," * 50_000)
        sent(port, first)  # starts what is started when it is needed
        for body in hostile_bodies(options.features, int(options.mib * 2**20) - 1000):
            if not options.only or any(part in f"{body.format} {body.name}" for part in options.only):
                found.append(measured(port, body, clients=options.clients))
                print(found[-1], file=sys.stderr)
    machine_facts = machine(describe_host())
    print(json.dumps({"machine": machine_facts, "worst": worst(found), "bodies": found}, indent=2))


if __name__ == "__main__":
    main()
