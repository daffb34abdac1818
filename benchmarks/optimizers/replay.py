"""Plays the stored grid back: a bench on which a measurement takes no time, but costs what it once took.

Every measurement gives the figures of one repeat, drawn at random, times a lognormal error, so that several of one
configuration differ by as much as repeats did. Those of a search's rounds differ by as much as all others, although
live ones follow each other closely and differ by less. No measurement is INVALID.

Which choice is right, and by how much another one is worse, is said in ``truth``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, sqrt
from random import Random
from typing import TYPE_CHECKING, Literal, TypeAlias

from benchmarks.data.grid import Figures, Grid, believed, scatter
from servefit.profiler.evidence.summary import Summary
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration, Measurement
from servefit.search.optimizer.clock import Clock
from servefit.search.results.measure_trial import ROUND, SCREENING
from servefit.search.results.objectives.registry import objective_of
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.ranking import ranking_key
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.search.optimizer.confirmation_plan import ConfirmationPlan
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.measure_trial import Durations
    from servefit.search.results.objectives.score import Score

Choice: TypeAlias = tuple[InstanceProfile, Configuration]
Rank: TypeAlias = "tuple[int, Score]"
"""To sort by, best first: the verdict, the cost per hour, and what the goal asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How far repeats are apart, as standard deviations of logarithms."""

    capacity: float
    latency: float
    timing: float

    @classmethod
    def of(cls, grid: Grid) -> Noise:
        tests = [believed(repeats) for repeats in grid.tests.values()]
        return cls(
            capacity=scatter(tests, lambda figures: figures.capacity_per_s),
            latency=scatter(tests, lambda figures: figures.p95_ms),
            timing=scatter(list(grid.timings.values()), lambda timing: timing.service.mean_ns(1)),
        )


class Table:
    """The bench of one search with ``request`` on ``grid``, which may take ``budget_s``; ``seed`` draws its figures."""

    def __init__(self, grid: Grid, noise: Noise, request: JobRequest, *, seed: int, budget_s: float) -> None:
        self.grid = grid
        self.space = grid.space()
        self.request = request
        self.now_s = 0.0
        self.clock = Clock(limit_s=budget_s, test_limit=float("inf"), now=lambda: self.now_s)
        self._noise = noise
        self._random = Random(seed)

    def measure(self, configuration: Configuration) -> Trial | None:
        """Carry out a test of the search's first kind, with stored figures."""
        figures = self._drawn(configuration)
        self._spend(figures.seconds)
        return None if figures.failed else trial_of(configuration, figures)

    def is_predicted(self, _: Configuration) -> bool:
        return False

    def endpoint_costs(self, _: Configuration) -> None:
        """The grid was measured in process."""

    def time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        repeats = self.grid.timings.get(replace(subject, max_batch=1))
        if not repeats:
            return None
        timing = self._random.choice(repeats)
        self.now_s += timing.start_s + sum(seconds for size, seconds in timing.sizes_s if size in sizes)
        in_traffic = sizes[0] == 1
        self.now_s += timing.in_traffic_s if in_traffic else 0.0
        error = self._error(self._noise.timing, len(repeats))
        batches = timing.service.batches
        # A size that is missing was beyond what is worth timing.
        asked = [times for times in batches if times.requests in sizes] or batches[-1:]
        return replace(
            timing.service,
            batches=tuple(replace(times, strata_ns=tuple(error * ns for ns in times.strata_ns)) for times in asked),
            after_idle=timing.service.after_idle if in_traffic else (),
            changing_sizes=timing.service.changing_sizes if in_traffic else (),
        )

    def load_tests(self, batch: Sequence[Configuration]) -> Mapping[Configuration, Trial | None]:
        return {configuration: self.measure(configuration) for configuration in batch}

    def in_turn(self, configuration: Configuration, nth_round: int, instances: int) -> Trial | None:  # noqa: ARG002
        figures = self._drawn(configuration)
        at_rate = objective_of(self.request).needs_rate
        open_s = ROUND.at_rate_s if at_rate else 0.0
        self._spend(figures.start_s + _closed_s(figures, ROUND) + open_s)
        return None if figures.failed else trial_of(configuration, figures, at_rate=at_rate, nth_round=nth_round)

    def confirm(
        self, configuration: Configuration, plan: ConfirmationPlan, *, rate_per_s: float | None = None
    ) -> Trial | None:
        if rate_per_s is not None:
            raise ValueError("the rates of a grid are those that were measured")
        figures = self._drawn(configuration)
        self._spend(plan.runs * (figures.start_s + _closed_s(figures, plan.each)) + plan.traffic_s)
        return None if figures.failed else trial_of(configuration, figures)

    def fit_at_once(self, vcpus: Sequence[int]) -> bool:
        return len(vcpus) == 1

    def _spend(self, seconds: float) -> None:
        self.now_s += seconds
        self.clock.tests += 1

    def _drawn(self, configuration: Configuration) -> Figures:
        repeats = believed(self.grid.tests[configuration])
        drawn = self._random.choice(repeats)
        later = self._error(self._noise.latency, len(repeats))
        return replace(
            drawn,
            capacity_per_s=drawn.capacity_per_s * self._error(self._noise.capacity, len(repeats)),
            p50_ms=_times(drawn.p50_ms, later),
            p95_ms=_times(drawn.p95_ms, later),
            p99_ms=_times(drawn.p99_ms, later),
        )

    def _error(self, noise: float, repeats: int) -> float:
        """Draw a factor for the part of ``noise`` that a choice among so many repeats lacks: their variance is less
        than that of all tests."""
        return exp(self._random.gauss(0.0, noise / sqrt(repeats)))


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _closed_s(figures: Figures, durations: Durations) -> float:
    """Return the seconds of the closed loop: longer than usual for slow predictors, which must answer enough calls."""
    longer = figures.closed_s > 1.1 * SCREENING.capacity_s
    return max(durations.capacity_s, figures.closed_s if longer else 0.0)


def trial_of(
    configuration: Configuration, figures: Figures, *, at_rate: bool = True, nth_round: int | None = None
) -> Trial:
    """Return ``figures`` as a trial; without ``at_rate`` with those of the closed loop alone, which meet any SLA."""
    latency_ms = {"p50": figures.p50_ms, "p90": None, "p95": figures.p95_ms, "p99": figures.p99_ms}
    return Trial(
        configuration=configuration,
        measurement=Measurement(
            configuration=configuration,
            host_fingerprint="",
            containment="cgroup",
            envelope="cgroup-v2",
            memory_limit_bytes=None,
            cpus=(),
            runs=(),
            load_s=0.0,
            peak_memory_bytes=figures.memory_bytes,
        ),
        capacity=_summary("closed", figures, dict.fromkeys(latency_ms)),
        at_rate=_summary("open", figures, latency_ms) if at_rate else None,
        instance_count=figures.instances if at_rate else 1,
        verdict=figures.verdict if at_rate else "PASS",
        reason=None,
        violation=figures.violation if at_rate else 0.0,
        round=nth_round,
    )


def _summary(loop: Literal["open", "closed"], figures: Figures, latency_ms: Mapping[str, float | None]) -> Summary:
    return Summary(
        loop=loop,
        throughput_per_s=figures.capacity_per_s,
        offered_per_s=None,
        samples=0,
        latency_ms=latency_ms,
        latency_ms_ci95={},
        service_ms={},
        lag_ms={},
        saturated=False,
        backlog=0,
        cpu_percent=0.0,
        peak_memory_bytes=figures.memory_bytes,
        memory_percent=None,
        steal_percent=None,
        gpu_percent=None,
        gpu_memory_bytes=None,
        gpu_power_w=None,
        largest_call=figures.largest_call if loop == "open" else None,
    )


def best_choice(space: Space, trial: Trial, request: JobRequest) -> tuple[Rank, Choice]:
    """Return the rank of ``trial`` on the profile on which it is best, and that choice."""
    (pooled,) = pool_trials([trial])
    fitting = [profile for profile, members in space.profiles if trial.configuration in members]
    ranked = [(ranking_key(pooled, profile, request), (profile, trial.configuration)) for profile in fitting]
    return min(ranked, key=lambda keyed: keyed[0])
