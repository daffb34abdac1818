"""A bench on which a measurement is looked up: a space of 210 configurations whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from servefit.backends.types import Settings
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.call_timing import TIMING_A_SIZE_S
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.optimizer.search import Search
from servefit.search.optimizer.slowness import Slowness
from servefit.search.optimizer.time_left import TimeLeft
from servefit.search.request.sla import Sla
from servefit.search.request.space import Space
from servefit.search.results.instances import instance_counts
from servefit.search.results.measure_trial import BETWEEN_S, ROUND, SCREENING
from servefit.search.results.objectives.registry import objective_of
from servefit.search.simulation.endpoint import SURVEY_S, EndpointCosts
from servefit.search.simulation.prediction import predict

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.optimizer.confirmation_plan import ConfirmationPlan
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.measure_trial import Durations
    from servefit.search.results.recommendation import Trial

SIZES = (1, 4, 16, 64)

BACKENDS = {"reference": (30e3, 4e3, 0.5), "batching": (60e3, 2.5e3, 0.3), "quick": (8e3, 9e3, 0.0)}
"""Nanoseconds of a call and of each request in it, and the power of threads that the latter are divided by."""

_SPREAD = np.exp(np.linspace(-0.15, 0.25, 20))

Kind = Literal["load test", "round", "confirmation"]


def space_of(sizes: Sequence[int], vcpus: Sequence[int]) -> Space:
    """A profile of each size, without prices."""
    profiles = []
    for count in vcpus:
        fitting = [
            Configuration(
                vcpus=count,
                backend=backend,
                settings=Settings(threads=threads),
                workers=workers,
                max_batch=size,
                batch_delay_us=delay_us,
            )
            for backend in BACKENDS
            for threads in (1, 2, 4)
            for workers in (1, 2, 4)
            if threads * workers <= count
            for size in sizes
            for delay_us in ((0, 1000) if size > 1 else (0,))
        ]
        profiles.append((InstanceProfile(name=f"{count}c", vcpus=count, memory_bytes=2**30), fitting))
    return Space(
        profiles=tuple((profile, frozenset(fitting)) for profile, fitting in profiles),
        grid=tuple(configuration for _, fitting in profiles for configuration in fitting),
    )


@dataclass(slots=True, kw_only=True)
class Table:
    """Measures at once, but takes as much of the clock's time as real workers do.

    Backends are usually up to a quarter faster or slower than in BACKENDS. What a configuration does differs from what
    its service times predict by 5 % (a standard deviation) for all of a backend and 3 % for itself; service times are
    measured to 2 %, load tests to 2.5 % and confirmations to half of that. ``luck`` holds factors for the first tests
    of a configuration, ``disturbed`` and ``failing`` say which are INVALID and which are none, ``predicted`` which
    leave no CPU to the client of an endpoint. The first ``left_open`` confirmations are UNDECIDED, and ``before`` is
    called before anything is measured. Everything takes as long as it usually does, or, with ``start_s``, that and its
    loads. Calls take so many times as long as the machine is ``slower``. ``costs`` are what requests to an endpoint
    cost. ``surveyed`` says by which configuration that was measured, and how many were timed and tested before,
    ``instances`` how many shared the rate in the last turn of each.
    """

    space: Space
    request: JobRequest
    seed: int
    make_trial: MakeTrial
    luck: Mapping[Configuration, Sequence[float]] = field(default_factory=dict)
    disturbed: Callable[[Configuration], bool] = lambda _: False
    failing: Callable[[Configuration], bool] = lambda _: False
    predicted: Callable[[Configuration], bool] = lambda _: False
    left_open: int = 0
    before: Callable[[], None] = lambda: None
    start_s: float | None = None
    slower: float = 1.0
    costs: EndpointCosts | None = None
    now_s: float = 0.0
    clock: Clock = field(init=False)
    timed: list[Configuration] = field(default_factory=list)
    measured: list[tuple[Kind, Configuration]] = field(default_factory=list)
    batches: list[Sequence[Configuration]] = field(default_factory=list)
    surveyed: list[tuple[Configuration, int, int]] = field(default_factory=list)
    instances: dict[Configuration, int] = field(default_factory=dict)
    _noise: np.random.Generator = field(init=False)
    _speed: dict[str, float] = field(init=False)
    _error: dict[Configuration, float] = field(init=False)
    _truth: dict[tuple[Configuration, float | None], tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = Clock(
            limit_s=self.request.time_limit_s or inf,
            test_limit=self.request.test_limit or inf,
            # How busy the machine of the tests is must not decide what is searched.
            slowness=Slowness(now=lambda: 0.0, cpu=lambda: 0.0),
            now=lambda: self.now_s,
        )
        self._noise = np.random.default_rng([self.seed, 1])
        truth = np.random.default_rng([self.seed, 0])
        self._speed = {backend: self.slower * exp(truth.normal(0, 0.25)) for backend in BACKENDS}
        of_backend = {backend: truth.normal(0, 0.05) for backend in BACKENDS}
        self._error = {
            configuration: exp(of_backend[configuration.backend] + truth.normal(0, 0.03))
            for configuration in self.space.grid
        }

    def endpoint_costs(self, subject: Configuration) -> EndpointCosts | None:
        """What is measured is the model in process, whatever requests to an endpoint are said to cost."""
        self.surveyed.append((subject, len(self.timed), len(self.measured)))
        if self.costs is not None:
            self._spend(SURVEY_S)
        return self.costs

    def time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        self._spend(0.4 if self.start_s is None else self.start_s + len(sizes) * TIMING_A_SIZE_S)
        self.timed.append(replace(subject, max_batch=1))
        if self.failing(subject):
            return None
        truth = self._service(subject)
        return ServiceTimes(
            batches=tuple(
                BatchTimes(requests=size, strata_ns=_floats(self._off(0.02) * truth.strata_ns(size, subject.workers)))
                for size in sizes
            ),
            workers=subject.workers,
        )

    def load_tests(self, batch: Sequence[Configuration]) -> Mapping[Configuration, Trial | None]:
        self._spend(self._test_s(2.0, SCREENING))
        self.batches.append(tuple(batch))
        return {configuration: self._test("load test", configuration, self.request.sla) for configuration in batch}

    def in_turn(self, configuration: Configuration, nth_round: int, instances: int) -> Trial | None:
        self._spend(1.2 if self.start_s is None else self.start_s + BETWEEN_S + ROUND.capacity_s)
        self.instances[configuration] = instances
        asked = self.request.sla.rate_per_s if objective_of(self.request).needs_rate else None
        found = self._test("round", configuration, Sla(rate_per_s=asked))
        return None if found is None else replace(found, round=nth_round)

    def confirm(
        self, configuration: Configuration, plan: ConfirmationPlan, *, rate_per_s: float | None = None
    ) -> Trial | None:
        self._spend(plan.runs * self._test_s(5.0 / plan.runs, plan.each) + plan.spare_s)
        found = self._test("confirmation", configuration, self.request.sla, noise=0.0125, only_per_s=rate_per_s)
        if found is None or len(self.of_kind("confirmation")) > self.left_open:
            return found
        return replace(found, verdict="UNDECIDED")

    def is_predicted(self, configuration: Configuration) -> bool:
        return self.predicted(configuration)

    def fit_at_once(self, vcpus: Sequence[int]) -> bool:
        return sum(vcpus) <= 4

    def of_kind(self, kind: Kind) -> list[Configuration]:
        """What was measured as ``kind``, in order."""
        return [configuration for measured_as, configuration in self.measured if measured_as == kind]

    def capacity_per_s(self, configuration: Configuration) -> float:
        """The truth."""
        return self._predicted(configuration, None)[0] * self._error[configuration]

    def p95_ms(self, configuration: Configuration, rate_per_s: float | None) -> float:
        """The truth at an instance's share of a rate, or in the closed loop."""
        share = None if rate_per_s is None else rate_per_s / self._error[configuration]
        return self._predicted(configuration, share)[1] / self._error[configuration]

    def figure(self, configuration: Configuration) -> float:
        """What the request minimises, in truth: latency, or vCPUs for the rate or for what is answered; infinite where
        a limit does not hold."""
        capacity_per_s, sla = self.capacity_per_s(configuration), self.request.sla
        for instances in [1] if sla.rate_per_s is None else instance_counts(sla.rate_per_s, capacity_per_s):
            p95_ms = self.p95_ms(configuration, None if sla.rate_per_s is None else sla.rate_per_s / instances)
            if all(p95_ms <= limit.limit_ms for limit in sla.thresholds):
                if self.request.goal == "latency":
                    return p95_ms
                vcpus = 1 if self.request.goal == "throughput" else configuration.vcpus
                return vcpus / capacity_per_s if sla.rate_per_s is None else vcpus * instances
        return inf

    def regret(self, chosen: Configuration) -> float:
        """By which part ``chosen`` is worse than the best."""
        return self.figure(chosen) / min(map(self.figure, self.space.grid)) - 1

    def _test(
        self,
        kind: Kind,
        configuration: Configuration,
        sla: Sla,
        *,
        noise: float = 0.025,
        only_per_s: float | None = None,
    ) -> Trial | None:
        times = sum(configuration == measured for _, measured in self.measured)
        self.clock.tests += 1
        self.measured.append((kind, configuration))
        if self.failing(configuration):
            return None
        luck = self.luck.get(configuration, ())
        factor = self._off(noise) * (luck[times] if times < len(luck) else 1.0)
        capacity_per_s = self.capacity_per_s(configuration) * factor
        counts = [1] if sla.rate_per_s is None or only_per_s else instance_counts(sla.rate_per_s, capacity_per_s)
        for instances in counts:
            share = only_per_s or (None if sla.rate_per_s is None else sla.rate_per_s / instances)
            p95_ms = self.p95_ms(configuration, share) * self._off(noise) / factor
            violation = max((p95_ms / limit.limit_ms - 1 for limit in sla.thresholds), default=0.0)
            if violation <= 0:
                break
        measured = self.make_trial(
            configuration,
            throughput_per_s=capacity_per_s,
            p95_ms=p95_ms,
            verdict="INVALID" if self.disturbed(configuration) else "PASS" if violation <= 0 else "FAIL",
            violation=violation,
            instances=instances,
            at_rate=sla.rate_per_s is not None,
        )
        if measured.at_rate is None:
            return measured
        samples = round(measured.at_rate.throughput_per_s * SCREENING.at_rate_s)
        return replace(measured, at_rate=replace(measured.at_rate, samples=samples), asked_per_s=share)

    def _test_s(self, usual_s: float, durations: Durations) -> float:
        if self.request.phases is not None:
            return self.request.phases.duration_s + 1.0
        if self.start_s is None:
            return usual_s
        at_rate_s = 0.0 if self.request.sla.rate_per_s is None else BETWEEN_S + durations.at_rate_s
        return self.start_s + BETWEEN_S + durations.capacity_s + at_rate_s

    def _spend(self, seconds: float) -> None:
        self.before()
        self.now_s += seconds

    def _off(self, sd: float) -> float:
        return exp(self._noise.normal(0, sd))

    def _service(self, configuration: Configuration) -> ServiceTimes:
        of_call, of_request, power = BACKENDS[configuration.backend]
        shape = self._speed[configuration.backend] * _SPREAD / _SPREAD.mean()
        return ServiceTimes(
            batches=tuple(
                BatchTimes(
                    requests=size,
                    strata_ns=_floats((of_call + of_request * size / configuration.settings.threads**power) * shape),
                )
                for size in SIZES
            ),
            workers=configuration.workers,
            contention=1 + 0.05 * (configuration.workers - 1),
        )

    def _predicted(self, configuration: Configuration, rate_per_s: float | None) -> tuple[float, float]:
        if (configuration, rate_per_s) not in self._truth:
            self._truth[configuration, rate_per_s] = self._predict(configuration, rate_per_s)
        return self._truth[configuration, rate_per_s]

    def _predict(self, configuration: Configuration, rate_per_s: float | None) -> tuple[float, float]:
        found = predict(
            self._service(configuration),
            Discipline.of(configuration),
            rate_per_s=rate_per_s,
            percentiles=(95.0,),
            requests=1000,
        )
        p95_ms = found.latency_ms["p95"]
        return found.capacity_per_s, inf if p95_ms is None or found.saturated else p95_ms


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.tolist())


@pytest.fixture
def unforeseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches look ahead for nobody: that takes most of their time, and changes nothing (see ``test_promises``)."""
    monkeypatch.setattr(TimeLeft, "update", lambda *_, **__: None)


@pytest.fixture
def table(trial: MakeTrial) -> Callable[..., Table]:
    """On all 210 configurations unless asked for fewer batch sizes or envelopes."""

    def make(
        request: JobRequest,
        *,
        seed: int = 0,
        sizes: Sequence[int] = SIZES,
        vcpus: Sequence[int] = (1, 2, 4),
        **hooks: Any,
    ) -> Table:
        return Table(request=request, seed=seed, space=space_of(sizes, vcpus), make_trial=trial, **hooks)

    return make


@pytest.fixture
def search() -> Callable[..., Search]:
    """The search that a table is the bench of."""

    def make(table: Table, **known: Any) -> Search:
        return Search(
            request=table.request,
            reference="reference",
            clock=table.clock,
            bench=table,
            progress=SilentProgress(),
            **{"space": table.space, **known},
        )

    return make


MakeTable = Callable[..., Table]
MakeSearch = Callable[..., Search]
