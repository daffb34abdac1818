"""Response times by the sizes of requests."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run

from servefit.profiler.record.traffic import OpenLoop
from servefit.report.size_plot import classes_of, line_of, responses_by_size

MS = 1_000_000


def measured(lengths: np.ndarray, period: int, requests: int = 600) -> list[tuple[int, float]]:
    """A run in which a request of so many values takes 2 ms, and 0.05 ms for each; every hundredth gets no answer."""
    due = S + np.arange(requests) * 10 * MS
    taken_ms = 2 + 0.05 * lengths[np.arange(requests) % period]
    ended = np.where(np.arange(requests) % 100 == 99, 0, due + (taken_ms * MS).astype(np.int64))
    run = recorded_run(OpenLoop(rate_per_s=100, duration_s=6), due, ended, until_ns=8 * S)
    return list(responses_by_size(run, lengths, period))


def test_each_request_is_of_the_size_of_its_row() -> None:
    lengths = np.random.default_rng(0).integers(4, 200, 37)
    for size, response_ms in measured(lengths, 37):
        assert response_ms == pytest.approx(2 + 0.05 * size, abs=1e-3)
    assert len(measured(lengths, 37)) == 594


def test_where_only_a_part_of_the_payload_is_sent_it_comes_again_sooner() -> None:
    lengths = np.random.default_rng(0).integers(4, 200, 37)
    assert {size for size, _ in measured(lengths, 5)} == set(lengths[:5].tolist())


def test_the_line_through_the_medians_is_that_of_the_times() -> None:
    lengths = np.random.default_rng(0).integers(4, 200, 200)
    found = measured(lengths, 200)
    classes = list(classes_of(found))
    assert sum(each.requests for each in classes) == len(found)
    assert all(one.most < other.least for one, other in pairwise(classes))
    start_ms, slope_ms = line_of(classes)
    assert start_ms == pytest.approx(2, abs=0.3)
    assert slope_ms == pytest.approx(0.05, rel=0.05)


def test_a_class_of_few_requests_has_no_p95() -> None:
    few = [(8, 1.0)] * 400 + [(9, 2.0)] * 3
    first, *others = classes_of(few)
    assert first.p95_ms is not None
    assert [each.p95_ms for each in others] == [None]


def test_of_nothing_there_are_no_classes() -> None:
    assert list(classes_of([])) == []
