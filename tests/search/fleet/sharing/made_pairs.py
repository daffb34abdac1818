"""Jobs of models that may share hosts, and pairs with known figures, as far as a plan is worked out from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.cpus import LogicalCpu
from servefit.profiler.record.types import Configuration
from servefit.search.fleet.pair_orders import Change, PairLoaded, SideLoaded, UnderLoad
from servefit.search.fleet.sharing.asking import MeasuredPair
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.results.recommendation import Confirmation
from servefit.search.storage.header import JobHost, PlanRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.search.conftest import MakeSummary, MakeTrial

    from servefit.profiler.evidence.limits import Verdict
    from servefit.profiler.machine.host import Host
    from servefit.search.fleet.sharing.fitting import FittingPair

GIB = 2**30

P95 = (LatencyThreshold(percentile="p95", limit_ms=50.0),)


def host_of(here: Host, cpus: int, *, memory_gib: int = 64) -> Host:
    """A host of so many CPUs, each a core."""
    return replace(
        here, cpus=tuple(LogicalCpu(cpu=nth, core=nth) for nth in range(cpus)), memory_bytes=memory_gib * GIB
    )


@dataclass
class Jobs:
    """Makes jobs on a fleet, each of another model. ``verdict`` is what came of their tests."""

    here: Host
    trial: MakeTrial
    summary: MakeSummary
    cpus: int = 8
    verdict: Verdict = "PASS"

    def job(
        self, name: str, *, vcpus: int = 4, asked_per_s: float = 1000.0, memory_gib: int = 8, hosts: int = 3,
        deploy: Any = "library", thresholds: tuple[LatencyThreshold, ...] = P95, host_class: str = "epyc",
    ) -> Any:  # fmt: skip
        """A job that was confirmed at 1000/s by so many ``vcpus`` of hosts of one class."""
        trial = replace(
            self.trial(Configuration(backend="xgboost", vcpus=vcpus)),
            at_rate=replace(self.summary(), offered_per_s=1000.0),
            verdict=self.verdict,
            asked_per_s=1000.0,
        )
        found = SimpleNamespace(
            profile=SimpleNamespace(name=f"local-{vcpus}c", memory_bytes=memory_gib * GIB),
            trial=trial,
            confirmation=Confirmation(outcome="confirmed"),
        )
        names = tuple(f"{host_class}-{nth}" for nth in range(hosts))
        host = host_of(self.here, self.cpus)
        request = JobRequest(name=name, sla=Sla(rate_per_s=asked_per_s, thresholds=thresholds), deploy=deploy)
        header = SimpleNamespace(
            request=request,
            hosts=tuple(JobHost(name=each, host=host, profiles=(), host_class=host_class) for each in names),
            plan=PlanRequest(),
            model=SimpleNamespace(digest=sha256(name.encode()).hexdigest()),
            payload=SimpleNamespace(digest=sha256(b"rows").hexdigest()),
        )
        job = SimpleNamespace(recommendations=(found,), best=found, steps=())
        classes = (SimpleNamespace(host_class=host_class, hosts=names, job=job),)
        return SimpleNamespace(header=header, classes=classes, name=name)


@dataclass
class MadeInterference:
    """Answers for the agents of a fleet: these models do not hold their SLA beside each other, all others do. Takes
    note of the pairs that it was asked for."""

    summary: MakeSummary
    breaks: frozenset[frozenset[str]] = frozenset()
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, pairs: Sequence[FittingPair]) -> tuple[MeasuredPair, ...]:
        self.asked.extend(pair.models for pair in pairs)
        return tuple(self._measured(pair) for pair in pairs)

    def _measured(self, pair: FittingPair) -> MeasuredPair:
        breaks = frozenset(pair.models) in self.breaks
        first, second = (
            side_loaded(self.summary, verdict="FAIL" if breaks and not nth else "PASS", rate_per_s=side.rate_per_s)
            for nth, side in enumerate(pair.asked.sides)
        )
        found = PairLoaded(sides=(first, second), rounds=4)
        return MeasuredPair(models=pair.models, host_class=pair.offer.host_class, host=pair.hosts[0], found=found)


def side_loaded(summary: MakeSummary, *, verdict: Verdict = "PASS", rate_per_s: float = 1000.0) -> SideLoaded:
    return SideLoaded(
        cpus=(0, 1),
        rate_per_s=rate_per_s,
        alone=UnderLoad(summary=summary(p95_ms=10.0), verdict="PASS", reason=None),
        beside=UnderLoad(
            summary=summary(p95_ms=12.0), verdict=verdict, reason=None if verdict == "PASS" else "p95 is 60 ms"
        ),
        percentile="p95",
        latency=Change(part=0.2, low=0.15, high=0.26),
        service=Change(part=0.1, low=0.08, high=0.12),
    )
