"""The rate that a host of a class may carry within the SLA, by what is known of the class: the least, the likely and
the most."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, inf, sqrt
from typing import TYPE_CHECKING

from servefit.search.capacity.instance_rate import Simulation, instance_rate
from servefit.search.capacity.latency_curve import CurvePoint, rate_of_an_instance
from servefit.search.optimizer.gaussian_process import CAPACITY_NOISE
from servefit.search.results.instances import PLANNED_UTILISATION
from servefit.search.results.pooled_trials import pool_trials

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.search_state import SearchState
    from servefit.search.results.recommendation import Trial

SIGMAS = 1.64
"""Standard deviations from the likely rate to the least and to the most: one in ten is beyond either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRange:
    """The least, the likely and the highest rate, in requests a second, that a host may turn out to carry; and whether
    any of that was ``measured`` under load."""

    low_per_s: float
    likely_per_s: float
    high_per_s: float
    measured: bool = True


NOTHING_KNOWN = RateRange(low_per_s=0.0, likely_per_s=0.0, high_per_s=inf, measured=False)
"""The range of a class of which nothing was timed."""


@dataclass(slots=True)
class RateRanges:
    """Works out ranges, and simulates nothing twice for that."""

    _simulated: dict[tuple[Configuration, float], float | None] = field(default_factory=dict)

    def of(self, search: SearchState) -> RateRange:
        """Return the range of the hosts that ``search`` is of.

        The measurements of the best configuration count; while the search goes on, another configuration may still
        raise the highest rate. No rate is above the planned part of a capacity, nor above the rate at which the
        simulation reaches a limit of the SLA.
        """
        measured = self._measured(search)
        untested = self._untested(search)
        if measured is None:
            return untested or NOTHING_KNOWN
        if search.searched or untested is None:
            return measured
        return RateRange(
            low_per_s=measured.low_per_s,
            likely_per_s=measured.likely_per_s,
            high_per_s=max(measured.high_per_s, untested.high_per_s),
        )

    def _measured(self, search: SearchState) -> RateRange | None:
        """Return what the best configuration so far may carry, None where nothing valid was measured."""
        best = next(iter(search.recommendations()), None)
        if best is None or best.trial.verdict == "INVALID":
            return None
        if best.trial.basis == "predicted":  # which no plan relies on
            return RateRange(low_per_s=0.0, likely_per_s=0.0, high_per_s=0.0)
        configuration = best.trial.configuration
        own = [trial for trial in search.trials if trial.configuration == configuration]
        (pooled,) = pool_trials(own)
        likely_per_s = self._highest_per_s(search, configuration, pooled.capacity_per_s, own, best.trial)
        noise = exp(SIGMAS * CAPACITY_NOISE / sqrt(pooled.measurements))
        return RateRange(low_per_s=likely_per_s / noise, likely_per_s=likely_per_s, high_per_s=likely_per_s * noise)

    def _highest_per_s(
        self, search: SearchState, configuration: Configuration, capacity_per_s: float, own: list[Trial], best: Trial
    ) -> float:
        request = search.request
        points = [
            CurvePoint.measured(trial.at_rate, rate_per_s=rate_per_s, verdict=trial.verdict)
            for trial in own
            if trial.at_rate is not None and (rate_per_s := rate_of_an_instance(trial, request)) is not None
        ]
        asked_per_s = rate_of_an_instance(best, request) if best.verdict == "PASS" else None
        return instance_rate(
            points,
            capacity_per_s=capacity_per_s,
            simulated_per_s=self._within_limits_per_s(search, configuration, capacity_per_s),
            asked_per_s=asked_per_s,
        ).highest_per_s

    def _within_limits_per_s(
        self, search: SearchState, configuration: Configuration, capacity_per_s: float
    ) -> float | None:
        """Return the rate at which the simulation reaches a limit, infinite where there is none; None where nothing
        can be simulated."""
        thresholds = search.request.sla.thresholds
        if not thresholds:
            return inf
        if not capacity_per_s:
            return 0.0
        key = configuration, capacity_per_s
        if key not in self._simulated:
            simulation = Simulation.of(
                configuration,
                capacity_per_s,
                timed=search.survey.service_times(configuration),
                closed=None,
                seed=search.request.seed,
                arrivals=search.request.arrivals,
                costs=search.costs,
            )
            self._simulated[key] = None if simulation is None else simulation.highest_rate_per_s(thresholds)
        return self._simulated[key]

    def _untested(self, search: SearchState) -> RateRange | None:
        """Return the range of the most promising configuration that was not measured, None where nothing is expected of
        any."""
        tried = {trial.configuration for trial in search.trials} | search.failed | search.given_up
        left = [configuration for configuration in search.space.grid if configuration not in tried]
        expected = [
            (estimate, configuration)
            for estimate, configuration in zip(search.surrogate.capacities(left), left, strict=True)
            if estimate is not None
        ]
        if not expected:
            return None
        likeliest, configuration = max(expected, key=lambda pair: pair[0].log_mean)
        within_per_s = self._within_limits_per_s(search, configuration, likeliest.value)
        likely_per_s = min(PLANNED_UTILISATION * likeliest.value, inf if within_per_s is None else within_per_s)
        most = max(exp(estimate.log_mean + SIGMAS * estimate.sd) for estimate, _ in expected)
        return RateRange(
            low_per_s=likely_per_s * exp(-SIGMAS * likeliest.sd),
            likely_per_s=likely_per_s,
            # Another configuration may keep limits that this one does not.
            high_per_s=PLANNED_UTILISATION * most,
            measured=False,
        )
