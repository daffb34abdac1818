"""The time of a job by what it was spent on, as a sentence and as a plot with its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.quantities import number_text, span_text
from servefit.report.plot import Plot
from servefit.search.jobs.job import measured_s
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.storage.steps import Step, StepKind

_CALLED: dict[StepKind, str] = {
    "compilation": "compiling",
    "script_cost": "timing the script",
    "service_time": "timing calls",
    "endpoint_costs": "timing requests",
    "load_test": "tests",
    "confirmation": "the winner again",
    "endpoint": "the winner over HTTP",
    "model_alone": "the winner in process",
    "spot_check": "spot checks",
}
_TURNS, _REST = "the best in turns", "all else"


def time_spent(job: RecommendationJob) -> dict[str, float]:
    """Return the seconds of each kind of step that has ended, in the order in which these first began, and those in
    which none ran. Steps that ran at the same time, as on a fleet, each count."""
    spent: dict[str, float] = {}
    for step in job.steps:
        if step.ended_at is not None:
            called = _called(step)
            spent[called] = spent.get(called, 0.0) + step.ended_at - step.began_at
    rest_s = job.elapsed_s - measured_s(job.steps)
    return {**spent, _REST: rest_s} if spent and rest_s > 0 else spent


def time_sentences(job: RecommendationJob) -> Iterator[str]:
    """Yield what the time was spent on, and how much traffic the first recommendation had at its rate; nothing where
    nothing took a second."""
    parts = [f"{span_text(seconds)} {called}" for called, seconds in time_spent(job).items() if seconds >= 1]
    if not parts:
        return
    measured = job.best is not None and job.best.trial.basis == "measured"
    at_rate = job.best.trial.at_rate if job.best is not None and measured else None
    traffic = ""
    if at_rate is not None and at_rate.offered_per_s:
        rate = number_text(at_rate.offered_per_s, digits=3)
        traffic = f"; the figures are of {span_text(at_rate.samples / at_rate.offered_per_s)} of traffic at {rate}/s"
    began = "The steps, some at the same time, took" if _overlap(job) else "The time went to"
    yield f"{began}: {', '.join(parts)}{traffic}."


def time_plot(job: RecommendationJob) -> Plot:
    """Return the plot of what the time was spent on."""
    return Plot.of_bars(
        time_spent(job),
        name="time-spent",
        title="Time of the job",
        caption="Seconds of the job's steps. The traffic that the answer rests on is in measuring the winner again.",
        unit="seconds",
        table_of=("Time", "step"),
    )


def _overlap(job: RecommendationJob) -> bool:
    """Return whether steps ran at the same time, by more than clocks are read apart."""
    each_s = sum(step.ended_at - step.began_at for step in job.steps if step.ended_at is not None)
    return each_s > 1 + measured_s(job.steps)


def _called(step: Step) -> str:
    turn = isinstance(step.result, Trial) and step.result.round is not None
    return _TURNS if turn else _CALLED[step.kind]
