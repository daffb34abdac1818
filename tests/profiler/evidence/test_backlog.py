"""Whether the requests that wait at the end of a run are a backlog that grows, or a peak that drains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.evidence.backlog import are_saturated, cannot_drain, is_large, offered_and_backlog
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.run_verdict import evidence_of, start_tests
from servefit.profiler.evidence.several_runs import summarize_runs
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop

if TYPE_CHECKING:
    from tests.profiler.made_runs import MakeRun

    from servefit.profiler.record.types import Run

MS = 1_000_000


def served(due_ms: np.ndarray, service_ms: float) -> tuple[np.ndarray, np.ndarray]:
    """Due and started of requests that one server serves in turn, in ns."""
    before = np.arange(len(due_ms)) * service_ms
    started = np.maximum.accumulate(due_ms - before) + before
    return (due_ms * MS).astype(np.int64), (started * MS).astype(np.int64) + 1


def rush(per_s: float, from_s: float, to_s: float) -> np.ndarray:
    return np.arange(from_s * 1000, to_s * 1000, 1000 / per_s)


@pytest.mark.parametrize(("part", "cannot"), [(0.7, False), (0.97, False), (1.03, True), (2.0, True)])
def test_a_backlog_drains_where_the_mean_rate_can_be_served(part: float, cannot: bool) -> None:
    """A server of 100 requests a second, at the end of a second of twice as many as in the second before."""
    due, started = served(np.concatenate([rush(66.6 * part, 0, 1), rush(133.3 * part, 1, 2)]), 10.0)
    assert cannot_drain(due, started, begin_ns=0, end_ns=2e9) is cannot


def test_where_nothing_waits_at_the_end_everything_was_served() -> None:
    due, started = served(np.concatenate([rush(500, 0, 1), rush(1, 1, 8)]), 10.0)
    assert not cannot_drain(due, started, begin_ns=0, end_ns=8e9)


def test_nothing_that_was_served_at_all_cannot_drain() -> None:
    due = np.arange(0, 1000 * MS, MS)
    assert cannot_drain(due, np.zeros(1000, dtype=np.int64), begin_ns=0, end_ns=1e9)


MOMENTS = st.lists(st.integers(10, 60), min_size=1, max_size=25).map(sorted)


@given(due=MOMENTS, delays=st.lists(st.integers(0, 40), min_size=25, max_size=25), begin=st.integers(0, 9))
def test_served_is_what_was_begun_since_nothing_waited_for_the_last_time(
    due: list[int], delays: list[int], begin: int
) -> None:
    end = 50
    started = sorted(moment + delay for moment, delay in zip(due, delays, strict=False))
    begun = [moment for moment in started if moment < end]
    came = [moment for moment in due if moment < end]
    since, served_since = begin, len(begun)
    for nth, moment in enumerate(begun, start=1):
        if sum(other <= moment for other in came) <= nth:
            since, served_since = moment, len(begun) - nth
    cannot = len(begun) < len(came) and len(came) * (end - since) >= served_since * (end - begin)
    assert cannot_drain(np.array(due), np.array(started), begin_ns=begin, end_ns=end) is cannot


@pytest.mark.parametrize(
    ("due", "begun", "cannot"),
    [
        ([25, 26, 27, 28], [25, 27, 30], True),  # four came in 50, and since 25 two were begun in 25
        ([25, 26, 27, 28, 29], [25, 27, 30, 31], False),  # five, and three
        ([25, 26, 26, 27, 28], [25, 26, 27, 28], False),  # one waits that came as another was begun
    ],
)
@pytest.mark.parametrize("begin", [0, 100])
def test_what_comes_as_fast_as_it_was_served_while_it_waited_cannot_drain(
    due: list[int], begun: list[int], cannot: bool, begin: int
) -> None:
    started = np.array([begin + moment for moment in begun] + [0] * (len(due) - len(begun)))
    assert cannot_drain(begin + np.array(due), started, begin_ns=begin, end_ns=begin + 50) is cannot


def test_what_is_due_after_the_end_does_not_count() -> None:
    due, started = served(rush(50, 0, 3), 10.0)
    assert not cannot_drain(due, started, begin_ns=0, end_ns=1e9)


@pytest.mark.parametrize(("backlog", "large"), [(50, False), (51, True)])
def test_a_twentieth_may_wait(backlog: int, large: bool) -> None:
    assert is_large(backlog, offered=1000, workers=1) is large
    assert not is_large(backlog, offered=1000, workers=60)


MakeQueue = Callable[..., "Run"]


@pytest.fixture
def queue(make_run: MakeRun) -> MakeQueue:
    """Makes a run of one server that takes 10 ms a request, with ``per_s`` requests a second for ``seconds``, and may
    pause from one moment to another."""

    def make(
        per_s: float, *, seconds: float = 2.0, pause_s: tuple[float, float] = (0, 0), arrivals: str = "poisson"
    ) -> Run:
        run, due_ms = make_run(1000), rush(per_s, 0, seconds)
        before, after = due_ms[due_ms < 1000 * pause_s[0]], due_ms[due_ms >= 1000 * pause_s[0]]
        due, started = served(np.concatenate([before, np.maximum(after, 1000 * pause_s[1])]), 10.0)
        due, end = (due_ms * MS).astype(np.int64), round(1e9 * seconds)
        samples = replace(
            run.samples, scheduled=due.tobytes(), started=started.tobytes(), ended=(started + 10 * MS).tobytes()
        )
        waiting = int(((due < end) & (started >= end)).sum())
        traffic = OpenLoop(rate_per_s=per_s, duration_s=seconds, arrivals=arrivals)
        return replace(
            run, traffic=traffic, samples=samples, plateau_ns=(0, end), offered=len(due), backlog=waiting, stopped=None
        )

    return make


@pytest.mark.parametrize(("per_s", "saturated"), [(50, False), (99, False), (103, False), (110, True), (300, True)])
def test_what_cannot_be_served_is_saturated_by_a_backlog_of_more_than_a_twentieth(
    queue: MakeQueue, per_s: float, saturated: bool
) -> None:
    assert are_saturated([queue(per_s, seconds=10)]) is saturated


@pytest.mark.parametrize("pause_s", [(1.6, 2.0), (1.2, 2.0), (0.2, 1.4)])
def test_a_run_that_ends_in_a_pause_or_behind_one_is_not_saturated(
    queue: MakeQueue, pause_s: tuple[float, float]
) -> None:
    run = queue(50, pause_s=pause_s)
    assert is_large(run.backlog, offered=run.offered, workers=1)
    assert not are_saturated([run])
    assert not summarize(run).saturated


def test_several_runs_are_saturated_by_their_backlogs_together(queue: MakeQueue) -> None:
    quiet, ends_in_a_pause, too_much = queue(50), queue(50, pause_s=(1.6, 2.0)), queue(200)
    assert not are_saturated([quiet, quiet, ends_in_a_pause])
    assert not are_saturated([queue(50, pause_s=(0.8, 1.0)), queue(50, pause_s=(1.3, 1.5)), ends_in_a_pause])
    assert are_saturated([too_much, too_much, too_much])
    assert not summarize_runs([quiet, quiet, ends_in_a_pause]).saturated
    assert summarize_runs([too_much, too_much, too_much]).saturated


@pytest.mark.parametrize(
    ("half", "three_quarters", "end", "saturated"),
    [
        (300, 500, 800, True),
        (299, 500, 800, False),
        (300, 499, 800, False),
        (960, 800, 800, True),
        (961, 800, 800, False),
        (800, 960, 800, True),
        (800, 961, 800, False),
    ],
)
def test_a_backlog_has_grown_where_part_of_it_waited_after_half_and_three_quarters_and_none_drains(
    make_run: MakeRun, half: int, three_quarters: int, end: int, saturated: bool
) -> None:
    """Of 4 s from the second 10 on, so many requests wait after 2 s, after 3 s and at the end."""
    always = min(half, three_quarters, end)
    groups = [
        (always, 10.0, 0.0),
        (half - always, 10.1, 12.5),
        (three_quarters - always, 12.5, 13.5),
        (end - always, 13.5, 0.0),
        (1000, 10.2, 10.2),
    ]
    due, started = (
        np.array([round(1e9 * group[which]) for group in groups for _ in range(group[0])], dtype=np.int64)
        for which in (1, 2)
    )
    run = make_run(1)
    ended = np.where(started > 0, started + MS, 0)
    samples = replace(run.samples, scheduled=due.tobytes(), started=started.tobytes(), ended=ended.tobytes())
    plateau_ns = (10_000_000_000, 14_000_000_000)
    traffic = OpenLoop(rate_per_s=500, duration_s=4)
    run = replace(
        run, traffic=traffic, samples=samples, plateau_ns=plateau_ns, offered=len(due), backlog=end, stopped=None
    )
    assert are_saturated([run]) is saturated


def test_users_who_wait_for_their_answers_saturate_nothing(make_run: MakeRun) -> None:
    run = make_run(100)
    closed = replace(run, traffic=ClosedLoop.constant(users=4, duration_s=1), offered=100, backlog=100)
    assert not are_saturated([closed])


def test_a_server_that_stops_in_the_middle_is_not_saturated_and_does_not_pass(queue: MakeQueue) -> None:
    run = queue(50, seconds=10, pause_s=(6, 100))
    limits = (LatencyThreshold(percentile="p95", limit_ms=100.0),)
    (evidence,) = evidence_of(run, start_tests(limits), limits, workers=1)
    assert not are_saturated([run])
    assert evidence.verdict != "PASS"
    assert evidence.violations > 150


def test_the_first_requests_of_a_run_that_wait_are_chance(queue: MakeQueue) -> None:
    assert not are_saturated([queue(120, seconds=0.1)])
    assert are_saturated([queue(600, seconds=0.1)])


def test_a_run_that_ends_in_a_peak_is_not_saturated_where_its_rate_varies(queue: MakeQueue) -> None:
    for arrivals in ("steps:rates=20/s+150/s,each=1s", "of-a-package-that-is-gone"):
        assert not are_saturated([queue(50, pause_s=(1.9, 2.0), arrivals=arrivals)])
        assert are_saturated([queue(200, arrivals=arrivals)])


def test_where_the_rate_varies_requests_that_were_sent_and_wait_in_the_server_are_not_served(queue: MakeQueue) -> None:
    run = queue(200, arrivals="sine:amplitude=0.5,period=1s")
    predicted = np.full(len(run.samples.scheduled_ns()), 10 * MS, dtype=np.int64)
    sent = replace(run.samples, started=run.samples.scheduled, predicted=predicted.tobytes())
    assert are_saturated([replace(run, samples=sent)])


def test_where_the_rate_varies_there_are_no_intervals(make_run: MakeRun) -> None:
    run = make_run(5000)
    steady, varying = (
        summarize(replace(run, traffic=OpenLoop(rate_per_s=1000, duration_s=5, arrivals=arrivals)))
        for arrivals in ("constant", "sine:amplitude=0.5,period=4s")
    )
    assert steady.latency_ms == varying.latency_ms
    assert steady.latency_ms_ci95
    assert not varying.latency_ms_ci95


def test_where_the_rate_varies_more_than_half_of_the_runs_have_to_be_saturated(queue: MakeQueue) -> None:
    shape = "sine:amplitude=0.5,period=1s"
    quiet, too_much = queue(50, arrivals=shape), queue(200, arrivals=shape)
    assert not are_saturated([quiet, too_much])
    assert are_saturated([too_much, quiet, too_much])


def test_a_cap_on_what_waits_is_for_a_backlog_that_grows(queue: MakeQueue) -> None:
    shape = "steps:rates=20/s+150/s,each=1s"
    capped = OpenLoop(rate_per_s=50, duration_s=2, arrivals=shape, backlog_cap=10)
    assert are_saturated([replace(queue(200), traffic=capped)])
    assert not are_saturated([replace(queue(50, pause_s=(1.6, 2.0)), traffic=capped)])


@pytest.mark.parametrize(
    ("started_s", "ended_s", "predicted_s", "waits"),
    [
        (1.0, 1.5, None, False),
        (2.5, 3.0, None, True),
        (0.0, 0.0, None, True),
        (0.0, 0.0, -1.0, True),
        (1.0, 3.0, 0.5, True),  # begun two seconds before its answer by the client, half of one by the server
        (1.0, 3.0, 1.5, False),
        (1.0, 3.0, -1.0, False),  # the server does not say
        (2.5, -1.5, None, False),  # failed before the end
        (2.5, -3.0, None, True),
        (2.0, 3.0, None, True),  # begun at the end
        (2.5, -2.0, None, True),  # failed at the end
        (1.0, 3.0, 0.0, True),  # begun as it was answered
    ],
)
def test_a_request_waits_until_the_server_has_begun_it(
    make_run: MakeRun, started_s: float, ended_s: float, predicted_s: float | None, waits: bool
) -> None:
    def ns(*seconds: float) -> bytes:
        return np.array([round(1e9 * second) for second in seconds], dtype=np.int64).tobytes()

    samples = replace(
        make_run(1).samples,
        scheduled=ns(0.5, 2.1),
        started=ns(started_s, 2.1),
        ended=ns(ended_s, 2.2),
        predicted=None if predicted_s is None else ns(predicted_s, 0.1),
    )
    assert offered_and_backlog(samples, (500_000_000, 2_000_000_000)) == (1, int(waits))
