"""Decides whether "pXX <= limit" holds at the rate of a run, from the response times of all its requests.

A PASS is given at the end alone, on all requests of the run: one that came early would stand although what was seen
later speaks against it. A FAIL may come while the run goes on, since nothing that follows makes it untrue.

What counts are violations (response time > limit). For FAIL their evidence is an e-process, a mixture of rates above
the boundary 1 - XX/100 against the boundary itself. Of independent requests it exceeds 1/alpha with probability at most
alpha, no matter how often one looks [Ville 1939; Robbins 1970]. For PASS it is the probability that so few would be
seen on the boundary, which is looked at once [Clopper and Pearson 1934].

Requests that wait in one queue are not independent: the counts are divided by the autocorrelation time, the number of
requests that tell as much as one independent request would. It is estimated, so what holds for independent requests
exactly holds for queues by experiment: benchmarks/claims/verdicts.py.

The violations alone cannot tell the autocorrelation time before several bursts of them were seen. In M/M/1 at 90 % load
with 5 % violations, 190 requests in a row have none in 8 runs of 10. Response times show how slowly the queue moves
even while none is too long, which is why the test is given these. What neither shows is a disturbance rarer than the
run is long: ``rare_disturbances`` says which.

Where the limit is far away, waiting for enough independent requests would be a waste. If response times fall off at
least exponentially, then P(response > limit) <= P(response > limit / m) ** m, and the right-hand side is settled by a
few independent requests. That is used for m of 2, 4, 8 and 32, beside the evidence above, as far as nothing has taken
more than that part of the limit, and for all of them where nothing has taken more than an eighth. By then, the
benchmark shows, even service times far more variable than exponential ones are told apart; a queue that has only begun
to grow is not, so the caller has to know that servers have time to spare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log
from typing import Literal, TypeAlias

import numpy as np

from servefit.checks import check_above_zero, check_between
from servefit.profiler.evidence.autocorrelation import MIN_SAMPLES, autocorrelation_time, clipped
from servefit.profiler.evidence.summary import samples_needed
from servefit.showing import shown

ThresholdVerdict: TypeAlias = Literal["PASS", "FAIL", "UNDECIDED"]

ALPHA = 0.05
"""The probability of a false PASS, and that of a false FAIL: the usual 5 %."""

GROWTH_SEEN = 20
"""When 5 % too many requests arrive, a queue takes so many times the limit to reach it. No PASS is safe before that,
unless the servers have time to spare."""

_MIN_INDEPENDENT = 2
"""See ``_deflated``."""

_PASS_CAUTION = 2.5
"""Times the autocorrelation time, since bursts may be longer than was seen yet. By experiment: with it at most 5 % of
the runs of benchmarks/claims/verdicts.py pass wrongly, in every queue."""

_INTEGRATION_POINTS = 2000
"""Of the density of the beta distribution beyond the boundary: the result errs by half a per cent at most."""

_MARGINS = (2.0, 4.0, 8.0, 32.0)
"""Times as strict as the limit (see above). By experiment too: very variable service times (M/G/1 there) are still
told apart."""

_MUCH_ROOM = 8.0
"""Where nothing took more than such a part of the limit, stricter ones count too, although some took longer than these.
By experiment."""

_FEWER = 2.0
"""An autocorrelation time that is told to people: half of the requests count. Chosen, not measured."""

_RATES_ABOVE = 64
"""Rates that stand for the mixture. Chosen: the likelihood is smooth, and the time that a look takes is in proportion
to them."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence that a verdict rests on.

    ``autocorrelation_time`` is in requests, at least 1, infinite where the run is too short to tell, and None before
    there are enough samples to look at; no evidence is drawn until then. ``p_pass`` is the probability that a server
    which breaks the limit shows so few violations: a PASS takes 5 %. ``log_e_fail`` is the natural logarithm of the
    e-value against the limit: a FAIL takes log(1/alpha), 3.0 at 5 %.
    """

    verdict: ThresholdVerdict
    samples: int
    violations: int
    autocorrelation_time: float | None
    p_pass: float
    log_e_fail: float

    @property
    def worth_text(self) -> str:
        """The reason why the requests are worth fewer, as the end of a sentence; empty where it does not halve them."""
        if self.autocorrelation_time is None or self.autocorrelation_time < _FEWER:
            return ""
        worth = int(self.samples / cautious(self.autocorrelation_time))
        if not worth:
            return ", and response times went up and down more slowly than the run can tell"
        return f", and response times went up and down slowly: for a PASS they are worth {worth:,} independent ones"


class SequentialTest:
    """Tests one latency threshold on the requests of one run.

    ``percentile`` (0..100, exclusive) of the response time is compared with ``limit_ns``. A false PASS and a false FAIL
    have probabilities ``alpha_pass`` and ``alpha_fail`` at most (see the module for what that rests on). Raises
    SpecError on a percentile, limit or probability that makes no sense.
    """

    def __init__(
        self, *, percentile: float, limit_ns: float, alpha_pass: float = ALPHA, alpha_fail: float = ALPHA
    ) -> None:
        check_between("percentile", percentile, 0, 100)
        check_above_zero("limit", limit_ns)
        check_between("alpha", alpha_pass, 0, 1)
        check_between("alpha", alpha_fail, 0, 1)
        self._limit_ns = limit_ns
        self._boundary = 1 - percentile / 100
        self._alpha_pass, self._alpha_fail = alpha_pass, alpha_fail
        self._least_samples = max(samples_needed(percentile), MIN_SAMPLES)
        self._seen = 0
        self._failed: Evidence | None = None

    def surely_fails(self, response_ns: np.ndarray) -> bool:
        """Look at ``response_ns``: the response times of all requests so far, in order of arrival, shape (n,).

        Give no request of which an earlier one is still to be answered: those left out would be the slow ones. True is
        final. Takes time in proportion to n, 1 to 2 ms for 100,000 requests. Raises ValueError on anything but one
        finite, nonnegative number a request, no fewer than last time.
        """
        if self._failed is None:
            self._check(response_ns)
            weighed = self._weigh(response_ns, unhurried=False, at_the_end=False)
            self._failed = weighed if weighed.verdict == "FAIL" else None
        return self._failed is not None

    def conclude(self, response_ns: np.ndarray, *, unhurried: bool = False) -> Evidence:
        """Decide on all requests of a run that is over; ``response_ns`` is as in ``surely_fails``.

        ``unhurried`` says that the servers were seen to be idle part of the time, so that the queue does not grow. No
        verdict comes with fewer samples than the percentile takes. Raises ValueError as ``surely_fails``.
        """
        if self._failed is not None:
            return self._failed
        self._check(response_ns)
        return self._weigh(response_ns, unhurried=unhurried, at_the_end=True)

    def _check(self, response_ns: np.ndarray) -> None:
        if response_ns.ndim != 1:
            raise ValueError(f"response times have shape {response_ns.shape}, not (n,)")
        if len(response_ns) < self._seen:
            raise ValueError(f"{len(response_ns)} response times, after {self._seen} last time")
        if len(response_ns) and not (response_ns.min() >= 0 and np.isfinite(response_ns.max())):
            raise ValueError("a response time is negative or not a finite number")
        self._seen = len(response_ns)

    def _weigh(self, response_ns: np.ndarray, *, unhurried: bool, at_the_end: bool) -> Evidence:
        samples = len(response_ns)
        violated = response_ns > self._limit_ns
        violations = int(np.count_nonzero(violated))
        correlated, p_pass, for_fail = None, 1.0, 0.0
        if samples >= self._least_samples:
            correlated = max(autocorrelation_time(violated), autocorrelation_time(clipped(response_ns)))
            for_fail = float(log_e_fail(*_deflated(samples, violations, correlated), self._boundary))
            if at_the_end:
                p_pass = self._p_pass(response_ns, violations, correlated, unhurried=unhurried)
        verdict: ThresholdVerdict = "UNDECIDED"
        if for_fail >= log(1 / self._alpha_fail):
            verdict = "FAIL"
        elif p_pass <= self._alpha_pass:
            verdict = "PASS"
        return Evidence(
            verdict=verdict,
            samples=samples,
            violations=violations,
            autocorrelation_time=correlated,
            p_pass=p_pass,
            log_e_fail=for_fail,
        )

    def _p_pass(self, response_ns: np.ndarray, violations: int, correlated: float, *, unhurried: bool) -> float:
        """Return the probability of so few violations: the smallest for the limit and for fractions of it, times their
        number [Bonferroni]."""
        probabilities = [p_of_so_few(*_deflated(len(response_ns), violations, cautious(correlated)), self._boundary)]
        if unhurried:
            room = self._limit_ns / max(float(response_ns.max()), 1.0)
            margins = [margin for margin in _MARGINS if margin <= room or room >= _MUCH_ROOM]
            probabilities += [self._p_margin(response_ns, correlated, margin) for margin in margins]
        return min(1.0, len(probabilities) * min(probabilities))

    def _p_margin(self, response_ns: np.ndarray, correlated: float, margin: float) -> float:
        """Return the probability of so few violations of a limit that is ``margin`` times as strict."""
        violated = (response_ns > self._limit_ns / margin).astype(np.float64)
        divisor = cautious(max(correlated, autocorrelation_time(violated)))
        violations = int(np.count_nonzero(violated))
        return p_of_so_few(*_deflated(len(violated), violations, divisor), self._boundary ** (1 / margin))


def combined_verdict(verdicts: Sequence[ThresholdVerdict]) -> ThresholdVerdict:
    """Return the verdict on several thresholds: all have to pass, and one that fails is enough. None at all is a
    PASS."""
    if "FAIL" in verdicts:
        return "FAIL"
    return "UNDECIDED" if "UNDECIDED" in verdicts else "PASS"


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


def log_e_fail(samples: np.ndarray | float, violations: np.ndarray | float, boundary: float) -> np.ndarray:
    """Return the log of the e-value against a violation probability of ``boundary`` or less; counts may be fractions.

    The rates mixed lie denser near the boundary, as the cubes of evenly spaced numbers, for shares just beyond it.
    """
    middles = (np.arange(_RATES_ABOVE) + 0.5) / _RATES_ABOVE
    return _log_mixture(samples, violations, boundary, boundary + (1 - boundary) * middles**3)


def _log_mixture(
    samples: np.ndarray | float, violations: np.ndarray | float, boundary: float, rates: np.ndarray
) -> np.ndarray:
    met = np.subtract(samples, violations)
    ratios = np.multiply.outer(violations, np.log(rates / boundary))
    ratios = ratios + np.multiply.outer(met, np.log((1 - rates) / (1 - boundary)))
    mixed: np.ndarray = np.logaddexp.reduce(ratios, axis=-1) - np.log(len(rates))
    return mixed


def cautious(correlated: float) -> float:
    """Return by what requests are divided for a PASS: bursts of violations may be longer than those that were seen."""
    return 1 + _PASS_CAUTION * (correlated - 1)


def _deflated(samples: int, violations: int, correlated: float) -> tuple[float, float]:
    """Return the samples and violations that independent requests would count. Never fewer than two samples: so a run
    that lies almost wholly above the limit fails, though a queue that only grows shows no autocorrelation time."""
    divisor = min(correlated, samples / _MIN_INDEPENDENT)
    return samples / divisor, violations / divisor
