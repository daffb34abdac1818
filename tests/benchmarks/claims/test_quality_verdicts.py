"""The benchmark of verdicts on quality: its sets drop by what they are told, and wrong verdicts are an aim missed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.claims.quality_verdicts import CASES, judged
from benchmarks.precision.drawn_sets import Case, Pair, of_accuracy
from servefit.backends.quality.drop import judged_drop
from servefit.backends.quality.limits import QualityLimit
from servefit.backends.quality.metrics import metric_named

MANY = 200_000


@pytest.mark.parametrize("case", {case.metric: case for case in CASES}.values(), ids=lambda case: case.metric)
@pytest.mark.parametrize("told", [0.0, 0.02])
def test_the_true_drop_is_what_was_told(case: Case, told: float) -> None:
    metric = metric_named(case.metric)
    assert metric is not None
    draw = of_accuracy(0.05) if case.metric == "accuracy" else case.draw
    reference, candidate = draw(np.random.default_rng(0), MANY, told)
    every = np.ones((1, MANY), dtype=np.int64)
    before, after = (float(metric.weighted(each, every)[0]) for each in (reference, candidate))
    drop = (after - before) / before if metric.relative else before - after
    assert drop == pytest.approx(told, abs=0.002)


def test_verdicts_that_are_wrong_too_often_are_told() -> None:
    def drops_by_nothing(generator: np.random.Generator, rows: int, _drop: float) -> Pair:
        return of_accuracy(0.002)(generator, rows, 0.0)

    wrong = Case(metric="accuracy", rows=2000, limit=0.01, draw=drops_by_nothing)
    found = judged(wrong, 20)
    assert found["at the limit"]["PASS"] == 1
    assert not found["met"]


def test_a_case_is_judged_by_drawing_and_by_summing() -> None:
    found = judged(Case(metric="accuracy", rows=400, limit=0.02, changed=0.02, draw=of_accuracy(0.02)), 20)
    assert found["at the limit"]["summed"]["PASS"] <= 0.05
    assert found["no drop"]["summed"]["PASS"] > found["at the limit"]["summed"]["PASS"]
    assert found["met"]


def test_a_set_is_judged_as_a_job_judges_it() -> None:
    metric = metric_named("accuracy")
    assert metric is not None
    reference, _ = of_accuracy(0.02)(np.random.default_rng(0), 2000, 0.0)
    limit = QualityLimit(source="drawn", metric="accuracy", drop=0.005)
    assert judged_drop(limit, metric, reference, {"together": reference}).verdict == "PASS"
