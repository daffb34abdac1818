"""Trials with known figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.installed_packages import write_package

from servefit.profiler.evidence import sequential_test
from servefit.profiler.evidence.sequential_test import Evidence
from servefit.profiler.evidence.summary import Summary
from servefit.profiler.record.types import Configuration, Measurement
from servefit.search.results.recommendation import Trial, TrialVerdict

MakeSummary = Callable[..., Summary]
MakeEvidence = Callable[[sequential_test.ThresholdVerdict], Evidence]
MakeTrial = Callable[..., Trial]
InstallObjective = Callable[[str, str, str], None]


@pytest.fixture(scope="session")
def summary() -> MakeSummary:
    def make(
        *,
        p95_ms: float | None = 1.0,
        interval: tuple[float, float] | None = None,
        throughput_per_s: float = 1000.0,
        loop: str = "open",
        saturated: bool = False,
    ) -> Summary:
        return Summary(
            loop="open" if loop == "open" else "closed",
            throughput_per_s=throughput_per_s,
            offered_per_s=None,
            samples=1000,
            latency_ms={"p50": 0.5, "p90": 0.9, "p95": p95_ms, "p99": None},
            latency_ms_ci95={} if interval is None else {"p95": interval},
            service_ms={},
            lag_ms={},
            saturated=saturated,
            backlog=0,
            cpu_percent=50.0,
            peak_memory_bytes=2**20,
            memory_percent=None,
            steal_percent=None,
            gpu_percent=None,
            gpu_memory_bytes=None,
            gpu_power_w=None,
        )

    return make


@pytest.fixture(scope="session")
def evidence() -> MakeEvidence:
    """What a sequential test of 100 requests, 7 of them too slow, might have said."""

    def make(verdict: sequential_test.ThresholdVerdict) -> Evidence:
        return Evidence(
            verdict=verdict, samples=100, violations=7, autocorrelation_time=1.0, p_pass=1.0, log_e_fail=0.0
        )

    return make


@pytest.fixture(scope="session")
def trial(summary: MakeSummary) -> MakeTrial:
    """Closed loop and open loop have the same p95; where ``at_rate`` is false, no rate was asked."""

    def make(
        configuration: Configuration,
        *,
        throughput_per_s: float = 1000.0,
        p95_ms: float | None = 1.0,
        verdict: TrialVerdict = "PASS",
        violation: float = -0.5,
        instances: int = 1,
        memory_bytes: int = 2**20,
        nth_round: int | None = None,
        at_rate: bool = True,
    ) -> Trial:
        return Trial(
            configuration=configuration,
            measurement=Measurement(
                configuration=configuration,
                host_fingerprint="f",
                containment="uncontained",
                envelope="affinity",
                memory_limit_bytes=None,
                cpus=(0,),
                runs=(),
                load_s=0.1,
                peak_memory_bytes=memory_bytes,
            ),
            capacity=summary(p95_ms=p95_ms, throughput_per_s=throughput_per_s, loop="closed"),
            at_rate=summary(p95_ms=p95_ms, throughput_per_s=100.0) if at_rate else None,
            instance_count=instances,
            verdict=verdict,
            reason=None,
            violation=violation,
            round=nth_round,
        )

    return make


@pytest.fixture
def install_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallObjective:
    """Make an installed package that offers an objective under a name, with this source, whose class is Offered."""

    def install(package: str, name: str, source: str) -> None:
        folder = tmp_path / package
        target = f"{package}_objective:Offered"
        write_package(folder, package, group="servefit.objectives", name=name, target=target, source=source)
        monkeypatch.syspath_prepend(str(folder))

    return install
