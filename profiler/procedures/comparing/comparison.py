"""Compares two ways of doing the same by measuring them in turns.

Machines drift: they heat up, neighbours come and go. So measurements come in blocks of four, A B B A or B A A B by the
toss of a coin, in which a steady drift cancels, and only figures of one block are compared, as log ratios. A block in
which the machine got in the way is left out and made again. The noise of the machine is in the interval of the ratio.
Which difference counts as none is for people to say, and not for the noise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, expm1, isfinite, log, log1p
from random import Random
from statistics import fmean, median
from typing import Literal, TypeAlias

from servefit.checks import check_between, check_whole
from servefit.errors import HostMismatch, MeasurementError
from servefit.profiler.defaults import MARGIN
from servefit.profiler.evidence.intervals import mean_interval
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.showing import shown

MIN_BLOCKS = 4
"""With fewer the interval tells nothing: Student's t at 95 % is 3.2 standard errors with four blocks, 4.3 with three
and 12.7 with two."""

RESOLVED = 0.01
"""A noise floor that is known to be below this is good enough to be looked at no further. Chosen, not measured."""

MAX_DISTURBED = 4
"""Blocks of a comparison that are left out before it is given up: as many as it takes at least. Chosen, not
measured."""

_ERROR_RATE = 0.05
"""Of a decision, for all interim analyses together: what 95 % intervals promise."""

Outcome: TypeAlias = Literal["a is faster", "b is faster", "no difference", "undecided"]
Stop: TypeAlias = Literal["decided", "blocks", "time", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFigure:
    """The result of a measurement, say a p50 in nanoseconds, and the host that it was made on."""

    value: float
    host_fingerprint: str


Measure: TypeAlias = Callable[[int], float | ComparedFigure | None]
"""Makes one measurement in a fresh process and gives a figure above zero, of which less is better; None where the
machine got in the way of it. It is given the number of the pair that the measurement is of: what is random about the
load may differ from pair to pair, but not within one."""


class TooDisturbed(Exception):
    """The machine got in the way of too many measurements for anything to be compared."""


@shown("resolvable", "median_ratio")
@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """The outcome of comparing something with itself.

    ``resolvable`` is the smallest difference that can be told from noise (0.012 is 1.2 %), ``median_ratio`` the median
    over blocks of the ratio that should be 1, and ``log_ratios`` are those ratios, one a block.
    """

    resolvable: float
    median_ratio: float
    log_ratios: tuple[float, ...]


@shown("outcome", "ratio", "ci95", "margin")
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The outcome of comparing a and b.

    ``ratio`` is b / a, the geometric mean over blocks, and ``ci95`` its interval. There is "no difference" if the whole
    interval lies within ``margin``, else a difference if it does not hold 1. ``stopped`` says why there are no more
    blocks: the question was "decided" either way, all "blocks" or all "time" was used, or there was too much "noise".
    ``log_ratios`` has one entry a block.

    Example:
        ::

            compared = sf.compare_deployments("model.ubj", sf.Deployment(), {"backend": "onnxruntime"}, budget_s=5)
            print(compared.comparison)
    """

    ratio: float
    ci95: tuple[float, float]
    margin: float
    outcome: Outcome
    stopped: Stop
    log_ratios: tuple[float, ...]


def compare(
    measure_a: Measure,
    measure_b: Measure,
    *,
    blocks: int = 16,
    budget_s: float | None = None,
    seed: int = 0,
    margin: float = MARGIN,
) -> Comparison:
    """Compare b with a in at most ``blocks`` blocks of four measurements, four blocks at least.

    After ``budget_s`` no block is begun that would exceed it, but four are made in any case. A difference of less than
    ``margin`` (0.02 is 2 %) counts as none. The measuring slot is held throughout. Raises SpecError for too few blocks
    and a margin that is none, HostMismatch if the figures are of different hosts, MeasurementError for a figure that is
    not above zero, TooDisturbed where too few blocks were undisturbed, and what the measurements raise.
    """
    check_between("margin", margin, 0, 1)

    def outcome_of(interval: tuple[float, float]) -> Outcome:
        low, high = interval
        if _is_within(interval, log1p(margin)):
            return "no difference"
        return "a is faster" if low > 0 else "b is faster" if high < 0 else "undecided"

    with measuring_slot("comparison"):
        result = _in_blocks(
            measure_a,
            measure_b,
            decided=lambda interval: outcome_of(interval) != "undecided",
            blocks=blocks,
            budget_s=budget_s,
            seed=seed,
        )
    low, high = result.interval
    return Comparison(
        ratio=exp(fmean(result.log_ratios)),
        ci95=(exp(low), exp(high)),
        margin=margin,
        outcome=outcome_of(result.interval),
        stopped=result.stopped,
        log_ratios=result.log_ratios,
    )


def compare_with_itself(
    measure: Measure, *, blocks: int = 16, budget_s: float | None = None, seed: int = 0
) -> NoiseFloor:
    """Carry out an A/A run, in which there is nothing to see. It ends once 1 % can be told apart.

    ``resolvable`` is the end of the 95 % interval that is farther from no difference. Raises as :func:`compare` does.
    """
    with measuring_slot("comparison"):
        result = _in_blocks(
            measure,
            measure,
            decided=lambda interval: _is_within(interval, log1p(RESOLVED)) or not _holds(interval, log1p(RESOLVED)),
            blocks=blocks,
            budget_s=budget_s,
            seed=seed,
        )
    return NoiseFloor(
        resolvable=expm1(max(map(abs, result.interval))),
        median_ratio=exp(median(result.log_ratios)),
        log_ratios=result.log_ratios,
    )


def require_same_host(first: str, second: str) -> None:
    """Raise HostMismatch for two different fingerprints."""
    if first != second:
        raise HostMismatch(first, second)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    log_ratios: tuple[float, ...]
    interval: tuple[float, float]
    stopped: Stop


def _in_blocks(
    measure_a: Measure,
    measure_b: Measure,
    *,
    decided: Callable[[tuple[float, float]], bool],
    blocks: int,
    budget_s: float | None,
    seed: int,
) -> _Blocks:
    """Measure blocks until their interval is ``decided``, or there are enough.

    Looking at an interval again and again until it pleases makes it wrong. So there are few interim analyses, each
    after twice as many blocks as the one before, and the error rate is shared out among them [Bonferroni].
    """
    check_whole("blocks", blocks, least=MIN_BLOCKS)
    analyses = _interim_analyses(blocks)
    confidence = 1 - _ERROR_RATE / len(analyses)
    coin = Random(seed)
    figures = _Figures()
    log_ratios: list[float] = []
    began = time.monotonic()
    longest, disturbed = 0.0, 0
    while True:
        block_began = time.monotonic()
        a_first, nth_block = coin.random() < 0.5, len(log_ratios) + disturbed
        log_ratio = _block(measure_a, measure_b, nth_block=nth_block, a_first=a_first, figures=figures)
        now = time.monotonic()
        longest = max(longest, now - block_began)
        out_of_time = budget_s is not None and now - began + longest > budget_s
        if log_ratio is None:
            disturbed += 1
        else:
            log_ratios.append(log_ratio)
        too_noisy = disturbed >= MAX_DISTURBED
        if len(log_ratios) < MIN_BLOCKS:
            if too_noisy or (disturbed and out_of_time):
                raise TooDisturbed(f"{disturbed} blocks of measurements were disturbed")
            continue
        if log_ratio is None and not (too_noisy or out_of_time):
            continue
        if len(log_ratios) not in analyses and not (too_noisy or out_of_time):
            continue
        interval = mean_interval(log_ratios, confidence=confidence)
        is_decided = decided(interval)
        if is_decided or too_noisy or out_of_time or len(log_ratios) == blocks:
            stopped: Stop = "decided" if is_decided else "blocks" if len(log_ratios) == blocks else "time"
            if stopped == "time" and too_noisy:
                stopped = "noise"
            return _Blocks(log_ratios=tuple(log_ratios), interval=interval, stopped=stopped)


def _interim_analyses(blocks: int) -> list[int]:
    """Return the numbers of blocks after which the interval is looked at: 4, 8, 16 and so on, and the last."""
    analyses = [MIN_BLOCKS]
    while 2 * analyses[-1] < blocks:
        analyses.append(2 * analyses[-1])
    return analyses if analyses[-1] == blocks else [*analyses, blocks]


def _is_within(interval: tuple[float, float], margin: float) -> bool:
    """Return whether the whole ``interval`` lies within ``margin`` to either side of zero."""
    return -margin <= interval[0] and interval[1] <= margin


def _holds(interval: tuple[float, float], margin: float) -> bool:
    """Return whether ``interval`` holds anything within ``margin`` to either side of zero."""
    return interval[0] <= margin and interval[1] >= -margin


def _block(measure_a: Measure, measure_b: Measure, *, nth_block: int, a_first: bool, figures: _Figures) -> float | None:
    """Measure one block of four; return the log ratio b / a, None as soon as the machine got in the way of one."""
    outer, inner = (measure_a, measure_b) if a_first else (measure_b, measure_a)
    logs: list[float] = []
    for nth, measure in enumerate((outer, inner, inner, outer)):
        figure = measure(2 * nth_block + nth // 2)
        if figure is None:
            return None
        logs.append(log(figures.value(figure)))
    first, second, third, fourth = logs
    inner_over_outer = (second + third - first - fourth) / 2
    return inner_over_outer if a_first else -inner_over_outer


class _Figures:
    """Checks figures as they come: above zero, and all of one host."""

    def __init__(self) -> None:
        self._host: str | None = None

    def value(self, figure: float | ComparedFigure) -> float:
        if isinstance(figure, ComparedFigure):
            self._host = self._host or figure.host_fingerprint
            require_same_host(self._host, figure.host_fingerprint)
            figure = figure.value
        if not (figure > 0 and isfinite(figure)):
            raise MeasurementError(f"a measurement came to {figure}, which has no logarithm to compare")
        return figure
