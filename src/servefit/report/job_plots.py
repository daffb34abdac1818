"""The plots of measurements: cost, latency and throughput of configurations, and the speed gained by compiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from servefit.backends.model.types import Library
from servefit.quantities import currency_sign, duration_text, given_text
from servefit.report.job_tables import compilation_table
from servefit.report.measured_tables import CostColumn, configurations_table, finite
from servefit.report.plot import Axis, Plot, ReferenceLine, Series
from servefit.report.points import by_backend, limits, series_of
from servefit.report.sentences import shape
from servefit.report.table import Table
from servefit.search.jobs.job import space_of
from servefit.search.results.objectives.cost import price_per_million
from servefit.search.results.pareto import candidates
from servefit.search.results.price import Price
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from servefit.profiler.evidence.summary import Summary
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.pareto import Candidate
    from servefit.search.storage.steps import Step

CostOf: TypeAlias = "Callable[[Candidate], float | None]"


def pareto_plots(job: RecommendationJob) -> tuple[Plot, ...]:
    """Return the plots of the cost against p95, with the Pareto front. Where a rate was asked, the cost is that of all
    instances that carry it, else that of a million inferences. If a profile has no price, a second plot shows all
    profiles, in vCPUs."""
    configurations = candidates(space_of(job.header, job.trials), job.trials)
    priced = [candidate for candidate in configurations if not candidate.price.unpriced]
    plots = [_pareto_plot(job, priced, in_money=True)] if priced else []
    if len(priced) < len(configurations):
        plots.append(_pareto_plot(job, configurations, in_money=False))
    return tuple(plots)


def _pareto_plot(job: RecommendationJob, configurations: Sequence[Candidate], *, in_money: bool) -> Plot:
    rate_per_s = job.request.sla.rate_per_s
    sign = currency_sign(configurations[0].recommendation.profile.currency) if in_money else None  # a job has one
    of_a_million = _cost_column(configurations, *_cost_of_a_million(sign))
    if rate_per_s is None:
        at_rate, shown, of_what, where = None, of_a_million, "a million inferences", "at full load"
    else:
        at_rate = shown = _cost_column(configurations, *_cost_of_the_rate(sign))
        of_what, where = f"{given_text(rate_per_s)} requests/s", "of all instances that carry the rate"
    best = None if job.best is None else job.best.trial.configuration

    def series(name: str, points: Sequence[Candidate], **style: Any) -> Series:
        return series_of(
            name,
            points,
            x=lambda candidate: finite(candidate.pooled.p95_ms),
            y=shown.of,
            label=lambda candidate: f"{shape(candidate.pooled.configuration)}, {candidate.recommendation.profile.name}",
            **style,
        )

    line = series("nothing is better", _pareto_front(configurations, shown.of), drawn_as="line", colour="line")
    return Plot(
        name="pareto-cost" if in_money else "pareto-vcpus",
        title=f"Cost of {of_what} against p95, in {shown.unit}",
        caption=(
            "Lower left is better. The line joins what keeps the SLA and is beaten by nothing in both; the "
            f"cost is that {where}"
            + ("." if in_money else ", and vCPUs stand for prices, which not all profiles have.")
        ),
        x=Axis(title="p95 ms", log=True),
        y=Axis(title=shown.unit, log=True),
        series=(
            *([line] if len(line.x) > 1 else []),
            *by_backend(configurations, lambda candidate: candidate.pooled.configuration.backend, series),
            series(
                "recommended",
                [candidate for candidate in configurations if candidate.pooled.configuration == best],
                symbol="star",
                colour="best",
            ),
        ),
        table=configurations_table(configurations, of_a_million, at_rate),
        guides=limits(job, "x"),
    )


def _cost_column(configurations: Sequence[Candidate], unit: str, cost: CostOf) -> CostColumn:
    front = frozenset(candidate.pooled.configuration for candidate in _pareto_front(configurations, cost))
    return CostColumn(unit=unit, of=cost, front=front)


def cost_that_counts(job: RecommendationJob, sign: str | None) -> tuple[str, CostOf]:
    """Return the unit and the function of the cost that a job is about: of all instances that carry the rate asked, or
    of a million inferences where none was; in the currency of ``sign``, or in vCPUs if that is None."""
    return _cost_of_a_million(sign) if job.request.sla.rate_per_s is None else _cost_of_the_rate(sign)


def _cost_of_the_rate(sign: str | None) -> tuple[str, CostOf]:
    if sign is None:
        return "vCPUs in all", lambda candidate: candidate.recommendation.vcpus
    return f"{sign}/hour", lambda candidate: candidate.recommendation.cost_per_hour


def _cost_of_a_million(sign: str | None) -> tuple[str, CostOf]:
    def cost(candidate: Candidate) -> float | None:
        """Return the cost at full load; None where nothing was answered."""
        price = Price.in_vcpus(candidate.pooled.configuration.vcpus) if sign is None else candidate.price
        return finite(price_per_million(candidate.pooled.capacity_per_s, price))

    return "vCPU-s per million" if sign is None else f"{sign}/million", cost


def _pareto_front(configurations: Sequence[Candidate], cost: CostOf) -> list[Candidate]:
    """Return the candidates of the Pareto front, by ascending p95: each keeps the SLA and is cheaper than all
    before."""
    points = [
        (candidate.pooled.p95_ms, figure, candidate)
        for candidate in configurations
        if candidate.pooled.trial.verdict == "PASS" and (figure := cost(candidate)) is not None
    ]
    front: list[Candidate] = []
    lowest = inf
    for _, figure, candidate in sorted(points, key=lambda point: point[:2]):
        if figure < lowest:
            lowest = figure
            front.append(candidate)
    return front


def latency_plot(job: RecommendationJob) -> Plot:
    """Return the plot of p95 against throughput, of every test: closed loops at full load, open loops at the rate
    asked."""
    points = [
        (step, step.result, figures)
        for step in job.steps
        if isinstance(step.result, Trial)
        for figures in (step.result.capacity, step.result.at_rate)
        if figures is not None
    ]
    best = None if job.best is None else job.best.trial

    def series(name: str, some: Sequence[tuple[Step, Trial, Summary]], **style: Any) -> Series:
        return series_of(
            name,
            some,
            x=lambda point: point[2].throughput_per_s,
            y=lambda point: point[2].latency_ms["p95"],
            label=lambda point: f"step {point[0].number}: {shape(point[1].configuration)}",
            interval=lambda point: point[2].latency_ms_ci95.get("p95"),
            **style,
        )

    def of_loop(loop: str) -> list[tuple[Step, Trial, Summary]]:
        return [point for point in points if point[2].loop == loop]

    return Plot(
        name="latency-throughput",
        title="p95 against throughput of an instance",
        caption=(
            "Filled: requests arrive at the rate asked. Hollow: a closed loop at full load, which says how much is "
            "answered and nothing about a rate. Bars are 95 % intervals."
        ),
        x=Axis(title="requests answered per s", log=True),
        y=Axis(title="p95 ms", log=True),
        series=(
            *by_backend(of_loop("open"), lambda point: point[1].configuration.backend, series),
            *by_backend(
                of_loop("closed"),
                lambda point: point[1].configuration.backend,
                lambda name, some: series(f"{name}, closed loop", some, symbol="hollow", colour=name),
            ),
            series(
                "recommended", [(step, trial, figures) for step, trial, figures in points
                                if trial is best and figures is trial.judged],
                symbol="star", colour="best",
            ),
        ),
        table=Table(
            title="Latency and throughput",
            columns=("step", "configuration", "loop", "answered per s", "p95 ms", "p95 from", "p95 to", "samples"),
            rows=[
                (
                    step.number,
                    shape(trial.configuration),
                    figures.loop,
                    figures.throughput_per_s,
                    figures.latency_ms["p95"],
                    *figures.latency_ms_ci95.get("p95", (None, None)),
                    figures.samples,
                )
                for step, trial, figures in points
            ],
        ),
        guides=limits(job, "y"),
    )  # fmt: skip


def compilation_plot(job: RecommendationJob) -> Plot:
    """Return the plot of the speed of each backend, for one request on one thread, relative to the model's own
    library."""
    timed = [compiled for compiled in job.compilation if compiled.speedup is not None]
    done = [compiled for compiled in job.compilation if compiled.status == "COMPLETED"]
    shown = timed or done
    return Plot(
        name="compilation-speedup" if timed else "compilation-seconds",
        title=f"Speed of one request on one thread, {job.model.reference} = 1" if timed else "Seconds of compilation",
        caption=_compared(job),
        x=Axis(title="times as fast" if timed else "seconds"),
        y=Axis(title=""),
        horizontal=True,
        series=(
            Series(
                name="backends",
                x=[compiled.speedup if timed else compiled.seconds for compiled in shown],
                y=[_target(compiled.backend, compiled.target.value) for compiled in shown],
                labels=[f"compiled in {duration_text(compiled.seconds)}" for compiled in shown],
                drawn_as="bars",
            ),
        ),
        table=compilation_table(job),
        guides=(ReferenceLine(along="x", at=1.0, label=""),) if timed else (),
    )


def _compared(job: RecommendationJob) -> str:
    if job.model.library is Library.SCRIPT:
        return "What the script answers was compared with nothing, since nothing else says what is right."
    return "Each prediction was held against the model's own library before it counted."


def _target(backend: str, target: str) -> str:
    return backend if target == "cpu" else f"{backend} ({target})"
