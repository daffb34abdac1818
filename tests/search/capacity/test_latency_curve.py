"""Curves of latency from raw samples, and from the summaries of tests whose samples are elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.record.storage.measurements import save_measurement
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.profiler.record.types import Configuration, Run, TelemetryPoint
from servefit.search.capacity.latency_curve import MeasuredCurve
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.conftest import MakeTrial

    from servefit.profiler.evidence.limits import Verdict
    from servefit.search.results.recommendation import Trial

CONFIGURATION = Configuration(vcpus=1, backend="treelite")
P95_10_MS = (LatencyThreshold(percentile="p95", limit_ms=10.0),)
AT_400 = JobRequest(name="fraud", sla=Sla(thresholds=P95_10_MS, rate_per_s=400))
DISTURBED = TelemetryPoint(at_ns=2 * S, over_ns=S, cpu_percent=100.0, memory_bytes=1, foreign_percent=90.0)


def open_run(rate_per_s: float, response_ms: float, *, requests: int = 1000, **facts: Any) -> Run:
    """Evenly spaced arrivals, each served in a call of its own as soon as it is due."""
    due = S + (np.arange(requests) * S / rate_per_s).astype(np.int64)
    run = _run(due, due + round(1e6 * response_ms), OpenLoop(rate_per_s=rate_per_s, duration_s=requests))
    return replace(run, **facts)


def overloaded_run(rate_per_s: float) -> Run:
    """Evenly spaced arrivals, of which half are served by the end of the run."""
    run = open_run(rate_per_s, 2.0)
    due = run.samples.scheduled_ns()
    started = due + (due - S)
    samples = replace(run.samples, started=started.tobytes(), ended=(started + 1_000_000).tobytes())
    return replace(run, samples=samples, backlog=int((started >= run.plateau_ns[1]).sum()), stopped="backlog")


def closed_run() -> Run:
    """One user, who is served within a millisecond."""
    begun = S + np.arange(1000, dtype=np.int64) * 1_000_000
    return _run(begun, begun + 1_000_000, ClosedLoop.constant(users=1, duration_s=1))


def _run(due: np.ndarray, ended: np.ndarray, traffic: OpenLoop | ClosedLoop) -> Run:
    return recorded_run(traffic, due, ended, until_ns=int(ended.max()) + 1)


def keep(folder: Path, trial: Trial, *runs: Run, name: str = "0001.servefit") -> Trial:
    """``trial`` with raw samples in the job's ``folder``."""
    save_measurement(replace(trial.measurement, runs=runs), folder / name)
    return replace(trial, kept_in=name)


def verdicts(curve: MeasuredCurve) -> dict[float, Verdict | None]:
    assert [point.rate_per_s for point in curve.points] == sorted(point.rate_per_s for point in curve.points)
    return {point.rate_per_s: point.verdict for point in curve.points}


def test_every_open_loop_that_was_recorded_is_a_point_with_a_verdict(trial: MakeTrial, tmp_path: Path) -> None:
    tested = keep(
        tmp_path,
        trial(CONFIGURATION, instances=4),
        closed_run(),
        open_run(400, 20.0),
        open_run(200, 2.0),
        open_run(133, 2.0, requests=20),
        open_run(120, 20.0, telemetry=(DISTURBED,)),
        overloaded_run(110),
        open_run(100, 2.0),
    )
    curve = MeasuredCurve.of(tested, [tested], AT_400, tmp_path)
    assert verdicts(curve) == {
        100: "PASS",
        110: "FAIL",
        120: "INVALID",
        133: "UNDECIDED",
        200: "PASS",
        400: "FAIL",
    }
    (point,) = [point for point in curve.points if point.rate_per_s == 200]
    assert (point.loop, point.source, point.samples) == ("open", "measured", 1000)
    assert point.latency_ms["p95"] == pytest.approx(2.0)
    assert curve.passed_per_s == 200.0
    assert curve.closed == closed_run()
    assert curve.without_samples == 0


def test_the_verdict_of_the_test_stands_for_the_rate_that_it_was_held_to(trial: MakeTrial, tmp_path: Path) -> None:
    for verdict in ("PASS", "UNDECIDED", "INVALID"):
        tested = keep(
            tmp_path, trial(CONFIGURATION, verdict=verdict, instances=4), open_run(100, 20.0), open_run(400, 20.0)
        )
        assert verdicts(MeasuredCurve.of(tested, [tested], AT_400, tmp_path)) == {100: verdict, 400: "FAIL"}


def test_workers_without_time_to_spare_pass_only_in_a_run_long_enough_for_a_queue_to_grow(
    trial: MakeTrial, tmp_path: Path
) -> None:
    busy = {"short": open_run(950, 1.0, requests=180), "long": open_run(950, 1.0, requests=2000)}
    found = {}
    for name, run in busy.items():
        tested = keep(tmp_path, trial(CONFIGURATION), run)
        found[name] = verdicts(MeasuredCurve.of(tested, [tested], AT_400, tmp_path))[950]
    assert found == {"short": "UNDECIDED", "long": "PASS"}


def test_requests_that_failed_count_as_slower_than_any_limit(trial: MakeTrial, tmp_path: Path) -> None:
    run = open_run(200, 2.0)
    ended = run.samples.ended_ns().copy()
    ended[::10] *= -1
    failing = replace(run, samples=replace(run.samples, ended=ended.tobytes()))
    tested = keep(tmp_path, trial(CONFIGURATION), failing)
    assert verdicts(MeasuredCurve.of(tested, [tested], AT_400, tmp_path)) == {200: "FAIL"}


def test_a_run_that_was_disturbed_counts_where_noise_was_allowed(trial: MakeTrial, tmp_path: Path) -> None:
    tested = keep(tmp_path, trial(CONFIGURATION), open_run(200, 20.0, telemetry=(DISTURBED,)))
    assert verdicts(MeasuredCurve.of(tested, [tested], AT_400, tmp_path)) == {200: "INVALID"}
    allowed = replace(AT_400, allow_noise=True)
    assert verdicts(MeasuredCurve.of(tested, [tested], allowed, tmp_path)) == {200: "FAIL"}


def test_all_tests_of_the_configuration_count_rounds_of_finalists_too(trial: MakeTrial, tmp_path: Path) -> None:
    tested = keep(tmp_path, trial(CONFIGURATION, instances=2), open_run(200, 2.0))
    in_turn = keep(tmp_path, replace(trial(CONFIGURATION), round=0), open_run(400, 20.0), name="0002.servefit")
    of_xgboost = trial(replace(CONFIGURATION, backend="xgboost"), instances=8)
    curve = MeasuredCurve.of(tested, [tested, in_turn, of_xgboost], AT_400, tmp_path)
    assert verdicts(curve) == {200: "PASS", 400: "FAIL"}


@pytest.mark.parametrize("lost", ["missing", "cut short", "another test's", "never kept"])
def test_summaries_stand_in_for_raw_samples_that_are_not_here(trial: MakeTrial, tmp_path: Path, lost: str) -> None:
    tested = keep(tmp_path, trial(CONFIGURATION, instances=2), closed_run(), open_run(200, 2.0), open_run(400, 20.0))
    path = tmp_path / "0001.servefit"
    if lost == "missing":
        path.unlink()
    elif lost == "cut short":
        path.write_bytes(path.read_bytes()[:50])
    elif lost == "another test's":
        keep(tmp_path, replace(tested, measurement=replace(tested.measurement, load_s=0.2)), open_run(200, 2.0))
    else:
        tested = replace(tested, kept_in=None)
    in_turn = replace(trial(CONFIGURATION), round=0)
    curve = MeasuredCurve.of(tested, [tested, in_turn], AT_400, tmp_path)
    assert verdicts(curve) == {200: "PASS"}
    assert curve.points[0].latency_ms == tested.judged.latency_ms
    assert (curve.closed, curve.without_samples) == (None, 2)
