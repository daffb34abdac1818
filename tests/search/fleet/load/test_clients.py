"""Load from two clients, with agents as processes and an endpoint on this host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.scripts import photos
from tests.search.fleet.conftest import AgentProcess, eventually, rows

if TYPE_CHECKING:
    from tests.search.fleet.load.conftest import Endpoint, Servefit, StartClient

pytestmark = pytest.mark.timed

_LOAD = ("--protocol", "json", "--rate", "200/s", "--from", "client-*", "--allow-noise", "--quiet", "--format", "json")


@pytest.mark.thorough
def test_two_clients_send_a_rate_together_and_their_percentiles_are_merged(
    start_client: StartClient, servefit: Servefit, endpoint: Endpoint, payload: Path, fleet_url: str
) -> None:
    for agent in [start_client(name, wait=False) for name in ("client-a", "client-b", "other")]:
        agent.wait_until_ready()
    ended = servefit("load", endpoint.url, "--payload", payload, *_LOAD, "--duration", "2s", "--sla", "p95=900ms")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    first, second = found["clients"]
    assert [first["host"], second["host"]] == ["client-a", "client-b"]
    assert found["verdict"] == "PASS"
    assert found["throughput_per_s"] == pytest.approx(200, rel=0.25)
    assert found["samples"] == first["summary"]["samples"] + second["summary"]["samples"]
    assert found["overlap"] > 0.95
    assert abs(first["began_at"] - second["began_at"]) <= 2 * max(first["clock_within_s"], second["clock_within_s"])
    medians = sorted(client["summary"]["latency_ms"]["p50"] for client in (first, second))
    assert medians[0] * 0.999 <= found["latency_ms"]["p50"] <= medians[1] * 1.001
    assert first["seconds"]["due"] != second["seconds"]["due"]  # each has arrivals of its own
    assert endpoint.answered >= found["samples"]
    assert rows(fleet_url, "SELECT * FROM servefit_starts") == []


@pytest.mark.thorough
def test_two_clients_send_files_as_they_are(
    start_client: StartClient, servefit: Servefit, endpoint: Endpoint, tmp_path: Path
) -> None:
    for name in ("client-a", "client-b"):
        start_client(name)
    sent = ("--payload", photos(tmp_path / "photos"), "--content-type", "image/jpeg", "--from", "client-*")
    usual = ("--rate", "100/s", "--allow-noise", "--quiet", "--format", "json", "--duration", "1s")
    ended = servefit("load", endpoint.url, *sent, *usual, "--sla", "p95=900ms")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert {client["protocol"] for client in found["clients"]} == {"sagemaker-opaque"}
    assert found["samples"] > 50
    assert endpoint.content_types == {b"image/jpeg"}


@pytest.mark.thorough
def test_a_client_that_is_farther_away_is_named(
    start_client: StartClient, servefit: Servefit, endpoint: Endpoint, payload: Path
) -> None:
    start_client("client-a")
    far = start_client("client-b")
    endpoint.delays_s[far.process.pid] = 0.06
    ended = servefit("load", endpoint.url, "--payload", payload, *_LOAD, "--duration", "2s", "--sla", "p95=400ms")
    assert ended.returncode == 5, ended.stderr
    found = json.loads(ended.stdout)
    assert found["verdict"] == "INVALID"
    assert found["reason"].startswith("client-b is ")
    assert "ms farther away than the others" in found["reason"]


@pytest.mark.thorough
def test_a_client_that_was_behind_spoils_the_load(
    start_client: StartClient, environment: dict[str, str], endpoint: Endpoint, payload: Path, fleet_url: str
) -> None:
    start_client("client-a")
    behind = start_client("client-b")
    command = [sys.executable, "-m", "servefit", "load", endpoint.url, "--payload", str(payload), *_LOAD]
    with subprocess.Popen(
        [*command, "--duration", "2s"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        start_s = _start(fleet_url)
        sending = _load_client(behind)
        # Its host is busy with something else when it is to begin.
        sending.suspend()
        time.sleep(start_s - time.time() + 0.6)
        sending.resume()
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 5, stderr
    found = json.loads(stdout)
    assert "the last to begin was client-b" in found["reason"]
    assert found["clients"][1]["late_s"] > 0.4
    assert ("client-b", "schedule lag") in {(each["host"], each["kind"]) for each in found["problems"]}


@pytest.mark.thorough
def test_a_client_that_is_killed_while_it_sends_spoils_the_load_and_holds_nobody_up(
    start_client: StartClient, environment: dict[str, str], endpoint: Endpoint, payload: Path, fleet_url: str
) -> None:
    start_client("client-a")
    killed = start_client("client-b")
    command = [sys.executable, "-m", "servefit", "load", endpoint.url, "--payload", str(payload), *_LOAD]
    with subprocess.Popen(
        [*command, "--duration", "2s"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(_start(fleet_url) - time.time() + 0.5)
        below = killed.children()
        killed.end(signal.SIGKILL)
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), within_s=5)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 5, stderr
    found = json.loads(stdout)
    assert found["verdict"] == "INVALID"
    assert found["reason"].startswith("client-b: its agent was silent for")
    assert found["clients"][0]["summary"]["samples"] > 100
    assert found["clients"][1]["lost"]


@pytest.mark.thorough
def test_ctrl_c_ends_all_clients(
    start_client: StartClient, environment: dict[str, str], endpoint: Endpoint, payload: Path, fleet_url: str
) -> None:
    agents = [start_client("client-a"), start_client("client-b")]
    command = [sys.executable, "-m", "servefit", "load", endpoint.url, "--payload", str(payload), *_LOAD]
    with subprocess.Popen(
        [*command, "--duration", "60s"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        time.sleep(_start(fleet_url) - time.time() + 0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130
    eventually(lambda: not any(agent.children() for agent in agents), within_s=6)
    assert rows(fleet_url, "SELECT 1 FROM servefit_orders WHERE state = 'OPEN'") == []


@pytest.mark.thorough
def test_an_endpoint_that_is_not_there_is_an_error_and_nothing_is_sent(
    start_client: StartClient, servefit: Servefit, payload: Path
) -> None:
    start_client("client-a")
    ended = servefit("load", "http://127.0.0.1:9/score", "--payload", payload, *_LOAD)
    assert ended.returncode == 4, ended.stdout
    assert "client-a: " in ended.stderr


def _start(url: str) -> float:
    """When the load in progress begins, as soon as that is named."""
    named: list[Any] = []

    def is_named() -> bool:
        named[:] = [start for (start,) in rows(url, "SELECT start_at FROM servefit_starts WHERE start_at IS NOT NULL")]
        return bool(named)

    eventually(is_named, within_s=40)
    return float(named[0])


def _load_client(agent: AgentProcess) -> psutil.Process:
    """The process of an agent that sends: the one that has connections to an endpoint."""
    for pid in reversed(agent.children()):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if not process.children() and os.getpgid(pid) and process.net_connections():
                return process
    raise AssertionError("no process sends")
