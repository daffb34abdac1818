"""What is measured of a checkout in one turn, in fresh processes: figures by their names, which have the unit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeAlias

from benchmarks.servers import wrk
from benchmarks.servers.contenders import Contender, body, free_ports
from benchmarks.servers.running import running
from benchmarks.versions.checkout import Checkout

Figures: TypeAlias = Mapping[str, float]
Measure: TypeAlias = Callable[[Checkout, "Subject"], Figures]

HELP_RUNS = 3
"""Of which the median counts: what disturbs a start is seldom there for two of three."""

CONNECTIONS = (1, 16)
WARM_UP_S, MEASURED_S = 1, 2
CHECKED = 16
TOLERANCE = 1e-6
"""How far an endpoint may be off the model, as in ``claims.endpoints``; none may be fast by being wrong."""

MAX_TESTS = 3
BUDGET_S = 60
"""A job of three tests ends long before that, so that its time is what it does and not what it was given."""

JUDGED = (0, 3, 5)
"""Exit statuses of a job that was done: the SLA is met, is not, or the machine was too noisy to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What all checkouts are measured with. ``folder`` is for files in between."""

    model: Path
    payload: Path
    expected: tuple[float, ...]
    folder: Path

    @property
    def cpus(self) -> tuple[int, int]:
        """The client's and the server's."""
        cpus = sorted(os.sched_getaffinity(0))
        return cpus[0], cpus[-1]

    def rows(self) -> list[str]:
        return self.payload.read_text().splitlines()[1:]


def overhead(checkout: Checkout, subject: Subject) -> Figures:
    found, _ = checkout.probe("overhead", subject.cpus[1])
    return {"driver, a request (us)": found}


def forest(checkout: Checkout, subject: Subject) -> Figures:
    found, _ = checkout.probe("forest", subject.cpus[1], subject.model, subject.payload)
    return {"forest, a call of one row (us)": found}


def endpoint(checkout: Checkout, subject: Subject) -> Figures:
    """Return requests a second and p50 of ``servefit serve`` with one worker on one CPU, and wrk on another. Raises
    RuntimeError for failed requests and for wrong predictions."""
    client_cpu, server_cpu = subject.cpus
    bodies = [body("instances", row) for row in subject.rows()]
    file = subject.folder / "bodies.jsonl"
    file.write_text("".join(f"{request}\n" for request in bodies))
    port = next(_PORTS)
    served = ("serve", "--model", str(subject.model), "--backend", "forest", "--profile", "local-1c")
    contender = Contender(
        name=str(checkout.folder),
        serves="servefit",
        command=(str(checkout.python), "-P", "-m", "servefit", *served, "--port", str(port), "--quiet"),
        variables=checkout.variables,
        port=port,
        path="/invocations",
    )
    found: dict[str, float] = {}
    with running(contender, bodies[0], cpu=server_cpu) as server:
        answers = server.answers(bodies[:CHECKED], connections=1)
        error = max(abs(answer - expected) for answer, expected in zip(answers, subject.expected, strict=True))
        if error > TOLERANCE:
            raise RuntimeError(f"the endpoint of {checkout.folder} is {error:.2g} off the model")
        for connections in CONNECTIONS:
            wrk.run(contender.url, file, connections=connections, seconds=WARM_UP_S, first=0, cpu=client_cpu)
            run = wrk.run(contender.url, file, connections=connections, seconds=MEASURED_S, first=0, cpu=client_cpu)
            if run.errors or not run.requests:
                raise RuntimeError(f"the endpoint of {checkout.folder} failed requests: {run.errors}")
            found[f"endpoint, wrk -c {connections} (requests/s)"] = run.rate_per_s
            found[f"endpoint, wrk -c {connections}, p50 (us)"] = run.p50_us
    return found


def command_help(checkout: Checkout, _subject: Subject) -> Figures:
    runs = [checkout.run("-P", "-m", "servefit", "--help").cpu_s for _ in range(HELP_RUNS)]
    return {"servefit --help, CPU (ms)": 1000 * median(runs)}


def job(checkout: Checkout, subject: Subject) -> Figures:
    """Return the wall time of a small job that knows of no other, and the CPU time of the command's own process, which
    is what searching, storing and printing take: workers and compilers are others."""
    asked = ("--sla", "p95=100ms", "--rate", "500/s", "--profile", "local-1c", "--batch", "1,8")
    limits = ("--max-tests", MAX_TESTS, "--budget", f"{BUDGET_S}s", "--no-http", "--allow-noise")
    backends = ("--backend", "forest", "--backend", "xgboost")
    kept = ("--name", f"turn-{next(_TURNS)}", "--storage", _empty_storage(checkout))
    command = ("recommend", subject.model, "--payload", subject.payload, *asked, *limits, *backends, *kept)
    own_cpu_s, ended = checkout.probe("command", *command, "--format", "json", "--quiet", statuses=JUDGED)
    return {"a job, wall (s)": ended.wall_s, "a job, CPU of its own process (s)": own_cpu_s}


def demo(checkout: Checkout, _subject: Subject) -> Figures:
    """Return the same two times of ``servefit demo``. Its model is trained in the turn that counts for nothing."""
    command = ("demo", "--allow-noise", "--storage", _empty_storage(checkout), "--format", "json", "--quiet")
    own_cpu_s, ended = checkout.probe("command", *command, statuses=JUDGED)
    return {"the demo, wall (s)": ended.wall_s, "the demo, CPU of its own process (s)": own_cpu_s}


MEASURES: Mapping[str, Measure] = {
    "overhead": overhead,
    "endpoint": endpoint,
    "forest": forest,
    "help": command_help,
    "job": job,
    "demo": demo,
}


def _empty_storage(checkout: Checkout) -> str:
    """Return the URL of a database that has no jobs: earlier ones would be made use of."""
    file = checkout.state / "jobs-of-this-turn.db"
    file.unlink(missing_ok=True)
    return f"sqlite:///{file}"


_PORTS: Iterator[int] = free_ports()
_TURNS: Iterator[int] = iter(range(1_000_000))
