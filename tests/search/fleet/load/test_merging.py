"""The figures of several clients together, against those of all their requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples
from tests.search.fleet.load.made_parts import BEGAN_S, around, made_run, part_of

from servefit.profiler.evidence.summary import percentiles_of
from servefit.search.fleet.load.merging import ResponseTimes, merge, overlap
from servefit.search.fleet.load_orders import LoadBlock

HOUR_NS = 3_600_000_000_000

response_times = st.lists(st.integers(1, 5000) | st.integers(1, HOUR_NS), min_size=0, max_size=300)


@settings(max_examples=examples(25, drawn=60), deadline=None)
@given(clients=st.lists(st.tuples(response_times, st.integers(0, 20)), min_size=1, max_size=4))
def test_merged_percentiles_are_those_of_all_requests_within_the_precision_of_a_histogram(
    clients: list[tuple[list[int], int]],
) -> None:
    parts = [part_of(made_run(responses, failed=failed)) for responses, failed in clients]
    merged = merge(parts, ["p99.9"])
    pooled_ms = np.concatenate([np.array([*responses, *[np.inf] * failed]) / 1e6 for responses, failed in clients])
    expected = percentiles_of(pooled_ms, list(merged.latency_ms))
    assert merged.samples == len(pooled_ms)
    assert set(merged.latency_ms) == {"p50", "p90", "p95", "p99", "p99.9"}
    for name, value in expected.items():
        found = merged.latency_ms[name]
        if value is None:
            assert found is None
        else:
            assert found is not None
            assert value * (1 - 1e-12) <= found <= value * 1.001


def test_the_merged_percentile_is_not_the_mean_of_percentiles() -> None:
    near, far = around(1.0, 9900), around(100.0, 100)
    merged = merge([part_of(made_run(near)), part_of(made_run(far))])
    assert merged.latency_ms["p95"] == pytest.approx(np.percentile(np.concatenate([near, far]) / 1e6, 95), rel=0.01)
    assert merged.latency_ms["p95"] is not None
    assert merged.latency_ms["p95"] < 2


def test_intervals_hold_the_percentile_and_narrow_with_more_requests() -> None:
    few = merge([part_of(made_run(around(5.0, 400, seed))) for seed in (1, 2)])
    many = merge([part_of(made_run(around(5.0, 8000, seed))) for seed in (1, 2)])
    (low, high), (lower, higher) = few.latency_ms_ci95["p50"], many.latency_ms_ci95["p50"]
    assert lower < 5.0 < higher
    assert higher - lower < high - low
    assert "p99" not in few.latency_ms_ci95  # a tenth of 800 requests does not know it


@pytest.mark.integration
@pytest.mark.thorough
def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(100):
        merged = merge([part_of(made_run(around(5.0, 500, 2 * seed + each))) for each in (0, 1)])
        low, high = merged.latency_ms_ci95["p50"]
        covered += low <= 5.0 <= high
    assert covered >= 88  # fewer of 100 come by chance in one of a hundred cases at most


def test_throughput_is_the_sum_of_the_clients_while_all_of_them_sent() -> None:
    first = part_of(made_run(around(1.0, 1000)))
    second = part_of(made_run(around(1.0, 3000)))
    later = replace(second, began_s=BEGAN_S + 2.5, ended_s=second.ended_s + 2.5)
    assert merge([first, second]).throughput_per_s == pytest.approx(400, rel=0.002)
    assert merge([first, second]).offered_per_s == pytest.approx(400, rel=0.002)
    assert merge([first, later]).throughput_per_s == pytest.approx(400, rel=0.002)


def test_a_last_second_that_is_not_whole_counts_for_what_it_is() -> None:
    assert merge([part_of(made_run(around(1.0, 1000), duration_s=2.5))]).throughput_per_s == pytest.approx(
        400, rel=0.01
    )


def test_clients_that_never_sent_together_had_no_throughput() -> None:
    first = part_of(made_run(around(1.0)))
    second = replace(first, began_s=BEGAN_S + 20, ended_s=first.ended_s + 20)
    assert merge([first, second]).throughput_per_s == 0
    assert overlap([first, second]) == 0


def test_the_overlap_is_what_is_sure_of_it() -> None:
    first = part_of(made_run(around(1.0)), clock_within_s=0.0)
    assert overlap([first, first]) == 1
    assert overlap([first, replace(first, late_s=1.0)]) == pytest.approx(0.9)
    assert overlap([first, replace(first, clock_within_s=0.05)]) == pytest.approx(0.99)
    assert overlap([replace(first, clock_within_s=0.05)]) == 1  # alone it needs no clock


def test_failures_and_their_kinds_are_added_up() -> None:
    merged = merge([part_of(made_run(around(1.0), failed=3)), part_of(made_run(around(1.0), failed=4))])
    assert merged.failed == 7
    assert merged.errors == {"HTTP 503": 7}


def test_lag_and_cpu_are_those_of_the_worst_client() -> None:
    part = part_of(made_run(around(1.0)))
    behind = replace(part, summary=replace(part.summary, lag_ms={"p50": 1.0, "p99": 70.0}, client_cpu_percent=91.0))
    merged = merge([part, behind, part])
    assert merged.lag_ms["p99"] == 70
    assert merged.client_cpu_percent == 91


def test_a_client_that_gave_up_says_that_the_endpoint_did_not_keep_up() -> None:
    part = part_of(made_run(around(1.0)))
    assert not merge([part, part]).saturated
    merged = merge([part, replace(part, backlog=True)])
    assert merged.saturated
    assert merged.latency_ms_ci95 == {}


def test_a_run_without_requests_has_no_figures() -> None:
    merged = merge([part_of(made_run([]))])
    assert merged.samples == 0
    assert set(merged.latency_ms.values()) == {None}


@pytest.mark.parametrize("text", ["", "nothing", "AAAA", "ä", "HISTFAAAAAEA"])
def test_what_is_no_histogram_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"histogram|base64|ASCII|padding"):
        ResponseTimes.of([LoadBlock(histogram=text, unanswered=0)])
