"""The plots of a search: the tests in their order, the predictions before them, and the importance of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from servefit.report.measured_tables import finite
from servefit.report.plot import Axis, Plot, ReferenceLine, Series
from servefit.report.points import by_backend, series_of
from servefit.report.sentences import shape
from servefit.report.table import Table
from servefit.search.jobs.calibration import expectations
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.price import Price
from servefit.search.results.recommendation import Trial
from servefit.search.storage.steps import TESTS

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.storage.steps import Step


def order_plot(job: RecommendationJob) -> Plot:
    """Return the plot of the tests in their order, with the best result so far at each."""
    tests = [(step, step.result) for step in job.steps if step.kind in TESTS and isinstance(step.result, Trial)]
    figure, objective = _figure(job), objective_of(job.request)
    title = objective.axis
    tried = [(step, trial) for step, trial in tests if trial.round is None]

    def series(name: str, some: Sequence[tuple[Step, Trial]], **style: Any) -> Series:
        return series_of(
            name,
            some,
            x=lambda test: test[0].number,
            y=lambda test: figure(test[1]),
            label=lambda test: f"step {test[0].number}: {shape(test[1].configuration)}",
            **style,
        )

    so_far = dict(_best_so_far(tried, figure, objective.lower))
    return Plot(
        name="search-order",
        title="The tests in their order",
        caption="The line is the best that kept the SLA so far. Finalists were measured again in turns at the end.",
        x=Axis(title="step", whole=True),
        y=Axis(title=title, log=True),
        series=(
            Series(
                name="best so far",
                x=list(so_far),
                y=list(so_far.values()),
                drawn_as="steps",
                colour="line",
            ),
            *by_backend(tried, lambda test: test[1].configuration.backend, series),
            series("in turns", [test for test in tests if test[1].round is not None], symbol="hollow", colour="quiet"),
        ),
        table=Table(
            title="Tests in their order",
            columns=("step", "configuration", title, "best so far", "SLA"),
            rows=[
                (
                    step.number,
                    shape(trial.configuration),
                    figure(trial),
                    so_far.get(step.number),
                    trial.verdict if trial.round is None else None,
                )
                for step, trial in tests
            ],
        ),
    )


def expectation_plot(job: RecommendationJob) -> Plot:
    """Return the plot of the throughput that was predicted for each configuration before its first test, against the
    measured throughput."""
    expected = expectations(job)
    return Plot(
        name="search-expected",
        title="Expected and measured throughput",
        caption=(
            "On the line, the search knew before the test. Expectations come from calls timed alone, a queueing "
            "simulation, and the errors of the tests before; bars are 95 % intervals."
        ),
        x=Axis(title="measured per s", log=True),
        y=Axis(title="expected per s", log=True),
        series=by_backend(
            expected,
            lambda expectation: expectation.trial.configuration.backend,
            lambda name, some: series_of(
                name,
                some,
                x=lambda expectation: expectation.measured_per_s,
                y=lambda expectation: expectation.expected_per_s,
                label=lambda expectation: f"step {expectation.step}: {shape(expectation.trial.configuration)}",
                interval=lambda expectation: (expectation.low_per_s, expectation.high_per_s),
            ),
        ),
        table=Table(
            title="Expected and measured",
            columns=("step", "configuration", "expected per s", "from", "to", "measured per s", "measured / expected"),
            rows=[
                (
                    expectation.step,
                    shape(expectation.trial.configuration),
                    expectation.expected_per_s,
                    expectation.low_per_s,
                    expectation.high_per_s,
                    expectation.measured_per_s,
                    expectation.measured_per_s / expectation.expected_per_s,
                )
                for expectation in expected
            ],
        ),
        guides=(ReferenceLine(along="diagonal", at=1.0, label="as expected"),),
    )


def importance_plot(job: RecommendationJob) -> Plot:
    """Return the plot of the part that each parameter explains of the differences between configurations."""
    return Plot.of_bars(
        {name: 100 * share for name, share in job.why.importance.items()},
        name="search-importance",
        title="Where the differences come from",
        caption="The part of the variance over the whole space that each parameter explains by itself.",
        unit="%",
        table_of=("Importance", "parameter"),
    )


def _figure(job: RecommendationJob) -> Callable[[Trial], float | None]:
    """Return the function that reads from a test the figure that the job optimises, with vCPUs in place of prices."""
    objective = objective_of(job.request)

    def figure(trial: Trial) -> float | None:
        context = context_of(job.request, Price.in_vcpus(trial.configuration.vcpus))
        value = objective.of_trial(trial, context)
        return None if value is None else finite(value)

    return figure


def _best_so_far(
    tried: Sequence[tuple[Step, Trial]],
    figure: Callable[[Trial], float | None],
    lower: Callable[[float], float],
) -> Iterator[tuple[int, float]]:
    """Yield the numbers of steps, each with the best figure so far."""
    best: float | None = None
    for step, trial in tried:
        value = figure(trial)
        if value is not None and trial.verdict == "PASS" and (best is None or lower(value) < lower(best)):
            best = value
        if best is not None:
            yield step.number, best
