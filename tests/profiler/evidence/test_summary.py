"""The figures of made-up runs."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.profiler.evidence.summary import (
    PERCENTILES,
    percentile_name,
    rank_of,
    samples_needed,
    summarize,
)
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, Traffic
from servefit.profiler.record.types import ClientRecord, Run, Samples, TelemetryPoint

S = 1_000_000_000
MS = 1_000_000
OPEN = OpenLoop(rate_per_s=100, duration_s=10)
CLOSED = ClosedLoop.constant(users=1, duration_s=10)


def make_run(
    scheduled: np.ndarray,
    *,
    wait_ns: int | np.ndarray = 0,
    service_ns: int | np.ndarray = MS,
    traffic: Traffic = OPEN,
    plateau_ns: tuple[int, int] = (0, 10 * S),
    backlog: int = 0,
    **facts: Any,
) -> Run:
    scheduled = np.asarray(scheduled, dtype=np.int64)
    started = scheduled + wait_ns
    ended = started + service_ns
    due = int(np.count_nonzero((scheduled >= plateau_ns[0]) & (scheduled < plateau_ns[1])))
    return Run(
        **{
            "driver": "inprocess",
            "traffic": traffic,
            "samples": Samples(scheduled=scheduled.tobytes(), started=started.tobytes(), ended=ended.tobytes()),
            "plateau_ns": plateau_ns,
            "offered": due + backlog,
            "backlog": backlog,
            "lags": b"",
            "busy_cpu_ns": 0,
            "threads_per_worker": (1,),
            "threads_outside": 0,
            "peak_memory_bytes": 100,
            "telemetry": (),
        }
        | facts
    )


def evenly(count: int) -> np.ndarray:
    return np.arange(count) * (10 * S // count)


def test_response_time_holds_the_queueing_and_service_time_does_not() -> None:
    summary = summarize(make_run(evenly(1000), wait_ns=4 * MS, service_ns=2 * MS))
    assert summary.latency_ms == {"p50": 6, "p90": 6, "p95": 6, "p99": 6}
    assert summary.service_ms == {"p50": 2, "p90": 2, "p95": 2, "p99": 2}
    assert summary.samples == 1000


def test_percentiles_are_values_that_occurred() -> None:
    waits = np.arange(1, 1001) * MS
    summary = summarize(make_run(evenly(1000), wait_ns=waits, service_ns=0))
    assert summary.latency_ms == {"p50": 500, "p90": 900, "p95": 950, "p99": 990}


def test_the_samples_that_a_percentile_needs_are_those_of_loadgen() -> None:
    assert [samples_needed(rank_of(name)) for name in PERCENTILES] == [7, 44, 90, 459]
    assert samples_needed(99.9) == 4603


@pytest.mark.parametrize(
    ("count", "known"),
    [(0, ""), (6, ""), (7, "p50"), (43, "p50"), (44, "p50 p90"), (89, "p50 p90"), (90, "p50 p90 p95"),
     (458, "p50 p90 p95"), (459, "p50 p90 p95 p99")],
)  # fmt: skip
def test_a_percentile_with_too_few_samples_is_not_given(count: int, known: str) -> None:
    summary = summarize(make_run(np.arange(count) * MS))
    assert [name for name, value in summary.latency_ms.items() if value is not None] == known.split()
    assert [name for name, value in summary.service_ms.items() if value is not None] == known.split()


def test_other_percentiles_are_given_beside_the_usual_ones_of_the_response_time() -> None:
    waits = np.random.default_rng(4).permutation(np.arange(1, 5000)) * MS
    summary = summarize(
        make_run(evenly(4999), wait_ns=waits, service_ns=0), percentiles=("p99.9", "p75", "P95.0", "p99.99", "p0.1")
    )
    assert list(summary.latency_ms) == ["p0.1", "p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99"]
    assert (summary.latency_ms["p0.1"], summary.latency_ms["p75"], summary.latency_ms["p99.9"]) == (5, 3750, 4995)
    assert summary.latency_ms["p99.99"] is None, "it takes 46050 samples"
    low, high = summary.latency_ms_ci95["p75"]
    assert low < 3750 < high
    assert "p99.99" not in summary.latency_ms_ci95
    assert list(summary.service_ms) == list(summary.lag_ms) == list(PERCENTILES)


@given(whole=st.integers(0, 99), decimals=st.text("0123456789", max_size=6), letter=st.sampled_from("pP"))
def test_every_spelling_of_a_percentile_has_one_name(whole: int, decimals: str, letter: str) -> None:
    text = f"{letter}{whole}.{decimals}" if decimals else f"{letter}{whole}"
    if float(text[1:]) == 0:
        with pytest.raises(SpecError):
            percentile_name(text)
        return
    name = percentile_name(text)
    assert rank_of(name) == float(text[1:])
    assert name == percentile_name(name + "0" * ("." in name))
    assert not name.endswith((".", "0")) or "." not in name
    assert samples_needed(rank_of(name)) >= 1


@pytest.mark.parametrize(
    "nonsense",
    ["p0", "p100", "p099", "p00.5", "p-5", "p95.", "p.5", "95", "p", "q95", "p1e1", "p95 ", "p0.0", "p٩٥", "p95%",
     "pnan", "p99.99999999999999999", 95],
)  # fmt: skip
def test_nonsense_is_no_percentile_and_an_example_is_given(nonsense: Any) -> None:
    with pytest.raises(SpecError, match=r"write it like p95 or p99\.9") as refusal:
        percentile_name(nonsense)
    assert refusal.value.value == nonsense


def test_only_the_plateau_counts() -> None:
    slow_ramp = np.where(np.arange(1000) < 500, 50 * MS, MS)
    summary = summarize(make_run(evenly(1000), service_ns=slow_ramp, plateau_ns=(5 * S, 10 * S)))
    assert summary.samples == 500
    assert summary.latency_ms["p99"] == 1
    # The last request of the ramp is answered on the plateau, and so are its four predecessors.
    assert summary.throughput_per_s == pytest.approx(505 / 5)
    assert summary.offered_per_s == pytest.approx(100)


def test_a_request_in_flight_at_the_end_has_a_latency_and_is_no_throughput() -> None:
    summary = summarize(make_run(evenly(1000), service_ns=1 * S))
    assert summary.samples == 1000
    assert summary.throughput_per_s == pytest.approx(90)


def test_cpu_and_memory_are_in_per_cent() -> None:
    run = make_run(evenly(100), busy_cpu_ns=25 * S, peak_memory_bytes=2**30)
    summary = summarize(run, memory_bytes=4 * 2**30)
    assert summary.cpu_percent == 250
    assert summary.memory_percent == 25
    assert summarize(run).memory_percent is None


def test_a_closed_loop_is_labelled_and_offers_and_saturates_nothing() -> None:
    summary = summarize(make_run(evenly(1000), traffic=CLOSED, backlog=900))
    assert summary.loop == "closed"
    assert summary.offered_per_s is None
    assert not summary.saturated


def test_requests_without_an_answer_are_slower_than_all_others() -> None:
    run = make_run(evenly(1000))
    ended = run.samples.ended_ns().copy()
    ended[30::50] = 0
    unanswered = replace(run, samples=replace(run.samples, ended=ended.tobytes()))
    summary = summarize(unanswered)
    assert summary.latency_ms == {"p50": 1, "p90": 1, "p95": 1, "p99": None}
    assert "p99" not in summary.latency_ms_ci95
    assert summary.samples == 1000
    assert summary.service_ms["p99"] == 1


def test_gpu_and_steal_are_means_of_what_was_seen_and_none_where_nothing_was() -> None:
    def point(**seen: Any) -> TelemetryPoint:
        return TelemetryPoint(at_ns=0, over_ns=1, cpu_percent=1, memory_bytes=1, **seen)

    seen = (point(gpu_percent=10.0, steal_percent=1.0), point(gpu_percent=20.0), point())
    summary = summarize(make_run(evenly(10), telemetry=seen))
    assert summary.gpu_percent == 15
    assert summary.steal_percent == 1
    assert summary.gpu_power_w is None
    assert summary.gpu_memory_bytes is None


def test_summaries_are_reproducible_and_cross_process_boundaries() -> None:
    waits = np.random.default_rng(5).exponential(MS, 5000).astype(np.int64)
    run = make_run(evenly(5000), wait_ns=waits)
    assert summarize(run) == summarize(run) == pickle.loads(pickle.dumps(summarize(run)))


def over_http(run: Run, *, queued_ns: int, predicted_ns: int, failed: int = 0, unknown: int = 0) -> Run:
    """``run`` as of a server that says its times, but for the last ``unknown`` requests; the first ones failed."""
    count = len(run.samples.ended_ns())
    queued, predicted = np.full(count, queued_ns), np.full(count, predicted_ns)
    predicted[:failed] = -1
    predicted[count - unknown :] = -1
    ended = run.samples.ended_ns() * np.where(np.arange(count) < failed, -1, 1)
    samples = replace(run.samples, ended=ended.tobytes(), queued=queued.tobytes(), predicted=predicted.tobytes())
    client = ClientRecord(
        processes=1,
        cpus=(0,),
        cpu_percent=12.5,
        connections=8,
        reconnections=2,
        errors={"timed out": failed} if failed else {},
        shares_cpus=False,
    )
    return replace(run, driver="http", samples=samples, client=client)


def test_in_process_there_is_no_overhead_and_no_client() -> None:
    summary = summarize(make_run(evenly(1000)))
    assert (summary.model_latency_ms, summary.overhead_ms, summary.client_cpu_percent) == (None, None, None)
    assert (summary.failed, summary.errors) == (0, {})


def test_overhead_is_what_the_server_does_not_answer_for() -> None:
    run = make_run(evenly(1000), wait_ns=MS, service_ns=4 * MS)
    summary = summarize(over_http(run, queued_ns=MS, predicted_ns=2 * MS, unknown=500))
    assert summary.latency_ms["p50"] == 5
    assert summary.model_latency_ms == {"p50": 3, "p90": 3, "p95": 3, "p99": 3}
    assert summary.overhead_ms == {"p50": 2, "p90": 2, "p95": 2, "p99": 2}
    assert summary.service_ms["p50"] == 2
    assert summary.client_cpu_percent == 12.5


def test_failed_requests_are_slower_than_all_others_and_no_throughput() -> None:
    run = over_http(make_run(evenly(1000), service_ns=4 * MS), queued_ns=0, predicted_ns=MS, failed=70)
    summary = summarize(run)
    assert (summary.failed, summary.errors) == (70, {"timed out": 70})
    assert summary.throughput_per_s == 93
    assert (summary.latency_ms["p90"], summary.latency_ms["p95"]) == (4, None)
    assert (summary.samples, summary.offered_per_s) == (1000, 100)
    assert summary.model_latency_ms is not None
    assert summary.model_latency_ms["p99"] == 1


def test_of_a_server_that_cannot_be_seen_nothing_is_claimed() -> None:
    summary = summarize(make_run(evenly(100), busy_cpu_ns=None, peak_memory_bytes=None), memory_bytes=2**30)
    assert (summary.cpu_percent, summary.peak_memory_bytes, summary.memory_percent) == (None, None, None)


def test_in_process_requests_of_a_call_begin_and_end_together() -> None:
    due = np.repeat(evenly(10), 3)
    assert summarize(make_run(due)).largest_call == 3
    # Two workers may begin at once, and the calls of one may follow one another.
    assert summarize(make_run(due, service_ns=np.arange(30) * MS + MS)).largest_call == 1
    unserved = make_run(due)
    samples = replace(unserved.samples, ended=np.zeros(30, dtype=np.int64).tobytes())
    assert summarize(replace(unserved, samples=samples)).largest_call is None


def test_over_http_the_largest_call_is_what_the_server_says() -> None:
    run = over_http(make_run(evenly(100)), queued_ns=0, predicted_ns=MS)
    assert summarize(run).largest_call is None
    assert summarize(replace(run, largest_call=5)).largest_call == 5
