"""An endpoint of a script: /invocations passes bytes and content types on, in both directions."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.scripts import JPEG, MEANS
from tests.serving.conftest import Running, described, eventually, launch

from servefit.backends.model.opaque import MAX_BODY_BYTES, SIGNATURE
from servefit.serving.config import BACKEND_LOADER

pytestmark = pytest.mark.integration

Serve = Callable[..., AbstractContextManager[Running]]

ODD = """
import json
import os
import sys
import time

print("the script was imported")

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    print("the script was called")
    text = body.decode("latin-1")
    if text == "exit":
        sys.exit(1)
    if text == "hang":
        time.sleep(60)
    if text == "die":
        os._exit(1)
    if text == "long":
        return b"0123456789" * 100_000, "text/plain"
    return json.dumps([content_type, accept, len(body)]), "application/json; odd=yes"
"""


@contextmanager
def serving(
    folder: Path, script: str, files: dict[str, str] | None = None, changes: dict[str, Any] | None = None, **limits: Any
) -> Iterator[Running]:
    """An endpoint of a script, with these limits, and ``changes`` of its description. Its variables are those of the
    machine too."""
    model = folder / "artifact" / "model"
    (model / "code").mkdir(parents=True)
    for name, content in {"code/inference.py": script, **(files or {})}.items():
        (model / name).write_text(content)
    config = described({}, limits, **(changes or {}))
    artifact = replace(config.artifact, backend="script")
    config = replace(config, artifact=artifact, signature=SIGNATURE, loader=BACKEND_LOADER)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in config.environment:
            patch.setenv(name, value)
        process, ready = launch(config, folder)
    try:
        line = os.read(ready, 4096)
        assert line, (folder / "stderr").read_text()
        told = json.loads(line)
        running = Running(process=process, port=told["port"], pids=told["pids"], printed=folder / "stderr")
        yield running
        assert running.stop() == 0, running.says()
    finally:
        os.close(ready)
        process.kill()
        process.wait()


@pytest.fixture
def serve_script(tmp_path: Path) -> Serve:
    """Start an endpoint of a script: see ``serving``."""
    return partial(serving, tmp_path)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("odd"), ODD) as running:
        yield running


def test_the_script_gets_the_bytes_and_gives_the_answer_with_its_type(serve_script: Serve) -> None:
    with serve_script(MEANS, {"offset.txt": "1"}) as endpoint:
        sent = JPEG + bytes(range(256)) * 400
        answer = endpoint.ask("POST", "/invocations", sent, {"content-type": "image/jpeg"})
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert json.loads(answer.body)["mean"] == pytest.approx(1 + sum(sent) / len(sent))
        refused = endpoint.ask("POST", "/invocations", b"a,b", {"content-type": "text/csv"})
        told = json.loads(refused.body)["error"]
        assert (refused.status, told.startswith("input_fn failed (reference ")) == (400, True)
        assert "no text/csv here" not in refused.body.decode()
        reference = told.split()[3]
        logged = "worker 1: input_fn raised ValueError: no text/csv here"
        assert eventually(lambda: logged in endpoint.says() and f"(reference {reference}, " in endpoint.says())
        assert endpoint.ask("POST", "/invocations", sent, {"content-type": "image/jpeg"}).status == 200
        assert endpoint.ask("GET", "/ping").status == 200


def test_headers_go_through_and_long_answers_come_back(odd: Running) -> None:
    kind = "multipart/form-data; boundary=abc"
    answer = odd.ask("POST", "/invocations", b"x" * 70_000, {"content-type": kind, "accept": "image/png"})
    assert json.loads(answer.body) == [kind, "image/png", 70_000]
    assert answer.headers["content-type"] == "application/json; odd=yes"
    answer = odd.ask("POST", "/invocations", b"", {"content-type": "a/b"})
    assert json.loads(answer.body) == ["a/b", "application/json", 0]
    assert odd.ask("POST", "/invocations", b"long", {"content-type": "a/b"}).body == b"0123456789" * 100_000
    # What it prints is said on stderr.
    assert eventually(lambda: "the script was called" in odd.says())
    assert "the script was imported" in odd.says()


def test_the_longest_body_is_taken_and_a_longer_one_refused(odd: Running) -> None:
    answer = odd.ask("POST", "/invocations", bytes(MAX_BODY_BYTES), {"content-type": "a/b"})
    assert json.loads(answer.body)[2] == MAX_BODY_BYTES
    assert odd.ask("POST", "/invocations", bytes(MAX_BODY_BYTES + 1), {"content-type": "a/b"}).status == 413


@pytest.mark.parametrize(
    ("path", "headers", "status", "said"),
    [
        ("/invocations", {"content-type": "a" * 300}, 431, "content-type: it may have 256 bytes"),
        ("/invocations", {"content-type": "a\tb"}, 400, "expected a line of ASCII"),
        ("/invocations", {"content-encoding": "gzip"}, 415, "is not read here"),
        ("/v2/models/obedient/infer", {}, 400, "send them to /invocations"),
    ],
)
def test_what_cannot_be_passed_on_is_refused(
    path: str, headers: dict[str, str], status: int, said: str, odd: Running
) -> None:
    answer = odd.ask("POST", path, b"{}", headers)
    assert (answer.status, said in answer.body.decode()) == (status, True)


def test_a_script_that_exits_fails_that_request_alone(odd: Running) -> None:
    answer = odd.ask("POST", "/invocations", b"exit", {"content-type": "a/b"})
    assert (answer.status, "transform_fn failed (reference " in answer.body.decode()) == (500, True)
    assert eventually(lambda: "transform_fn calls sys.exit(1) (reference " in odd.says())
    assert odd.ask("POST", "/invocations", b"x", {"content-type": "a/b"}).status == 200


TALKATIVE = """
import os
import sys

def model_fn(model_dir):
    print("loading with", os.environ["DB_PASSWORD"], os.environ["COLOUR"])

def transform_fn(model, body, content_type, accept):
    if body == b"raise":
        raise RuntimeError(f"no connection with {os.environ['DB_PASSWORD']} and {os.environ['COLOUR']}")
    if body == b"print":
        for _ in range(3):
            print("x" * (2**20 - 1))
            sys.stdout.flush()
    return b"done", "text/plain"
"""


def test_secrets_are_neither_told_to_clients_nor_printed(serve_script: Serve) -> None:
    environment = (("DB_PASSWORD", "hunter2"), ("COLOUR", "ultramarine"))
    with serve_script(TALKATIVE, changes={"environment": environment, "secret": ("COLOUR",)}) as endpoint:
        answer = endpoint.ask("POST", "/invocations", b"raise", {"content-type": "a/b"})
        assert (answer.status, b"transform_fn failed (reference " in answer.body) == (500, True)
        assert eventually(lambda: "raised RuntimeError: no connection with *** and ***" in endpoint.says())
        assert "loading with *** ***" in endpoint.says()
        for secret in ("hunter2", "ultramarine"):
            assert secret not in endpoint.says() + answer.body.decode()


def test_clients_that_measure_are_told_what_was_raised_without_secrets(serve_script: Serve) -> None:
    changes = {"environment": (("DB_PASSWORD", "hunter2"), ("COLOUR", "blue")), "tells_failures": True}
    with serve_script(TALKATIVE, changes=changes) as endpoint:
        answer = endpoint.ask("POST", "/invocations", b"raise", {"content-type": "a/b"})
        told = json.loads(answer.body)["error"]
        assert told.startswith("transform_fn raised RuntimeError: no connection with *** and blue (line ")


def test_what_a_script_prints_is_bounded_and_does_not_hold_it_up(serve_script: Serve) -> None:
    environment = (("DB_PASSWORD", "hunter2"), ("COLOUR", "blue"))
    with serve_script(TALKATIVE, changes={"environment": environment}) as endpoint:
        assert endpoint.ask("POST", "/invocations", b"print", {"content-type": "a/b"}).body == b"done"
    assert len(endpoint.says()) < 1.3 * 2**20
    assert re.search(r"^servefit: a worker printed too much: [0-9]{7} bytes were left out$", endpoint.says(), re.M)


@pytest.mark.parametrize("fatal", [pytest.param(b"hang", marks=pytest.mark.thorough), b"die"])
def test_a_worker_whose_script_hangs_or_dies_is_replaced(fatal: bytes, serve_script: Serve) -> None:
    with serve_script(ODD, call_timeout_s=1.0) as endpoint:
        with endpoint.connect() as lost:
            head = b"POST /invocations HTTP/1.1\r\nHost: e\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\n%b"
            lost.sendall(head % (len(fatal), fatal))
            answers = eventually(lambda: _answers(endpoint))
        assert answers


def _answers(endpoint: Running) -> bool:
    """Whether the endpoint answers; one that is about to be replaced may cut the connection off."""
    try:
        return endpoint.ask("POST", "/invocations", b"x", {"content-type": "a/b"}).status == 200
    except OSError:
        return False


def test_requests_of_many_clients_get_their_own_answers(odd: Running) -> None:
    found: dict[int, int] = {}

    def ask(size: int) -> None:
        answer = odd.ask("POST", "/invocations", b"x" * size, {"content-type": "a/b"})
        found[size] = json.loads(answer.body)[2]

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(10, 1000, 37)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {size: size for size in range(10, 1000, 37)}
