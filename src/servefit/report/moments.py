"""The progress of a job in words: the current measurement, the best so far, and the time that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.quantities import span_text
from servefit.report.measured_texts import capacity_text, latency_text
from servefit.report.sentences import shape_in_envelope

if TYPE_CHECKING:
    from servefit.search.optimizer.progress import Moment
    from servefit.search.results.recommendation import FailedTrial, Trial

_VERDICTS = {
    "PASS": "meets the SLA",
    "UNDECIDED": "undecided",
    "FAIL": "does not meet the SLA",
    "INVALID": "disturbed",
}


def result(trial: Trial | FailedTrial) -> str:
    """Return the outcome of one test in a line."""
    from servefit.search.results.recommendation import FailedTrial

    if isinstance(trial, FailedTrial):
        return f"{shape_in_envelope(trial.configuration)}: failed, {trial.reason}"
    p95 = latency_text(trial.judged, "p95")
    latency = "" if p95 is None else f", p95 {p95}"
    return f"{shape_in_envelope(trial.configuration)}: {capacity_text(trial.capacity.throughput_per_s)}{latency}"


def obtained(trial: Trial | FailedTrial) -> str:
    """Return how the figures of ``trial`` were obtained, to stand behind its step; empty where they were measured in
    process."""
    if getattr(trial, "basis", None) == "predicted":
        return ", predicted"
    return ", over HTTP" if getattr(trial, "driver", None) == "http" else ""


def best_so_far(at: Moment) -> str:
    """Return the recommendation so far, with the figure that the job optimises; empty if there is none yet."""
    if at.best is None:
        return ""
    verdict = at.best.trial.verdict
    holds = f", {_VERDICTS[verdict]}" if at.asked or verdict == "INVALID" else ""
    return f"{shape_in_envelope(at.best.trial.configuration)}: {at.figure}{holds}"


def step_number(at: Moment) -> str:
    """Return the number of the job step that ``at`` is about, as text."""
    return "a test" if at.step is None else f"step {at.step}"


def tests_begun(at: Moment) -> str:
    """Return the number of tests that have begun, and of how many; empty before the first test."""
    if not at.tests:
        return ""
    if at.most_tests is not None:
        return f"{at.tests:,} of {at.most_tests:,} tests"
    return "1 test" if at.tests == 1 else f"{at.tests:,} tests"


def time_left(left_s: float | None, *, at_most: bool) -> str:
    """Return the remaining time of the job; empty if it is not known."""
    if left_s is None:
        return ""
    return f"{'at most' if at_most else 'about'} {span_text(max(1.0, left_s))} left"
