"""Control groups of made-up machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from servefit.profiler.machine.cgroups import ControlGroups, describe_cgroups

if TYPE_CHECKING:
    from pathlib import Path

NO_LIMIT = str(2**63 - 4096)


def describe(root: Path, own: str, files: dict[str, str]) -> ControlGroups:
    written = {"proc/self/cgroup": own} | {f"sys/fs/cgroup/{name}": content for name, content in files.items()}
    for name, content in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return describe_cgroups(proc=root / "proc", sys=root / "sys")


def test_version_2_with_delegation_is_writable(tmp_path: Path) -> None:
    found = describe(
        tmp_path,
        "0::/user.slice\n",
        {
            "cgroup.controllers": "cpuset cpu memory",
            "user.slice/cgroup.controllers": "cpuset memory",
            "user.slice/cgroup.procs": "",
        },
    )
    assert found == ControlGroups(kind="v2", writable=True, memory_limit_bytes=None, cpu_quota=None)


def test_version_2_without_the_cpuset_controller_is_of_no_use(tmp_path: Path) -> None:
    found = describe(tmp_path, "0::/\n", {"cgroup.controllers": "memory pids", "cgroup.procs": ""})
    assert (found.kind, found.writable) == ("v2", False)


def test_the_lowest_limit_on_the_way_up_holds(tmp_path: Path) -> None:
    found = describe(
        tmp_path,
        "0::/outer/inner\n",
        {
            "cgroup.controllers": "",
            "outer/memory.max": "1000000\n",
            "outer/cpu.max": "150000 100000\n",
            "outer/inner/memory.max": "max\n",
            "outer/inner/cpu.max": "max 100000\n",
        },
    )
    assert found.memory_limit_bytes == 1_000_000
    assert found.cpu_quota == 1.5


def test_a_path_of_the_host_that_a_container_does_not_see_means_its_root(tmp_path: Path) -> None:
    found = describe(tmp_path, "0::/docker/abc\n", {"cgroup.controllers": "", "memory.max": "5000000"})
    assert found.memory_limit_bytes == 5_000_000


@pytest.mark.parametrize(("unified", "kind"), [(True, "hybrid"), (False, "v1")])
def test_version_1_and_the_hybrid_of_both(tmp_path: Path, unified: bool, kind: Any) -> None:
    files = {
        "cpuset/cpuset.cpus": "0-3",
        "memory/memory.limit_in_bytes": NO_LIMIT,
        "memory/job/memory.limit_in_bytes": "7000000",
        "cpu/cpu.cfs_quota_us": "200000",
        "cpu/cpu.cfs_period_us": "100000",
    }
    own = "3:memory:/job\n2:cpuset:/\n1:cpu,cpuacct:/\n0::/\n"
    found = describe(tmp_path, own, files | ({"unified/cgroup.procs": ""} if unified else {}))
    assert found == ControlGroups(kind=kind, writable=True, memory_limit_bytes=7_000_000, cpu_quota=2)


def test_no_limit_and_no_quota_are_none(tmp_path: Path) -> None:
    files = {"cpuset/x": "", "memory/memory.limit_in_bytes": NO_LIMIT, "cpu/cpu.cfs_quota_us": "-1"}
    found = describe(tmp_path, "", files)
    assert (found.memory_limit_bytes, found.cpu_quota) == (None, None)


def test_a_machine_without_control_groups_has_none(tmp_path: Path) -> None:
    assert describe(tmp_path, "", {}) == ControlGroups(
        kind=None, writable=False, memory_limit_bytes=None, cpu_quota=None
    )
