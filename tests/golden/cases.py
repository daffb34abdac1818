"""The jobs and measurements that ``make`` carries out: together they hold every type that is stored.

Budgets are seconds. The figures depend on the machine and mean nothing: what counts is that they are read again as they
were written. A set may hold other jobs than these: that of job schema 2 was made from a longer list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ROOT = "/tmp/servefit-golden"
"""The folder that a set is made in, on every machine: jobs keep the paths of their models. Tests replace it by the
folder of their copy."""

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
"""Profiles that fit every machine with two CPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that is kept. ``signal`` ends it in its second test. With ``disturbed`` other processes keep all CPUs busy
    meanwhile."""

    name: str
    model: str = "model.ubj"
    options: tuple[str, ...] = ()
    signal: Literal["SIGINT", "SIGKILL"] | None = None
    disturbed: bool = False


_LIBRARIES = ("--profile", "rack-1", "--backend", "xgboost", "--backend", "onnxruntime")
_QUICK = (*_LIBRARIES, "--batch", "1,8", "--budget", "40s")
_SMALL = (*_QUICK, "--allow-noise", "--max-tests")
_LATENT = ("--sla", "p95=100ms", "--rate", "100/s")

JOBS = (
    Job(name="secret", options=(*_SMALL, "2", "--env", "API_TOKEN=invented-1,invented-2", *_LATENT, "--no-http")),
    Job(name="sla-met", options=(*_SMALL, "4", *_LATENT)),
    Job(name="rounds", options=(*_LIBRARIES, "--batch", "1,8", "--budget", "45s", "--allow-noise", *_LATENT)),
    Job(name="sla-unmet", options=(*_SMALL, "2", "--sla", "p99=0.001ms", "--sla", "p50=1us", "--rate", "100/s")),
    Job(name="two-profiles", options=("--profile", "rack-2", *_SMALL, "4", *_LATENT, "--batch-delay", "0,1ms")),
    Job(
        name="phases",
        options=(
            *(*_QUICK[:-2], "--allow-noise", "--max-tests", "2", "--sla", "p95=100ms", "--env", "OMP_NUM_THREADS=1,2"),
            *("--phase", "users=1,spawn=60/min,duration=1s", "--phase", "users=2,duration=1s"),
        ),
    ),
    Job(
        name="sine",
        options=(
            *(*_SMALL, "2", *_LATENT, "--arrivals", "sine:amplitude=50%,period=500ms"),
            *("--goal", "balanced", "--cost-weight", "0.7"),
        ),
    ),
    Job(name="packages", options=(*_SMALL, "2", *_LATENT, "--arrivals", "cosine:period=500ms", "--no-http")),
    Job(
        name="large-requests",
        options=(
            *(*_SMALL, "2", *_LATENT, "--no-http", "--rows-per-request", "40", "--seed", "7"),
            *("--save-config", f"{ROOT}/sources/job.yaml"),
        ),
    ),
    Job(
        name="onnx",
        model="model.onnx",
        options=("--profile", "rack-1", "--budget", "40s", "--allow-noise", "--max-tests", "2"),
    ),
    Job(name="some-fail", options=(*_SMALL, "4", "--env", "PYTHONUTF8=1,7", "--batch", "1")),
    Job(name="all-fail", options=(*_SMALL, "4", "--env", "PYTHONUTF8=7")),
    Job(name="disturbed", options=(*_QUICK, "--max-tests", "2", *_LATENT, "--no-http"), disturbed=True),
    Job(name="interrupted", options=(*_SMALL, "3", "--sla", "p95=100ms", "--no-http"), signal="SIGINT"),
    Job(name="killed", options=(*_SMALL, "3", "--sla", "p95=100ms", "--no-http"), signal="SIGKILL"),
)

WITH_PACKAGES = ("packages",)
"""Jobs that ask for what the packages of the examples offer. Their results are kept as they are printed with these
packages, and without."""

WITH_SAMPLES = ("large-requests",)
"""Jobs of which the raw samples of one test are kept: of what is slow there are few."""

SCALED = ("sla-met", "two-profiles", "phases")
"""Jobs of which a scaling plan is kept, where there is one."""

REPORTED = ("phases", "some-fail")
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
_OPEN = ("--rate", "50/s", "--duration", "1s")

RECORDINGS = (
    Recording(name="closed-loop", options=(*_FEW, "--users", "2", "--duration", "100ms")),
    Recording(name="sine", options=(*_FEW, *_OPEN, "--arrivals", "sine:amplitude=80%,period=500ms")),
    Recording(name="decided", options=(*_FEW, "--rate", "100/s", "--sla", "p95=50ms")),
    Recording(name="saturated", options=(*_SLOW, "--rate", "5000/s", "--sla", "p95=5ms", "--duration", "200ms")),
    Recording(name="highest-rate", options=(*_SLOW, "--sla", "p95=20ms", "--duration", "2s")),
    Recording(name="http", options=(*_FEW, *_OPEN, "--driver", "http", "--profile", "rack-1")),
    Recording(name="endpoint", options=("--rate", "50/s", "--sla", "p95=50ms", "--allow-noise"), load=True),
)

COMPILED = ("xgboost", "onnxruntime", "forest")
"""Backends whose artifacts run on every machine."""
