"""Trials with known figures, for the contract of an objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.evidence.summary import Summary
from servefit.profiler.record.types import Configuration, Measurement
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from servefit.profiler.evidence.limits import Verdict


_OF_P95 = {"p50": 0.5, "p90": 0.8, "p95": 1.0, "p99": 1.5}
"""Each percentile of a trial, as a multiple of its p95."""


def trial(
    *,
    backend: str = "forest",
    vcpus: int = 2,
    workers: int = 1,
    gpu: int | None = None,
    capacity_per_s: float = 1000.0,
    at_rate_per_s: float | None = 100.0,
    p95_ms: float | None = 2.0,
    percentiles_ms: Mapping[str, float | None] | None = None,
    package_power_w: float | None = None,
    gpu_power_w: float | None = None,
    cpu_percent: float | None = 50.0,
    instances: int = 1,
    verdict: Verdict = "PASS",
    nth_round: int | None = None,
) -> Trial:
    """Return a test of what answers ``capacity_per_s`` at most, and ``at_rate_per_s`` at the rate asked, with that p95
    and power in both; None for a rate that nobody asked, and for what could not be read.

    The other percentiles are multiples of the p95, or None with it. ``percentiles_ms`` replaces any of them, by name
    ("p50", "p90", "p95", "p99").
    """
    latency_ms = {name: None if p95_ms is None else times * p95_ms for name, times in _OF_P95.items()}
    latency_ms.update(percentiles_ms or {})

    def summary(loop: Literal["open", "closed"], throughput_per_s: float) -> Summary:
        return Summary(
            loop=loop,
            throughput_per_s=throughput_per_s,
            offered_per_s=None,
            samples=1000,
            latency_ms=latency_ms,
            latency_ms_ci95={},
            service_ms={"p50": latency_ms["p50"]},
            lag_ms={},
            saturated=False,
            backlog=0,
            cpu_percent=cpu_percent,
            peak_memory_bytes=2**20,
            memory_percent=None,
            steal_percent=None,
            gpu_percent=None if gpu is None else 50.0,
            gpu_memory_bytes=None if gpu is None else 2**30,
            gpu_power_w=gpu_power_w,
            package_power_w=package_power_w,
        )

    configuration = Configuration(vcpus=vcpus, backend=backend, workers=workers, gpu=gpu)
    return Trial(
        configuration=configuration,
        measurement=Measurement(
            configuration=configuration,
            host_fingerprint="f",
            containment="cgroup",
            envelope="cgroup-v2",
            memory_limit_bytes=None,
            cpus=(0,),
            runs=(),
            load_s=0.1,
            peak_memory_bytes=2**20,
        ),
        capacity=summary("closed", capacity_per_s),
        at_rate=None if at_rate_per_s is None else summary("open", at_rate_per_s),
        instance_count=instances,
        verdict=verdict,
        reason=None,
        violation=-0.5 if verdict == "PASS" else 0.5,
        round=nth_round,
    )
