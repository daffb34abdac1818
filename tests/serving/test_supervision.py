"""The workers of an endpoint: how work is spread over them, and what happens when one dies."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.serving.busy_clients import Clients
from tests.serving.conftest import Exchange, eventually, invocation, is_gone
from tests.serving.obedient_predictor import DIE, RAISE, SLEEP, TELL_CALL, TELL_PROCESS, WAIT

from servefit.serving.supervisor import handle_events

if TYPE_CHECKING:
    from tests.serving.conftest import Start
    from tests.serving.obedient_predictor import Gate

pytestmark = pytest.mark.integration


def test_what_was_closed_on_account_of_one_event_is_not_called_for_another() -> None:
    """The supervisor hears of two workers that died at once with one signal, and may have closed the output of the
    second by the time that it comes to its end."""
    called: list[socket.socket] = []
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        sockets = [[stack.enter_context(end) for end in socket.socketpair()] for _ in range(2)]
        for (own, theirs), (other, _) in (sockets, reversed(sockets)):

            def close_other(own: socket.socket = own, other: socket.socket = other) -> None:
                called.append(own)
                selector.unregister(other)
                other.close()

            selector.register(own, selectors.EVENT_READ, close_other)
            theirs.send(b"both at once")
        handle_events(selector, 5)
    assert len(called) == 1


@pytest.mark.thorough
def test_connections_are_spread_evenly_and_every_worker_tells_of_all(start: Start) -> None:
    with start(workers=2) as endpoint:
        kept = [Exchange(socket=endpoint.connect()) for _ in range(16)]
        processes: Counter[float] = Counter()
        for exchange in kept:
            exchange.send(invocation(TELL_PROCESS))
            processes[exchange.answer().predictions[0]] += 1
        assert processes == {float(pid): 8 for pid in endpoint.pids[1:]}
        # Those that leave make room where they were.
        for exchange in kept[::2]:
            exchange.socket.close()
        assert eventually(lambda: endpoint.metric("servefit_connections") == 9)
        for exchange in kept[1::2]:
            exchange.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b'servefit_requests_total{model="obedient"} 16.0' in exchange.answer().body
            exchange.socket.close()


def test_batches_join_requests_of_many_connections(start: Start, gate: Gate) -> None:
    """While one call goes on, others arrive, and one call serves them all."""
    with start(gate.facts, max_batch=16) as endpoint:
        kept = [Exchange(socket=endpoint.connect()) for _ in range(11)]
        assert eventually(lambda: endpoint.metric("servefit_connections") == 12)
        kept[0].send(invocation(WAIT))
        assert eventually(lambda: gate.waiting == 1)
        for exchange in kept[1:]:
            exchange.send(invocation(TELL_CALL))
        gate.open()
        assert kept[0].answer().predictions == [WAIT]
        assert [exchange.answer().predictions for exchange in kept[1:]] == [[10.0]] * 10
        for exchange in kept:
            exchange.socket.close()
        assert endpoint.metric("servefit_batches_total", requests="10") == 1


def test_a_failing_prediction_is_a_500_and_the_worker_stays(start: Start) -> None:
    with start() as endpoint:
        for _ in range(3):
            answer = endpoint.invoke(RAISE)
            assert answer.status == 500
            assert json.loads(answer.body)["error"] == "the predictor failed with ValueError"
        assert endpoint.invoke(TELL_PROCESS).predictions == [endpoint.pids[1]]
        assert endpoint.metric("servefit_failed_requests_total") == 3
        assert endpoint.says().count("failed with ValueError: these rows are not to my taste") == 1


def test_a_worker_killed_under_load_is_replaced_and_only_its_own_requests_fail(start: Start) -> None:
    with start({"us": 300}, workers=2) as endpoint:
        clients = Clients(endpoint, keeping=6, fresh=2)
        assert eventually(lambda: clients.statuses[200] > 50)
        victim = endpoint.pids[2]
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda: endpoint.metric("servefit_worker_restarts_total") == 1)
        assert eventually(lambda: endpoint.metric("servefit_workers") == 2)
        before = clients.statuses[200]
        assert eventually(lambda: clients.statuses[200] > before + 50)
        clients.end()
        # Of eight clients half were the victim's, each with one request.
        assert len(clients.lost) <= 5
        assert set(clients.statuses) == {200}
        assert f"worker 2 (process {victim}): killed by SIGKILL; it is replaced" in endpoint.says()
        assert endpoint.metric("servefit_requests_total") >= clients.statuses[200]
        processes = {endpoint.invoke(TELL_PROCESS).predictions[0] for _ in range(20)}
        assert victim not in processes


def test_connections_that_a_dead_worker_had_not_taken_go_to_others(start: Start) -> None:
    """It is killed in a call, while clients that came later wait for it to look."""
    with start() as endpoint:
        with endpoint.connect() as doomed:
            doomed.sendall(invocation(SLEEP, 20))
            time.sleep(0.1)
            waiting = [Exchange(socket=endpoint.connect()) for _ in range(5)]
            for exchange in waiting:
                exchange.send(invocation(TELL_PROCESS))
            time.sleep(0.1)
            os.kill(endpoint.pids[1], signal.SIGKILL)
            answers = {exchange.answer().predictions[0] for exchange in waiting}
            for exchange in waiting:
                exchange.socket.close()
        assert len(answers) == 1
        assert endpoint.pids[1] not in answers


@pytest.mark.thorough
def test_a_request_that_kills_its_worker_again_and_again_does_not_end_the_endpoint(start: Start) -> None:
    with start() as endpoint:
        for _ in range(2):
            with endpoint.connect() as connection:
                connection.sendall(invocation(DIE))
                assert Exchange(socket=connection).is_closed()
        assert endpoint.invoke(1.0).predictions == [1.0]
        assert endpoint.metric("servefit_worker_restarts_total") == 2


def test_killing_the_supervisor_leaves_nothing(start: Start) -> None:
    with start(workers=2) as endpoint, endpoint.connect() as connection:
        connection.sendall(invocation(SLEEP, 20))
        time.sleep(0.1)
        endpoint.process.kill()
        assert eventually(lambda: all(is_gone(pid) for pid in endpoint.pids[1:]))
