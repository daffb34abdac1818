"""What the points of ``claims.forest`` amount to: JSON of each, means and worst cases, and the points that lose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.forest.rounds import LLEAVES, OURS

if TYPE_CHECKING:
    from benchmarks.forest.floor import Floor
    from benchmarks.forest.rounds import Point, Ratio

TARGETS = {1: 3.0, 64: 3.0, 4096: 1.5}
"""By rows; 1.0 for others. Against lleaves it is 1.0 throughout."""


UNDISTURBED = 0.9
"""With one thread, the least share of the CPU in all of a point's slices. Long calls are disturbed most, so a busy
machine flatters whoever is fast."""


def target(rows: int) -> float:
    return TARGETS.get(rows, 1.0)


def described(point: Point, floor: Floor) -> dict[str, Any]:
    us = point.us()
    best = point.best_other()
    return {
        **_where(point),
        "forest_us": _rounded(us[OURS]),
        "best_other": best,
        "best_other_us": None if best is None else _rounded(us[best]),
        "ratio": _ratio(point.ratio_to_best()),
        "lleaves_ratio": _ratio(point.ratio_to_lleaves()),
        "us": {name: _rounded(time_us) for name, time_us in sorted(us.items(), key=lambda item: item[1])},
        "sat_out": point.sat_out(),
        # With two threads one may wait for the other, and nothing is to be learnt from it.
        **({"least_cpu_share": _rounded(point.cpu_share)} if point.threads == 1 else {}),
        "visits_per_row": round(floor.visits, 1),
        "ns_per_visit": _rounded(1000 * us[OURS] / point.rows / floor.visits) if floor.visits else None,
        **_over_floor(point, floor, us[OURS]),
    }


def _over_floor(point: Point, floor: Floor, us: float) -> dict[str, Any]:
    """Return the floor and the ratio to it, or nothing if the floor is not known."""
    if point.rows not in (1, floor.rows):
        return {}
    lowest_us = floor.us(point.rows, point.threads)
    return {"floor_us": _rounded(lowest_us), "times_the_floor": _rounded(us / lowest_us)}


def summary(points: Sequence[Point]) -> dict[str, Any]:
    ratios = [(point, ratio.middle) for point in points if (ratio := point.ratio_to_best())]
    lleaves = [(point, ratio.middle) for point in points if (ratio := point.ratio_to_lleaves())]
    return {
        "against_best_other": _table(ratios, target),
        "below_1": [_listed(point, ratio, point.best_other()) for point, ratio in ratios if ratio < 1],
        "below_target": [
            {**_listed(point, ratio, point.best_other()), "target": target(point.rows)}
            for point, ratio in ratios
            if 1 <= ratio < target(point.rows)
        ],
        "against_lleaves": _table(lleaves, lambda _: 1.0),
        "lleaves_below_1": [_listed(point, ratio, LLEAVES) for point, ratio in lleaves if ratio < 1],
        "best_others": _times_best(points),
        "disturbed_points": sum(point.threads == 1 and point.cpu_share < UNDISTURBED for point in points),
    }


def _table(ratios: Sequence[tuple[Point, float]], wanted: Callable[[int], float]) -> list[dict[str, Any]]:
    """Return geometric means and worst cases by rows and threads, then of everything."""
    kinds = sorted({(point.threads, point.rows) for point, _ in ratios})
    table = []
    for threads, rows in kinds:
        these = [(point, ratio) for point, ratio in ratios if (point.threads, point.rows) == (threads, rows)]
        met = sum(ratio >= wanted(rows) for _, ratio in these)
        kind = {"rows": rows, "threads": threads, "target": wanted(rows), "met": f"{met} of {len(these)}"}
        table.append({**kind, **_mean_and_worst(these)})
    return [*table, {"rows": "all", **_mean_and_worst(ratios)}] if table else []


def _mean_and_worst(ratios: Sequence[tuple[Point, float]]) -> dict[str, Any]:
    point, worst = min(ratios, key=lambda pair: pair[1])
    mean = exp(fmean(log(ratio) for _, ratio in ratios))
    return {"geometric_mean": _rounded(mean), "worst": _rounded(worst), "worst_model": point.model}


def _listed(point: Point, ratio: float, rival: str | None) -> dict[str, Any]:
    us = {name: _rounded(time_us) for name, time_us in point.us().items() if name in (OURS, rival)}
    return {**_where(point), "ratio": _rounded(ratio), "us": us}


def _times_best(points: Sequence[Point]) -> Mapping[str, int]:
    """Return for each of the others the number of points at which it is the best of them."""
    best = [name for point in points if (name := point.best_other())]
    return {name: best.count(name) for name in sorted(set(best), key=best.count, reverse=True)}


def _where(point: Point) -> dict[str, Any]:
    return {"model": point.model, "rows": point.rows, "threads": point.threads}


def _ratio(ratio: Ratio | None) -> dict[str, float] | None:
    if ratio is None:
        return None
    return {"median": _rounded(ratio.middle), "lowest": _rounded(ratio.lowest), "highest": _rounded(ratio.highest)}


def _rounded(value: float) -> float:
    """Round to four digits."""
    return float(f"{value:.4g}")
