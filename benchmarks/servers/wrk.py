"""wrk, on a CPU of its own, and what it found. Its percentiles count a stall for the requests that it kept from being
sent, too: wrk corrects them by the mean response time."""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("rotate.lua")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One run of wrk. ``errors`` has those that there were: of sockets ("connect", "read", "write", "timeout") and
    "status", answers of 400 and above. ``client_cpu`` is wrk's share of its CPU."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    max_us: int
    errors: Mapping[str, int]
    client_cpu: float

    @property
    def rate_per_s(self) -> float:
        return 1e6 * self.requests / self.duration_us


def parse(output: str, *, client_cpu_s: float) -> Found:
    """Return the figures that ``rotate.lua`` writes after wrk's own report. Raises RuntimeError if there are none."""
    lines = output.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise RuntimeError(f"wrk wrote no figures: {output.strip()[-200:]!r}")
    figures = json.loads(lines[-1])
    errors = {kind: count for kind, count in figures.pop("errors").items() if count}
    return Found(**figures, errors=errors, client_cpu=round(1e6 * client_cpu_s / figures["duration_us"], 3))


def run(url: str, bodies: Path, *, connections: int, seconds: int, first: int, cpu: int) -> Found:
    """Load ``url`` with one thread and so many ``connections``, each of which sends its next request when it has its
    answer. ``bodies`` are rotated through, beginning after the ``first``. Raises RuntimeError for want of figures."""
    command = ["taskset", "--cpu-list", str(cpu), "wrk", "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "10s"]
    command += ["--script", str(_SCRIPT), url, "--", str(bodies), str(first)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return parse(done.stdout + done.stderr, client_cpu_s=used_s)


def version() -> str:
    """Return the version of wrk, which prints it and then fails, since it gets no URL."""
    said = subprocess.run(["wrk", "--version"], check=False, capture_output=True, text=True).stdout
    return said.split(" Copyright")[0].removeprefix("wrk ").strip()
