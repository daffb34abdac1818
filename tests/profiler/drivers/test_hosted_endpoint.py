"""An endpoint in an envelope: when it is ready, why it died, and that no process is left."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from servefit.backends.variables.secret import hidden_environment
from servefit.errors import MeasurementError, OutOfMemory, TimedOut, WorkerCrashed
from servefit.profiler.drivers.hosted_endpoint import hosted_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.profiler.conftest import HostSmall

    from servefit.serving.config import EndpointConfig

pytestmark = pytest.mark.integration

LAST_CPU = max(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def everything_ends(nothing_remains: None) -> None:
    """Asserted after every test of this file."""


def test_an_endpoint_answers_once_it_is_there(host_small: HostSmall) -> None:
    with host_small({"forks": True}) as hosted:
        assert hosted.url == f"http://127.0.0.1:{hosted.port}"
        with urllib.request.urlopen(f"{hosted.url}/invocations", data=b"1,2,3") as answer:
            assert answer.read() == b'{"predictions":[0.25]}'
        assert 0 < hosted.load_s < 60
        hosted.check()


def test_an_endpoint_and_what_it_starts_live_inside_the_envelope(host_small: HostSmall) -> None:
    with host_small({"forks": True}) as hosted:
        assert len(hosted.pids) == 2
        assert [os.sched_getaffinity(pid) for pid in hosted.pids] == [{LAST_CPU}] * 2
        assert hosted.envelope.cpus == (LAST_CPU,)
        started = [psutil.Process(pid) for pid in hosted.pids]
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in started)


def test_an_endpoint_that_cannot_start_says_its_last_line(host_small: HostSmall) -> None:
    facts = {"says": "servefit: xgboost: no such library", "exits": 4}
    with pytest.raises(WorkerCrashed, match="status 4: servefit: xgboost: no such library"), host_small(facts):
        pass


def test_an_endpoint_has_the_secrets_of_its_environment_and_what_it_says_of_them_is_hidden(
    small_config: Callable[[dict[str, Any]], EndpointConfig],
) -> None:
    config = small_config({"says": "the mood is bad", "exits": 4})
    secrets = hidden_environment({"MOOD": "the mood is bad"}, {"MOOD"})
    config = replace(config, environment=(*config.environment, *secrets.items()))
    with (
        pytest.raises(WorkerCrashed, match=r"status 4: \*\*\*$"),
        hosted_endpoint(config, cpus=(LAST_CPU,), module="small_server"),
    ):
        pass
    config = replace(config, artifact=replace(config.artifact, facts={}))
    with hosted_endpoint(config, cpus=(LAST_CPU,), module="small_server") as hosted:
        environment = Path(f"/proc/{hosted.pids[0]}/environ").read_text().split("\0")
    assert "MOOD=the mood is bad" in environment


def test_an_endpoint_that_never_becomes_ready_is_stopped(host_small: HostSmall) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut, match="starting the endpoint"), host_small({"hangs": True}, load_timeout_s=0.5):
        pass
    assert time.monotonic() - began < 5


def test_an_endpoint_that_is_killed_is_a_crash(host_small: HostSmall) -> None:
    with host_small({}) as hosted:
        endpoint = psutil.Process(hosted.pids[0])
        endpoint.kill()
        while endpoint.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        with pytest.raises(WorkerCrashed) as caught:
            hosted.check()
        assert caught.value.signal == signal.SIGKILL
        assert hosted.pids == ()
        with pytest.raises(MeasurementError, match="the endpoint has ended"):
            hosted.check()


def test_an_endpoint_that_needs_too_much_memory_is_killed_for_it_where_memory_can_be_limited(
    host_small: HostSmall,
) -> None:
    limit = 128 * 2**20
    with host_small({}, memory_bytes=limit) as hosted:
        contained = hosted.envelope.containment == "cgroup"
    if contained:
        with pytest.raises(OutOfMemory, match="128 MiB"), host_small({"grows_mb": 300}, memory_bytes=limit):
            pass
    else:
        with host_small({"grows_mb": 300}, memory_bytes=limit) as hosted:
            assert psutil.Process(hosted.pids[0]).memory_info().rss > limit
