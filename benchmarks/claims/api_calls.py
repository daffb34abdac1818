"""Whether 200 Describe and List calls a second move the figures of a job that ``servefit api`` carries out meanwhile.

    python -m benchmarks.claims.api_calls [--rounds 6] [--rate 200] [--seconds 30]

Prints one JSON object. In turns of either order an Advanced job is carried out through the API, alone and while a
client on the CPU that the job's envelope leaves free describes it, lists jobs and lists its steps, at times that are
settled before. The jobs measure ``fraud`` on one CPU at 500 requests a second, each with nothing known before. Told
are capacity and p95 of the recommendations, the ratios of each pair of jobs, and how far two quiet jobs are apart.
It takes about seven minutes.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.api_server import ROLE, ApiServer, api_server
from benchmarks.jobs import VCPUS, payload_of, servefit
from benchmarks.synthetic import machine, percentiles
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import describe_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

MODEL, JOB, PROFILE = "fraud", "measured", "ml.local-1c"
INVOCATIONS = 30_000
CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("DescribeInferenceRecommendationsJob", {"JobName": JOB}),
    ("ListInferenceRecommendationsJobs", {}),
    ("ListInferenceRecommendationsJobSteps", {"JobName": JOB}),
    ("DescribeModel", {"ModelName": MODEL}),
)


def call_at_a_rate(address: str, rate_per_s: float, cpus: list[int], results: Connection) -> None:
    """Send calls in turn, each at its time, until told to end; then tell their times of response and their statuses."""
    os.sched_setaffinity(0, cpus)
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    taken_ms, statuses, number = [], set(), 0
    began = time.monotonic()
    while not results.poll():
        due = began + number / rate_per_s
        time.sleep(max(0.0, due - time.monotonic()))
        operation, given = CALLS[number % len(CALLS)]
        headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        connection.request("POST", "/", json.dumps(given), headers)
        answer = connection.getresponse()
        answer.read()
        taken_ms.append((time.monotonic() - due) * 1000)
        statuses.add(answer.status)
        number += 1
    rate = number / (time.monotonic() - began)
    results.send({"calls_per_s": rate, "response_ms": percentiles(np.array(taken_ms)), "statuses": sorted(statuses)})


@contextmanager
def calls(address: str, rate_per_s: float, cpus: list[int], told: dict[str, Any]) -> Iterator[None]:
    """Call within the block, and put into ``told`` what came of it; call nothing at a rate of 0."""
    if not rate_per_s:
        yield
        return
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=call_at_a_rate, args=(address, rate_per_s, cpus, there)
    )
    process.start()
    try:
        yield
        here.send("end")
        told.update(here.recv())
    finally:
        process.join(30)
        process.kill()


def job_of(server: ApiServer, folder: Path, seconds: int, rate_per_s: float, cpus: list[int]) -> dict[str, Any]:
    """Carry out a job beside calls, and return its figures."""
    model, _, rows = payload_of(MODEL, folder)
    np.savetxt(folder / "payload.csv", rows, delimiter=",", fmt="%.9g")
    sagemaker = server.client("sagemaker")
    container = {"Image": "none", "ModelDataUrl": server.put(model)}
    sagemaker.create_model(ModelName=MODEL, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    sagemaker.create_inference_recommendations_job(
        JobName=JOB,
        JobType="Advanced",
        RoleArn=ROLE,
        InputConfig={
            "ModelName": MODEL,
            "JobDurationInSeconds": seconds,
            "EndpointConfigurations": [{"InstanceType": PROFILE}],
            "ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": server.put(folder / "payload.csv")}},
        },
        StoppingConditions={
            "MaxInvocations": INVOCATIONS,
            "ModelLatencyThresholds": [{"Percentile": "P95", "ValueInMilliseconds": 20}],
        },
    )
    told: dict[str, Any] = {}
    with calls(server.address, rate_per_s, cpus, told):
        while sagemaker.describe_inference_recommendations_job(JobName=JOB)["Status"] in ("PENDING", "IN_PROGRESS"):
            time.sleep(2)
    _, document = servefit("show", JOB, home=server.home)
    best = document["recommendations"][0]
    return {
        **told,
        "verdict": best["verdict"],
        "confirmed": best["confirmed"],
        "capacity_per_s": best["capacity"]["rate_per_s"],
        "p95_ms": best["model_latency_ms"]["p95"],
        "left_out_s": best["left_out_s"],
    }


def ratios(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Return the second of each pair over the first."""
    found = {}
    for figure in ("capacity_per_s", "p95_ms"):
        each = [round(second[figure] / first[figure], 3) for first, second in pairs]
        found[figure] = {"median": statistics.median(each), "each": each}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    host = describe_host()
    envelope = choose_cpus(host.cpus, VCPUS)
    free = [each.cpu for each in host.cpus if each.cpu not in envelope]
    rounds = []
    for number in range(given.rounds):
        found = {}
        for rate in ((0.0, given.rate), (given.rate, 0.0))[number % 2]:
            with tempfile.TemporaryDirectory() as name, api_server(Path(name) / "home", "--allow-noise") as server:
                found[rate] = job_of(server, Path(name), given.seconds, rate, free)
            print(number, rate, found[rate], file=sys.stderr, flush=True)
        rounds.append((found[0.0], found[given.rate]))
    quiet = [alone for alone, _ in rounds]
    result = {
        "machine": machine(host),
        "calls_per_s": given.rate,
        "beside calls over alone": ratios(rounds),
        "a quiet job over the one before": ratios(list(pairwise(quiet))),
        "rounds": rounds,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
