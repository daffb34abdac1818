"""The http driver beside wrk: the same requests to the same endpoint, in turns.

    python -m benchmarks.claims.http_driver [--rounds 15]

One worker with one thread on one CPU, the client on another; one row a request, rotating through the demo's payload. In
every round, for every number of connections, the two take turns in an order that is drawn, and the driver's figure is
divided by wrk's of the same turn; what is printed are medians over the rounds, with the lowest and the highest. The
endpoint serves requests one by one, and then in batches: there the rhythm of a client decides how requests fall into
batches, and with it where the median lies, so that single rounds say less.

Then the same against a server that answers without looking, which shows how much either client can send at most, and
what an open loop costs the client at several rates. Needs wrk, taskset, a C compiler and two CPUs. Prints one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models.fraud import Fraud
from benchmarks.servers import wrk
from servefit.profiler.drivers.hosted_endpoint import endpoint_config, hosted_endpoint
from servefit.profiler.drivers.http.bodies import bodies
from servefit.profiler.drivers.http.clients import start_clients
from servefit.profiler.drivers.http.destination import Destination
from servefit.profiler.drivers.http.servers import UnseenServer
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.profiler.record.types import Configuration

if TYPE_CHECKING:
    from servefit.profiler.drivers.http.clients import HttpDriver

CONNECTIONS = (1, 16, 64)
RATES_PER_S = (1_000, 5_000, 20_000)
MEASURED_S = 1
BACKEND = "onnxruntime"
_TRIVIAL_SERVER = Path(__file__).parents[1] / "servers" / "trivial_server.c"
BATCHES = (1, 64)


def by_wrk(url: str, file: Path, *, connections: int, cpu: int) -> dict[str, float]:
    found = wrk.run(url, file, connections=connections, seconds=MEASURED_S, first=0, cpu=cpu)
    if found.errors:
        raise RuntimeError(f"wrk failed: {found.errors}")
    return {"rate_per_s": found.rate_per_s, "p50_us": found.p50_us, "p99_us": found.p99_us, "cpu": found.client_cpu}


def by_driver(driver: HttpDriver, *, connections: int) -> dict[str, float]:
    run = driver.run(ClosedLoop.constant(users=connections, duration_s=MEASURED_S))
    summary = summarize(run)
    if summary.errors:
        raise RuntimeError(f"the driver failed: {summary.errors}")
    response_us = run.samples.response_ns() / 1000
    return {
        "rate_per_s": summary.throughput_per_s,
        "p50_us": float(np.median(response_us)),
        "p99_us": float(np.percentile(response_us, 99)),
        "cpu": (summary.client_cpu_percent or 0.0) / 100,
    }


def beside_each_other(driver: HttpDriver, file: Path, *, rounds: int, cpu: int) -> dict[str, Any]:
    """Load one server with both clients in turns. Return the figures of each, and the ratios of the driver to wrk."""
    url = driver.destination.address.url
    random = Random(0)
    result: dict[str, Any] = {}
    for connections in CONNECTIONS:
        turns: list[dict[str, dict[str, float]]] = []
        for _ in range(rounds):
            clients: list[tuple[str, Callable[[], dict[str, float]]]] = [
                ("wrk", lambda count=connections: by_wrk(url, file, connections=count, cpu=cpu)),  # type: ignore[misc]
                ("driver", lambda count=connections: by_driver(driver, connections=count)),  # type: ignore[misc]
            ]
            random.shuffle(clients)
            turns.append({name: take() for name, take in clients})
        result[f"{connections} connections"] = {
            **{name: medians([turn[name] for turn in turns]) for name in ("wrk", "driver")},
            "driver / wrk": {
                figure: spread([turn["driver"][figure] / turn["wrk"][figure] for turn in turns])
                for figure in ("rate_per_s", "p50_us", "p99_us")
            },
        }
    return result


def medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {figure: float(f"{median(turn[figure] for turn in turns):.4g}") for figure in turns[0]}


def spread(ratios: list[float]) -> dict[str, float]:
    return {"median": round(median(ratios), 3), "from": round(min(ratios), 3), "to": round(max(ratios), 3)}


def paced(driver: HttpDriver) -> dict[str, Any]:
    """Return how late the client sends in an open loop, and the CPU time that it needs."""
    found = {}
    for rate_per_s in RATES_PER_S:
        run = driver.run(OpenLoop(rate_per_s=rate_per_s, duration_s=MEASURED_S))
        lags_us = run.lags_ns() / 1000
        found[f"{rate_per_s} per s"] = {
            "sent": int(np.count_nonzero(run.samples.started_ns() > 0)) / run.offered,
            "lag_p50_us": round(float(np.median(lags_us)), 1),
            "lag_p99_us": round(float(np.percentile(lags_us, 99)), 1),
            "client_cpu_percent": round(summarize(run).client_cpu_percent or 0.0, 1),
        }
    return found


@contextmanager
def trivial_server(folder: Path, cpu: int) -> Iterator[str]:
    program = folder / "trivial_server"
    subprocess.run(["cc", "-O2", "-o", program, _TRIVIAL_SERVER], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["taskset", "--cpu-list", str(cpu), str(program), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    fraud = Fraud.prepare((BACKEND,))
    client_cpu, *_, server_cpu = sorted(cpu.cpu for cpu in fraud.host.cpus)
    result: dict[str, Any] = {"machine": fraud.machine(), "wrk": wrk.version(), "rounds": rounds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "bodies.jsonl"
        made = bodies("open-inference", fraud.rows, rows_per_request=1)
        file.write_bytes(b"".join(body + b"\n" for _, body in made))
        for batch in BATCHES:
            configuration = Configuration(vcpus=1, backend=BACKEND, max_batch=batch)
            config = endpoint_config(configuration, fraud.artifacts[BACKEND], fraud.model.signature, name="fraud")
            with hosted_endpoint(config, cpus=(server_cpu,)) as hosted:
                destination = Destination.of(hosted.url, "open-inference", model="fraud")
                with start_clients(destination, fraud.rows, UnseenServer(), cpus=(client_cpu,)) as driver:
                    found = beside_each_other(driver, file, rounds=rounds, cpu=client_cpu)
            result[f"the demo's endpoint, batches of {batch}"] = found
        with trivial_server(folder, server_cpu) as url:
            destination = Destination.of(f"{url}v2/models/any/infer", "open-inference")
            with start_clients(destination, fraud.rows, UnseenServer(), cpus=(client_cpu,)) as driver:
                result["a server that answers at once"] = beside_each_other(driver, file, rounds=rounds, cpu=client_cpu)
                result["open loop, the same server"] = paced(driver)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
