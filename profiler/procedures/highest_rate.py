"""Finds the highest rate of requests at which an SLA on the response time holds, in a budget of requests or seconds.

First runs in an open loop close in on the rate at which a percentile reaches its limit (the root). Where their calls
are known, they are replayed (``evidence.replay``), and the lower bound of the root that comes from that is the answer,
guarded by one run at it. Where they are not, the root is fitted (``fitted_runs``), rates below it are put to the
sequential test, and the answer is one that passes, also by all runs together (``evidence.violations_by_rate``). Who
carries out the runs, a load driver or a simulation, is up to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.profiler.arrivals.contract import STEADY
from servefit.profiler.defaults import ARRIVALS
from servefit.profiler.evidence.budget import RunBudget
from servefit.profiler.evidence.replay import SeenRuns
from servefit.profiler.evidence.sequential_test import SequentialTest
from servefit.profiler.evidence.verdict import combined_verdict
from servefit.profiler.evidence.violations_by_rate import kept_by_all
from servefit.profiler.procedures.fitted_runs import FittedRuns
from servefit.profiler.procedures.tried_rates import UNMET, HighestRate, Probe, ThresholdTest, TriedRate
from servefit.quantities import number_text, percent_text

if TYPE_CHECKING:
    from servefit.profiler.evidence.limits import LatencyThreshold, Verdict
    from servefit.profiler.evidence.replay import ReplayedRate
    from servefit.profiler.queueing.discipline import Discipline

APPROACH_SHARE, _REPLAYED_SHARE = 0.5, 0.7
"""The share of the budget for finding the root; the rest is for confirming. A replay is as good as its calls are many,
and what it claims is only guarded. Chosen, not measured."""

STEP = 0.97
"""The first rate to be confirmed is this much of the root, and the next this much of one that fails. Chosen: to tell a
rate that is nearer to the limit from the limit takes over 60,000 requests (benchmarks/README.md)."""

_FIRST_SHARE, _NEXT_SHARE = 0.05, 0.09
"""Of the budget, for the first run of the approach and each of the next: six of them make up the approach's half."""

_JITTER = 0.05
"""Runs lie within this of the root as known: nearer together they say nothing of a slope. Chosen, not measured."""

_FLOOR, _CEILING = 0.05, 0.98
"""Of saturation: where runs may lie. Below, an answer is of little use; above, no percentile comes to rest. Chosen."""

_MIN_REQUESTS, _MIN_BEYOND = 200, 20
"""A run has so many, and as many as bring so many beyond the highest percentile: 400 for p95, 2,000 for p99."""

_MIN_DECIDED = 100
"""Little more than a p95 takes, which is 90 (``samples_needed``)."""

MIN_RUN_S = 0.02
"""At high rates a run has this long, which is more than so many requests. Chosen, not measured."""

_MAX_DISTURBED = 3
"""Of a search of some ten runs: a machine that is in the way so often will be again. Chosen, not measured."""

_GOT_IN_THE_WAY = "the machine got in the way of one run after the other"

_PLANNED_SHARE, _TRANCHE = 0.5, 0.6
"""Of the confirmation: a rate is planned to need half of what is left, and may use a little more than that."""

_TO_SPARE = 1.5
"""Times the requests that a rate is expected to take to pass: what was expected is uncertain. Chosen, not measured."""

_WORTHWHILE = 1.01
"""Times a rate that passed: nobody changes anything for less than 1 % more."""

_MIN_CONFIRMED_PART = 0.25
"""Of the root: a promise of less is worth little, so a higher one is tried although it is likely to stay undecided."""


def sequential_test(threshold: LatencyThreshold) -> SequentialTest:
    """Make the test that decides runs unless another is given; that of all runs together is always the same."""
    return SequentialTest(percentile=threshold.rank, limit_ns=threshold.limit_ns)


def highest_rate(
    probe: Probe,
    *,
    saturation_per_s: float,
    thresholds: Sequence[LatencyThreshold],
    budget_requests: int | None = None,
    budget_s: float | None = None,
    new_test: Callable[[LatencyThreshold], ThresholdTest] = sequential_test,
    seed: int = 0,
    shortest_s: float = MIN_RUN_S,
    discipline: Discipline | None = None,
    arrivals: str = ARRIVALS,
) -> HighestRate:
    """Search between 0 and ``saturation_per_s``, the rate that a closed loop reaches, until a rate is confirmed.

    All ``thresholds`` must hold. The budget is in requests, in seconds of running, or both, whichever ends first; it
    is kept to within the requests in flight when a run is stopped. The first run is at half of saturation, the next
    ones within 5 % of the root as known by then, until its interval is narrower than 3 % or half of the budget is
    spent. The first rate to be confirmed is 3 % below the root, or as much lower as it takes for a verdict to be
    likely in the budget; after a FAIL, or a PASS that all runs together do not show, follows one 3 % lower, after a
    PASS a higher one while there is budget. When no rate is confirmed in time, the highest run of the approach that
    passed, is kept by all runs together and lies below the interval counts.

    Where ``probe`` shows the calls, and their ``discipline`` is given, the approach has 70 % of the budget. The rate to
    be confirmed is then the lower bound by a replay behind ``arrivals``, and what keeps the limits there is confirmed.
    Where the calls do not suffice for that, the search goes on as without them.

    Runs take ``shortest_s`` at least. Where the rate of ``arrivals`` varies, nothing is replayed, all of a run counts
    and none ends before its time.

    Raises SpecError on a rate, budget or thresholds that make no sense.
    """
    check_above_zero("saturation", saturation_per_s)
    if not thresholds:
        raise SpecError("thresholds", thresholds, "are missing", remedy="limit at least one percentile")
    search = _Search(
        probe,
        saturation_per_s,
        tuple(thresholds),
        RunBudget(requests=budget_requests, seconds=budget_s),
        new_test,
        seed,
        shortest_s=shortest_s,
        discipline=discipline,
        arrivals=arrivals,
    )
    reason = search.approach() or search.guard() or search.confirm()
    return search.result(reason)


class _Search:
    """The runs of one search, and what is known from them."""

    def __init__(
        self,
        probe: Probe,
        saturation_per_s: float,
        thresholds: tuple[LatencyThreshold, ...],
        budget: RunBudget,
        new_test: Callable[[LatencyThreshold], ThresholdTest],
        seed: int,
        *,
        shortest_s: float,
        discipline: Discipline | None,
        arrivals: str,
    ) -> None:
        self._probe = probe
        self._saturation_per_s = saturation_per_s
        self._thresholds = thresholds
        self._budget = budget
        self._new_test = new_test
        self._shortest_s = shortest_s
        self._steady = arrivals in STEADY
        self._random = np.random.default_rng(seed)
        self._fitted = FittedRuns(saturation_per_s, thresholds, self._random, steady=self._steady)
        self._seen = SeenRuns(discipline if self._steady else None, thresholds, arrivals=arrivals, seed=seed)
        self._claim: ReplayedRate | None = None
        self._guarded_per_s: float | None = None
        self._tried: list[TriedRate] = []
        self._responses: list[tuple[float, np.ndarray]] = []
        self._left_out = False
        rarest = min(1 - threshold.rank / 100 for threshold in thresholds)
        self._least = max(_MIN_REQUESTS, math.ceil(_MIN_BEYOND / rarest))

    def approach(self) -> str | None:
        """Close in on the root. Says why when there is no point in going on. A run that saturates is made again."""
        floor, ceiling = _FLOOR * self._saturation_per_s, _CEILING * self._saturation_per_s
        rate, share, repeated = self._saturation_per_s / 2, _FIRST_SHARE, False
        while True:
            requests = max(self._least, self._least_run(rate), int(share * self._budget.total(rate)))
            limit = self._approach_share(rate) if self._fitted.any_run else 1.0
            if rate == floor:  # the run to end all: it is over as soon as it is clear that nothing meets the SLA
                requests, limit = min(requests, max(self._budget.left(rate), self._least_run(rate))), 1.0
            if requests > self._budget.left(rate, share=limit):
                break
            verdict = self._run(rate, requests, "approach", stop_when_failed=rate == floor)
            if self._disturbed():
                return _GOT_IN_THE_WAY
            if verdict == "INVALID":
                continue
            if rate == floor and verdict in ("FAIL", "SATURATED"):
                return f"{UNMET} even at {number_text(rate)} requests/s, {percent_text(_FLOOR)} of capacity"
            if verdict == "SATURATED" and rate < self._fitted.capacity_per_s() and not repeated:
                repeated = True
                continue
            repeated = False
            if self._approach_share(rate) == APPROACH_SHARE and self._fitted.is_close:
                break
            jitter = self._random.uniform(1 - _JITTER, 1 + _JITTER)
            rate, share = float(np.clip(self._target() * jitter, floor, ceiling)), _NEXT_SHARE
        if self._fitted.any_served:
            return None
        return f"the budget ended before a run did: one at {number_text(rate)} requests/s takes {requests:,} requests"

    def guard(self) -> str | None:
        """Claim the lower bound by the replay of the approach, and make a run there, with what is left of the budget.

        A claim that is broken by all runs together is lowered step by step. Says how that ended, and None where no
        replay makes a claim that holds.
        """
        replay = self._seen.near_root()
        self._claim = None if replay is None else replay.highest_rate()
        rate = 0.0 if self._claim is None else self._claim.at_least_per_s
        while rate > _FLOOR * self._saturation_per_s:
            requests = max(self._least, self._least_run(rate), int(_TRANCHE * self._budget.left(rate)))
            if requests > self._budget.left(rate):
                break
            verdict = self._run(rate, requests, "confirm", stop_when_failed=True)
            if self._disturbed():
                return _GOT_IN_THE_WAY
            kept = verdict == "PASS" or (verdict == "UNDECIDED" and self._tried[-1].keeps(self._thresholds))
            if kept and self._together(rate) != "FAIL":
                self._guarded_per_s = rate
                return "confirmed"
            if verdict in ("FAIL", "SATURATED"):  # so nothing of that replay is believed
                break
            if verdict != "INVALID":
                rate *= STEP
        self._claim = None
        return None

    def confirm(self) -> str:
        """Test rates below the root; the highest that passes is the answer. Says how that ended.

        A FAIL leads to the next step down, and so does a run that stays undecided for its part of the budget, or passes
        alone and not with all runs together. A PASS of a rate that was chosen low for the sake of the budget leads to a
        higher one, while there is budget. What is seen there may show that the lower one does not keep the limits.
        """
        highest = math.inf
        while True:
            passed = self._confirmed() or 0.0
            rate, part = self._rate_to_confirm(highest), _TRANCHE
            if passed:
                rate, part = min(max(rate, passed / STEP), highest, STEP * self._fitted.root_per_s()), 1.0
            requests = self._requests_to_confirm(rate, part)
            if rate < passed * _WORTHWHILE or requests > self._budget.left(rate):
                break
            verdict = self._run(rate, requests, "confirm", stop_when_failed=True)
            if self._disturbed():
                return "confirmed" if self._confirmed() else _GOT_IN_THE_WAY
            if verdict == "INVALID" or (verdict == "PASS" and self._kept_by_all(rate)):
                continue
            if rate <= _FLOOR * self._saturation_per_s:
                break
            highest = STEP * rate
        if self._confirmed():
            return "confirmed"
        if self._fitted.root_per_s() <= _FLOOR * self._saturation_per_s:
            lowest = min(run.rate_per_s for run in self._tried)
            return f"{UNMET} at {number_text(lowest)} requests/s, the lowest rate that was tried"
        why = "the budget was spent before a rate was confirmed"
        if alone := self._passed_alone():
            why += f": {number_text(max(alone))} requests/s passed in one run, but not by all runs together"
        return why

    def result(self, ended: str) -> HighestRate:
        root, interval, claim = None, None, self._claim
        rate = self._guarded_per_s or self._confirmed()
        if claim is not None:
            root, interval = claim.rate_per_s, claim.interval_per_s
        elif self._fitted.any_served:
            root = self._fitted.root_per_s()
        if rate is None and self._fitted.any_served:
            rate = self._passed_below(self._fitted.interval_per_s())
        if rate is not None and root is not None:
            root = max(root, rate)  # the line through all runs may lead below a rate that kept the limits
        if rate is not None and ended != "confirmed":
            ended = f"{ended}; {number_text(rate)} requests/s passed on the way"
        return HighestRate(
            rate_per_s=rate,
            root_per_s=root,
            interval_per_s=interval,
            tried=tuple(self._tried),
            requests=self._budget.requests_spent,
            elapsed_s=self._budget.seconds_spent,
            ended=ended,
            disturbed=ended.startswith(_GOT_IN_THE_WAY) or (rate is None and self._lacked_time_for_noise(ended)),
            basis="tested" if self._guarded_per_s is None else "replayed",
            ratio=None if claim is None else claim.ratio,
        )

    def _run(
        self, rate: float, requests: int, purpose: Literal["approach", "confirm"], *, stop_when_failed: bool
    ) -> Verdict | Literal["SATURATED"]:
        tests = [self._new_test(threshold) for threshold in self._thresholds]
        least = self._fitted.requests_to_see_growth(rate)

        def stop(response_ns: np.ndarray) -> bool:
            # What looks like a failure may be somebody else's doing, which is only told from the whole run.
            if not stop_when_failed or not self._steady or self._left_out:
                return False
            return any(test.surely_fails(response_ns) for test in tests)

        run = self._probe(rate, requests, stop)
        self._budget.spend(len(run.response_ns), run.elapsed_s)
        verdict: Verdict | Literal["SATURATED"] = "INVALID" if run.disturbed else "SATURATED"
        if run.left_out_s:  # what was seen as the run went on may be among it
            self._left_out = True
            tests = [self._new_test(threshold) for threshold in self._thresholds]
        if not run.disturbed and not run.saturated:
            verdict = combined_verdict([test.conclude(run.response_ns).verdict for test in tests])
            if verdict == "PASS" and len(run.response_ns) < least:
                verdict = "UNDECIDED"
        if verdict == "SATURATED":
            self._fitted.add_saturated(rate, requests)
        elif verdict != "INVALID":
            self._responses.append((rate, self._fitted.settled(run.response_ns)))
            self._fitted.add(rate, run.response_ns)
            self._seen.add(rate, run.served, elapsed_s=run.elapsed_s - run.left_out_s)
        kept = self._fitted.settled(run.response_ns)
        percentiles = np.percentile(kept, [threshold.rank for threshold in self._thresholds]) if len(kept) else None
        self._tried.append(
            TriedRate(
                rate_per_s=rate,
                requests=len(run.response_ns),
                percentiles_ns=None if percentiles is None else tuple(map(float, percentiles)),
                verdict=verdict,
                purpose=purpose,
            )
        )
        return verdict

    def _together(self, rate_per_s: float) -> Verdict:
        """Return the verdict on all runs at that rate or less together: lower rates keep limits no worse."""
        together = np.concatenate([response_ns for rate, response_ns in self._responses if rate <= rate_per_s])
        return combined_verdict(
            [self._new_test(threshold).conclude(together).verdict for threshold in self._thresholds]
        )

    def _kept_by_all(self, rate_per_s: float) -> bool:
        """Return whether all runs together show that the limits are kept at that rate: a server that pauses now and
        then may not have done so in a run of a second or two."""
        return all(
            kept_by_all(self._responses, rate_per_s, rank=threshold.rank, limit_ns=threshold.limit_ns)
            for threshold in self._thresholds
        )

    def _least_run(self, rate_per_s: float) -> int:
        """Return the fewest requests that a run can decide anything with; at high rates, those of a shortest time."""
        return max(_MIN_DECIDED, math.ceil(self._shortest_s * rate_per_s))

    def _lacked_time_for_noise(self, ended: str) -> bool:
        """Return whether the search that ``ended`` so had too little time, and disturbed runs took some of that."""
        return ended.startswith("the budget") and any(run.verdict == "INVALID" for run in self._tried)

    def _disturbed(self) -> bool:
        """Return whether there is no point in trying further on this machine."""
        return sum(run.verdict == "INVALID" for run in self._tried) >= _MAX_DISTURBED

    def _approach_share(self, rate: float) -> float:
        """Return the share of the budget for finding the root: more where its calls promise a replay."""
        seconds = _REPLAYED_SHARE * self._budget.total(rate) / rate
        return _REPLAYED_SHARE if self._seen.promise(seconds) else APPROACH_SHARE

    def _target(self) -> float:
        """Return the root as well as it is known on the way there; half of capacity before anything was served."""
        if not self._fitted.any_served:
            return self._fitted.capacity_per_s() / 2
        return self._seen.root_per_s() or self._fitted.root_per_s()

    def _rate_to_confirm(self, highest: float) -> float:
        """Return the highest step below the root, and not above ``highest``, that is likely to pass within the
        budget."""
        floor = _FLOOR * self._saturation_per_s
        rate = max(floor, min(highest, STEP * self._fitted.root_per_s()))
        lowest = max(floor, _MIN_CONFIRMED_PART * rate)
        planned = rate
        while self._fitted.requests_to_pass(planned) > _PLANNED_SHARE * self._budget.left(planned):
            planned *= STEP
            if planned < lowest:
                return rate
        return planned

    def _requests_to_confirm(self, rate: float, part: float) -> int:
        """Return how many requests the confirmation of a rate has: as many as it takes to pass with some to spare, and
        no more than that ``part`` of the budget left."""
        enough = _TO_SPARE * self._fitted.requests_to_pass(rate)
        most = part * self._budget.left(rate)
        return max(self._least, self._least_run(rate), int(min(enough, most)))

    def _confirmed(self) -> float | None:
        """Return the highest rate that passed a test of its own, and by all runs together."""
        return max(filter(self._kept_by_all, self._passed_alone()), default=None)

    def _passed_alone(self) -> list[float]:
        """Return the rates that passed a test of their own."""
        return [run.rate_per_s for run in self._tried if run.purpose == "confirm" and run.verdict == "PASS"]

    def _passed_below(self, interval: tuple[float, float]) -> float | None:
        """Return the highest rate that passed of those that the interval lies above."""
        passed = [run.rate_per_s for run in self._tried if run.verdict == "PASS" and run.rate_per_s <= interval[0]]
        return max((rate for rate in passed if self._kept_by_all(rate)), default=None)
