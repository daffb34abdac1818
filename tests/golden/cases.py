"""The questions whose answers are kept: every shape of a job that the command line can ask for, and of a measurement.

A job of each, with a budget of seconds; ``make`` asks them. Figures in the answers are those of whatever machine made
them and mean nothing: what counts is that they are read again as they were written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ROOT = "/tmp/servefit-golden"
"""Where a set is made, on every machine: jobs keep the paths of their models. Tests put the place of their copy in
place of it."""

PROFILES = """\
[profiles."rack-1"]
vcpus = 1
memory_gib = 1
price_per_hour = 0.05
price_source = "invented"

[profiles."rack-2"]
vcpus = 2
memory_gib = 2
price_per_hour = 0.09
"""
"""Profiles that every machine with two CPUs can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that is kept. ``signal`` is what ended it before its time, in its second test. With ``disturbed`` other
    processes want all CPUs meanwhile."""

    name: str
    model: str = "model.ubj"
    options: tuple[str, ...] = ()
    payload: bool = True
    signal: Literal["SIGINT", "SIGKILL"] | None = None
    disturbed: bool = False


_ONE = ("--profile", "rack-1", "--backend", "xgboost", "--backend", "onnxruntime")
_QUICK = (*_ONE, "--batch", "1,8", "--budget", "20s")
_SMALL = (*_QUICK, "--allow-noise", "--max-tests")
_LATENT = ("--sla", "p95=100ms", "--rate", "100/s")

_ANY_BACKEND = ("--profile", "rack-1", "--budget", "20s", "--allow-noise", "--max-tests", "3")

JOBS = (
    Job(name="sla-met", options=(*_SMALL, "12", *_LATENT)),
    Job(name="rounds", options=(*_ONE, "--batch", "1,8", "--budget", "60s", "--allow-noise", *_LATENT)),
    Job(name="sla-unmet", options=(*_SMALL, "3", "--sla", "p99=0.001ms", "--sla", "p50=1us", "--rate", "100/s")),
    Job(name="sla-without-rate", options=(*_SMALL, "3", "--sla", "p95=50ms")),
    Job(name="rate-alone", options=(*_SMALL, "3", "--rate", "6000/min", "--no-http")),
    Job(name="default", options=("--allow-noise",)),
    Job(name="goal-latency", options=(*_SMALL, "3", *_LATENT, "--goal", "latency")),
    Job(name="goal-throughput", options=(*_SMALL, "3", *_LATENT, "--goal", "throughput")),
    Job(name="goal-balanced", options=(*_SMALL, "4", *_LATENT, "--goal", "balanced", "--cost-weight", "0.7")),
    Job(name="no-http", options=(*_SMALL, "3", *_LATENT, "--no-http")),
    Job(name="two-profiles", options=("--profile", "rack-2", *_SMALL, "4", *_LATENT, "--batch-delay", "0,1ms")),
    Job(name="named-instance", options=("--profile", "ml.m5.large", *_SMALL[2:], "3", *_LATENT)),
    Job(
        name="environment",
        options=(
            *(*_SMALL, "4", "--env", "OMP_NUM_THREADS=1,2", "--env", "MODEL_SERVER_WORKERS=1,2"),
            *("--env", "KIND=a,b"),
        ),
    ),
    Job(name="secret", options=(*_SMALL, "3", "--env", "API_TOKEN=invented-1,invented-2", *_LATENT)),
    Job(
        name="phases",
        options=(
            *(*_QUICK[:-2], "--allow-noise", "--max-tests", "2", "--sla", "p95=100ms"),
            *("--phase", "users=1,spawn=60/min,duration=1s", "--phase", "users=2,duration=1s"),
        ),
    ),
    Job(
        name="stairs",
        options=(
            *(*_QUICK[:-2], "--allow-noise", "--max-tests", "2", "--flat-invocations", "continue"),
            *("--stairs", "steps=2,users=2,duration=1s"),
        ),
    ),
    Job(name="rows", options=(*_SMALL, "2", *_LATENT, "--rows-per-request", "10", "--seed", "7")),
    Job(name="parallel", options=(*_SMALL, "4", "--max-parallel-tests", "2", *_LATENT)),
    Job(name="synthetic", options=(*_SMALL, "2", "--sla", "p95=100ms"), payload=False),
    Job(name="forest", options=("--backend", "forest", *_SMALL, "3", *_LATENT)),
    Job(name="lightgbm", model="model.txt", options=_ANY_BACKEND),
    Job(name="onnx", model="model.onnx", options=_ANY_BACKEND),
    Job(
        name="sklearn",
        model="model.pkl",
        options=(
            *("--profile", "rack-1", "--backend", "sklearn", "--budget", "40s", "--allow-noise", "--max-tests", "2"),
            "--trust-pickle",
        ),
    ),
    Job(name="some-fail", options=(*_SMALL, "4", "--env", "PYTHONUTF8=1,7", "--batch", "1")),
    Job(name="all-fail", options=(*_SMALL, "2", "--env", "PYTHONUTF8=7")),
    Job(name="disturbed", options=(*_QUICK, "--max-tests", "2", *_LATENT, "--no-http"), disturbed=True),
    Job(name="interrupted", options=(*_SMALL, "3", "--sla", "p95=100ms", "--no-http"), signal="SIGINT"),
    Job(name="killed", options=(*_SMALL, "3", "--sla", "p95=100ms", "--no-http"), signal="SIGKILL"),
    Job(name="configured", options=(*_SMALL, "2", *_LATENT, "--no-http", "--save-config", f"{ROOT}/sources/job.yaml")),
    # It begins with what the first one measured.
    Job(name="warm", options=(*_SMALL, "3", *_LATENT)),
)

WITH_SAMPLES = ("rows", "sklearn")
"""Jobs of which the raw samples of one test are kept: of what is slow there are few."""

SCALED = ("sla-met", "sla-unmet", "rounds", "two-profiles", "phases", "rows", "onnx")
"""Jobs of which a scaling plan is kept, where there is one."""

REPORTED = ("sla-met", "sla-unmet", "phases", "some-fail")
"""Jobs whose report is kept as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file of raw samples that is kept, with what was printed when it was written."""

    name: str
    options: tuple[str, ...]
    load: bool = False


_FEW = ("--rows-per-request", "40", "--allow-noise")
_SLOW = ("--rows-per-request", "4000", "--allow-noise")
"""Calls that take so long that there are few of them."""
_HTTP = ("--driver", "http", "--profile", "rack-1")
_OPEN = ("--rate", "50/s", "--duration", "2s")

RECORDINGS = (
    Recording(name="closed-loop", options=(*_FEW, "--users", "2", "--duration", "200ms")),
    Recording(name="open-loop", options=(*_FEW, "--rate", "100/s", "--duration", "2s")),
    Recording(name="constant-arrivals", options=(*_FEW, "--rate", "100/s", "--constant", "--duration", "2s")),
    Recording(name="decided", options=(*_FEW, "--rate", "100/s", "--sla", "p95=50ms")),
    Recording(name="saturated", options=(*_SLOW, "--rate", "20000/s", "--sla", "p95=5ms", "--duration", "200ms")),
    Recording(name="highest-rate", options=(*_SLOW, "--sla", "p95=20ms", "--duration", "4s")),
    Recording(name="stairs", options=(*_SLOW, "--stairs", "steps=2,users=1,duration=1s")),
    Recording(name="http", options=(*_FEW, *_OPEN, *_HTTP)),
    Recording(name="service-time", options=("--service-time", "--duration", "2s")),
    Recording(name="against", options=(*_FEW[:2], "--against", "backend=onnxruntime", "--duration", "8s")),
    Recording(name="endpoint-open", options=(*_OPEN, "--allow-noise"), load=True),
    Recording(name="endpoint-users", options=(*_FEW, "--users", "1", "--duration", "300ms"), load=True),
    Recording(name="endpoint-decided", options=("--rate", "50/s", "--sla", "p95=50ms", "--allow-noise"), load=True),
    Recording(name="endpoint-most", options=(*_SLOW, "--duration", "6s"), load=True),
)
NOT_SAVED = ("service-time", "against")
"""Modes that record nothing: what they print is kept."""

COMPILED = ("xgboost", "onnxruntime", "forest")
"""Backends whose artifacts run on every machine."""
