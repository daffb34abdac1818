"""Runs by real workers whose predictors have known behaviour."""

from __future__ import annotations

import ast
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.backends.variables.secret import hidden_environment
from servefit.errors import SpecError
from servefit.profiler.drivers.inprocess.timing import WorkerTimeCalls
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, TrafficPhase

if TYPE_CHECKING:
    from tests.profiler.conftest import StartSynthetic

MS = 1_000_000
S = 1_000_000_000
ALL_CPUS = tuple(sorted(os.sched_getaffinity(0)))
ONE_CPU = ALL_CPUS[:1]


@pytest.mark.integration
def test_a_closed_loop_keeps_one_user_s_requests_one_after_the_other(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 2000}, cpus=ONE_CPU) as workers:
        run = workers.run(ClosedLoop.constant(users=1, duration_s=0.3))
    scheduled, started, ended = run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns()
    assert 10 <= len(ended) <= 150
    assert np.array_equal(scheduled[1:], ended[:-1])
    assert np.all(scheduled <= started)
    assert np.all(ended - started >= 2 * MS)
    assert run.backlog <= 1
    assert len(ended) <= run.offered <= len(ended) + 1


def test_an_open_loop_measures_from_the_moment_a_request_was_due(start_synthetic: StartSynthetic) -> None:
    """One worker that takes 20 ms is offered a request every 10 ms, so each waits 10 ms longer than the one before."""
    traffic = OpenLoop(rate_per_s=100, duration_s=0.2, arrivals="constant")
    with start_synthetic({"act": "sleep", "us": 20_000}, cpus=ONE_CPU) as workers:
        run = workers.run(traffic)
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    assert np.array_equal(scheduled - run.plateau_ns[0], traffic.arrivals_ns())
    response = ended - scheduled
    assert np.all(np.diff(response) > 9 * MS)
    assert run.offered == 20
    assert 9 <= run.backlog <= 13
    assert run.stopped is None


@pytest.mark.integration
def test_a_backlog_that_grows_past_its_cap_ends_the_run(start_synthetic: StartSynthetic) -> None:
    traffic = OpenLoop(rate_per_s=1000, duration_s=30, backlog_cap=100)
    with start_synthetic({"act": "sleep", "us": 5000}, cpus=ONE_CPU) as workers:
        run = workers.run(traffic)
    assert run.stopped == "backlog"
    assert (run.plateau_ns[1] - run.plateau_ns[0]) / S < 5
    assert run.backlog >= 100
    ended = run.samples.ended_ns()
    assert run.offered == len(ended) == np.count_nonzero(ended) + run.backlog


def test_several_workers_serve_one_schedule_first_come_first_served(start_synthetic: StartSynthetic) -> None:
    traffic = OpenLoop(rate_per_s=2000, duration_s=0.25, seed=3, backlog_cap=10_000)
    with start_synthetic({"act": "sleep", "us": 300}, cpus=ONE_CPU, workers=3) as workers:
        run = workers.run(traffic)
    scheduled, started, ended = run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns()
    assert len(scheduled) == run.offered == len(traffic.arrivals_ns())
    assert np.all(started >= scheduled)
    assert np.all(ended > started)
    # No request is begun much before one that came earlier. A worker may lose its CPU between claiming and beginning.
    overtaken = np.maximum.accumulate(started) - started
    assert np.percentile(overtaken, 90) < 5 * MS
    in_service = np.searchsorted(np.sort(started), started, side="right") - np.searchsorted(np.sort(ended), started)
    assert in_service.max() <= 3


@pytest.mark.integration
def test_several_workers_share_batches(start_synthetic: StartSynthetic) -> None:
    traffic = OpenLoop(rate_per_s=3000, duration_s=0.2, seed=3, backlog_cap=10_000)
    with start_synthetic({"act": "sleep", "us": 3000}, cpus=ONE_CPU, workers=2, max_batch=8) as workers:
        run = workers.run(traffic)
    assert np.all(run.samples.ended_ns() > run.samples.started_ns())
    _, sizes = np.unique(run.samples.started_ns(), return_counts=True)
    assert sizes.max() == 8


@pytest.mark.thorough
def test_a_slow_server_is_given_up_seconds_after_the_end_and_not_served_to_the_last(
    start_synthetic: StartSynthetic,
) -> None:
    traffic = OpenLoop(rate_per_s=60, duration_s=1.0)
    with start_synthetic({"act": "sleep", "us": 400_000}, cpus=ONE_CPU) as workers:
        run = workers.run(traffic)
    assert run.stopped == "backlog"
    assert run.backlog > 30
    assert run.plateau_ns[1] - run.plateau_ns[0] == 1.0 * S
    unanswered = np.count_nonzero(run.samples.ended_ns() == 0)
    assert unanswered > 30


@pytest.mark.integration
def test_users_who_wait_at_the_end_still_get_their_answer(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 20_000}, cpus=ONE_CPU) as workers:
        run = workers.run(ClosedLoop.constant(users=10, duration_s=0.3))
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    assert np.all(ended > 0)
    assert run.offered == len(scheduled)
    assert 8 <= run.backlog <= 10
    # All ten wait for each other; leaving out those who were still waiting would make the median too small.
    assert np.median(ended - scheduled) > 150 * MS


def test_idle_workers_of_a_closed_loop_sleep(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 1000}, cpus=ONE_CPU, workers=3) as workers:
        run = workers.run(ClosedLoop.constant(users=1, duration_s=0.3))
    assert (run.busy_cpu_ns or 0) / 0.3e9 < 0.25


def test_a_run_ends_when_its_watcher_has_seen_enough(start_synthetic: StartSynthetic) -> None:
    seen: list[int] = []

    def enough(response_ns: np.ndarray) -> bool:
        assert np.all(response_ns > 0)
        seen.append(len(response_ns))
        return len(response_ns) >= 50

    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU) as workers:
        run = workers.run(OpenLoop(rate_per_s=200, duration_s=60), enough=enough)
    assert run.stopped == "verdict"
    assert 50 <= seen[-1] <= run.offered < 2000
    assert (run.plateau_ns[1] - run.plateau_ns[0]) / S < 10
    assert np.all(run.samples.ended_ns() > 0)


@pytest.mark.thorough
def test_how_late_an_idle_worker_begins_is_recorded(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 1000}, cpus=ONE_CPU) as workers:
        idle = workers.run(OpenLoop(rate_per_s=50, duration_s=0.4, arrivals="constant"))
        busy = workers.run(OpenLoop(rate_per_s=5000, duration_s=0.1, arrivals="constant"))
    assert len(idle.lags_ns()) >= 15
    assert np.all(idle.lags_ns() >= 0)
    assert len(busy.lags_ns()) <= 50


def test_a_batch_waits_for_requests_that_come_within_its_delay(start_synthetic: StartSynthetic) -> None:
    facts = {"act": "sleep", "us": 100}
    traffic = OpenLoop(rate_per_s=1000, duration_s=0.3, arrivals="constant")
    with start_synthetic(facts, cpus=ONE_CPU, max_batch=8, batch_delay_us=3500) as workers:
        run = workers.run(traffic)
    scheduled, started = run.samples.scheduled_ns(), run.samples.started_ns()
    _, first, sizes = np.unique(started, return_index=True, return_counts=True)
    waited = started[first] - scheduled[first]
    assert np.median(sizes) == 4
    assert np.median(waited) >= 3.5 * MS
    assert np.median(waited) < 8 * MS


def test_a_full_batch_starts_when_its_last_request_is_there(start_synthetic: StartSynthetic) -> None:
    traffic = OpenLoop(rate_per_s=500, duration_s=0.3, arrivals="constant")
    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU, max_batch=2, batch_delay_us=500_000) as workers:
        run = workers.run(traffic)
    scheduled, started = run.samples.scheduled_ns(), run.samples.started_ns()
    _, last, sizes = np.unique(started[::-1], return_index=True, return_counts=True)
    assert set(sizes.tolist()) == {2}
    assert np.median(started[::-1][last] - scheduled[::-1][last]) < 1 * MS


@pytest.mark.integration
def test_users_of_a_closed_loop_are_joined_after_a_delay(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU, max_batch=4, batch_delay_us=10_000) as workers:
        run = workers.run(ClosedLoop.constant(users=2, duration_s=0.3))
    _, sizes = np.unique(run.samples.started_ns(), return_counts=True)
    assert set(sizes.tolist()) == {2}
    assert 3 <= len(sizes) <= 31


def test_an_open_loop_below_capacity_answers_everything_about_when_it_is_due(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU) as workers:
        run = workers.run(OpenLoop(rate_per_s=200, duration_s=0.3, seed=1))
    lag = run.samples.started_ns() - run.samples.scheduled_ns()
    assert len(lag) == run.offered == len(OpenLoop(rate_per_s=200, duration_s=0.3, seed=1).arrivals_ns())
    assert run.backlog <= 1
    assert lag.min() >= 0
    assert np.median(lag) < 1 * MS


def test_several_workers_share_the_queue(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 5000}, cpus=ONE_CPU, workers=3) as workers:
        assert len(set(workers.pids)) == 3
        run = workers.run(ClosedLoop.constant(users=3, duration_s=0.25))
    assert run.threads_per_worker == (1, 1, 1)
    assert run.threads_outside == 0
    assert 90 <= len(run.samples.ended_ns()) <= 150
    assert np.all(np.diff(run.samples.ended_ns()) >= 0)


@pytest.mark.integration
def test_waiting_requests_are_joined_up_to_the_largest_batch(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 5000}, cpus=ONE_CPU, max_batch=4) as workers:
        run = workers.run(ClosedLoop.constant(users=6, duration_s=0.3))
    _, sizes = np.unique(run.samples.started_ns(), return_counts=True)
    assert sizes.max() == 4
    # Six users and batches of four: whoever is left over waits for the next call, with those who have returned.
    assert set(sizes[1:-1].tolist()) <= {2, 4}


@pytest.mark.integration
def test_requests_rotate_through_the_payload(start_synthetic: StartSynthetic, tmp_path: Path) -> None:
    log = tmp_path / "rows"
    with start_synthetic({"act": "log rows", "log": str(log)}, cpus=ONE_CPU, rows_per_request=3) as workers:
        workers.run(OpenLoop(rate_per_s=100, duration_s=0.2, arrivals="constant"))
    calls = [[int(value) for value in line.split()] for line in log.read_text().splitlines()]
    assert len(calls) >= 20
    assert calls[-20:] == [[(3 * request + row) % 10 for row in range(3)] for request in range(20)]


@pytest.mark.integration
def test_the_rows_of_a_batch_are_those_of_consecutive_requests(start_synthetic: StartSynthetic, tmp_path: Path) -> None:
    log = tmp_path / "rows"
    with start_synthetic({"act": "log rows", "log": str(log)}, cpus=ONE_CPU, max_batch=4) as workers:
        workers.run(ClosedLoop.constant(users=4, duration_s=0.1))
    last = [[int(value) for value in line.split()] for line in log.read_text().splitlines()][-5:]
    for call, following in itertools.pairwise(last):
        assert following == [(call[-1] + 1 + row) % 10 for row in range(len(following))]


@pytest.mark.parametrize("datatype", ["int64", "float64"])
@pytest.mark.integration
def test_rows_of_every_datatype_reach_the_predictor_as_they_are(
    datatype: str, start_synthetic: StartSynthetic, tmp_path: Path
) -> None:
    log, largest = tmp_path / "rows", 2**62 + 1 if datatype == "int64" else 2**53
    rows = np.array([[largest, 0], [-7, 0]], dtype=datatype)
    facts = {"act": "log rows", "log": str(log), "datatype": datatype}
    with start_synthetic(facts, rows=rows, cpus=ONE_CPU, max_batch=2) as workers:
        workers.run(ClosedLoop.constant(users=2, duration_s=0.1))
        workers.time_calls(WorkerTimeCalls(requests_per_call=2, duration_s=0.02, warm_up_s=0.01))
    assert {int(value) for line in log.read_text().splitlines() for value in line.split()} == {largest, -7}


def test_waiting_is_not_counted_as_cpu_time_and_work_is(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "spin", "us": 5000}, cpus=ONE_CPU) as workers:
        mostly_idle = workers.run(OpenLoop(rate_per_s=40, duration_s=0.3, arrivals="constant"))
        busy = workers.run(ClosedLoop.constant(users=1, duration_s=0.3))
    assert 0.1 <= (mostly_idle.busy_cpu_ns or 0) / 0.3e9 <= 0.35
    # Other processes may take a share of the CPU, but never give more than one.
    assert 0.4 <= (busy.busy_cpu_ns or 0) / 0.3e9 <= 1.05


def test_a_worker_that_spins_for_its_arrivals_reads_as_idle(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU) as workers:
        run = workers.run(OpenLoop(rate_per_s=2000, duration_s=0.5))
    assert (run.busy_cpu_ns or 0) / 0.5e9 < 0.3
    assert np.median([point.cpu_percent for point in run.telemetry]) < 30


@pytest.mark.integration
def test_ramps_are_left_out_of_the_plateau(start_synthetic: StartSynthetic) -> None:
    ramp = ClosedLoop(phases=(TrafficPhase(initial_users=1, spawn_per_minute=600, duration_s=0.45),))
    with start_synthetic({"act": "sleep", "us": 1000}, cpus=ONE_CPU) as workers:
        run = workers.run(ramp)
    begin, end = run.plateau_ns
    assert end - begin == pytest.approx(50 * MS, abs=1)
    assert run.offered < len(run.samples.ended_ns())
    first = run.samples.scheduled_ns()[0]
    assert begin - first == pytest.approx(400 * MS, abs=1)


@pytest.mark.integration
def test_the_same_workers_carry_out_several_runs(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 1000}, cpus=ONE_CPU, workers=2) as workers:
        pids = workers.pids
        runs = [workers.run(ClosedLoop.constant(users=users, duration_s=0.15)) for users in (1, 2)]
        runs.append(workers.run(OpenLoop(rate_per_s=100, duration_s=0.15)))
        assert workers.pids == pids
    assert [run.traffic for run in runs] == [
        ClosedLoop.constant(users=1, duration_s=0.15),
        ClosedLoop.constant(users=2, duration_s=0.15),
        OpenLoop(rate_per_s=100, duration_s=0.15),
    ]
    assert len(runs[1].samples.ended_ns()) > len(runs[0].samples.ended_ns())


@pytest.mark.integration
def test_environment_and_affinity_are_there_before_the_predictor_is_loaded(
    start_synthetic: StartSynthetic, tmp_path: Path
) -> None:
    told = tmp_path / "environment"
    cpu = ALL_CPUS[-1]
    facts = {"announces_environment": str(told)}
    with start_synthetic(facts, cpus=(cpu,), threads=3, environment={"COLOUR": "green"}):
        pass
    threads, colour, mask = told.read_text().split(maxsplit=2)
    assert threads == "3"
    assert colour == "green"
    assert ast.literal_eval(mask) == [cpu]


@pytest.mark.integration
def test_workers_see_only_the_gpu_of_their_configuration(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({}, cpus=ONE_CPU, gpu=3) as workers:
        environment = Path(f"/proc/{workers.pids[0]}/environ").read_text().split("\0")
    assert {"CUDA_VISIBLE_DEVICES=3", "CUDA_DEVICE_ORDER=PCI_BUS_ID"} <= set(environment)


@pytest.mark.integration
def test_the_user_s_own_variables_win(start_synthetic: StartSynthetic, tmp_path: Path) -> None:
    told = tmp_path / "environment"
    environment = {"OMP_NUM_THREADS": "7"}
    with start_synthetic({"announces_environment": str(told)}, cpus=ONE_CPU, environment=environment):
        pass
    assert told.read_text().startswith("7 ")


@pytest.mark.integration
def test_a_worker_has_the_secrets_that_nothing_else_shows(start_synthetic: StartSynthetic, tmp_path: Path) -> None:
    told = tmp_path / "environment"
    environment = hidden_environment({"COLOUR": "hunter2"}, {"COLOUR"})
    with start_synthetic({"announces_environment": str(told)}, cpus=ONE_CPU, environment=environment) as workers:
        assert "hunter2" not in repr(workers.configuration)
    assert told.read_text().split()[1] == "hunter2"


@pytest.mark.integration
def test_a_secret_that_is_not_known_here_is_no_value(start_synthetic: StartSynthetic) -> None:
    unknown = {"API_TOKEN": "***1"}
    with (
        pytest.raises(SpecError, match="'API_TOKEN' is a secret, and its value is not known here"),
        start_synthetic({}, cpus=ONE_CPU, environment=unknown),
    ):
        pass


@pytest.mark.integration
def test_a_file_in_the_current_folder_does_not_stand_in_for_a_library(
    start_synthetic: StartSynthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('not the numpy you are looking for')")
    monkeypatch.chdir(tmp_path)
    with start_synthetic({"act": "nothing"}, cpus=ONE_CPU) as workers:
        run = workers.run(ClosedLoop.constant(users=1, duration_s=0.05))
    assert run.offered > 0


@pytest.mark.integration
def test_modules_that_the_caller_can_import_a_worker_can_too(
    start_synthetic: StartSynthetic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept_beside_the_script.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with start_synthetic({"imports": "kept_beside_the_script"}, cpus=ONE_CPU) as workers:
        assert len(workers.pids) == 1


def test_a_thread_that_leaves_the_envelope_is_counted(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"widens_its_mask": True}, cpus=ONE_CPU, workers=2, method="affinity") as workers:
        run = workers.run(ClosedLoop.constant(users=2, duration_s=0.1))
    assert run.threads_outside == (2 if len(ALL_CPUS) > 1 else 0)


@pytest.mark.integration
def test_load_time_and_memory_are_reported(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 1000}, cpus=ONE_CPU, workers=2) as workers:
        run = workers.run(ClosedLoop.constant(users=2, duration_s=0.35))
        assert 0 < workers.load_s < 30
    assert (run.peak_memory_bytes or 0) > 2 * 10_000_000
    assert len(run.telemetry) >= 2
    assert all(point.memory_bytes > 2 * 10_000_000 for point in run.telemetry)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("workers", 0), ("workers", 10**6), ("threads", 0), ("max_batch", 0), ("rows_per_request", 0)],
)
@pytest.mark.integration
def test_counts_that_make_no_sense_are_refused(start_synthetic: StartSynthetic, field: str, wrong: int) -> None:
    with pytest.raises(SpecError), start_synthetic({}, cpus=ONE_CPU, **{field: wrong}):
        pass


@pytest.mark.integration
def test_workers_time_their_predictor_by_themselves(start_synthetic: StartSynthetic) -> None:
    order = WorkerTimeCalls(requests_per_call=2, duration_s=0.1, warm_up_s=0.1)
    with start_synthetic({"act": "spin", "us": 500}, cpus=ONE_CPU, max_batch=4, rows_per_request=3) as workers:
        (times,) = workers.time_calls(order)
        run = workers.run(ClosedLoop.constant(users=1, duration_s=0.05))
    assert times.rows_per_call == 6
    assert times.calls_per_duration == 1
    assert np.min(times.durations_ns()) >= 0.5 * MS
    assert run.offered > 0


@pytest.mark.integration
def test_calls_of_more_requests_than_a_batch_holds_are_refused(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({}, cpus=ONE_CPU, max_batch=4) as workers, pytest.raises(SpecError, match="above 4"):
        workers.time_calls(WorkerTimeCalls(requests_per_call=5))
