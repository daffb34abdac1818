"""Running a job for a person: progress while it runs, the recommendation at its end, and the exit status."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from servefit.cli.output import Format, Table, cell_text, emit, say, warn
from servefit.cli.status import INTERRUPTED, NOTHING_MEASURED, SLA_UNMET, TOO_NOISY

if TYPE_CHECKING:
    from servefit.profiler.types import Configuration
    from servefit.search.job import RecommendationJob
    from servefit.search.progress import Progress
    from servefit.search.recommendation import Recommendation, Trial
    from servefit.search.request import JobRequest
    from servefit.search.standing import Ratio


def run_and_print(
    model: Path,
    payload: Path | None,
    request: JobRequest,
    *,
    trust_pickle: bool,
    storage: str | None,
    form: Format,
    quiet: bool,
) -> None:
    """Run the job, print what it found, and leave with its exit status."""
    from servefit.search.running import run_job

    print_and_leave(
        lambda progress: run_job(
            model, payload, request, trust_pickle=trust_pickle, progress=progress, storage=storage
        ),
        form=form,
        quiet=quiet,
    )


def print_and_leave(run: Callable[[Progress], RecommendationJob], *, form: Format, quiet: bool) -> None:
    """Do what ``run`` does with its progress shown, print the job that it gives, and leave with its exit status."""
    from servefit.cli.progress import job_progress
    from servefit.search.job import JobInterrupted

    try:
        with job_progress(quiet=quiet) as progress:
            job = run(progress)
    except JobInterrupted as interruption:
        print_job(interruption.job, form)
        raise typer.Exit(INTERRUPTED) from interruption
    print_job(job, form)
    raise typer.Exit(exit_status(job))


def exit_status(job: RecommendationJob) -> int:
    """0 when the SLA is met or nothing was asked, 3 when it is not, be it only over HTTP, or that is not sure, 4 when
    nothing could be measured, 5 when the machine got in the way of measuring the best answer, 130 when the job was
    stopped."""
    if job.status == "STOPPED":
        return INTERRUPTED
    if job.best is None:
        return NOTHING_MEASURED
    if job.best.trial.verdict == "INVALID":
        return TOO_NOISY
    over_http = None if job.best.endpoint is None else job.best.endpoint.verdict
    return 0 if job.best.trial.verdict == "PASS" and over_http != "FAIL" else SLA_UNMET


def print_job(job: RecommendationJob, form: Format) -> None:
    """The recommendation as a sentence and tables, or in the form asked for."""
    if form is not Format.TABLE:
        emit(recommendations_table(job), job.to_dict(), form)
        if job.best is None:
            warn(f"nothing could be measured: {'; '.join(_hindrances(job)) or 'the job was cut short'}")
    else:
        say(f"\n{headline(job)}\n")
        if job.recommendations:
            emit(recommendations_table(job), job.to_dict(), form)
        for line in reasons(job):
            say(line)
        if job.compilation:
            emit(compilation_table(job), {}, form)
        if left_out := [[one.name, one.reason] for one in job.skipped if one.kind == "backend"]:
            emit(Table(title="Backends left out", columns=("backend", "reason"), rows=left_out), {}, form)
        if too_big := [one.name for one in job.skipped if one.kind == "instance_profile"]:
            shown = ", ".join(too_big[:3]) + (f" and {len(too_big) - 3} more" if len(too_big) > 3 else "")
            say(f"Not measurable on this host: {shown}; servefit profiles --all says why")
    for warning in job.warnings:
        warn(warning)


def _hindrances(job: RecommendationJob) -> list[str]:
    """Why there is no recommendation: the backends that could not be used, or, where no backend was tried, the profiles
    that this host cannot be."""
    backends = [f"{one.name}: {one.reason}" for one in job.skipped if one.kind == "backend"]
    backends += [f"{one.backend}: {one.reason}" for one in job.compilation if one.status == "FAILED"]
    profiles = [f"{one.name} {one.reason}" for one in job.skipped if one.kind == "instance_profile"]
    return backends or ([] if job.compilation else profiles)


def headline(job: RecommendationJob) -> str:
    """The answer in a sentence or two, with its evidence."""
    interrupted = {"STOPPED": ", then stopped", "IN_PROGRESS": ", and goes on"}.get(job.status, "")
    spent = f"{_count(job.tests, 'test')} in {job.elapsed_s:.0f} s{interrupted}"
    best = job.best
    if best is None:
        return f"Nothing could be measured ({spent})."
    trial, configuration = best.trial, best.trial.configuration
    instances = best.profile.name if trial.instance_count == 1 else f"{trial.instance_count} x {best.profile.name}"
    batching = f", up to {configuration.max_batch} requests a call" if configuration.max_batch > 1 else ""
    if configuration.batch_delay_us:
        batching += f" that wait up to {configuration.batch_delay_us / 1000:g} ms for each other"
    deployment = (
        f"{instances} with {configuration.backend}, {_count(configuration.workers, 'worker')} x "
        f"{_count(configuration.settings.threads, 'thread')}{batching}"
    )
    sla = job.request.sla
    beginning = {
        "PASS": "Deploy" if sla.asks_nothing else f"{_capitalised(str(sla))} is met: deploy",
        "UNDECIDED": f"Not sure to meet {sla}: nearest is",
        "FAIL": f"Nothing measured meets {sla}: nearest is",
        "INVALID": "This machine is too noisy to tell: the best of what was measured is",
    }[trial.verdict]
    return f"{beginning} {deployment}.\n{evidence(best)} ({spent})."


def evidence(best: Recommendation) -> str:
    """What was measured of the recommendation."""
    judged = best.trial.judged
    parts = [
        f"{name} {cell_text(value)} ms"
        for name in ("p50", "p95", "p99")
        if (value := judged.latency_ms[name]) is not None
    ]
    loop = f"at {cell_text(judged.throughput_per_s)} requests/s" if judged.loop == "open" else "in a closed loop"
    price = "" if best.cost_per_hour is None else f"; ${best.cost_per_hour:.3f} an hour"
    because = "" if best.trial.reason is None else f"; {best.trial.reason}"
    return (
        f"Measured {', '.join(parts) or 'no percentile'} {loop} over {judged.samples:,} requests; "
        f"it can answer {best.max_invocations:,.0f} a minute{price}{because}"
    )


def over_http(endpoint: Trial) -> str:
    """What was measured of the recommendation's endpoint."""
    judged = endpoint.judged
    kinds = (("response", judged.latency_ms), ("model", judged.model_latency_ms), ("overhead", judged.overhead_ms))
    parts = [
        f"{kind} {' and '.join(f'{name} {cell_text(value)} ms' for name, value in known)}"
        for kind, figures in kinds
        if (known := [(name, value) for name in ("p50", "p95") if (value := (figures or {}).get(name)) is not None])
    ]
    loop = f"at {cell_text(judged.throughput_per_s)} requests/s" if judged.loop == "open" else "in a closed loop"
    return (
        f"Over HTTP: {', '.join(parts) or 'no percentile'} {loop} over {judged.samples:,} requests; "
        f"an instance answers {60 * endpoint.capacity.throughput_per_s:,.0f} a minute."
    )


def reasons(job: RecommendationJob) -> Iterator[str]:
    """What else is known of the first recommendation, and why it is the first, a line each."""
    if job.best is not None and job.best.endpoint is not None:
        yield over_http(job.best.endpoint)
    for name, against in (("the runner-up", job.why.runner_up), ("the naive default", job.why.naive)):
        if against is not None:
            yield f"Against {name}, {_shape(against.configuration)}: {_ratio(against.ratio)}."
    if job.why.importance:
        parts = [f"{name} {share:.0%}" for name, share in job.why.importance.items() if share >= _WORTH_NAMING]
        if parts:
            yield f"What the differences between configurations come from: {', '.join(parts)}."
    if job.why.changes:
        yield f"What would meet it: {'; or '.join(job.why.changes)}."


_WORTH_NAMING = 0.01


def _shape(one: Configuration) -> str:
    delay = f" and {one.batch_delay_us / 1000:g} ms" if one.batch_delay_us else ""
    return f"{one.backend} {one.workers} x {one.settings.threads}, batch {one.max_batch}{delay}"


def _ratio(ratio: Ratio) -> str:
    interval = "" if ratio.ci95 is None else f" (95 %: {ratio.ci95[0]:.3g} to {ratio.ci95[1]:.3g})"
    better = {"throughput": "more throughput", "p95 latency": "lower p95 latency"}.get(
        ratio.metric, "better by throughput and p95 latency together"
    )
    rounds = _count(ratio.rounds, "round")
    return f"{ratio.ratio:.3g} times {better}{interval}, measured in turns, {rounds}"


def recommendations_table(job: RecommendationJob) -> Table:
    """SageMaker IR's columns."""
    return Table(
        title="Recommendations, best first",
        columns=(
            "id", "profile", "count", "backend", "workers", "threads", "batch", "delay us", "$/hour", "$/million",
            "max a minute", "p50 ms", "p95 ms", "p99 ms", "CPU %", "memory %", "SLA",
        ),
        rows=[_row(one, asked=not job.request.sla.asks_nothing) for one in job.recommendations],
    )  # fmt: skip


def _row(one: Recommendation, *, asked: bool) -> list[object]:
    trial, configuration, judged = one.trial, one.trial.configuration, one.trial.judged
    return [
        one.id,
        one.profile.name,
        trial.instance_count,
        configuration.backend,
        configuration.workers,
        configuration.settings.threads,
        configuration.max_batch,
        configuration.batch_delay_us,
        one.cost_per_hour,
        None if one.cost_per_inference is None else one.cost_per_inference * 1e6,
        round(one.max_invocations),
        *(judged.latency_ms[name] for name in ("p50", "p95", "p99")),
        judged.cpu_percent,
        100 * trial.measurement.peak_memory_bytes / one.profile.memory_bytes,
        trial.verdict if asked else None,
    ]


def compilation_table(job: RecommendationJob) -> Table:
    return Table(
        title="Compilation",
        columns=("backend", "status", "seconds", "cached", "speedup", "note"),
        rows=[[one.backend, one.status, one.seconds, one.cached, one.speedup, one.reason] for one in job.compilation],
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
