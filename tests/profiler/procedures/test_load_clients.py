"""The CPUs of load clients, and clients that share the CPUs of the server."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from servefit.errors import SpecError
from servefit.profiler.machine.host import describe_host
from servefit.profiler.procedures.load_clients import clients_at, competing_load, place_clients
from servefit.profiler.procedures.target_endpoint import LoadTarget, resolve_target
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop

if TYPE_CHECKING:
    import numpy as np
    from tests.conftest import Hog
    from tests.profiler.conftest import HostSmall, MakeHost

pytestmark = pytest.mark.integration

MINE = tuple(sorted(os.sched_getaffinity(0)))


@pytest.fixture(autouse=True)
def everything_ends(nothing_remains: None) -> None:
    """Asserted after every test of this module."""


def target_at(url: str, rows: np.ndarray) -> LoadTarget:
    return resolve_target(url, payload=rows, protocol="json")


def test_clients_stay_off_the_cpus_of_a_server_that_has_its_own(
    host_small: HostSmall, make_host: MakeHost, payload_rows: np.ndarray
) -> None:
    with host_small({}, cpus=(MINE[-1],)) as hosted:
        placement = place_clients(target_at(hosted.url, payload_rows), make_host(cpus=MINE[-1] + 4))
    assert placement.apart
    assert placement.server is not None
    assert placement.server.cpus == {MINE[-1]}
    assert len(placement.cpus) == 1
    assert MINE[-1] not in (*placement.cpus, *placement.own_cpus)
    assert placement.caution is None


@pytest.mark.timed
def test_clients_leave_most_of_the_machine_to_a_server_that_may_be_anywhere(
    host_small: HostSmall, make_host: MakeHost, payload_rows: np.ndarray
) -> None:
    with host_small({}, cpus=MINE) as hosted:
        placement = place_clients(target_at(hosted.url, payload_rows), make_host(cpus=len(MINE)))
    assert not placement.apart
    assert len(placement.cpus) == max(1, len(MINE) // 4)
    assert placement.caution is not None
    assert "may use every CPU of this machine" in placement.caution


@pytest.mark.timed
def test_what_else_runs_on_the_servers_cpu_is_named_before_anything_is_sent(
    host_small: HostSmall, make_host: MakeHost, payload_rows: np.ndarray, hog: Hog
) -> None:
    host = make_host(cpus=MINE[-1] + 1)
    with host_small({}, cpus=(MINE[-1],)) as hosted:
        placement = place_clients(target_at(hosted.url, payload_rows), host)
        with hog(MINE[-1]):
            found = competing_load(placement, host)
    assert found is not None
    assert found.kind == "competing load"
    assert re.match(
        r"other processes used [\d.]+ % of a CPU before anything was sent, \d+ % are allowed: ", found.reason
    )
    assert "python" in found.reason


def test_a_server_whose_processes_cannot_be_seen_is_said_not_to_be(
    host_small: HostSmall, make_host: MakeHost, payload_rows: np.ndarray
) -> None:
    with host_small({}) as hosted:
        target = target_at(hosted.url, payload_rows)
    placement = place_clients(target, make_host(cpus=8))
    assert (placement.server, placement.apart, placement.is_here) == (None, False, True)
    assert placement.caution == "which CPUs the server uses cannot be seen here; the load client ran on CPU 0, 1"


def test_for_another_machine_there_are_more_clients(
    host_small: HostSmall, make_host: MakeHost, payload_rows: np.ndarray
) -> None:
    with host_small({}) as hosted:
        target = replace(target_at(hosted.url, payload_rows), is_here=False)
    placement = place_clients(target, make_host(cpus=8))
    assert (placement.cpus, placement.own_cpus) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert placement.caution is None
    assert len(place_clients(target, make_host(cpus=64)).cpus) == 8


@pytest.mark.timed
@pytest.mark.parametrize("cpus", [(MINE[-1],), pytest.param(MINE, marks=pytest.mark.thorough)])
def test_runs_are_carried_out_wherever_the_server_may_be(
    host_small: HostSmall, payload_rows: np.ndarray, cpus: tuple[int, ...]
) -> None:
    with host_small({"timing": True, "delay_ms": 1}, cpus=cpus) as hosted:
        target = target_at(hosted.url, payload_rows)
        placement = place_clients(target, describe_host())
        assert placement.apart == (cpus != MINE)
        with clients_at(target, placement, rows_per_request=2, connections=3, timeout_s=5) as driver:
            closed = driver.run(ClosedLoop.constant(users=2, duration_s=0.3))
            loop = OpenLoop(rate_per_s=400, duration_s=0.3)
            opened = driver.busy_with(3).run(loop)
    for run in (closed, opened):
        assert run.client is not None
        assert run.client.errors == {}
        assert run.samples.predicted_ns() is not None
        assert len(run.telemetry) >= 1
        assert all(point.run_queue_percent is None for point in run.telemetry)
    assert opened.client is not None
    assert opened.client.connections <= 3


def test_an_endpoint_is_kept_busy_by_the_usual_users_or_more(host_small: HostSmall, payload_rows: np.ndarray) -> None:
    with host_small({}) as hosted:
        target = target_at(hosted.url, payload_rows)
        with clients_at(target, place_clients(target, describe_host())) as driver:
            assert [driver.busy_with(users).usual_users for users in (1, 16, 200)] == [16, 16, 200]


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("rows_per_request", {"rows_per_request": 0}),
        ("rows_per_request", {"rows_per_request": 2_000_000}),
        ("connections", {"connections": 0}),
        ("connections", {"connections": 1.5}),
        ("connections", {"connections": 100_000}),
        ("timeout", {"timeout_s": 0}),
        ("timeout", {"timeout_s": float("nan")}),
        ("timeout", {"timeout_s": 1e9}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    host_small: HostSmall, payload_rows: np.ndarray, field: str, options: dict[str, Any]
) -> None:
    with host_small({}) as hosted:
        target = target_at(hosted.url, payload_rows)
    with (
        pytest.raises(SpecError) as caught,
        clients_at(target, place_clients(target, describe_host()), **options),
    ):
        pass
    assert caught.value.field == field
