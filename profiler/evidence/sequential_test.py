"""Decides whether "pXX <= limit" holds at the rate of a run, from the response times of all its requests.

What counts are violations (response time > limit), of which 1 - XX/100 are allowed. Requests that wait behind each
other are slow together, so a violation tells less where violations come in bursts. How much less is read from the
shares of violations in 20 blocks of the run: they differ by so many times what independent requests would [Conway
1963; batch means]. The run counts as so many times fewer requests and violations, and these as independent [quasi-
likelihood: Wedderburn 1974]. The shares of 20 blocks tell their variance with 19 degrees of freedom, for which it is
raised as Student does. How fast response times move below the limit does not matter by itself: a server that pauses,
and never came near the limit, keeps it.

A PASS is given at the end alone: it is the probability that a server which breaks the limit shows so few violations
[Clopper and Pearson 1934]. A FAIL is given at the end by the probability of so many, or earlier, since nothing that
follows makes it untrue: by an e-process, a mixture of rates above the boundary against the boundary itself, which
exceeds 1/alpha with probability alpha at most however often one looks [Ville 1939; Robbins 1970].

Violations that have not come yet show no bursts. So a PASS also takes that the run saw enough of the server close to
the limit to know how it moves there. (response / limit) ** 4, 1 at most, says how close a request came. A run that is
worth 40 independent values of that knows enough. One that is worth half as many has to stay so far from the limit that
the upper bound of the average is half of the share allowed, and so on. A queue that has only begun to grow shows
neither, which ``run_verdict`` is about. Disturbances that are rarer than the run is long are in no test of the run:
``rare_disturbances`` says which.

The levels are by experiment: benchmarks/claims/verdicts.py has how often verdicts are wrong, in queues of all kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, isfinite, lgamma, log, sqrt
from statistics import NormalDist

import numpy as np

from servefit.checks import check_above_zero, check_between
from servefit.profiler.evidence.autocorrelation import MIN_SAMPLES, autocorrelation_time
from servefit.profiler.evidence.intervals import t_quantile
from servefit.profiler.evidence.limits import Verdict  # noqa: TC001 - evidence is read from documents
from servefit.profiler.evidence.summary import samples_needed
from servefit.quantities import span_text
from servefit.showing import shown

ALPHA = 0.05
"""The probability of a false PASS that is aimed at, the usual 5 %."""

PASS_LEVEL = 0.03
"""The level of the test for a PASS. It counts on 20 blocks, whose violations are skewed: by experiment 6 % of runs of
60 s pass at the limit, and 9 % of those of 20 s."""

FAIL_LEVEL = 0.02
"""The level of the tests for a FAIL: half of it is for looking while the run goes on, half for its end. By experiment
1 to 2 % of runs fail of which four fifths of the share allowed are slow, and 0.3 % of others."""

GROWTH_SEEN = 20
"""When 5 % too many requests arrive, a queue takes so many times the limit to reach it. No PASS is safe before that,
unless the servers have time to spare."""

BLOCKS = 20
"""Of a run of 20 s they are longer than most pauses. Chosen among 10 to 40, on other queues than the benchmark's."""

_MIN_INDEPENDENT = 2
"""See ``_deflated``."""

_NEARNESS = 4
"""The power of response / limit that says how close a request came: at half of the limit a sixteenth. Chosen among 2, 4
and 6: with the square, pauses of half of the limit count as close to it."""

_KNOWN_FROM = 40
"""Independent values of that from which on the server is known close to the limit. Chosen among 20 to 100: with more,
fewer runs of a busy queue pass, and with fewer more of them do wrongly."""

_INTEGRATION_POINTS = 2000
"""Of the density of the beta distribution beyond the boundary: the result errs by half a per cent at most."""

_FEWER = 2.0
"""From here on people are told that requests count as fewer: as half. Chosen, not measured."""

_RATES_ABOVE = 64
"""Rates that stand for the mixture. Chosen: the likelihood is smooth, and the time that a look takes is in proportion
to them."""

_BUDGET_STEP_S = 10.0
"""Budgets are proposed in such steps."""

MAX_TRAFFIC_S = 300.0
"""The most traffic that a job has for its winner, and that is proposed to anybody. Chosen, not measured."""

_LONGER = 1.25
"""The step by which longer runs are tried. Chosen."""

_MAX_PLAN = 1000.0
"""Times the traffic of a run: what would take longer to decide is as good as at the limit. Chosen."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence that a verdict rests on.

    ``burst`` is how many requests count as one, since violations come together: at least 1, infinite where the run is
    too short to tell, and None before there are enough samples to look at; no evidence is drawn until then. ``p_pass``
    is the probability that a server which breaks the limit shows so few violations: a PASS takes 3 %. ``p_fail`` is
    that of so many from one that keeps it, and ``log_e_fail`` the natural logarithm of the e-value against it: a FAIL
    takes 1 % or log(100), 4.6. ``decided_by`` is how many times the traffic would decide, if it goes on like this:
    None where there is a verdict, infinite where it is too close to the limit.
    """

    verdict: Verdict
    samples: int
    violations: int
    burst: float | None
    p_pass: float
    p_fail: float
    log_e_fail: float
    decided_by: float | None

    def missing_text(self, traffic_s: float, *, budget_s: float | None = None) -> str:
        """Return what is missing for a verdict after ``traffic_s`` of traffic, as the end of a sentence; empty where
        there is one. With the budget of a job, also which budget gives that much."""
        if self.decided_by is None:
            return ""
        if not self.samples:
            return "; none that was answered counts"
        if not isfinite(self.decided_by):
            one_burst = self.burst is not None and self.samples / self.burst <= _MIN_INDEPENDENT
            return (
                "; they came together, and one burst decides nothing"
                if one_burst
                else "; that is so close to the limit that no longer run is likely to decide"
            )
        needed_s = ceil(self.decided_by * traffic_s)
        if needed_s > MAX_TRAFFIC_S:
            return f"; more than {span_text(MAX_TRAFFIC_S)} of such traffic would decide"
        missing = f"; {span_text(needed_s)} of such traffic would decide"
        if budget_s is None:
            return missing
        return f"{missing}: --budget {_BUDGET_STEP_S * ceil(self.decided_by * budget_s / _BUDGET_STEP_S):g}s"

    @property
    def worth_text(self) -> str:
        """The reason why the requests count as fewer, as the end of a sentence; empty where they count half at
        least."""
        if self.burst is None or self.burst < _FEWER:
            return ""
        worth = int(self.samples / self.burst)
        return f", and slow requests came together: they count as {worth:,}" if worth >= _MIN_INDEPENDENT else ""


class SequentialTest:
    """Tests one latency threshold on the requests of one run.

    ``percentile`` (0..100, exclusive) of the response time is compared with ``limit_ns``. ``level_pass`` and
    ``level_fail`` are those of the tests for either verdict. Raises SpecError on a percentile, limit or level that
    makes no sense.
    """

    def __init__(
        self, *, percentile: float, limit_ns: float, level_pass: float = PASS_LEVEL, level_fail: float = FAIL_LEVEL
    ) -> None:
        check_between("percentile", percentile, 0, 100)
        check_above_zero("limit", limit_ns)
        check_between("level", level_pass, 0, 1)
        check_between("level", level_fail, 0, 1)
        self._limit_ns = limit_ns
        self._boundary = 1 - percentile / 100
        self._level_pass, self._level_fail = level_pass, level_fail / 2
        self._least_samples = _least_samples(percentile)
        self._seen = 0
        self._failed: Evidence | None = None

    def surely_fails(self, response_ns: np.ndarray) -> bool:
        """Look at ``response_ns``: the response times of all requests so far, in order of arrival, shape (n,).

        Give no request of which an earlier one is still to be answered: those left out would be the slow ones. True is
        final. Takes time in proportion to n, 1 ms for 100,000 requests. Raises ValueError on anything but one
        finite, nonnegative number a request, no fewer than last time.
        """
        if self._failed is None:
            self._check(response_ns)
            weighed = self._weigh(response_ns, at_the_end=False)
            self._failed = weighed if weighed.verdict == "FAIL" else None
        return self._failed is not None

    def conclude(self, response_ns: np.ndarray) -> Evidence:
        """Decide on all requests of a run that is over; ``response_ns`` is as in ``surely_fails``.

        No verdict comes with fewer samples than the percentile takes. Raises ValueError as ``surely_fails``.
        """
        if self._failed is not None:
            return self._failed
        self._check(response_ns)
        return self._weigh(response_ns, at_the_end=True)

    def _check(self, response_ns: np.ndarray) -> None:
        if response_ns.ndim != 1:
            raise ValueError(f"response times have shape {response_ns.shape}, not (n,)")
        if len(response_ns) < self._seen:
            raise ValueError(f"{len(response_ns)} response times, after {self._seen} last time")
        if len(response_ns) and not (response_ns.min() >= 0 and np.isfinite(response_ns.max())):
            raise ValueError("a response time is negative or not a finite number")
        self._seen = len(response_ns)

    def _weigh(self, response_ns: np.ndarray, *, at_the_end: bool) -> Evidence:
        samples = len(response_ns)
        violated = response_ns > self._limit_ns
        violations = int(np.count_nonzero(violated))
        burst, worth, p_pass, p_fail, log_e, decided_by, longer_to_know = None, None, 1.0, 1.0, 0.0, None, 1.0
        verdict: Verdict = "UNDECIDED"
        if samples >= self._least_samples:
            burst = _requests_as_one(violated)
            worth = _deflated(samples, violations, burst)
            log_e = float(log_e_fail(*worth, self._boundary))
            if at_the_end:
                p_pass, p_fail, longer_to_know = (
                    self._p_pass(worth),
                    self._p_fail(worth),
                    self._longer_to_know(response_ns),
                )
        if log_e >= log(1 / self._level_fail) or p_fail <= self._level_fail:
            verdict = "FAIL"
        elif p_pass <= self._level_pass and longer_to_know <= 1:
            verdict = "PASS"
        elif at_the_end:
            decided_by = self._decided_by(samples, worth, longer_to_know)
        return Evidence(
            verdict=verdict,
            samples=samples,
            violations=violations,
            burst=burst,
            p_pass=p_pass,
            p_fail=p_fail,
            log_e_fail=log_e,
            decided_by=decided_by,
        )

    def _p_pass(self, worth: tuple[float, float]) -> float:
        return p_of_so_few(*worth, self._boundary)

    def _p_fail(self, worth: tuple[float, float]) -> float:
        """Return the probability of so many violations: that so few of the requests keep the limit."""
        samples, violations = worth
        return p_of_so_few(samples, samples - violations, 1 - self._boundary)

    def _longer_to_know(self, response_ns: np.ndarray) -> float:
        """Return how many times as long the run would have to be to know the server close to the limit; 1 at most
        where it is long enough. The farther from the limit the server stays the less is needed."""
        near = np.minimum(1.0, (response_ns / self._limit_ns) ** _NEARNESS)
        seen = max(len(near) / _requests_as_one(near), _MIN_INDEPENDENT) / _KNOWN_FROM
        length = len(near) // BLOCKS
        shares = near[len(near) - length * BLOCKS :].reshape(BLOCKS, length).mean(axis=1)
        most = float(shares.mean()) + t_quantile(1 - ALPHA, BLOCKS - 1) * float(shares.std(ddof=1)) / sqrt(BLOCKS)
        return min(1.0, most / self._boundary) / seen

    def _decided_by(self, samples: int, worth: tuple[float, float] | None, longer_to_know: float) -> float:
        """Return how many times the traffic would decide, if the share of violations and their bursts stay as they
        are; infinite where none would, or where the run is one burst."""
        if worth is None:
            return self._least_samples / samples if samples else inf
        independent, violated = worth
        if independent <= _MIN_INDEPENDENT:
            return inf
        longer = _LONGER
        while longer <= _MAX_PLAN:
            counts = longer * independent, longer * violated
            if self._p_fail(counts) <= self._level_fail:
                return longer
            if self._p_pass(counts) <= self._level_pass:
                return max(longer, longer_to_know)
            longer *= _LONGER
        return inf


def p_of_so_few(samples: float, violations: float, boundary: float) -> float:
    """Return the probability that of ``samples`` independent requests no more than ``violations`` take too long, where
    each does so with probability ``boundary``; counts may be fractions. 1.0 where there are as many as are expected.

    The binomial distribution as the integral of a beta density beyond the boundary [Abramowitz and Stegun 1964,
    26.5.24], by the trapezoidal rule.
    """
    met = samples - violations
    if violations >= boundary * samples or met <= 1:
        return 1.0
    # The density has its peak before the boundary, and falls off by far within this.
    width = 50 * max((boundary * (1 - boundary) / samples) ** 0.5, 1 / samples)
    rates, step = np.linspace(boundary, min(1.0, boundary + width), _INTEGRATION_POINTS, endpoint=False, retstep=True)
    scale = lgamma(samples + 1) - lgamma(violations + 1) - lgamma(met)
    density = np.exp(scale + violations * np.log(rates) + (met - 1) * np.log1p(-rates))
    return float(min(1.0, step * (density.sum() - (density[0] + density[-1]) / 2)))


def least_to_pass(percentile: float, *, chances: int = 1) -> int:
    """Return of how many requests none may take too long, for a PASS of a limit on ``percentile`` (95.0); a PASS is one
    of so many ``chances``. With fewer no run passes.

    Example:
        >>> from servefit.profiler.evidence.sequential_test import least_to_pass
        >>> least_to_pass(95.0), least_to_pass(99.0)
        (90, 459)
    """
    return max(_least_samples(percentile), ceil(log(PASS_LEVEL / chances) / log(percentile / 100)))


def _least_samples(percentile: float) -> int:
    """Return how many samples there are before anything is decided on ``percentile``."""
    return max(samples_needed(percentile), MIN_SAMPLES)


def log_e_fail(samples: np.ndarray | float, violations: np.ndarray | float, boundary: float) -> np.ndarray:
    """Return the log of the e-value against a violation probability of ``boundary`` or less; counts may be fractions.

    The rates mixed lie denser near the boundary, as the cubes of evenly spaced numbers, for shares just beyond it.
    """
    middles = (np.arange(_RATES_ABOVE) + 0.5) / _RATES_ABOVE
    rates = boundary + (1 - boundary) * middles**3
    met = np.subtract(samples, violations)
    ratios = np.multiply.outer(violations, np.log(rates / boundary))
    ratios = ratios + np.multiply.outer(met, np.log((1 - rates) / (1 - boundary)))
    mixed: np.ndarray = np.logaddexp.reduce(ratios, axis=-1) - np.log(len(rates))
    return mixed


def _requests_as_one(series: np.ndarray) -> float:
    """Return how many requests count as one where the mean of ``series`` is asked for, by its means over blocks; more
    than are seen, since so few blocks may be alike by chance [Student 1908]."""
    raised = (t_quantile(1 - ALPHA, BLOCKS - 1) / NormalDist().inv_cdf(1 - ALPHA)) ** 2
    return 1 + raised * (autocorrelation_time(series, batches=BLOCKS) - 1)


def _deflated(samples: int, violations: int, burst: float) -> tuple[float, float]:
    """Return the samples and violations that independent requests would count. Never fewer than two samples: so a run
    that lies almost wholly above the limit fails, though a queue that only grows shows no end of its burst."""
    divisor = min(burst, samples / _MIN_INDEPENDENT)
    return samples / divisor, violations / divisor
