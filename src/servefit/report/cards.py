"""The short facts of a report's first screen: the figures that readers look for first, the model, the host, and the
command that serves the recommendation."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from servefit.profiler.machine.prices import where_and_when
from servefit.quantities import count_text, given_text, is_wide, ms_text, number_text, size_text
from servefit.report.measured_texts import latency_cell
from servefit.report.sentences import takes_text
from servefit.report.table import cell_text
from servefit.search.figures.cost import in_their_currency
from servefit.search.figures.registry import figure, figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.model import Model
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Recommendation, Trial
    from servefit.search.storage.header import JobHeader

_MEGABYTE = 1_000_000
"""Sizes of files are told in megabytes, as those who made the models do."""

_DIGEST_LETTERS = 12
"""Letters of a digest that identify a model to people. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Facts under a title, each with its name. All of it is text."""

    title: str
    facts: tuple[tuple[str, str], ...]


KeyFigure: TypeAlias = tuple[str, str, str]
"""A figure's name, its value, and a note on it, which may be empty."""


def key_figures(job: RecommendationJob) -> tuple[KeyFigure, ...]:
    """Return the figures that readers look for first: whether the SLA is kept, cost, rate and p95, then the deployment.
    There are none without a recommendation."""
    best = job.best
    if best is None:
        return ()
    sla, trial = job.request.sla, best.trial
    count = trial.instance_count
    limits = ", ".join(map(str, sla.thresholds))
    return (
        *(() if sla.asks_nothing else (("SLA", str(figure("verdict").cell(best)), limits),)),
        *_costs(best),
        *(() if sla.rate_per_s is None else (("rate asked", f"{given_text(sla.rate_per_s)}/s", ""),)),
        (_marked("max a minute", trial), cell_text(figure("max_invocations").cell(best)), ""),
        *_p95(trial),
        ("instance", best.profile.name if count == 1 else f"{count} x {best.profile.name}", ""),
        ("backend", trial.configuration.backend, ""),
        *(() if (cpu := figure("cpu_utilization").cell(best)) is None else (("CPU %", cell_text(cpu), ""),)),
    )


def _costs(best: Recommendation) -> tuple[KeyFigure, ...]:
    """Return what an hour and a million inferences cost, with where and when that was the price; where there is none,
    what the rate asked takes, or the vCPU-seconds of a million."""
    if best.cost_per_hour is None and best.trial.at_rate is not None:
        return (("takes", takes_text(best), ""),)
    if best.cost_per_hour is None:
        vcpu_s = figure("vcpu_s_per_million").cell(best)
        return () if vcpu_s is None else (("vCPU-s per million", cell_text(vcpu_s), ""),)
    costs = in_their_currency(figures(("cost_per_hour", "cost_per_inference")), [best])
    return tuple(
        (cost.title, cell_text(value), where_and_when(best.profile))
        for cost in costs
        if (value := cost.cell(best)) is not None
    )


def _p95(trial: Trial) -> tuple[KeyFigure, ...]:
    p95_ms, interval = trial.judged.latency_ms["p95"], trial.judged.latency_ms_ci95.get("p95")
    if p95_ms is None:
        return ()
    note = "" if interval is None or is_wide(interval) else f"{ms_text(interval[0])} to {ms_text(interval[1])}"
    return ((_marked("p95", trial), latency_cell(trial.judged, "p95") or "", note),)


def _marked(name: str, trial: Trial) -> str:
    return name if trial.basis == "measured" else f"{name} (predicted)"


def cards(job: RecommendationJob) -> tuple[Card, ...]:
    """Return the cards of the model and of the host."""
    return (model_card(job.header), Card(title="Measured on", facts=_host_facts(job)))


def model_card(header: JobHeader) -> Card:
    """Return the card of the model of a job."""
    return Card(title="Model", facts=_model_facts(header.model, header.created_at))


def _model_facts(model: Model, read_at: float) -> tuple[tuple[str, str], ...]:
    trees = model.trees
    facts: list[tuple[str, str | None]] = [
        ("file", Path(model.source).name or model.source),
        ("format", model.format.value),
        ("task", model.signature.task.value),
        ("trees", None if trees is None else f"{trees.trees:,}, depth {trees.max_depth}"),
        ("nodes", None if trees is None else f"{trees.nodes:,}"),
        ("features", f"{model.signature.features:,}")
        if not model.signature.sizes
        else ("inputs", model.signature.row_text),
        ("size", f"{number_text(model.size_bytes / _MEGABYTE)} MB"),
        ("saved", _saved_on(model, read_at)),
        ("SHA-256", model.digest[:_DIGEST_LETTERS]),
    ]
    return known_facts(facts)


def _saved_on(model: Model, read_at: float) -> str | None:
    """Return the day on which the file was last changed; None where it is not here, or was changed after it was
    read."""
    path = Path(model.source)
    try:
        changed_at = path.stat().st_mtime if path.is_file() else None
    except (OSError, ValueError):
        # What a job calls its source may be no path at all.
        return None
    return None if changed_at is None or changed_at > read_at else _day(changed_at)


def _host_facts(job: RecommendationJob) -> tuple[tuple[str, str], ...]:
    host = job.host
    containment = dict.fromkeys(trial.measurement.containment for trial in job.trials)
    return known_facts(
        [
            ("processor", host.cpu_model),
            ("CPUs", f"{host.logical_cpus} ({count_text(host.physical_cores, 'core')}), {host.architecture}"),
            ("memory", size_text(host.memory_bytes)),
            ("GPUs", ", ".join(gpu.model for gpu in host.gpus) or None),
            ("system", f"{host.operating_system}, kernel {host.kernel}"),
            ("virtualisation", host.virtualisation),
            ("containment", ", ".join(containment) or None),
            ("date", _day(job.header.created_at)),
        ]
    )


def known_facts(facts: Sequence[tuple[str, str | None]]) -> tuple[tuple[str, str], ...]:
    """Return the facts of a card without those that are not known."""
    return tuple((name, value) for name, value in facts if value is not None)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def serving_command(job: RecommendationJob) -> str | None:
    """Return the command that serves the recommendation on this host, None where there is none."""
    return None if job.best is None else shlex.join(["servefit", "serve", job.name])
