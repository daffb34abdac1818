"""How configurations stand after all measurements of each, and how sure the difference between two of them is.

The best of many single measurements is partly the luckiest. So every measurement of a configuration counts, and the
finalists are measured again in rounds, one after the other in an order drawn anew, so that what the machine does
meanwhile happens to all of them. Ratios and their intervals come from those rounds alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, log
from typing import TYPE_CHECKING

from servefit.profiler.evidence.comparing.intervals import mean_interval
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import Goal
    from servefit.search.results.recommendation import Trial

LEAST_ROUNDS = 3
"""Rounds that an interval takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One configuration: the ``trial`` that stands for it, which is the last valid one that was held against the SLA,
    and what all valid ones amount to: geometric means of capacity, and of p95 in ms (infinite where it is not known) by
    those with the same load on an instance."""

    trial: Trial
    capacity_per_s: float
    p95_ms: float
    measurements: int

    @property
    def configuration(self) -> Configuration:
        return self.trial.configuration


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times better one configuration is than another by ``metric``: above 1, the first is the better one.

    ``ci95`` is the 95 % interval over the ``rounds`` in which both were measured in turns, None for fewer than three.
    """

    metric: str
    ratio: float
    ci95: tuple[float, float] | None
    rounds: int


def standings(trials: Iterable[Trial]) -> tuple[Standing, ...]:
    """The standing of every configuration that was held against the SLA, in the order in which they were first
    measured. Those that were only measured in rounds, which ask for less, are left out. Invalid measurements count only
    where there is nothing else."""
    by_configuration: dict[Configuration, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_configuration[trial.configuration].append(trial)
    return tuple(_standing(alike) for alike in by_configuration.values() if any(one.round is None for one in alike))


def _standing(trials: Sequence[Trial]) -> Standing:
    last = _valid([one for one in trials if one.round is None])[-1]
    counted = _valid(trials)
    alike = [one for one in counted if _load(one) == _load(last)] or [last]
    return Standing(
        trial=last,
        capacity_per_s=_geometric_mean([one.capacity.throughput_per_s for one in counted], empty=0.0),
        p95_ms=_geometric_mean([latency_ms(one) for one in alike], empty=inf),
        measurements=len(counted),
    )


def _valid(trials: Sequence[Trial]) -> Sequence[Trial]:
    """All, where none is valid."""
    return [one for one in trials if one.verdict != "INVALID"] or trials


def _load(trial: Trial) -> tuple[str, int]:
    return trial.judged.loop, trial.instance_count


def latency_ms(trial: Trial) -> float:
    """The p95 that the SLA is held against, infinite where there are too few samples to know it."""
    p95 = trial.judged.latency_ms["p95"]
    return inf if p95 is None else p95


def _geometric_mean(values: Iterable[float], *, empty: float) -> float:
    """Of the values that are finite and above zero; ``empty`` where there are none."""
    known = [value for value in values if 0 < value < inf]
    return exp(fsum(map(log, known)) / len(known)) if known else empty


def ratio(
    trials: Iterable[Trial], one: Configuration, other: Configuration, goal: Goal, *, weight: float = 1.0
) -> Ratio | None:
    """How much better ``one`` is than ``other`` in the rounds among ``trials``, None if no round has both.

    By throughput, where latency is the goal by p95, and where the goal is "balanced" by both, with throughput to the
    power of ``weight``. Invalid measurements are left out with their round.
    """
    share = {"latency": 0.0, "balanced": weight}.get(goal, 1.0)
    valid = [trial for trial in trials if trial.round is not None and trial.verdict != "INVALID"]
    mine = {trial.round: _figure(trial, share) for trial in valid if trial.configuration == one}
    theirs = {trial.round: _figure(trial, share) for trial in valid if trial.configuration == other}
    logs = [
        log(mine[nth] / theirs[nth]) for nth in mine.keys() & theirs.keys() if 0 < mine[nth] < inf and theirs[nth] > 0
    ]
    if not logs:
        return None
    interval = None
    if len(logs) >= LEAST_ROUNDS:
        low, high = mean_interval(logs)
        interval = (exp(low), exp(high))
    return Ratio(
        metric={0.0: "p95 latency", 1.0: "throughput"}.get(share, "throughput and p95 latency"),
        ratio=exp(fsum(logs) / len(logs)),
        ci95=interval,
        rounds=len(logs),
    )


def _figure(trial: Trial, share: float) -> float:
    """More is better; ``share`` is the weight of throughput, 0 to 1, against latency."""
    figure: float = trial.capacity.throughput_per_s**share / latency_ms(trial) ** (1 - share)
    return figure
