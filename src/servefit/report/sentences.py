"""The result of a job in sentences: the answer, its evidence, and the reasons for it."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, fsum
from typing import TYPE_CHECKING

from servefit.profiler.machine.profiles import usable_cpus
from servefit.quantities import (
    count_text,
    digits_within,
    given_duration_text,
    money_text,
    ms_text,
    number_text,
    percent_text,
    span_text,
)
from servefit.report.measured_texts import latency_text, missed_text
from servefit.report.time_spent import time_sentences
from servefit.search.results.confirmation import is_too_noisy
from servefit.search.results.energy import energy_j_per_million
from servefit.search.results.instances import S_PER_MIN, per_minute
from servefit.search.results.objectives.cost import Cost, vcpu_s_per_million
from servefit.search.results.objectives.missing import MissingObjective
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.price import Price
from servefit.search.results.same_shape import folded
from servefit.showing import one_line

if TYPE_CHECKING:
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.optimizer.importance import PairedComparison
    from servefit.search.request.sla import Sla
    from servefit.search.results.objectives.contract import Objective
    from servefit.search.results.ratios import Ratio
    from servefit.search.results.recommendation import Recommendation, Trial


def hindrances(job: RecommendationJob) -> list[str]:
    """Return the reasons why there is no recommendation: the backends that could not be used, or measured, or, if no
    backend was tried, the profiles that this host cannot emulate. If the job is not over and no test has ended, that is
    the reason."""
    if job.status in ("IN_PROGRESS", "STOPPED") and not (job.trials or job.failed):
        if job.status == "STOPPED":
            return ["the job was stopped before its first test ended"]
        running = "its first test has not ended yet"
        return [running if job.owner is not None else "the job was cut off before its first test ended"]
    backends = [f"{skipped.name}: {skipped.reason}" for skipped in job.skipped if skipped.kind == "backend"]
    backends += [f"{failed.backend}: {failed.reason}" for failed in job.compilation if failed.status == "FAILED"]
    backends += dict.fromkeys(f"{failed.configuration.backend}: {failed.reason}" for failed in job.failed)
    profiles = [f"{skipped.name} {skipped.reason}" for skipped in job.skipped if skipped.kind == "instance_profile"]
    return backends or ([] if job.compilation else profiles)


def headline(job: RecommendationJob) -> str:
    """Return the answer in a sentence or two, with its evidence."""
    spent = spent_text(job)
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
        f"{instances} {_as_deployed(best)} {configuration.backend}, {count_text(configuration.workers, 'worker')} x "
        f"{count_text(configuration.settings.threads, 'thread')}{batching}"
    )
    sla = job.request.sla
    context = context_of(job.request, Price.of(best.profile.price_per_hour, best.profile.vcpus))
    objective = objective_of(job.request)
    # Where the objective is not installed, the answer is what the job measured as such.
    shown = isinstance(objective, MissingObjective) or objective.of_trial(trial, context) is not None
    beginning = {
        "PASS": _met(sla, best) if shown else f"{_not_shown(sla, objective)}: the simplest is",
        "UNDECIDED": f"Undecided whether {sla} is met: nearest is",
        "FAIL": f"Nothing measured meets {sla}: nearest is",
        "INVALID": "No measurement is reliable: the best of what was measured is",
    }[trial.verdict]
    if trial.verdict != "INVALID" and is_too_noisy(best):
        beginning = _not_confirmed(sla)
    figure = objective.evidence(best, context) if shown else ""
    measured = evidence(best, rows_per_request=job.request.rows_per_request)
    why = f"{measured}{figure and f'; {figure}'}{_noise(best)} ({spent})."
    return f"{one_line(f'{beginning} {deployment}.')}\n{one_line(why)}"


def _as_deployed(best: Recommendation) -> str:
    """Return what is deployed, to stand between the instances and the backend."""
    return "as an endpoint of" if best.deployment == "endpoint" else "as a library with"


def _met(sla: Sla, best: Recommendation) -> str:
    """Return the beginning of a recommendation that meets ``sla``."""
    if sla.asks_nothing:
        return "Deploy"
    kept = "is met" if best.trial.basis == "measured" else "is predicted to be met"
    return f"{_capitalised(str(sla))} {kept}: deploy"


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


def spent_text(job: RecommendationJob) -> str:
    """Return how many tests were made in which time, and whether that is not all."""
    return f"{count_text(job.tests, 'test')} in {span_text(job.elapsed_s)}{_unfinished(job)}"


def _unfinished(job: RecommendationJob) -> str:
    """Return the end of the sentence about an unfinished job; empty for a finished job."""
    if job.status == "IN_PROGRESS":
        return ", and goes on" if job.owner is not None else f", then cut off: servefit resume {job.name} goes on"
    return ", then stopped" if job.status == "STOPPED" else ""


def evidence(best: Recommendation, *, costs: bool = True, rows_per_request: int = 1) -> str:
    """Return the figures of the recommendation, as a sentence without its full stop, and what it ``costs``. Those that
    were predicted, and those of a test that was not confirmed, are called so; requests of several rows have their
    number."""
    judged, confirmation = best.trial.judged, best.confirmation
    latency = ", ".join(_percentiles(judged, "p50", "p95", "p99")) or "no percentile"
    price = f"; {cost}" if costs and (cost := cost_text(best)) else ""
    because = "" if best.trial.reason is None else f"; {best.trial.reason}"
    of_rows = f" of {rows_per_request} rows" if rows_per_request > 1 else ""
    capacity = f"{number_text(float(best.max_invocations))} a minute"
    if best.trial.at_rate is not None:
        capacity = f"{number_text(float(best.max_invocations / S_PER_MIN))}/s at most"
    if best.trial.basis == "predicted":
        at_rate = "" if judged.offered_per_s is None else f" at {number_text(judged.offered_per_s)} requests/s{of_rows}"
        return f"Predicted {latency}{at_rate}, and that it can answer {capacity}{price}{because}"
    loop = f"at {number_text(judged.throughput_per_s)} requests/s" if judged.loop == "open" else "in a closed loop"
    requests, where = (
        count_text(judged.samples, "request") + of_rows,
        " over HTTP" if best.deployment == "endpoint" else "",
    )
    if best.trial.verdict == "INVALID":
        return f"In a disturbed test of {requests}{where}: {latency} {loop}; it answered {capacity}{price}"
    if confirmation is not None and not confirmation.is_confirmed:
        return f"In a single test of {requests}{where}: {latency} {loop}; it answered {capacity}{price}{because}"
    missed = missed_text(judged) if best.trial.verdict == "PASS" else None
    because += "" if missed is None else f"; {missed}"
    return f"Measured{where} {latency} {loop} over {requests}; it can answer {capacity}{price}{because}"


def _percentiles(summary: Summary, *names: str) -> list[str]:
    """Return the percentiles of these names that are known, each with its name."""
    return [f"{name} {text}" for name in names if (text := latency_text(summary, name)) is not None]


def cost_text(best: Recommendation) -> str:
    """Return what a recommendation costs: money by the hour, with where and when that was the price, else what the rate
    asked takes, or, without one, a million inferences; empty where nothing tells."""
    if best.cost_per_hour is not None:
        return hourly_text(best.cost_per_hour, best.profile)
    vcpu_s, joules = vcpu_s_per_million(best.trial), energy_j_per_million(best.trial)
    vcpu_text = "" if vcpu_s is None else f"{number_text(vcpu_s)} vCPU-s a million"
    if best.trial.at_rate is not None:
        vcpu_text = f"it takes {takes_text(best)}"
    return vcpu_text if joules is None else ", ".join(filter(None, (vcpu_text, f"{number_text(joules)} J a million")))


def takes_text(best: Recommendation, instances: int | None = None) -> str:
    """Return what so many ``instances`` take, those of the recommendation unless they are given: CPUs of the machine
    that they were measured on, or such machines where it has too few; vCPUs of an instance that is no part of it."""
    count, vcpus, host = instances or best.trial.instance_count, best.profile.vcpus, best.measured_on
    if host is None or not best.profile.is_local:
        return count_text(count * vcpus, "vCPU")
    cpus = usable_cpus(host)
    on_each = max(1, cpus // vcpus)
    if count > on_each:
        return f"{ceil(count / on_each)} such machines"
    return f"{count * vcpus} of the machine's {count_text(cpus, 'CPU')}"


def hourly_text(cost_per_hour: float, profile: InstanceProfile) -> str:
    """Return what so many instances of ``profile`` cost, with where and when its price is or was that."""
    where = "" if profile.region is None else f", in {profile.region}"
    when = "" if profile.price_date is None else f", as of {profile.price_date}"
    return f"{money_text(cost_per_hour, profile.currency)} an hour{where}{when}"


def over_http(endpoint: Trial) -> str:
    """Return the measured figures of the recommendation's endpoint, as a sentence."""
    judged = endpoint.judged
    kinds = (("response", judged.latency_ms), ("model", judged.model_latency_ms), ("overhead", judged.overhead_ms))
    parts = [
        f"{kind} {' and '.join(f'{name} {ms_text(value)}' for name, value in pairs)}"
        for kind, figures in kinds
        if (pairs := [(name, value) for name in ("p50", "p95") if (value := (figures or {}).get(name)) is not None])
    ]
    loop = f"at {number_text(judged.throughput_per_s)} requests/s" if judged.loop == "open" else "in a closed loop"
    return (
        f"Over HTTP: {', '.join(parts) or 'no percentile'} {loop} over {judged.samples:,} requests; "
        f"an instance answers {number_text(per_minute(endpoint.capacity.throughput_per_s))} a minute."
    )


def alone(trial: Trial) -> str:
    """Return the measured figures of the model alone, as a sentence."""
    judged = trial.judged
    parts = _percentiles(judged, "p50", "p95")
    loop = f"at {number_text(judged.throughput_per_s)} requests/s" if judged.loop == "open" else "in a closed loop"
    return (
        f"The model alone, called in process: {', '.join(parts) or 'no percentile'} {loop}; "
        f"{number_text(per_minute(trial.capacity.throughput_per_s))} a minute."
    )


def _choices(job: RecommendationJob, best: Recommendation) -> Iterator[str]:
    """Yield what decided between the winner and its nearest rivals, and at what load they were compared."""
    if job.request.sla.rate_per_s is None and best.trial.at_rate is None and job.why.choices:
        yield "No rate was asked, so configurations are compared at full load."
    objective = objective_of(job.request)
    for choice in job.why.choices:
        rival = choice.rival
        where = "" if rival.profile == best.profile else f" on {rival.profile.name}"
        name = f"{shape(rival.trial.configuration)}{where}"
        if choice.by == "sla":
            yield f"Not {name}: {_unlike_the_best(rival.trial.verdict, best.trial.verdict)}."
        elif choice.by == "price":
            alone = rival.trial.verdict == "PASS" != best.trial.verdict
            predicted = ", and that it meets the SLA is only predicted" if alone else ""
            yield f"Not {name}: {_dearer(rival, best)}{predicted}."
        elif choice.figures is not None and choice.by == "figure":
            mine, theirs = _figure_texts(objective, choice.figures, best, rival)
            same = ", with as many instances" if objective.paid_by_the_hour and job.request.sla.rate_per_s else ""
            yield f"Not {name}: {theirs} instead of {mine}{same}."
        elif choice.figures is not None:
            mine, theirs = _figure_texts(objective, choice.figures, best, rival)
            equal = "as good" if objective.ties(*sorted(choice.figures)) else "not shown to be better"
            why = "it predicts less exactly" if choice.by == "precision" else "less simple"
            if choice.by == "capacity":
                most, more = (number_text(compared.trial.capacity.throughput_per_s) for compared in (rival, best))
                why = f"it answers {most}/s at most instead of {more}/s"
            yield f"Not {name}: {equal} ({theirs} instead of {mine}), and {why}."


def _figure_texts(
    objective: Objective, figures: tuple[float, float], best: Recommendation, rival: Recommendation
) -> tuple[str, str]:
    """Return the figures of the winner and of its rival. Without a price, that of an inference is in vCPUs."""
    if type(objective) is not Cost:
        mine, theirs = map(objective.text, figures)
    elif None in (best.profile.price_per_hour, rival.profile.price_per_hour):
        mine, theirs = (f"{number_text(figure)} vCPU-s a million" for figure in figures)
    else:
        mine, theirs = (f"{money_text(figure, best.profile.currency)} a million" for figure in figures)
    return mine, theirs


def _unlike_the_best(verdict: str, best_verdict: str) -> str:
    if verdict == best_verdict:
        return "it is further from meeting the SLA"
    return {
        "FAIL": "it does not meet the SLA",
        "UNDECIDED": "whether it meets the SLA is undecided",
        "INVALID": "the machine got in the way of its measurement",
    }.get(verdict, "its verdict is another")


def _dearer(rival: Recommendation, best: Recommendation) -> str:
    """Return what all instances of the rival cost by the hour, or, where not both have a price, which vCPUs they
    take."""
    if rival.cost_per_hour is not None and best.cost_per_hour is not None:
        theirs, mine = (money_text(price, best.profile.currency) for price in (rival.cost_per_hour, best.cost_per_hour))
        return f"{theirs} an hour instead of {mine} an hour"
    more, fewer = (compared.vcpus for compared in (rival, best))
    if more <= fewer:
        return "it has no price"
    return f"{count_text(more, 'vCPU')} instead of {count_text(fewer, 'vCPU')}"


def reasons(job: RecommendationJob) -> Iterator[str]:
    """Yield the reasons for the first recommendation and further findings, a line each."""
    best = job.best
    if best is not None and best.deployment == "endpoint" and best.model_alone is not None:
        yield alone(best.model_alone)
    elif best is not None and best.endpoint is not None:
        yield over_http(best.endpoint)
    if best is not None and best.quality is not None:
        yield f"It predicts less exactly than the model's own library, as allowed: {best.quality.text}."
    if best is not None:
        yield from _script(job)
        yield from _choices(job, best)
    for name, against in (("the runner-up", job.why.runner_up), ("the naive default", job.why.naive)):
        if against is not None:
            yield f"Against {name}, {shape(against.configuration)}: {_compared(job, against)}."
    if job.why.importance:
        worth_naming = {name: share for name, share in job.why.importance.items() if share >= _WORTH_NAMING}
        parts = [f"{name} {percent_text(round(share, 2))}" for name, share in worth_naming.items()]
        if parts:
            # Rounded shares may add up to a little more than all.
            overlap = fsum(job.why.importance.values()) > 1 + _WORTH_NAMING
            shared = " (what two have in common is counted for both)" if overlap else ""
            yield f"What the differences between configurations come from: {', '.join(parts)}{shared}."
    if job.why.changes:
        yield f"What would meet it: {'; or '.join(job.why.changes)}."
    yield from time_sentences(job)


def _script(job: RecommendationJob) -> Iterator[str]:
    """Yield what a script costs beside the model file that it loads, where that was measured."""
    cost = job.script_cost
    if cost is not None and cost.reason is None:
        yield f"script: {cost.text}."
        yield f"{cost.predictions_text[0].upper()}{cost.predictions_text[1:]}."


def same_shapes(job: RecommendationJob) -> Iterator[str]:
    """Yield for each row of a folded table the profiles that share its measurement, if there are others."""
    for row in folded(job.recommendations):
        if row.same_as:
            yield f"The same shape: {', '.join((row.profile.name, *row.same_as))}."


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


def _compared(job: RecommendationJob, against: PairedComparison) -> str:
    """Return how the recommendation compares with another configuration as text."""
    if against.answered_per_s is not None and job.request.sla.rate_per_s is not None:
        answered, asked = number_text(against.answered_per_s), number_text(job.request.sla.rate_per_s)
        return f"it does not keep up, and answers {answered} of {asked} requests/s"
    predicted = job.best is not None and job.best.trial.basis == "predicted"
    return _ratio(against.ratio, predicted=predicted)


def _ratio(ratio: Ratio, *, predicted: bool) -> str:
    def text(value: float) -> str:
        return number_text(float(value), digits=digits_within(value, ratio.ci95))

    interval = "" if ratio.ci95 is None else f" (95 %: {text(ratio.ci95[0])} to {text(ratio.ci95[1])})"
    how = "predicted from what was measured in turns" if predicted else "measured in turns"
    return f"{text(ratio.ratio)} {ratio.words}{interval}, {how}, {count_text(ratio.rounds, 'round')}"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
