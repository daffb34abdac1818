"""The trials of each configuration, pooled.

Configurations that did the same under the load that counts are one arm, and pool their latency there: those that differ
in how many requests may be joined alone, where no call joined as many.

The best of many single measurements is partly the luckiest. So every measurement of a configuration counts. How sure
the difference between two of them is, is for ``ratios`` to say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, fsum, inf, log
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.recommendation import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledTrials:
    """The trials of one configuration: ``trial`` stands for them, the last valid one that was held against the SLA.
    Geometric means of all valid ones are the capacity, and p95 in ms (infinite where it is not known) of those with the
    same load on an instance, which are ``alike``: those of all configurations that did the same there, of which
    ``arm`` is the plainest, whether it was measured or not."""

    trial: Trial
    capacity_per_s: float
    p95_ms: float
    measurements: int
    alike: tuple[Trial, ...]
    arm: Configuration

    @property
    def configuration(self) -> Configuration:
        return self.trial.configuration


def pool_trials(trials: Iterable[Trial]) -> tuple[PooledTrials, ...]:
    """Return the trials of every configuration that was held against the SLA, in the order in which they were first
    measured. Those that were only measured in rounds, which ask for less, are left out. Invalid measurements count only
    where there is nothing else."""
    by_configuration: dict[Configuration, list[Trial]] = defaultdict(list)
    for trial in without_disturbed_rounds(trials):
        by_configuration[trial.configuration].append(trial)
    pooled = [_pool(alike) for alike in by_configuration.values() if any(trial.round is None for trial in alike)]
    largest: dict[tuple[Configuration, _Load], int | None] = {}
    for pool in pooled:
        group = replace(pool.configuration, max_batch=1), _load(pool.trial)
        largest[group] = _larger(largest.get(group, 0), [trial.at_rate for trial in pool.alike])
    arms: dict[tuple[Configuration, _Load], list[Trial]] = defaultdict(list)
    for nth, pool in enumerate(pooled):
        load = _load(pool.trial)
        pooled[nth] = pool = replace(pool, arm=arm_of(pool.configuration, largest[pool.arm, load]))
        arms[pool.arm, load].extend(pool.alike)
    return tuple(_with_alike(pool, arms[pool.arm, _load(pool.trial)]) for pool in pooled)


def without_disturbed_rounds(trials: Iterable[Trial]) -> list[Trial]:
    """Return ``trials`` without the rounds in which any of them was disturbed: the others of such a round
    were disturbed too, if less."""
    trials = list(trials)
    disturbed = {trial.round for trial in trials if trial.round is not None and trial.verdict == "INVALID"}
    return [trial for trial in trials if trial.round not in disturbed]


def arm_of(configuration: Configuration, largest: int | None) -> Configuration:
    """Return the plainest configuration that does the same as ``configuration`` where no call joined more than
    ``largest`` requests, however many were allowed. Not known, and where requests wait to be joined, it is itself."""
    if largest is None or configuration.batch_delay_us or configuration.max_batch < largest:
        return configuration
    return replace(configuration, max_batch=largest)


def _larger(largest: int | None, summaries: Iterable[Summary | None]) -> int | None:
    """Return the largest call of ``summaries`` and before, None if that of any is not known."""
    sizes = [None if summary is None else summary.largest_call for summary in summaries]
    measured = [size for size in (largest, *sizes) if size is not None]
    return max(measured) if len(measured) == len(sizes) + 1 else None


def _with_alike(pooled: PooledTrials, alike: Sequence[Trial]) -> PooledTrials:
    """Return ``pooled`` with the latency of all trials that are ``alike``."""
    p95_ms = _geometric_mean([latency_ms(trial) for trial in alike], empty=inf)
    return replace(pooled, p95_ms=p95_ms, alike=tuple(alike))


def _pool(trials: Sequence[Trial]) -> PooledTrials:
    last = _valid([trial for trial in trials if trial.round is None])[-1]
    counted = _valid(trials)
    alike = [trial for trial in counted if _load(trial) == _load(last)] or [last]
    return PooledTrials(
        trial=last,
        capacity_per_s=_geometric_mean([trial.capacity.throughput_per_s for trial in counted], empty=0.0),
        p95_ms=_geometric_mean([latency_ms(trial) for trial in alike], empty=inf),
        measurements=len(counted),
        alike=tuple(alike),
        arm=replace(last.configuration, max_batch=1),
    )


def _valid(trials: Sequence[Trial]) -> Sequence[Trial]:
    """Return the valid ones of ``trials``, or all where none is valid."""
    return [trial for trial in trials if trial.verdict != "INVALID"] or trials


_Load: TypeAlias = tuple[str, int]
"""The kind of traffic that latency was measured under, and the instances that shared the rate."""


def _load(trial: Trial) -> _Load:
    return trial.judged.loop, trial.instance_count


def latency_ms(trial: Trial) -> float:
    """Return the p95 that the SLA is held against, infinite where there are too few samples to know it."""
    p95 = trial.judged.latency_ms["p95"]
    return inf if p95 is None else p95


def vcpu_s_and_p95_ms(trial: Trial) -> tuple[float, float]:
    """Return the vCPU-seconds of an inference, which stand for its price since prices differ between profiles of one
    size, and p95 in ms. Each is infinite where it is not known."""
    throughput_per_s = trial.capacity.throughput_per_s
    return (trial.configuration.vcpus / throughput_per_s if throughput_per_s else inf), latency_ms(trial)


def _geometric_mean(values: Iterable[float], *, empty: float) -> float:
    """Return the geometric mean of the values that are finite and above zero; ``empty`` where there are none."""
    usable = [value for value in values if 0 < value < inf]
    return exp(fsum(map(log, usable)) / len(usable)) if usable else empty
