"""The figures of a load test over time are those of its raw samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest

from servefit.profiler.record.storage.measurements import load_measurement
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop
from servefit.report.timeline import MAX_INTERVALS, Timeline, timelines
from servefit.search.results.recommendation import Trial
from servefit.search.storage.job_folder import job_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.report.conftest import Reports

    from servefit.profiler.record.types import Run

pytestmark = pytest.mark.integration


@pytest.fixture(params=["measured", "in-phases", "over-http"])
def tests(request: pytest.FixtureRequest, reports: Reports) -> Tests:
    """The timeline of each test of a job, beside what the test recorded."""
    kind: str = request.param
    job = reports.job(kind)
    with reports.at_home():
        folder = job_folder(job.name)
        kept = {step.number: step.result.kept_in for step in job.steps if isinstance(step.result, Trial)}
        found = [
            (timeline, load_measurement(folder / str(kept[timeline.step])).runs) for timeline in timelines(job, folder)
        ]
    assert found
    return found


Tests: TypeAlias = list[tuple[Timeline, "tuple[Run, ...]"]]


def rows_of(timeline: Timeline, nth: int) -> list[dict[str, Any]]:
    return [dict(zip(timeline.table.columns, row, strict=True)) for row in timeline.table.rows if row[0] == nth]


def runs_of(tests: Tests) -> Iterator[tuple[list[dict[str, Any]], Run, float]]:
    """The rows of every run, the run, and how many seconds an interval of it takes."""
    for timeline, runs in tests:
        for nth, run in enumerate(runs, start=1):
            rows = rows_of(timeline, nth)
            begin, end = run.samples.scheduled_ns().min(), run.samples.ended_ns().max()
            begin, end = min(begin, run.plateau_ns[0]), max(end, run.plateau_ns[1])
            yield rows, run, float(end - begin) / NS_PER_S / len(rows)


def test_all_answers_are_in_it(tests: Tests) -> None:
    for rows, run, seconds in runs_of(tests):
        answered = sum(row["answered per s"] for row in rows) * seconds
        assert answered == pytest.approx(np.count_nonzero(run.samples.ended_ns() > 0), rel=0.01)


@pytest.mark.thorough
def test_a_closed_loop_has_users_and_an_open_one_what_was_offered(
    tests: Tests,
) -> None:
    for rows, run, seconds in runs_of(tests):
        if isinstance(run.traffic, ClosedLoop):
            users = [row["users"] for row in rows]
            assert users == sorted(users)
            assert 1 <= users[0] <= users[-1] <= run.traffic.users
            assert {row["offered per s"] for row in rows} == {None}
        else:
            offered = sum(row["offered per s"] for row in rows) * seconds
            assert offered == pytest.approx(len(run.samples.scheduled_ns()), rel=0.01)
            assert {row["users"] for row in rows} == {None}


def test_percentiles_lie_within_the_response_times(tests: Tests) -> None:
    for rows, run, _ in runs_of(tests):
        response_ms = run.samples.response_ns()[run.samples.ended_ns() > 0] / 1e6
        for row in rows:
            known = [row[name] for name in ("p50 ms", "p95 ms", "p99 ms") if row[name] is not None]
            assert known == sorted(known)
            assert all(response_ms.min() * 0.999 <= value <= response_ms.max() * 1.001 for value in known)


def test_a_page_is_not_flooded(tests: Tests) -> None:
    for timeline, runs in tests:
        assert len(runs) < len(timeline.table.rows) <= MAX_INTERVALS + len(runs)
        seconds = [row[1] for row in timeline.table.rows]
        assert seconds[0] == 0
        assert len(set(seconds)) == len(seconds)
