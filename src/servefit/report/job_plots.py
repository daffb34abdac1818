"""The plots of a job: each shows the figures of one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from servefit.report.job_tables import compilation_table
from servefit.report.measured_tables import configurations_table, finite
from servefit.report.plot import Axis, Guide, Plot, Series, Value
from servefit.report.sentences import shape
from servefit.report.table import Table
from servefit.search.job import space_of
from servefit.search.pareto import candidates
from servefit.search.predicted import expectations
from servefit.search.recommendation import Trial
from servefit.search.steps import TESTS

if TYPE_CHECKING:
    from servefit.profiler.summary import Summary
    from servefit.search.job import RecommendationJob
    from servefit.search.pareto import Candidate
    from servefit.search.steps import Step

_Point = TypeVar("_Point")


def pareto_plots(job: RecommendationJob) -> tuple[Plot, ...]:
    """What a million inferences cost against p95: of what was tested, and of what nothing beats. Where profiles have no
    price there is a second one with all of them, in vCPU-seconds."""
    found = candidates(space_of(job.header, job.trials), job.trials)
    priced = [one for one in found if not one.price.unpriced]
    plots = [_pareto_plot(job, priced, "$/million", _dollars)] if priced else []
    if len(priced) < len(found):
        plots.append(_pareto_plot(job, found, "vCPU-s per million", _vcpu_seconds))
    return tuple(plots)


def _pareto_plot(
    job: RecommendationJob, found: Sequence[Candidate], unit: str, cost: Callable[[Candidate], float | None]
) -> Plot:
    best = None if job.best is None else job.best.trial.configuration
    on_front = _unbeaten(found, cost)

    def series(name: str, points: Sequence[Candidate], **looks: Any) -> Series:
        return _series(
            name,
            points,
            x=lambda one: finite(one.standing.p95_ms),
            y=cost,
            label=lambda one: f"{shape(one.standing.configuration)}, {one.recommendation.profile.name}",
            **looks,
        )

    line = series("nothing is better", on_front, drawn_as="line", colour="line")
    return Plot(
        name="pareto-cost" if unit == "$/million" else "pareto-vcpus",
        title=f"Cost of a million inferences against p95, in {'dollars' if unit == '$/million' else 'vCPU-seconds'}",
        caption=(
            "Lower left is better. The line joins what keeps the SLA and is beaten by nothing in both; cost is that of "
            "full load" + ("." if unit == "$/million" else ", and vCPUs stand for prices, which not all profiles have.")
        ),
        x=Axis(title="p95 ms", log=True),
        y=Axis(title=unit, log=True),
        series=(
            *([line] if len(line.x) > 1 else []),
            *_by_backend(found, lambda one: one.standing.configuration.backend, series),
            series(
                "recommended",
                [one for one in found if one.standing.configuration == best],
                symbol="star",
                colour="best",
            ),
        ),
        table=configurations_table(found, frozenset(one.standing.configuration for one in on_front), unit, cost),
        guides=_limits(job, "x"),
    )


def _dollars(one: Candidate) -> float | None:
    per_s = one.standing.capacity_per_s
    return one.price.per_hour / per_s * 1e6 / 3600 if per_s else None


def _vcpu_seconds(one: Candidate) -> float | None:
    per_s = one.standing.capacity_per_s
    return one.standing.configuration.vcpus / per_s * 1e6 if per_s else None


def _unbeaten(found: Sequence[Candidate], cost: Callable[[Candidate], float | None]) -> list[Candidate]:
    """Of what keeps the SLA, by ascending p95, all that costs less than everything before it."""
    points = [
        (one.standing.p95_ms, figure, one)
        for one in found
        if one.standing.trial.verdict == "PASS" and (figure := cost(one)) is not None
    ]
    unbeaten: list[Candidate] = []
    least = inf
    for _, figure, one in sorted(points, key=lambda point: point[:2]):
        if figure < least:
            least = figure
            unbeaten.append(one)
    return unbeaten


def latency_plot(job: RecommendationJob) -> Plot:
    """p95 against what was answered, of every test: closed loops at full load, open loops at the rate asked."""
    points = [
        (step, step.result, figures)
        for step in job.steps
        if isinstance(step.result, Trial)
        for figures in (step.result.capacity, step.result.at_rate)
        if figures is not None
    ]
    best = None if job.best is None else job.best.trial

    def series(name: str, some: Sequence[tuple[Step, Trial, Summary]], **looks: Any) -> Series:
        return _series(
            name,
            some,
            x=lambda one: one[2].throughput_per_s,
            y=lambda one: one[2].latency_ms["p95"],
            label=lambda one: f"step {one[0].number}: {shape(one[1].configuration)}",
            interval=lambda one: one[2].latency_ms_ci95.get("p95"),
            **looks,
        )

    def of_loop(loop: str) -> list[tuple[Step, Trial, Summary]]:
        return [one for one in points if one[2].loop == loop]

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
            *_by_backend(of_loop("open"), lambda one: one[1].configuration.backend, series),
            *_by_backend(
                of_loop("closed"),
                lambda one: one[1].configuration.backend,
                lambda name, some: series(f"{name}, closed loop", some, symbol="hollow", colour=name),
            ),
            series(
                "recommended", [one for one in points if one[1] is best and one[2] is one[1].judged], symbol="star",
                colour="best",
            ),
        ),
        table=Table(
            title="Latency and throughput",
            columns=("step", "configuration", "loop", "answered per s", "p95 ms", "p95 from", "p95 to", "samples"),
            rows=[
                (
                    step.number,
                    shape(trial.configuration),
                    one.loop,
                    one.throughput_per_s,
                    one.latency_ms["p95"],
                    *one.latency_ms_ci95.get("p95", (None, None)),
                    one.samples,
                )
                for step, trial, one in points
            ],
        ),
        guides=_limits(job, "y"),
    )  # fmt: skip


def compilation_plot(job: RecommendationJob) -> Plot:
    """How much faster each backend answers one request on one thread than the model's own library."""
    timed = [one for one in job.compilation if one.speedup is not None]
    done = [one for one in job.compilation if one.status == "COMPLETED"]
    shown = timed or done
    return Plot(
        name="compilation-speedup" if timed else "compilation-seconds",
        title=f"Speed of one request on one thread, {job.model.reference} = 1" if timed else "Seconds of compilation",
        caption="Each prediction was held against the model's own library before it counted.",
        x=Axis(title="times as fast" if timed else "seconds"),
        y=Axis(title=""),
        horizontal=True,
        series=(
            Series(
                name="backends",
                x=[one.speedup if timed else one.seconds for one in shown],
                y=[_target(one.backend, one.target.value) for one in shown],
                labels=[f"compiled in {one.seconds:.3g} s" for one in shown],
                drawn_as="bars",
            ),
        ),
        table=compilation_table(job),
        guides=(Guide(along="x", at=1.0, label=""),) if timed else (),
    )


def order_plot(job: RecommendationJob) -> Plot:
    """What the search tried, test after test, and the best that it had by then."""
    tests = [(step, step.result) for step in job.steps if step.kind in TESTS and isinstance(step.result, Trial)]
    points = [(nth, step, trial) for nth, (step, trial) in enumerate(tests, start=1)]
    figure, title = _figure(job)
    tried = [one for one in points if one[2].round is None]

    def series(name: str, some: Sequence[tuple[int, Step, Trial]], **looks: Any) -> Series:
        return _series(
            name,
            some,
            x=lambda one: one[0],
            y=lambda one: figure(one[2]),
            label=lambda one: f"step {one[1].number}: {shape(one[2].configuration)}",
            **looks,
        )

    so_far = list(_best_so_far(tried, figure))
    return Plot(
        name="search-order",
        title="The tests in their order",
        caption="The line is the best that kept the SLA so far. Finalists were measured again in turns at the end.",
        x=Axis(title="test", whole=True),
        y=Axis(title=title, log=True),
        series=(
            Series(
                name="best so far",
                x=[nth for nth, _ in so_far],
                y=[value for _, value in so_far],
                drawn_as="steps",
                colour="line",
            ),
            *_by_backend(tried, lambda one: one[2].configuration.backend, series),
            series("in turns", [one for one in points if one[2].round is not None], symbol="hollow", colour="quiet"),
        ),
        table=Table(
            title="Tests in their order",
            columns=("test", "step", "configuration", title, "best so far", "SLA"),
            rows=[
                (
                    nth,
                    step.number,
                    shape(trial.configuration),
                    figure(trial),
                    dict(so_far).get(nth),
                    trial.verdict if trial.round is None else None,
                )
                for nth, step, trial in points
            ],
        ),
    )


def expectation_plot(job: RecommendationJob) -> Plot:
    """What the search expected of a configuration before its first test, against what it measured."""
    found = expectations(job)
    return Plot(
        name="search-expected",
        title="Expected and measured throughput",
        caption=(
            "On the line, the search knew before the test. Expectations come from calls timed alone, a queueing "
            "simulation, and the errors of the tests before; bars are 95 % intervals."
        ),
        x=Axis(title="measured per s", log=True),
        y=Axis(title="expected per s", log=True),
        series=_by_backend(
            found,
            lambda one: one.trial.configuration.backend,
            lambda name, some: _series(
                name,
                some,
                x=lambda one: one.measured_per_s,
                y=lambda one: one.expected_per_s,
                label=lambda one: f"step {one.step}: {shape(one.trial.configuration)}",
                interval=lambda one: (one.low_per_s, one.high_per_s),
            ),
        ),
        table=Table(
            title="Expected and measured",
            columns=("step", "configuration", "expected per s", "from", "to", "measured per s", "measured / expected"),
            rows=[
                (
                    one.step,
                    shape(one.trial.configuration),
                    one.expected_per_s,
                    one.low_per_s,
                    one.high_per_s,
                    one.measured_per_s,
                    one.measured_per_s / one.expected_per_s,
                )
                for one in found
            ],
        ),
        guides=(Guide(along="diagonal", at=1.0, label="as expected"),),
    )


def importance_plot(job: RecommendationJob) -> Plot:
    """Which parameters the differences between configurations come from."""
    shares = list(job.why.importance.items())
    return Plot(
        name="search-importance",
        title="Where the differences come from",
        caption="The part of the variance over the whole space that each parameter explains by itself.",
        x=Axis(title="%"),
        y=Axis(title=""),
        horizontal=True,
        series=(
            Series(
                name="importance",
                x=[100 * share for _, share in shares],
                y=[name for name, _ in shares],
                drawn_as="bars",
            ),
        ),
        table=Table(
            title="Importance", columns=("parameter", "%"), rows=[(name, 100 * share) for name, share in shares]
        ),
    )


def _figure(job: RecommendationJob) -> tuple[Callable[[Trial], float | None], str]:
    """What the job's goal is about, of one test, and what it is called; lower is better."""
    if job.goal == "latency":
        return lambda trial: trial.judged.latency_ms["p95"], "p95 ms"
    vcpus = job.goal != "throughput"
    title = "vCPU-s per million" if vcpus else "s per million"

    def figure(trial: Trial) -> float | None:
        per_s = trial.capacity.throughput_per_s
        return 1e6 * (trial.configuration.vcpus if vcpus else 1) / per_s if per_s else None

    return figure, title


def _best_so_far(
    tried: Sequence[tuple[int, Step, Trial]], figure: Callable[[Trial], float | None]
) -> Iterator[tuple[int, float]]:
    best: float | None = None
    for nth, _, trial in tried:
        value = figure(trial)
        if value is not None and trial.verdict == "PASS" and (best is None or value < best):
            best = value
        if best is not None:
            yield nth, best


def _limits(job: RecommendationJob, along: str) -> tuple[Guide, ...]:
    """The SLA's limits on p95, or, where there are none, on other percentiles, which say what they are of."""
    thresholds = job.request.sla.thresholds
    of_p95 = [one for one in thresholds if one.percentile == "p95"] or thresholds
    return tuple(
        Guide(along="x" if along == "x" else "y", at=one.limit_ms, label=f"SLA {one.percentile} {one.limit_ms:g} ms")
        for one in of_p95
    )


def _by_backend(
    points: Sequence[_Point], backend: Callable[[_Point], str], series: Callable[[str, Sequence[_Point]], Series]
) -> tuple[Series, ...]:
    """A series for each backend, in the order in which they come."""
    return tuple(
        series(name, [one for one in points if backend(one) == name]) for name in dict.fromkeys(map(backend, points))
    )


def _series(
    name: str,
    points: Sequence[_Point],
    *,
    x: Callable[[_Point], Value],
    y: Callable[[_Point], Value],
    label: Callable[[_Point], str],
    interval: Callable[[_Point], tuple[float, float] | None] | None = None,
    drawn_as: Literal["points", "line"] = "points",
    symbol: Literal["filled", "hollow", "star"] = "filled",
    colour: str | None = None,
) -> Series:
    """Those of ``points`` that are known. Colours go by name."""
    shown = [one for one in points if _is_known(x(one)) and _is_known(y(one))]
    intervals = [None if interval is None else interval(one) for one in shown]
    return Series(
        name=name,
        x=[x(one) for one in shown],
        y=[y(one) for one in shown],
        labels=[label(one) for one in shown],
        low=[None if one is None else one[0] for one in intervals] if any(intervals) else (),
        high=[None if one is None else one[1] for one in intervals] if any(intervals) else (),
        drawn_as=drawn_as,
        symbol=symbol,
        colour=colour or name,
    )


def _is_known(value: Value) -> bool:
    """A logarithmic axis has no place for zero."""
    return value is not None and (isinstance(value, str) or value > 0)


def _target(backend: str, target: str) -> str:
    return backend if target == "cpu" else f"{backend} ({target})"
