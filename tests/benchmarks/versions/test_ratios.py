"""Ratios of two versions: within 3 %, beyond 3 %, or undecided."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.versions.ratios import Side, ratio_of, turns


def rounds(old: list[float], new: list[float]) -> list[list[tuple[Side, float]]]:
    return [[("old", a), ("new", b), ("new", b), ("old", a)] for a, b in zip(old, new, strict=True)]


def test_a_figure_that_grows_by_a_tenth_in_every_round_is_beyond_the_limit() -> None:
    ratio = ratio_of(rounds([100, 101, 99, 100], [110, 112, 109, 110]))
    assert ratio.value == pytest.approx(1.1025, abs=0.001)
    assert ratio.verdict == "beyond"


def test_a_figure_that_falls_by_a_tenth_is_beyond_the_limit_too() -> None:
    assert ratio_of(rounds([110, 112, 109, 110], [100, 101, 99, 100])).verdict == "beyond"


def test_a_figure_that_stays_is_within_the_limit() -> None:
    assert ratio_of(rounds([100, 101, 99, 100], [100, 100, 99.5, 100.5])).verdict == "within"


def test_a_figure_that_scatters_by_more_than_it_moves_is_undecided() -> None:
    assert ratio_of(rounds([100, 120, 90, 100], [110, 112, 109, 110])).verdict == "undecided"


def test_a_steady_drift_of_the_machine_cancels_within_a_round() -> None:
    drifting: list[list[tuple[Side, float]]] = []
    for nth in range(3):
        sides = turns(Random(nth))
        drifting.append([(side, 100 * 1.1**turn) for turn, side in enumerate(sides)])
    assert ratio_of(drifting).value == pytest.approx(1)
    assert ratio_of(drifting).verdict == "within"


def test_two_rounds_do_not_make_an_interval() -> None:
    ratio = ratio_of(rounds([100, 100], [200, 200]))
    assert ratio.value == pytest.approx(2)
    assert ratio.ci95 is None
    assert ratio.verdict == "undecided"


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_figure_without_a_logarithm_is_refused(value: float) -> None:
    with pytest.raises(RuntimeError, match="cannot be compared"):
        ratio_of(rounds([100], [value]))
