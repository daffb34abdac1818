"""The plots that hold the recommendation against its rivals: what each answers at full load, and its latency.

Throughput was measured in turns, in the same rounds, so that what the machine did meanwhile happened to each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, fsum, log
from typing import TYPE_CHECKING, Literal

from servefit.quantities import count_text, ms_text, number_text
from servefit.report.plot import Axis, Plot, Series
from servefit.report.sentences import shape
from servefit.report.table import Table

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A configuration with what an instance answers at full load, the geometric mean of so many ``rounds``, and its p95
    under ``load``; None where they are not known."""

    name: str
    configuration: Configuration
    capacity_per_s: float | None
    p95_ms: float | None
    load: str
    rounds: int
    basis: Literal["measured", "predicted"]


def rivals(job: RecommendationJob) -> tuple[Rival, ...]:
    """Return the recommendation, the runner-up and the naive default, as far as they were measured in turns; none where
    the recommendation was measured alone.

    Throughput is of those rounds. So is p95, unless each of them was also held against the SLA at the rate asked: then
    it is that of the last such test, which for the recommendation is the one in the answer.
    """
    if job.best is None:
        return ()
    others = (("runner-up", job.why.runner_up), ("naive default", job.why.naive))
    compared = [(name, against.configuration) for name, against in others if against is not None]
    if not compared:
        return ()
    named = (("recommended", job.best.trial.configuration), *compared)
    valid = [trial for trial in job.trials if trial.verdict != "INVALID"]
    # Those of the recommendation's own kind, where there are any: over HTTP a request takes longer than in process.
    alike = [trial for trial in valid if trial.driver == job.best.trial.driver] or valid
    rounds = [trial for trial in alike if trial.round is not None]
    last = {trial.configuration: trial for trial in alike if trial.round is None and trial.judged.loop == "open"}
    everybody = all(configuration in last for _, configuration in named)
    return tuple(_rival(name, rival, rounds, last[rival] if everybody else None) for name, rival in named)


def _rival(name: str, configuration: Configuration, rounds: Iterable[Trial], at_rate: Trial | None) -> Rival:
    """Return the rival with the throughput of its ``rounds``, and the p95 of its test ``at_rate``, or of its rounds."""
    mine = [trial for trial in rounds if trial.configuration == configuration]
    timed = mine if at_rate is None else [at_rate]
    # Where more instances shared the rate, each had another load.
    loads = [_load(trial) for trial in timed]
    load = max(loads, key=loads.count, default="")
    return Rival(
        name=name,
        configuration=configuration,
        capacity_per_s=_mean([trial.capacity.throughput_per_s for trial in mine]),
        p95_ms=_mean([trial.judged.latency_ms["p95"] for trial in timed if _load(trial) == load]),
        load=load,
        rounds=len(mine),
        basis="predicted" if any(trial.basis == "predicted" for trial in (*mine, *timed)) else "measured",
    )


def _load(trial: Trial) -> str:
    judged = trial.judged
    if judged.loop != "open":
        return "at full load"
    share = "" if trial.instance_count == 1 else f" on each of {count_text(trial.instance_count, 'instance')}"
    return f"at the rate asked{share}{', saturated' if judged.saturated else ''}"


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the geometric mean of the values that are above zero, None where there are none."""
    positive = [value for value in values if value is not None and value > 0]
    return exp(fsum(map(log, positive)) / len(positive)) if positive else None


def against_plots(job: RecommendationJob) -> tuple[Plot, ...]:
    """Return the plots of throughput and of p95, a bar for each rival; none where there is nothing to compare with."""
    compared = rivals(job)
    if not compared:
        return ()
    under, loads = _loads(compared)
    return (
        _bars(
            compared,
            name="against-throughput",
            title="Answered at full load, one instance",
            caption=f"The more, the better. {_turns(compared)} {_shapes(compared)}",
            axis="requests answered per s",
            value=lambda rival: rival.capacity_per_s,
            text=lambda value: f"{number_text(value)}/s",
        ),
        _bars(
            compared,
            name="against-p95",
            title=f"p95{under}, one instance",
            caption=f"The less, the better.{loads}",
            axis="p95 ms",
            value=lambda rival: rival.p95_ms,
            text=ms_text,
        ),
    )


def _turns(compared: Sequence[Rival]) -> str:
    if all(rival.basis == "measured" for rival in compared):
        return "Measured in turns."
    return "The model was measured in turns; as an endpoint it is predicted from that."


def _shapes(compared: Sequence[Rival]) -> str:
    return "; ".join(f"{rival.name}: {shape(rival.configuration)}" for rival in compared) + "."


def _loads(compared: Sequence[Rival]) -> tuple[str, str]:
    """Return the load under which p95 was measured, for the title, and in a sentence where it was not the same for
    all."""
    loads = dict.fromkeys(rival.load for rival in compared if rival.p95_ms is not None)
    if len(loads) == 1:
        return f" {next(iter(loads))}", ""
    return "", " " + "; ".join(f"{rival.name}: {rival.load}" for rival in compared if rival.p95_ms is not None) + "."


def _bars(
    compared: Sequence[Rival],
    *,
    name: str,
    title: str,
    caption: str,
    axis: str,
    value: Callable[[Rival], float | None],
    text: Callable[[float], str],
) -> Plot:
    """Return a plot with a bar for each rival of which ``value`` is known; predicted ones are a series of their own."""
    bars = [(rival, figure) for rival in compared if (figure := value(rival)) is not None]
    bases: tuple[Literal["measured", "predicted"], ...] = ("measured", "predicted")
    return Plot(
        name=name,
        title=title,
        caption=caption,
        x=Axis(title=axis),
        y=Axis(title=""),
        horizontal=True,
        small=True,
        series=tuple(
            Series(
                name=basis,
                x=[figure for _, figure in some],
                y=[rival.name for rival, _ in some],
                labels=[text(figure) for _, figure in some],
                drawn_as="bars",
                predicted=basis == "predicted",
            )
            for basis in bases
            if (some := [(rival, figure) for rival, figure in bars if rival.basis == basis])
        ),
        table=Table(
            title=title,
            columns=("configuration", axis, "p95 under", "rounds", "from", "shape"),
            rows=[
                (rival.name, value(rival), rival.load, rival.rounds, rival.basis, shape(rival.configuration))
                for rival in compared
            ],
        ),
    )
