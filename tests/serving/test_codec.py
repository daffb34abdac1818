"""Long bodies and answers, which a process of the worker's own reads and writes."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from tests.serving.conftest import NAME, Exchange, eventually, invocation, is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serving.conftest import Answer, Running, Start

pytestmark = pytest.mark.integration

ROWS = 20_000
INVOCATIONS, INFER = "/invocations", f"/v2/models/{NAME}/infer"
CSV = {"content-type": "text/csv"}


@pytest.fixture(scope="module")
def endpoint(start: Start) -> Iterator[Running]:
    with start() as running:
        yield running
        assert running.metric("servefit_worker_restarts_total") == 0


def values(count: int = ROWS) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, 3)).astype(np.float32)


def as_csv(rows: np.ndarray) -> bytes:
    return "".join(f"{a!r},{b!r},{c!r}\n" for a, b, c in rows.tolist()).encode()


def as_json(rows: np.ndarray) -> bytes:
    return json.dumps({"instances": rows.tolist()}).encode()


def as_lines(rows: np.ndarray) -> bytes:
    return "".join(f"{row}\n" for row in rows.tolist()).encode()


def as_npy(rows: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, rows.astype(np.float64))
    return stream.getvalue()


def as_tensor(rows: np.ndarray) -> bytes:
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "data": rows.ravel().tolist()}
    return json.dumps({"id": "7", "inputs": [tensor]}).encode()


LONG = as_csv(values())
REQUEST = b"POST /invocations HTTP/1.1\r\nHost: endpoint\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n%b" % (
    len(LONG),
    LONG,
)


def codecs(endpoint: Running) -> list[psutil.Process]:
    return [child for pid in endpoint.pids[1:] for child in psutil.Process(pid).children()]


def test_long_bodies_of_every_format_are_read_and_long_answers_written(endpoint: Running) -> None:
    rows = values()
    wanted = rows[:, 0].tolist()
    lines = "application/jsonlines"
    assert endpoint.ask("POST", INVOCATIONS, as_json(rows), {"content-type": "application/json"}).predictions == wanted
    answer = endpoint.ask("POST", INVOCATIONS, as_csv(rows), CSV)
    assert [float(line) for line in answer.body.splitlines()] == wanted
    assert answer.headers["server-timing"].startswith("queue;dur=")
    answer = endpoint.ask("POST", INVOCATIONS, as_lines(rows), {"content-type": lines})
    assert [json.loads(line)["prediction"] for line in answer.body.splitlines()] == wanted
    answer = endpoint.ask("POST", INVOCATIONS, as_npy(rows), {"content-type": "application/x-npy"})
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.body)), rows[:, 0])
    document = json.loads(endpoint.ask("POST", INFER, as_tensor(rows)).body)
    assert (document["id"], document["outputs"][0]["data"]) == ("7", wanted)


def test_the_rest_of_a_long_request_is_understood_too(endpoint: Running) -> None:
    answer = endpoint.ask("POST", INVOCATIONS, LONG, {**CSV, "accept": "application/json"})
    assert answer.predictions == values()[:, 0].tolist()
    document = json.loads(as_tensor(values()))
    document["parameters"] = {"binary_data_output": True}
    answer = endpoint.ask("POST", INFER, json.dumps(document).encode())
    content = answer.body[int(answer.headers["inference-header-content-length"]) :]
    np.testing.assert_array_equal(np.frombuffer(content, "<f4"), values()[:, 0])


def test_a_long_body_that_does_not_fit_is_refused_as_a_short_one_is(endpoint: Running) -> None:
    answer = endpoint.ask("POST", INVOCATIONS, LONG + b"1,2,x\n", CSV)
    assert (answer.status, json.loads(answer.body)["error"]) == (
        400,
        f"body: expected a number in row {ROWS + 1}, column 3, got 'x'",
    )
    answer = endpoint.ask("POST", INFER, as_tensor(values()).replace(b"FP32", b"BYTES"))
    assert answer.status == 400
    assert "inputs[0].datatype" in json.loads(answer.body)["error"]


def test_answers_stay_in_the_order_of_the_requests(endpoint: Running) -> None:
    with endpoint.connect() as connection:
        exchange = Exchange(socket=connection)
        exchange.send(invocation(1.0) + REQUEST + invocation(2.0) + REQUEST + invocation(3.0))
        assert exchange.answer().predictions == [1.0]
        assert exchange.answer().body.count(b"\n") == ROWS
        assert exchange.answer().predictions == [2.0]
        assert exchange.answer().body.count(b"\n") == ROWS
        assert exchange.answer().predictions == [3.0]


def test_the_process_is_started_when_it_is_needed_and_gone_with_its_worker(start: Start) -> None:
    with start() as endpoint:
        endpoint.invoke(1.0)
        assert codecs(endpoint) == []
        codec = started_codec(endpoint)
        assert started_codec(endpoint) == codec
        os.kill(endpoint.pids[1], signal.SIGKILL)
        assert eventually(lambda: is_gone(codec.pid))


def started_codec(endpoint: Running) -> psutil.Process:
    assert endpoint.ask("POST", INVOCATIONS, LONG, CSV).status == 200
    (codec,) = codecs(endpoint)
    return codec


@contextmanager
def asked_while_stopped(
    endpoint: Running, *, clients: int = 1
) -> Iterator[tuple[psutil.Process, list[Future[Answer]]]]:
    """Clients that wait for a process that does nothing."""
    codec = started_codec(endpoint)
    codec.suspend()
    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(endpoint.ask, "POST", INVOCATIONS, LONG, CSV) for _ in range(clients)]
        yield codec, asked


def reason(answer: Answer) -> str:
    told: str = json.loads(answer.body)["error"]
    return told


def test_when_the_process_dies_its_request_is_a_500_and_the_next_gets_another(start: Start) -> None:
    with start() as endpoint:
        with asked_while_stopped(endpoint, clients=2) as (codec, asked):
            time.sleep(0.2)
            codec.kill()
        died, next_one = sorted((answering.result() for answering in asked), key=lambda answer: -answer.status)
        assert (died.status, next_one.status) == (500, 200)
        assert reason(died) == "the process that reads long bodies and writes long answers: killed by SIGKILL"
        assert "worker 1: its codec, which reads long bodies and writes long answers: killed" in endpoint.says()
        assert started_codec(endpoint) != codec
        assert endpoint.metric("servefit_worker_restarts_total") == 0


def test_what_is_being_read_when_it_stops_is_answered(start: Start) -> None:
    with start() as endpoint:
        with asked_while_stopped(endpoint) as (codec, asked):
            time.sleep(0.2)
            endpoint.process.send_signal(signal.SIGTERM)
            codec.send_signal(signal.SIGTERM)  # as terminals and systemd do, to all of a group
            time.sleep(0.2)
            codec.resume()
        assert asked[0].result().body.count(b"\n") == ROWS
        assert endpoint.process.wait(10) == 0


SLOW = b"[1,NaN,3]\n" * 90_000
"""It takes more than half a second of CPU time to read."""


def test_a_body_that_takes_too_much_cpu_time_is_413_and_the_next_is_read(start: Start) -> None:
    with start(limits={"read_timeout_s": 0.2}) as endpoint:
        codec = started_codec(endpoint)
        answer = endpoint.ask("POST", INVOCATIONS, SLOW, {"content-type": "application/jsonlines"})
        assert answer.status == 413
        assert reason(answer) == "body: reading it takes more than 0.2 s of CPU time, send fewer rows at once"
        assert eventually(lambda: is_gone(codec.pid))
        assert started_codec(endpoint) != codec


@pytest.mark.thorough
def test_bodies_that_the_machine_has_no_time_for_are_503_and_the_next_is_read(start: Start) -> None:
    """One that is being read, and one that waits."""
    with start(limits={"read_timeout_s": 0.3}) as endpoint:
        with asked_while_stopped(endpoint, clients=2) as (codec, asked):
            pass
        answers = [answering.result() for answering in asked]
        assert [(answer.status, answer.headers["retry-after"]) for answer in answers] == [(503, "1")] * 2
        assert sorted(map(reason, answers)) == [
            "the body waited 0.3 s to be read, try again later",
            "the machine is busy: the body was not read within 1.8 s, try again later",
        ]
        assert eventually(lambda: is_gone(codec.pid))
        assert started_codec(endpoint) != codec
        assert endpoint.metric("servefit_rejected_requests_total") == 2


@pytest.mark.thorough
def test_an_answer_that_takes_too_much_memory_is_413(start: Start) -> None:
    with start({"outputs": 150}, limits={"body_bytes": 700_000}) as endpoint:
        answer = endpoint.ask("POST", INVOCATIONS, b"1,2,3\n" * 100_000, CSV)
        assert answer.status == 413
        assert reason(answer) == (
            "rows: writing their predictions takes more than 282 MiB of memory, ask for fewer at once"
        )
        assert endpoint.ask("POST", INVOCATIONS, b"1,2,3\n" * 10_000, CSV).body.count(b",") == 149 * 10_000


@pytest.mark.parametrize(
    "limits", [{"long_bodies": 2}, pytest.param({"buffered_bytes": 6 * len(LONG) + 6}, marks=pytest.mark.thorough)]
)
def test_long_bodies_beyond_their_places_are_503_and_short_requests_are_answered(
    limits: dict[str, int], start: Start
) -> None:
    """One is being read and two wait, as many as there are places, or as half of the bytes allow."""
    with start(limits={"queued_requests": 2, **limits}) as endpoint:
        with asked_while_stopped(endpoint, clients=4) as (codec, asked):
            refused = next(as_completed(asked)).result()
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert "long bodies wait already, try again later" in reason(refused)
            assert [endpoint.invoke(1.0).status for _ in range(3)] == [200] * 3
            codec.resume()
        assert sorted(answering.result().status for answering in asked) == [200] * 3 + [503]
        assert endpoint.metric("servefit_rejected_requests_total") == 1


@pytest.fixture(scope="module")
def without_codec(start: Start) -> Iterator[Running]:
    """An endpoint that has had no long body to read."""
    with start() as running:
        yield running


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/jsonlines", b"[1]\n" * 90_000),
        ("application/json", b"[1]\n" * 90_000),
        ("application/json", b"[" + b"[1], " * 90_000 + b"[1]]"),
        ("application/json", b'{"instances": [' + b"[1,2,3,4]," * 50_000 + b"[1,2,3]]}"),
        ("text/csv", b"1\n" * 180_000),
        ("text/csv", b"a,b,c\n1,2\n" + b"1,2,3\n" * 90_000),
        ("", b"1,2,x\n" * 90_000),
    ],
)
def test_a_long_body_whose_first_row_does_not_fit_is_refused_before_the_rest_is_read(
    content_type: str, body: bytes, without_codec: Running
) -> None:
    answer = without_codec.ask("POST", INVOCATIONS, body, {"content-type": content_type} if content_type else {})
    assert (answer.status, codecs(without_codec)) == (400, [])
    assert reason(answer).startswith("body: expected ")


@pytest.mark.parametrize(
    ("content_type", "body", "rows"),
    [
        ("application/jsonlines", b"[\n" + b"[1,NaN,3],\n" * 5_000 + b"[1,2,3]]", 5_001),
        ("application/json", b'{"columns": ["a", "b", "c"], "data": [' + b"[1,NaN,3], " * 5_000 + b"[1,2,3]]}", 5_001),
        ("text/csv", b"\n\n1,2,3\n" + b"1,na,3\n" * 5_000, 5_001),
        ("text/csv", b'"a\nb",c,d\n' + b"1,2,3\n" * 5_000, 5_000),
    ],
)
def test_a_long_body_of_which_the_first_row_is_not_plain_is_read_as_a_whole(
    content_type: str, body: bytes, rows: int, endpoint: Running
) -> None:
    headers = {"content-type": content_type, "accept": "application/json"}
    assert endpoint.ask("POST", INVOCATIONS, body, headers).predictions == [1.0] * rows


@pytest.mark.thorough
def test_what_nobody_waits_for_any_more_is_not_read_and_takes_no_room(start: Start) -> None:
    with start(limits={"long_bodies": 4}) as endpoint:
        codec = started_codec(endpoint)
        before = endpoint.metric("servefit_rows_total")
        codec.suspend()
        for _ in range(5):
            with endpoint.connect() as connection:
                connection.sendall(REQUEST)
        assert eventually(lambda: endpoint.metric("servefit_connections") == 1)
        with ThreadPoolExecutor() as pool:
            asked = [pool.submit(endpoint.ask, "POST", INVOCATIONS, LONG, CSV) for _ in range(4)]
            assert eventually(lambda: endpoint.metric("servefit_connections") == 5)
            codec.resume()
        assert [answering.result().status for answering in asked] == [200] * 4
        predicted = endpoint.metric("servefit_rows_total") - before
        assert predicted < 5 * ROWS
