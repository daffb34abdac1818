"""Jobs on fleets with known figures, as far as an answer is worked out from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from servefit.profiler.evidence.limits import Verdict
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.results.recommendation import Basis, Confirmation
from servefit.search.storage.header import JobHost, JobState, PlanRequest

if TYPE_CHECKING:
    from tests.search.conftest import MakeSummary, MakeTrial
    from tests.search.fleet.conftest import MakeHost

Cost = tuple[tuple[str, float | str], ...]
Held = tuple[int, float, Verdict, Cost]
"""Hosts of a class, the rate that each was loaded at, what came of it, and what each costs."""


@dataclass(frozen=True)
class _Profile:
    name: str


@dataclass(frozen=True)
class _Recommendation:
    profile: _Profile
    trial: Any
    confirmation: Confirmation


@dataclass(frozen=True)
class _Job:
    recommendations: tuple[_Recommendation, ...]
    state: JobState = JobState(status="COMPLETED")
    steps: tuple[()] = ()

    @property
    def best(self) -> _Recommendation:
        return self.recommendations[0]


@dataclass(frozen=True)
class _Class:
    host_class: str
    hosts: tuple[str, ...]
    job: _Job


@dataclass(frozen=True)
class _Header:
    request: JobRequest
    hosts: tuple[JobHost, ...]
    plan: PlanRequest | None


@dataclass(frozen=True)
class _Fleet:
    """As much of a job as an answer is worked out from."""

    header: _Header
    classes: tuple[_Class, ...]

    @property
    def name(self) -> str:
        return self.header.request.name


class Made:
    """Makes jobs of classes, each with its hosts and the rates at which the SLA was held or not."""

    def __init__(self, trial: MakeTrial, summary: MakeSummary, fleet_host: MakeHost) -> None:
        self._trial, self._summary, self._host = trial, summary, fleet_host
        self.outcome: Literal["confirmed", "predicted", "not made"] = "confirmed"
        self.basis: Basis = "measured"
        self.remarks: tuple[str, ...] = ()
        self.hosts: dict[str, tuple[str, ...]] = {}
        """Names of the hosts of a class, where they matter."""

    def job(
        self, wanted: PlanRequest | None, rate_per_s: float | None, **classes: tuple[int, float, Verdict, Cost]
    ) -> Any:
        hosts, made = [], []
        for name, (count, held_per_s, verdict, cost) in classes.items():
            names = self.hosts.get(name) or tuple(f"{name}-{nth}" for nth in range(count))
            here = self._host("any").host
            hosts += [JobHost(name=each, host=here, profiles=(), host_class=name, cost=cost) for each in names]
            summary = replace(self._summary(), offered_per_s=held_per_s)
            trial = replace(
                self._trial(Configuration(backend="xgboost", vcpus=8)),
                at_rate=summary,
                asked_per_s=held_per_s,
                verdict=verdict,
                basis=self.basis,
            )
            made.append(
                _Class(
                    name,
                    names,
                    _Job(
                        (_Recommendation(_Profile("local-8c"), trial, Confirmation(outcome=self.outcome)),),
                        JobState(status="COMPLETED", remarks=self.remarks),
                    ),
                )
            )
        request = JobRequest(name="fraud", sla=Sla(rate_per_s=rate_per_s))
        return _Fleet(_Header(request, tuple(hosts), wanted), tuple(made))


FREE: Cost = ()
