"""Whether what won a search was measured again, apart from the tests that it won by, and what came of that.

The best of many short tests is partly the luckiest, so the figures to rely on are those of a measurement made after it
had won. Where there is none, or the machine got in its way, an earlier test stands in, under its own name. All of it
follows from what a job keeps. How it is said is in ``report.sentences``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from servefit.search.results.recommendation import Confirmation

if TYPE_CHECKING:
    from servefit.search.results.recommendation import Recommendation, Trial


def confirmation_of(recommended: Trial, confirmations: Iterable[Trial]) -> Confirmation:
    """Return what became of measuring the configuration of ``recommended`` again. ``confirmations`` are the
    measurements of winners of the same job; rounds of finalists may be among them, and confirm nothing."""
    again = [
        trial for trial in confirmations if trial.configuration == recommended.configuration and trial.round is None
    ]
    if not again:
        return Confirmation(outcome="not made")
    if any(trial.verdict != "INVALID" for trial in again):
        return Confirmation(outcome="predicted" if recommended.basis == "predicted" else "confirmed")
    return Confirmation(outcome="disturbed", problem=next(iter(again[-1].problems), None))


def is_too_noisy(recommendation: Recommendation) -> bool:
    """Return whether noise left open what to deploy: every measurement was disturbed, or that which was to confirm what
    a single test said. What failed when nothing got in the way has failed all the same."""
    confirmation, verdict = recommendation.confirmation, recommendation.trial.verdict
    disturbed = confirmation is not None and confirmation.outcome == "disturbed"
    return verdict == "INVALID" or (disturbed and verdict != "FAIL")
