"""Whether what a job promises of an endpoint is what the endpoint does, and whether its answer is the same tomorrow.

    python -m benchmarks.claims.deployed_answers capacity [--budget 30s]
    python -m benchmarks.claims.deployed_answers clients [--budget 30s] [--models xgb-1000x8,fraud]
    python -m benchmarks.claims.deployed_answers latency [--budget 40s] [--repeats 3]
    python -m benchmarks.claims.deployed_answers seeds [--budget 40s] [--warm-budget 40s] [--models fraud,xgb-1000x8]

``capacity``: twenty jobs, of five models at four rates. Of each: the capacity that is printed, against what wrk gets
out of ``servefit serve`` of that job, on the CPU of its profile, from another CPU. The aim is within 10 %, and never
more than 10 % above. wrk does the same again a quarter of a minute later, on the same endpoint: how far these two are
apart is the machine's doing. Beside it the target of ``servefit scale``, against the highest rate at which the same
endpoint was confirmed to keep the limit by ``servefit load``'s own search.

``clients``: how much of that capacity is the client's doing. An endpoint answers wrk, wrk while a process of the lowest
priority keeps wrk's CPU from idling, and ``servefit load``, in turns; with one row and with 2,000.

``latency``: the p95 at the asked rate of what is recommended, against the best of all configurations of the same cost,
each measured over HTTP so many times in turns, in fresh processes. What is best by these, and partly by luck, is then
compared with what is recommended in ten more turns of the two, with other arrivals. Aim: within 5 % or 20 us.

``seeds``: the same question with five seeds, each with nothing compiled and measured before, and again with what a job
of 40 s, and the others, had compiled and measured. The aim is one answer, or answers that the report calls equal:
within the tie of the goal. How long the traffic was that the answer's figures are of is printed with it.

Each prints one JSON object. They take about 25 minutes, 6 a model, 15, and 7 a model. ``capacity`` and ``clients`` need
wrk, taskset, chrt and two CPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from math import exp, log
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any

import numpy as np
import psutil

from benchmarks.jobs import LIMIT, VCPUS, payload_of, recommended, servefit
from benchmarks.models.forest_models import benchmark_model
from benchmarks.servers import wrk
from benchmarks.synthetic import machine
from servefit.backends.compilation import compile_model
from servefit.errors import ServefitError
from servefit.profiler.drivers.http.bodies import bodies
from servefit.profiler.drivers.start_driver import endpoint_for
from servefit.profiler.evidence.intervals import mean_interval
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.machine.cpus import choose_cpus, client_cpus
from servefit.profiler.machine.host import describe_host
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.record.traffic import OpenLoop
from servefit.profiler.record.types import Configuration
from servefit.search.request.space import BATCH_DELAYS_US, BATCH_SIZES
from servefit.search.results.objectives.cost import TIE_MS, CostAtRate

MODELS = ("xgb-100x4", "fraud", "xgb-1000x8", "lgb-500x63", "lgb-1000x31")
RATES_PER_S = (50, 500, 2000, 5000)
NAME = "model"
SEEDS = (0, 1, 2, 3, 4)
BACKENDS = ("forest", "onnxruntime", "treelite", "xgboost")
WRK_S = 2
TURNS = 3
WRK_BUSY, SERVEFIT_LOAD = "wrk on a CPU kept busy", "servefit load"
CLIENTS = ("wrk", WRK_BUSY, SERVEFIT_LOAD)
CLIENT_TURNS = 5
TURNS_OF_TWO = 10
"""One p95 of an endpoint is off by a quarter; the mean of ten ratios by less than a tenth."""

FIRST_BUDGET = "40s"
"""Of the job that the first of the warm ones begins with."""

LOAD = "15s"
"""Long enough for a replay of what it finds."""


@contextmanager
def served(job: str, home: Path) -> Iterator[str]:
    """Serve a job as a person would, and give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "servefit", "serve", job, "--port", str(port), "--name", NAME],
        env={**os.environ, "SERVEFIT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            time.sleep(0.1)
            try:
                urllib.request.urlopen(f"{url}/ping", timeout=5).close()
                break
            except OSError:
                continue
        else:
            raise RuntimeError(f"{job} does not come up")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def cpu_of_client() -> int:
    """Return a CPU beside the envelope of the profile."""
    topology = describe_host().cpus
    return client_cpus(topology, choose_cpus(topology, VCPUS))[0]


def by_wrk(url: str, rows: np.ndarray, folder: Path, *, connections: int) -> float:
    """Return the median requests a second of several turns of wrk, on a CPU beside the envelope of the profile."""
    file = folder / "bodies.txt"
    file.write_bytes(b"\n".join(body for _, body in bodies("open-inference", rows, rows_per_request=1)))
    cpu = cpu_of_client()
    target = f"{url}/v2/models/{NAME}/infer"
    return median(
        wrk.run(target, file, connections=connections, seconds=WRK_S, first=0, cpu=cpu).rate_per_s for _ in range(TURNS)
    )


def capacity(budget: str) -> dict[str, Any]:
    """Hold printed capacities, and targets of scaling, against what the endpoint does."""
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in MODELS:
            _, payload, rows = payload_of(name, home)
            for rate_per_s in RATES_PER_S:
                job = f"{name}-{rate_per_s}"
                document = recommended(name, rate_per_s, home, job=job, budget=budget)
                case: dict[str, Any] = {"model": name, "rate_per_s": rate_per_s, "status": document["exit_status"]}
                cases.append(case)
                if document["exit_status"] != 0:
                    case["reasons"] = [each["reason"] for each in document.get("recommendations", ())]
                    print(case, file=sys.stderr, flush=True)
                    continue
                best = document["recommendations"][0]
                case["configuration"] = f"{best['backend']}, batch {best['settings']['max_batch']}"
                printed = best["capacity"]["rate_per_s"]
                most = best["settings"]["max_batch"]
                with served(job, home) as url:
                    found = by_wrk(url, rows, home, connections=most + max(7, min(most, 128)))
                    _, loaded = servefit(
                        *("load", url, "--payload", str(payload), "--sla", LIMIT, "--duration", LOAD), home=home
                    )
                    again = by_wrk(url, rows, home, connections=most + max(7, min(most, 128)))
                _, plan = servefit("scale", job, "--rate", f"{rate_per_s}/s", home=home)
                confirmed = (loaded.get("highest_rate") or {}).get("rate_per_s")
                case |= {
                    "printed_per_s": round(printed),
                    "wrk_per_s": round(found),
                    "printed_over_wrk": round(printed / found, 3),
                    "wrk_again_over_wrk": round(again / found, 3),
                    "scale_target_per_s": round(plan["target"]["rate_per_s"]),
                    "confirmed_per_s": None if confirmed is None else round(confirmed),
                    "target_over_confirmed": (
                        None if not confirmed else round(plan["target"]["rate_per_s"] / confirmed, 3)
                    ),
                }
                print(case, file=sys.stderr, flush=True)
    figures = {}
    for name in ("printed_over_wrk", "wrk_again_over_wrk"):
        ratios = [case[name] for case in cases if name in case]
        figures[name] = {
            "jobs": len(ratios),
            "median": round(median(ratios), 3),
            "within_10_percent": sum(abs(ratio - 1) <= 0.1 for ratio in ratios),
            "more_than_10_percent_above": sum(ratio > 1.1 for ratio in ratios),
        }
    return {"jobs": len(cases), **figures, "cases": cases}


def clients(budget: str, *, name: str, rate_per_s: int = 500) -> dict[str, Any]:
    """Load one endpoint with several clients in turns, and tell what a request costs its processes."""
    turns: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _, _, rows = payload_of(name, home)
        best = recommended(name, rate_per_s, home, job="clients", budget=budget)["recommendations"][0]
        most = best["settings"]["max_batch"]
        users = most + max(7, min(most, 128))
        with served("clients", home) as url:
            for sent in (rows[:1], rows) * CLIENT_TURNS:
                payload = home / "sent.npy"
                np.save(payload, sent)
                load = (
                    "load",
                    url,
                    "--payload",
                    str(payload),
                    "--users",
                    str(users),
                    "--duration",
                    f"{TURNS * WRK_S}s",
                )
                server = servefit(*load, home=home)[1]["server"]["pid"]
                for client in CLIENTS:
                    before = _cpu_s(server)
                    if client == SERVEFIT_LOAD:
                        rate = servefit(*load, home=home)[1]["throughput_per_s"]
                    else:
                        with _kept_busy(cpu_of_client()) if client == WRK_BUSY else nullcontext():
                            rate = by_wrk(url, sent, home, connections=users)
                    user_s, kernel_s = (after - then for after, then in zip(_cpu_s(server), before, strict=True))
                    turn = rate, kernel_s / (user_s + kernel_s)
                    turns.setdefault(f"{client}, {len(sent)} rows", []).append(turn)
                    print(name, client, len(sent), turn, file=sys.stderr, flush=True)
    return {"configuration": f"{best['backend']}, batch {most}", "turns": CLIENT_TURNS, **_of_clients(turns)}


def _of_clients(turns: Mapping[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Sum up ``turns``, rates and the kernel's shares of the server's CPU time; it has no time to spare."""
    figures = {}
    for label, found in turns.items():
        wrk_alone = turns["wrk," + label.rpartition(",")[2]]
        over = [rate / other for (rate, _), (other, _) in zip(found, wrk_alone, strict=True)]
        figures[label] = {
            "rate_per_s": round(median(rate for rate, _ in found)),
            "over_wrk": {"median": round(median(over), 3), "min": round(min(over), 3), "max": round(max(over), 3)},
            "user_us_per_request": round(median(1e6 * (1 - share) / rate for rate, share in found), 1),
            "kernel_us_per_request": round(median(1e6 * share / rate for rate, share in found), 1),
        }
    return figures


def _cpu_s(server: int) -> tuple[float, float]:
    """Return the user and kernel time so far of a server and its workers."""
    process = psutil.Process(server)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user for each in times), sum(each.system for each in times)


@contextmanager
def _kept_busy(cpu: int) -> Iterator[None]:
    """Keep a CPU from idling, with a process that gives way to every other."""
    spinner = [sys.executable, "-c", "while True: pass"]
    process = subprocess.Popen(["taskset", "--cpu-list", str(cpu), "chrt", "--idle", "0", *spinner])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def latency(budget: str, repeats: int, *, name: str = "fraud", rate_per_s: int = 500) -> dict[str, Any]:
    """Hold the p95 at the asked rate of what is recommended against the best of the same cost."""
    host, subject = describe_host(), benchmark_model(name)
    artifacts = {}
    for backend in BACKENDS:
        try:
            artifacts[backend] = compile_model(subject.model, backend).artifact
        except ServefitError as error:
            print(f"no {backend}: {error}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        document = recommended(name, rate_per_s, Path(folder), job="latency", budget=budget)
    best = document["recommendations"][0]
    settings = best["settings"]
    chosen = Configuration(
        vcpus=1,
        backend=best["backend"],
        max_batch=settings["max_batch"],
        batch_delay_us=settings["batch_delay_us"],
    )
    grid = {
        Configuration(vcpus=1, backend=backend, max_batch=size, batch_delay_us=delay_us)
        for backend in artifacts
        for size in BATCH_SIZES
        for delay_us in (BATCH_DELAYS_US if size > 1 else (0,))
    }
    grid.add(replace(chosen))
    found: dict[Configuration, list[float]] = {each: [] for each in grid}
    random = Random(0)

    def p95_ms(configuration: Configuration, seed: int) -> float | None:
        """Load it in fresh processes; None where the machine got in the way."""
        artifact = artifacts[configuration.backend]
        with endpoint_for(configuration, artifact, subject.model.signature, subject.rows, host=host) as driver:
            run, problems = run_valid(driver, OpenLoop(rate_per_s=rate_per_s, duration_s=2.0, seed=seed))
        return None if problems else summarize(run).latency_ms["p95"]

    for nth in range(repeats):
        for configuration in random.sample(sorted(grid, key=str), len(grid)):
            if (value := p95_ms(configuration, 100 + nth)) is not None:
                found[configuration].append(value)
        print(f"repeat {nth + 1} of {repeats}", file=sys.stderr, flush=True)
    whole = {each: values for each, values in found.items() if len(values) == repeats}
    if not whole:
        return {"chosen": best["id"], "measured": 0, "regret": None}
    ideal = min(whole, key=lambda each: fmean(np.log(whole[each])))
    pairs: list[tuple[float, float]] = []
    for nth in range(TURNS_OF_TWO):
        turn = {each: p95_ms(each, 200 + nth) for each in random.sample([chosen, ideal], 2)}
        mine_ms, ideal_ms = turn[chosen], turn[ideal]
        if mine_ms is not None and ideal_ms is not None:
            pairs.append((mine_ms, ideal_ms))
    mine, others = (exp(fmean(map(log, each))) for each in zip(*pairs, strict=True))
    low, high = (exp(end) for end in mean_interval([log(one / other) for one, other in pairs]))
    return {
        "chosen": f"{chosen.backend}, batch {chosen.max_batch}, delay {chosen.batch_delay_us} us",
        "ideal": f"{ideal.backend}, batch {ideal.max_batch}, delay {ideal.batch_delay_us} us",
        "configurations": len(grid),
        "measured": len(whole),
        "turns": len(pairs),
        "p95_ms": {"chosen": round(mine, 4), "ideal": round(others, 4)},
        "regret": round(mine / others - 1, 4),
        "regret_ci95": [round(low - 1, 4), round(high - 1, 4)],
        "within_the_aim": mine <= max(1.05 * others, others + TIE_MS),
    }


def seeds(budgets: Mapping[str, str], *, name: str, rate_per_s: int = 500) -> dict[str, Any]:
    """Ask the same with five seeds, cold, and warm, with the budget of each."""
    answers: dict[str, list[dict[str, Any]]] = {kind: [] for kind in budgets}
    with tempfile.TemporaryDirectory() as shared:
        recommended(name, rate_per_s, Path(shared), job="first", budget=FIRST_BUDGET)
        for kind, budget in budgets.items():
            for seed in SEEDS:
                with tempfile.TemporaryDirectory() as own:
                    home = Path(own if kind == "cold" else shared)
                    document = recommended(name, rate_per_s, home, job=f"{kind}-{seed}", budget=budget, seed=seed)
                best = document["recommendations"][0] if document.get("recommendations") else None
                answer = {"seed": seed, "exit_status": document["exit_status"], "elapsed_s": document.get("elapsed_s")}
                if best is not None:
                    answer |= {
                        "backend": best["backend"],
                        "environment": best["environment"],
                        **best["settings"],
                        "traffic_s": round(best["samples"] / rate_per_s, 1),
                        "p95_ms": best["model_latency_ms"]["p95"],
                        "capacity_per_s": round(best["capacity"]["rate_per_s"]),
                        "over": document["why"]["choices"],
                    }
                answers[kind].append(answer)
                print(name, kind, answer, file=sys.stderr, flush=True)
    known = [each for kind in answers.values() for each in kind if each["exit_status"] == 0]
    p95_ms = [each["p95_ms"] for each in known]
    different = {
        (each["backend"], str(each["environment"]), each["max_batch"], each["batch_delay_us"]) for each in known
    }
    return {
        "answers": answers,
        "met": len(known),
        "different": len(different),
        "equal_by_p95": bool(known) and CostAtRate().ties(min(p95_ms), max(p95_ms)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("capacity", "clients", "latency", "seeds"))
    parser.add_argument("--budget", default="40s")
    parser.add_argument("--warm-budget", help="of seeds, where others have measured before; --budget if left out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", default="fraud,xgb-1000x8,lgb-500x63", help="of clients and seeds")
    given = parser.parse_args()
    if given.what == "capacity":
        found = capacity(given.budget)
    elif given.what == "clients":
        found = {name: clients(given.budget, name=name) for name in given.models.split(",")}
    elif given.what == "latency":
        found = latency(given.budget, given.repeats)
    else:
        budgets = {"cold": given.budget, "warm": given.warm_budget or given.budget}
        found = {name: seeds(budgets, name=name) for name in given.models.split(",")}
    print(json.dumps({"machine": machine(describe_host()), **found}, indent=2))


if __name__ == "__main__":
    main()
