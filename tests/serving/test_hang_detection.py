"""Workers that hang, and what the endpoint does about them."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.serving.conftest import Exchange, eventually, invocation
from tests.serving.obedient_predictor import SLEEP, TELL_PROCESS

from servefit.serving.counters import Counters
from servefit.serving.hang_detection import CHECKS_PER_TIMEOUT, HangDetector
from servefit.serving.process import WorkerProcess

if TYPE_CHECKING:
    from tests.serving.conftest import Running, Start

    from servefit.serving.counters import WorkerCounters

pytestmark = pytest.mark.integration

CALL_TIMEOUT_S = 1.0


class Processless(WorkerProcess):
    """A worker that is ready, of which there are only the counters."""

    def __init__(self, counters: WorkerCounters) -> None:
        self.ready = True
        self.silent_s = 0.0
        self._sign_ns = 0
        self._counters = counters


class Watch:
    """A detector on a simulated clock, and the one worker that it checks."""

    def __init__(self, limit_s: float) -> None:
        self._now_s = 0.0
        memory = os.memfd_create("counters")
        self.counters = Counters(memory, workers=1, max_batch=1).of_worker(0)
        os.close(memory)
        self.worker = Processless(self.counters)
        self.detector = HangDetector(limit_s, now=lambda: self._now_s)

    def check(self, now_s: float) -> tuple[float, list[str]]:
        """For how long the worker has been silent by then, and how it hangs."""
        self._now_s = now_s
        hung = [how for _, how in self.detector.hung_workers([self.worker])]
        return self.worker.silent_s, hung


def test_a_worker_hangs_once_it_has_given_no_sign_of_life_for_the_limit() -> None:
    watch = Watch(2.0)
    assert [watch.check(now_s)[1] for now_s in (0.5, 1.0, 1.5, 2.0)] == [[]] * 4
    watch.counters.heartbeat()
    watch.counters.calling(1)
    assert [watch.check(now_s)[1] for now_s in (2.5, 3.0, 3.5, 4.0, 4.5)] == [[]] * 5
    assert watch.check(5.0) == (2.5, ["a call of its predictor did not return for 2 s"])


def test_workers_are_checked_when_it_is_time_and_not_before() -> None:
    watch = Watch(60.0)
    assert (watch.check(0.75), watch.detector.next_check_s()) == ((0.0, []), 0.25)
    assert (watch.check(1.0), watch.detector.next_check_s()) == ((1.0, []), 1.0)


def test_time_in_which_the_supervisor_did_not_run_counts_as_two_checks() -> None:
    watch = Watch(2.0)
    assert [watch.check(now_s) for now_s in (0.5, 3600.0, 3600.5)] == [(0.5, []), (1.5, []), (2.0, [])]
    assert watch.check(3601.0) == (2.5, ["it gave no sign of life for 2 s"])


def replaced(endpoint: Running) -> bool:
    """Return whether the one that hung is gone and another is there: it is counted before it is killed."""
    figures = [
        endpoint.metric(f"servefit_{name}") for name in ("worker_hangs_total", "worker_restarts_total", "workers")
    ]
    return figures == [1, 1, 2]


def test_a_worker_whose_call_does_not_return_is_killed_counted_and_replaced(start: Start) -> None:
    with start(workers=2, limits={"call_timeout_s": CALL_TIMEOUT_S}) as endpoint, endpoint.connect() as doomed:
        exchange = Exchange(socket=doomed)
        exchange.send(invocation(TELL_PROCESS))
        pid = int(exchange.answer().predictions[0])
        began_s = time.monotonic()
        exchange.send(invocation(SLEEP, 60))
        assert exchange.is_closed()
        assert time.monotonic() - began_s > CALL_TIMEOUT_S
        assert eventually(lambda: replaced(endpoint))
        number = endpoint.pids.index(pid)
        assert (
            f"worker {number} (process {pid}): a call of its predictor did not return for 1 s; it is replaced\n"
        ) in endpoint.says()


@pytest.mark.thorough
def test_calls_that_take_less_than_the_limit_follow_one_another_for_as_long_as_they_like(start: Start) -> None:
    with start(limits={"call_timeout_s": CALL_TIMEOUT_S}) as endpoint, endpoint.connect() as connection:
        exchange = Exchange(socket=connection)
        for _ in range(7):
            exchange.send(invocation(SLEEP, CALL_TIMEOUT_S / 4))
        assert [exchange.answer().status for _ in range(7)] == [200] * 7
        assert endpoint.metric("servefit_worker_hangs_total") == 0


@pytest.mark.thorough
def test_a_worker_that_was_stopped_is_replaced(start: Start) -> None:
    with start(workers=2, limits={"call_timeout_s": CALL_TIMEOUT_S}) as endpoint:
        victim = endpoint.pids[2]
        os.kill(victim, signal.SIGSTOP)
        assert eventually(lambda: f"worker 2 (process {victim}): it gave no sign of life" in endpoint.says())
        assert eventually(lambda: replaced(endpoint))
        assert {endpoint.invoke(TELL_PROCESS).status for _ in range(6)} == {200}


@pytest.mark.thorough
def test_while_a_worker_gives_no_sign_of_life_it_does_not_count_as_serving_and_new_clients_go_to_others(
    start: Start,
) -> None:
    with start(workers=2) as endpoint:
        victim = endpoint.pids[1]
        os.kill(victim, signal.SIGSTOP)
        try:
            with endpoint.connect() as first, endpoint.connect() as second:
                exchanges = [Exchange(socket=first), Exchange(socket=second)]
                answering: list[Exchange] = []
                for exchange in exchanges:
                    exchange.socket.settimeout(2)
                    exchange.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
                    try:
                        exchange.answer()
                        answering.append(exchange)
                    except TimeoutError:
                        pass
                [answered] = answering
                answered.socket.settimeout(5)

                def workers() -> bytes:
                    answered.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
                    return answered.answer().body

                assert eventually(lambda: b"\nservefit_workers 1.0\n" in workers())
                # It has fewer connections, and would be the next.
                assert eventually(lambda: endpoint.ask("GET", "/ping").status == 200)
                for _ in range(5):
                    assert endpoint.ask("GET", "/v2/health/ready").status == 200
        finally:
            os.kill(victim, signal.SIGCONT)
        assert eventually(lambda: endpoint.metric("servefit_workers") == 2)
        assert endpoint.metric("servefit_worker_hangs_total") == 0


@pytest.mark.timed
@pytest.mark.thorough
def test_an_endpoint_that_was_stopped_as_a_whole_goes_on_with_all_its_workers(start: Start) -> None:
    """As a debugger, a freezer of a control group, or a suspended machine do it. The supervisor goes on first, and
    looks at workers that have given no sign of life since it last did."""
    limit_s = 1.0
    with start(workers=2, limits={"call_timeout_s": limit_s}) as endpoint:
        supervisor, *workers = endpoint.pids
        waits = psutil.Process(supervisor).num_ctx_switches
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1.2 * limit_s / CHECKS_PER_TIMEOUT)
        os.kill(supervisor, signal.SIGSTOP)
        time.sleep(1.2 * limit_s)
        before = waits().voluntary
        os.kill(supervisor, signal.SIGCONT)
        assert eventually(lambda: waits().voluntary > before)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        time.sleep(limit_s / 2)
        assert endpoint.metric("servefit_workers") == 2
        assert endpoint.metric("servefit_worker_restarts_total") == 0


def test_a_call_that_does_not_return_does_not_hold_up_a_stop_and_the_status_says_what_was_lost(start: Start) -> None:
    with start(limits={"call_timeout_s": CALL_TIMEOUT_S}) as endpoint, endpoint.connect() as connection:
        connection.sendall(invocation(SLEEP, 60))
        time.sleep(0.1)
        assert endpoint.stop() == 1
        assert endpoint.says().endswith("did not return for 1 s; what it had not answered is cut off\n")


@pytest.mark.thorough
@pytest.mark.timed
def test_an_idle_endpoint_is_nearly_idle(start: Start) -> None:
    with start(workers=2) as endpoint:
        processes = [psutil.Process(pid) for pid in endpoint.pids]
        time.sleep(0.3)
        before = [process.num_ctx_switches().voluntary for process in processes]
        time.sleep(1)
        woken = [process.num_ctx_switches().voluntary - count for process, count in zip(processes, before, strict=True)]
    assert max(woken) <= 4
