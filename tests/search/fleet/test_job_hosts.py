"""What a host of a fleet is measured as."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from servefit.profiler.machine.cgroups import ControlGroups
from servefit.profiler.machine.cpus import LogicalCpu
from servefit.profiler.machine.host import Host, describe_host
from servefit.search.fleet.job_hosts import job_hosts
from servefit.search.request.job_request import EnvironmentRange, JobRequest

if TYPE_CHECKING:
    from collections.abc import Sequence


def of(cores: int, *, siblings: int = 1) -> Host:
    cpus = tuple(LogicalCpu(cpu=nth, core=nth % cores) for nth in range(cores * siblings))
    groups = ControlGroups(kind=None, writable=False, memory_limit_bytes=None, cpu_quota=None)
    return replace(describe_host(), cpus=cpus, cgroups=groups, memory_bytes=64 * 2**30, gpus=())


def profiles(request: JobRequest, host: Host) -> Sequence[tuple[str, int]]:
    state: Any = SimpleNamespace(host=SimpleNamespace(name="rack3-07", host=host, labels=(), cost=()))
    ((found,), _) = job_hosts(request, [state])
    return [(profile.name, profile.vcpus) for profile in found.profiles]


@pytest.mark.parametrize(("cores", "whole"), [(1, 1), (2, 2), (7, 7), (64, 64)])
def test_a_host_that_serves_in_process_is_all_of_its_cpus(cores: int, whole: int) -> None:
    request = JobRequest(name="fraud", deploy="library")
    assert profiles(request, of(cores)) == [(f"local-{whole}c", whole)]


@pytest.mark.parametrize(("cores", "siblings", "left"), [(2, 1, 1), (8, 1, 7), (8, 2, 14), (1, 1, 1)])
def test_a_host_of_an_endpoint_leaves_a_core_to_the_load_client_where_there_is_one(
    cores: int, siblings: int, left: int
) -> None:
    assert profiles(JobRequest(name="fraud"), of(cores, siblings=siblings)) == [(f"local-{left}c", left)]


def test_profiles_that_are_asked_for_are_those() -> None:
    request = JobRequest(name="fraud", profiles=("local-1c", "local-2c"), deploy="library")
    assert profiles(request, of(8)) == [("local-1c", 1), ("local-2c", 2)]


def test_a_profile_that_variables_vary_on_is_measured_beside_the_whole_host() -> None:
    varied = EnvironmentRange(variable="OMP_WAIT_POLICY", values=("active",), profiles=("local-2c",))
    request = JobRequest(name="fraud", deploy="library", environment=(varied,))
    assert profiles(request, of(8)) == [("local-2c", 2), ("local-8c", 8)]
