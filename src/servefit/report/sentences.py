"""The result of a job in sentences: the answer, its evidence, and the reasons for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from servefit.quantities import (
    count_text,
    dollars_text,
    given_duration_text,
    ms_text,
    number_text,
    percent_text,
    span_text,
)
from servefit.search.results.confirmation import is_too_noisy
from servefit.search.results.instances import per_minute
from servefit.search.results.objectives.missing import MissingObjective
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.price import Price

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.request.sla import Sla
    from servefit.search.results.objectives.contract import Objective
    from servefit.search.results.ratios import Ratio
    from servefit.search.results.recommendation import Recommendation, Trial


def hindrances(job: RecommendationJob) -> list[str]:
    """Return the reasons why there is no recommendation: the backends that could not be used, or, if no backend was
    tried, the profiles that this host cannot emulate. If the job is not over and no test has ended, that is the
    reason."""
    if job.status in ("IN_PROGRESS", "STOPPED") and not (job.trials or job.failed):
        if job.status == "STOPPED":
            return ["the job was stopped before its first test ended"]
        running = "its first test has not ended yet"
        return [running if job.owner is not None else "the job was cut off before its first test ended"]
    backends = [f"{skipped.name}: {skipped.reason}" for skipped in job.skipped if skipped.kind == "backend"]
    backends += [f"{failed.backend}: {failed.reason}" for failed in job.compilation if failed.status == "FAILED"]
    profiles = [f"{skipped.name} {skipped.reason}" for skipped in job.skipped if skipped.kind == "instance_profile"]
    return backends or ([] if job.compilation else profiles)


def headline(job: RecommendationJob) -> str:
    """Return the answer in a sentence or two, with its evidence."""
    spent = f"{count_text(job.tests, 'test')} in {span_text(job.elapsed_s)}{_unfinished(job)}"
    best = job.best
    if best is None:
        nothing = "Nothing has been measured yet" if job.status == "IN_PROGRESS" else "Nothing could be measured"
        return f"{nothing} ({spent})."
    trial, configuration = best.trial, best.trial.configuration
    instances = best.profile.name if trial.instance_count == 1 else f"{trial.instance_count} x {best.profile.name}"
    batching = f", up to {configuration.max_batch} requests a call" if configuration.max_batch > 1 else ""
    if configuration.batch_delay_us:
        batching += f" that wait up to {given_duration_text(configuration.batch_delay_us / 1e6)} for each other"
    deployment = (
        f"{instances} with {configuration.backend}, {count_text(configuration.workers, 'worker')} x "
        f"{count_text(configuration.settings.threads, 'thread')}{batching}"
    )
    sla = job.request.sla
    context = context_of(job.request, Price.of(best.profile.price_per_hour, best.profile.vcpus))
    objective = objective_of(job.request)
    # Where the objective is not installed, the answer is what the job measured as such.
    known = isinstance(objective, MissingObjective) or objective.of_trial(trial, context) is not None
    beginning = {
        "PASS": _met(sla) if known else f"{_not_shown(sla, objective)}: the simplest is",
        "UNDECIDED": f"Not sure to meet {sla}: nearest is",
        "FAIL": f"Nothing measured meets {sla}: nearest is",
        "INVALID": "This machine is too noisy to tell: the best of what was measured is",
    }[trial.verdict]
    if trial.verdict != "INVALID" and is_too_noisy(best):
        beginning = _not_confirmed(sla)
    figure = objective.evidence(best, context) if known else ""
    return f"{beginning} {deployment}.\n{evidence(best)}{figure and f'; {figure}'}{_noise(best)} ({spent})."


def _met(sla: Sla) -> str:
    """Return the beginning of a recommendation that meets ``sla``."""
    return "Deploy" if sla.asks_nothing else f"{_capitalised(str(sla))} is met: deploy"


def _not_shown(sla: Sla, objective: Objective) -> str:
    """Return the beginning of a recommendation that meets ``sla``, where no test has a figure of ``objective``."""
    nothing = f"no test shows {objective.aim}"
    return _capitalised(nothing) if sla.asks_nothing else f"{_capitalised(str(sla))} is met, but {nothing}"


def _not_confirmed(sla: Sla) -> str:
    """Return the beginning of a recommendation that the machine kept from being confirmed."""
    what = "The best" if sla.asks_nothing else _capitalised(str(sla))
    return f"{what} could not be confirmed, since the machine got in the way: the best by a single test is"


def _noise(best: Recommendation) -> str:
    """Return what got in the way of the recommendation, and what to do about it, as the end of a sentence; empty where
    nothing did, or noise was allowed."""
    confirmation, trial = best.confirmation, best.trial
    disturbed = confirmation is not None and confirmation.outcome == "disturbed"
    problem = confirmation.problem if confirmation is not None and disturbed else None
    if problem is None and trial.verdict == "INVALID":
        problem = next(iter(trial.problems), None)
    if problem is None:
        return ""
    when = "when it was measured again, " if trial.verdict != "INVALID" else ""
    return f". {_capitalised(when + problem.reason)}: {problem.remedy}. Then run the job again, or add --allow-noise"


def _unfinished(job: RecommendationJob) -> str:
    """Return the end of the sentence about an unfinished job; empty for a finished job."""
    if job.status == "IN_PROGRESS":
        return ", and goes on" if job.owner is not None else f", then cut off: servefit resume {job.name} goes on"
    return ", then stopped" if job.status == "STOPPED" else ""


def evidence(best: Recommendation) -> str:
    """Return the measured figures of the recommendation, as a sentence without its full stop. Those of a test that was
    not confirmed are called so."""
    judged, confirmation = best.trial.judged, best.confirmation
    parts = [
        f"{name} {ms_text(value)}" for name in ("p50", "p95", "p99") if (value := judged.latency_ms[name]) is not None
    ]
    latency = ", ".join(parts) or "no percentile"
    loop = f"at {number_text(judged.throughput_per_s)} requests/s" if judged.loop == "open" else "in a closed loop"
    price = "" if best.cost_per_hour is None else f"; {dollars_text(best.cost_per_hour)} an hour"
    requests, capacity = count_text(judged.samples, "request"), f"{round(best.max_invocations):,} a minute"
    if best.trial.verdict == "INVALID":
        return f"In a disturbed test of {requests}: {latency} {loop}; it answered {capacity}{price}"
    because = "" if best.trial.reason is None else f"; {best.trial.reason}"
    if confirmation is not None and not confirmation.is_confirmed:
        return f"In a single test of {requests}: {latency} {loop}; it answered {capacity}{price}{because}"
    return f"Measured {latency} {loop} over {requests}; it can answer {capacity}{price}{because}"


def over_http(endpoint: Trial) -> str:
    """Return the measured figures of the recommendation's endpoint, as a sentence."""
    judged = endpoint.judged
    kinds = (("response", judged.latency_ms), ("model", judged.model_latency_ms), ("overhead", judged.overhead_ms))
    parts = [
        f"{kind} {' and '.join(f'{name} {ms_text(value)}' for name, value in known)}"
        for kind, figures in kinds
        if (known := [(name, value) for name in ("p50", "p95") if (value := (figures or {}).get(name)) is not None])
    ]
    loop = f"at {number_text(judged.throughput_per_s)} requests/s" if judged.loop == "open" else "in a closed loop"
    return (
        f"Over HTTP: {', '.join(parts) or 'no percentile'} {loop} over {judged.samples:,} requests; "
        f"an instance answers {round(per_minute(endpoint.capacity.throughput_per_s)):,} a minute."
    )


def reasons(job: RecommendationJob) -> Iterator[str]:
    """Yield the reasons for the first recommendation and further findings, a line each."""
    if job.best is not None and job.best.endpoint is not None:
        yield over_http(job.best.endpoint)
    for name, against in (("the runner-up", job.why.runner_up), ("the naive default", job.why.naive)):
        if against is not None:
            yield f"Against {name}, {shape(against.configuration)}: {_ratio(against.ratio)}."
    if job.why.importance:
        worth_naming = {name: share for name, share in job.why.importance.items() if share >= _WORTH_NAMING}
        parts = [f"{name} {percent_text(round(share, 2))}" for name, share in worth_naming.items()]
        if parts:
            yield f"What the differences between configurations come from: {', '.join(parts)}."
    if job.why.changes:
        yield f"What would meet it: {'; or '.join(job.why.changes)}."


_WORTH_NAMING = 0.01
"""Smallest share of the variance for which a parameter is named: shares are written in whole per cent."""


def shape(configuration: Configuration) -> str:
    """Return a configuration without its envelope as text: workers x threads of each, and the batch with its delay."""
    target = "" if configuration.target.value == "cpu" else f" on {configuration.target.value}"
    delay_us = configuration.batch_delay_us
    delay = f" and {given_duration_text(delay_us / 1e6)}" if delay_us else ""
    workers = f"{configuration.workers} x {configuration.settings.threads}"
    return f"{configuration.backend}{target} {workers}, batch {configuration.max_batch}{delay}"


def shape_in_envelope(configuration: Configuration) -> str:
    return f"{configuration.vcpus} vCPU, {shape(configuration)}"


def _ratio(ratio: Ratio) -> str:
    interval = "" if ratio.ci95 is None else f" (95 %: {number_text(ratio.ci95[0])} to {number_text(ratio.ci95[1])})"
    rounds = count_text(ratio.rounds, "round")
    return f"{number_text(ratio.ratio)} {ratio.words}{interval}, measured in turns, {rounds}"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
