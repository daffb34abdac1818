"""``servefit load``: its figures, exit statuses and refusals."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.storage.measurements import load_endpoint_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Finished, Servefit, Sources
    from tests.conftest import HttpServer

pytestmark = pytest.mark.timed

SHORT = ("--duration", "0.4s", "--allow-noise", "--quiet")


@contextmanager
def served(model: Path, name: str, state: Path) -> Iterator[str]:
    """The model, served by ``servefit serve``: the URL without a path."""
    command = [sys.executable, "-m", "servefit", "serve", "--model", str(model), "--profile", "local-1c"]
    environment = {**os.environ, "SERVEFIT_HOME": str(state)}
    with subprocess.Popen(
        [*command, "--name", name, "--port", "0", "--quiet"], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        try:
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)


@pytest.fixture(scope="module")
def endpoint(sources: Sources, state: Path) -> Iterator[str]:
    with served(sources.xgboost, "cancer", state) as url:
        yield url


@pytest.fixture(scope="module")
def plain(http_server: HttpServer) -> Iterator[str]:
    """A server that takes any JSON at /score, fails for one in five at /busy, and knows no other path."""
    numbers = itertools.count()

    def respond(path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(0.003)
        if path == "/busy" and next(numbers) % 5 == 4:
            return 503, b'{"error": "busy"}', {}
        if path in ("/score", "/busy"):
            return 200, b'{"score": 0.5}', {}
        return 404, b'{"detail": "Not Found"}', {}

    with http_server(respond) as url:
        yield url


@pytest.fixture
def load(servefit: Servefit, sources: Sources) -> Servefit:
    def run(url: str, *arguments: str | Path, payload: Path | None = sources.payload) -> Finished:
        return servefit("load", url, *(() if payload is None else ("--payload", payload)), *arguments)

    return run


def test_an_endpoint_of_servefit_says_what_its_model_takes_and_how_long_it_took(
    load: Servefit, endpoint: str, tmp_path: Path
) -> None:
    kept, log = tmp_path / "kept", tmp_path / "times.hlog"
    files = ("--save", kept, "--histogram", log)
    ended = load(endpoint, "--users", "2", *SHORT, *files, "--format", "json", payload=None)
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert (document["schema"], document["driver"], document["model"]) == (1, "http", "cancer")
    assert document["endpoint"] == f"{endpoint}/v2/models/cancer/infer"
    assert document["protocol"] == "open-inference"
    assert document["payload"] == {"source": "synthetic payload", "rows_per_request": 1, "synthetic": True}
    assert "synthetic payload" in ended.stderr
    assert document["errors"] == {}
    medians = [document[name]["p50"] for name in ("latency_ms", "model_latency_ms", "overhead_latency_ms")]
    assert 0 < medians[1] < medians[0]
    assert medians[0] == pytest.approx(medians[1] + medians[2], rel=0.3)
    assert summarize(load_endpoint_runs(kept).runs[0]).latency_ms == document["latency_ms"]
    assert log.read_text().startswith("#[")


@pytest.mark.thorough
def test_columns_that_the_model_does_not_have_are_left_out_as_by_the_commands_that_open_it(
    servefit: Servefit, state: Path, tmp_path: Path
) -> None:
    rows, model, payload = np.arange(40.0).reshape(20, 2), tmp_path / "named.ubj", tmp_path / "payload.csv"
    data = xgboost.DMatrix(rows, rows[:, 0], feature_names=["amount", "age"])
    xgboost.train({"max_depth": 2}, data, num_boost_round=2).save_model(model)
    payload.write_text("id,age,amount,label\n1,30,2.5,0\n2,40,3.5,1\n")
    remark = "warning: payload.csv has 2 columns that the model does not have, left out of every request: id, label"
    profiled = servefit("profile", model, "--payload", payload, "--profile", "local-1c", "--allow-noise")
    assert remark in profiled.stderr
    with served(model, "named", state) as url:
        for path in ("", "/invocations"):
            loaded = servefit("load", url + path, "--payload", payload, "--users", "1", *SHORT, "--format", "json")
            assert loaded.status == 0, loaded.stderr
            assert remark in loaded.stderr
            assert loaded.document["errors"] == {}


def test_without_traffic_the_most_invocations_are_found(load: Servefit, endpoint: str) -> None:
    ended = load(endpoint, "--duration", "1s", "--allow-noise")
    assert ended.status == 0, ended.stderr
    for word in (
        "max invocations per min",
        "response time p95",
        "model latency",
        "overhead",
        "client CPUs",
        "Users",
    ):
        assert word in ended.stdout
    assert "more and more users" in ended.stderr
    assert re.search(r"server +python.*, process \d+, CPUs \d", ended.stdout)


def test_an_sla_that_does_not_hold_ends_with_3(load: Servefit, plain: str) -> None:
    ended = load(f"{plain}/score", "--rate", "300/s", "--sla", "p95=1ms", "--duration", "10s", "--allow-noise")
    assert ended.status == 3, ended.stderr
    assert re.search(r"verdict +FAIL", ended.stdout)


def test_a_plain_server_is_sent_the_objects_of_a_payload_step_by_step(
    load: Servefit, plain: str, tmp_path: Path
) -> None:
    payload = tmp_path / "transactions.jsonl"
    payload.write_text('{"amount": 3, "country": "DE"}\n{"amount": 4, "country": "FR"}\n')
    stairs = ("--stairs", "steps=2,users=1,duration=1.0s", "--sla", "p90=2s", "--allow-noise", "--format", "json")
    ended = load(f"{plain}/score", *stairs, payload=payload)
    assert ended.status == 0, ended.stderr
    document = ended.document
    assert (document["protocol"], document["payload"]["source"]) == ("json", "transactions.jsonl")
    assert document["model_latency_ms"] is None
    assert [step["users"] for step in document["steps"]] == [1, 2]
    assert document["verdict"] == "PASS"
    assert document["max_invocations"] > 600


def test_failed_requests_are_counted_by_kind_and_break_a_rate(load: Servefit, plain: str) -> None:
    ended = load(f"{plain}/busy", "--rate", "100/s", "--constant", *SHORT)
    assert ended.status == 3, ended.stderr
    assert re.search(r"errors +\d+ x status 503", ended.stdout)
    assert "requests failed" in ended.stdout


def test_a_limit_that_no_client_can_keep_time_for_ends_with_5(load: Servefit, plain: str) -> None:
    # 5 % of 20 us are allowed as schedule lag, and no machine sends that punctually.
    ended = load(f"{plain}/score", "--rate", "200/s", "--sla", "p95=20us", "--duration", "0.2s", "--quiet")
    assert ended.status == 5, ended.stderr
    assert "INVALID" in ended.stdout


REFUSED: list[tuple[list[str], int, list[str]]] = [
    (["localhost:8080"], 2, ["url", "is no address of a server", "http://127.0.0.1:8080"]),
    (["http://192.0.2.1:8080"], 2, ["url", "is not this machine", "--allow-remote"]),
    (["http://nowhere.invalid"], 4, ["there is no server called nowhere.invalid"]),
    (["http://127.0.0.1:1"], 4, ["does not answer: Connection refused"]),
    (["PLAIN/nowhere", "--payload", "NARROW"], 4, ["/nowhere answers no request: status 404, 'Not Found'"]),
    (["ENDPOINT/invocations", "--payload", "NARROW"], 4, ["status 400", "expected 30 columns, got 3"]),
    (["ENDPOINT", "--payload", "gone.csv"], 2, ["gone.csv", "no such file"]),
    (["PLAIN/score", "--users", "1"], 2, ["payload", "give sample rows"]),
    (["PLAIN/score", "--rate", "10/s", "--users", "2"], 2, ["users", "cannot be combined with rate"]),
    (["PLAIN/score", "--save", "/no/such/folder/kept"], 4, ["cannot write /no/such/folder/kept"]),
]


@pytest.mark.parametrize(("arguments", "status", "words"), REFUSED, ids=[" ".join(refused[0]) for refused in REFUSED])
def test_what_cannot_be_done_is_told_in_one_line(
    servefit: Servefit, endpoint: str, plain: str, tmp_path: Path, arguments: list[str], status: int, words: list[str]
) -> None:
    narrow = tmp_path / "narrow.csv"
    narrow.write_text("1,2,3\n")
    places: dict[str, Any] = {"ENDPOINT": endpoint, "PLAIN": plain, "NARROW": str(narrow)}
    filled = [re.sub("ENDPOINT|PLAIN|NARROW", lambda found: places[found[0]], argument) for argument in arguments]
    ended = servefit("load", *filled, "--quiet")
    assert ended.status == status, ended.stderr
    assert ended.stdout == ""
    assert len(ended.stderr.strip().splitlines()) == 1
    assert all(word in ended.stderr for word in words), ended.stderr
