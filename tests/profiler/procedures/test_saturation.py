"""The most requests that an endpoint answers, on simulated endpoints and on a small real one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.drivers.http.clients import start_clients
from servefit.profiler.drivers.http.destination import Destination
from servefit.profiler.drivers.http.servers import UnseenServer
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.procedures.saturation import MAX_USERS, find_saturation, try_users
from servefit.profiler.record.traffic import ClosedLoop, Traffic
from servefit.profiler.record.types import ClientRecord, Run, Samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.profiler.conftest import HostSmall

    from servefit.profiler.drivers.driving.ending import Enough
    from servefit.profiler.evidence.stopping import StoppingConditions

FIRST_CPU, LAST_CPU = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
MS = 1_000_000


class SimulatedEndpoint:
    """A driver of ``servers`` that take ``service_ms`` each for a request, and ``network_ms`` on top of it. With more
    users than ``most_users`` half of all requests fail. In the runs that are ``disturbed``, by their number from 1 on,
    a neighbour has most of the CPU."""

    configuration = None
    envelope = None
    usual_users = 16

    def __init__(
        self,
        *,
        service_ms: float,
        network_ms: float = 0.0,
        servers: int = 1,
        most_users: int | None = None,
        disturbed: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._service_ms = service_ms
        self._network_ms = network_ms
        self._servers = servers
        self._most_users = most_users
        self._disturbed = disturbed
        self.tried: list[tuple[int, float]] = []

    def run(self, traffic: Traffic, *, enough: Enough | None = None, stopping: StoppingConditions | None = None) -> Run:
        assert isinstance(traffic, ClosedLoop)
        users, end_ns = traffic.users, round(traffic.duration_s * 1e9)
        self.tried.append((users, traffic.duration_s))
        disturbed = self._disturbed(len(self.tried))
        response_ms = max(self._service_ms + self._network_ms, users * self._service_ms / self._servers)
        response_ms *= 4 if disturbed else 1
        due = np.concatenate([np.arange(0, end_ns, round(response_ms * MS))] * users).astype(np.int64)
        due.sort()
        ended = due + round(response_ms * MS)
        failed = 0
        if self._most_users is not None and users > self._most_users:
            ended[::2] *= -1
            failed = len(ended[::2])
        return Run(
            driver="http",
            traffic=traffic,
            samples=Samples(scheduled=due.tobytes(), started=due.tobytes(), ended=ended.tobytes()),
            plateau_ns=(0, end_ns),
            offered=len(due),
            backlog=0,
            lags=b"",
            busy_cpu_ns=None,
            threads_per_worker=(),
            threads_outside=0,
            peak_memory_bytes=None,
            telemetry=(),
            client=ClientRecord(
                processes=1,
                cpus=(0,),
                cpu_percent=1.0,
                connections=users,
                reconnections=0,
                errors={"status 503": failed} if failed else {},
                shares_cpus=False,
                waited_percent=60.0 if disturbed else 0.0,
            ),
        )


def test_users_double_until_more_are_not_served_more() -> None:
    endpoint = SimulatedEndpoint(service_ms=2, network_ms=2, servers=4)
    found = find_saturation(endpoint, budget_s=20)
    assert [level.users for level in found.tried.levels] == [1, 2, 4, 8, 16, 32]
    assert found.tried.ended == "more users are not served more"
    # Eight users keep four servers busy, half of whose requests are on the way.
    assert found.tried.users == 8
    assert summarize(found.run).throughput_per_s == pytest.approx(2000, rel=0.01)
    assert endpoint.tried[-1] == (8, 5.0)


def test_one_user_may_be_all_that_is_served() -> None:
    found = find_saturation(SimulatedEndpoint(service_ms=5), budget_s=20)
    assert found.tried.users == 1
    assert summarize(found.run).latency_ms["p50"] == pytest.approx(5)


def test_users_whose_requests_fail_are_too_many() -> None:
    found = find_saturation(SimulatedEndpoint(service_ms=1, servers=64, most_users=8), budget_s=20)
    assert [level.users for level in found.tried.levels] == [1, 2, 4, 8, 16]
    assert found.tried.users == 8
    assert found.tried.ended.endswith("requests failed with 16 users")
    assert summarize(found.run).errors == {}


def test_an_endpoint_that_fails_from_the_first_user_on_is_measured_with_one() -> None:
    found = find_saturation(SimulatedEndpoint(service_ms=1, most_users=0), budget_s=20)
    assert found.tried.users == 1
    assert summarize(found.run).failed > 100


def test_the_number_of_users_is_bounded() -> None:
    tried = try_users(SimulatedEndpoint(service_ms=100, servers=10_000), budget_s=20)
    assert tried.users == MAX_USERS
    assert tried.ended == f"there are {MAX_USERS} users"


def test_a_level_that_the_machine_got_in_the_way_of_is_made_again() -> None:
    endpoint = SimulatedEndpoint(service_ms=2, network_ms=2, servers=4, disturbed=lambda nth: nth in (3, 5))
    found = find_saturation(endpoint, budget_s=20)
    assert [users for users, _ in endpoint.tried] == [1, 2, 4, 4, 8, 8, 16, 32, 8]
    assert [level.users for level in found.tried.levels] == [1, 2, 4, 8, 16, 32]
    assert (found.tried.users, found.tried.ended) == (8, "more users are not served more")
    assert found.problems == ()


def test_a_machine_that_keeps_getting_in_the_way_ends_the_search_and_is_the_reason() -> None:
    endpoint = SimulatedEndpoint(service_ms=2, network_ms=2, servers=4, disturbed=lambda nth: nth > 2)
    found = find_saturation(endpoint, budget_s=20)
    assert [users for users, _ in endpoint.tried] == [1, 2, 4, 4, 4, 2, 2, 2]
    assert found.tried.ended == "the machine got in the way of 4 users"
    assert [problem.kind for problem in found.problems] == ["competing load"]


def test_a_neighbour_from_the_first_user_on_leaves_figures_that_are_not_to_be_believed() -> None:
    found = find_saturation(SimulatedEndpoint(service_ms=2, disturbed=lambda _: True), budget_s=20)
    assert (found.tried.users, [level.users for level in found.tried.levels]) == (1, [1])
    assert found.problems


def test_with_noise_allowed_every_level_counts_and_what_is_wrong_with_the_last_run_is_said() -> None:
    endpoint = SimulatedEndpoint(service_ms=2, network_ms=2, servers=4, disturbed=lambda _: True)
    found = find_saturation(endpoint, budget_s=20, allow_noise=True)
    assert [users for users, _ in endpoint.tried] == [1, 2, 4, 8, 16, 32, 8]
    assert found.tried.problems == ()
    assert [problem.kind for problem in found.problems] == ["competing load"]


def test_slow_answers_are_given_time_to_be_counted() -> None:
    endpoint = SimulatedEndpoint(service_ms=200, servers=2)
    try_users(endpoint, budget_s=20)
    first, second, *others = (duration_s for _, duration_s in endpoint.tried)
    assert first == 1
    assert second == pytest.approx(2, rel=0.3)
    assert others[-1] == pytest.approx(3)


@pytest.mark.parametrize("budget_s", [0, -1, 0.5, float("nan"), float("inf")])
def test_a_search_needs_time(budget_s: float) -> None:
    with pytest.raises(SpecError, match=r"^duration: "):
        find_saturation(SimulatedEndpoint(service_ms=1), budget_s=budget_s)


@pytest.mark.timed
@pytest.mark.thorough
def test_a_server_that_serves_one_at_a_time_is_found_out(host_small: HostSmall, payload_rows: np.ndarray) -> None:
    with (
        host_small({"delay_ms": 2, "serial": True}, cpus=(LAST_CPU,)) as hosted,
        start_clients(Destination.of(hosted.url, "json"), payload_rows, UnseenServer(), cpus=(FIRST_CPU,)) as driver,
    ):
        found = find_saturation(driver, budget_s=2, allow_noise=True)
    # A tenth of a second counts fifty answers, so one user more or less is within what it can tell.
    assert found.tried.users <= 4
    assert 200 < summarize(found.run).throughput_per_s < 520
    assert found.tried.levels[0].users == 1
