"""Control groups of version 2 on made-up machines: folders stand for groups, and answer as the kernel does."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from servefit.errors import MeasurementError
from servefit.profiler.machine.envelope.version_2 import open_version_2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.profiler.machine.envelope.conftest import MakeGroup

MIB = 2**20
ROOT = {"cgroup.controllers": "cpuset cpu memory pids\n", "cgroup.subtree_control": "\n", "cgroup.procs": "1\n7\n"}
DELEGATED = ROOT | {"cgroup.events": "populated 1\n", "cgroup.procs": f"{os.getpid()}\n", "memory.max": "max\n"}

NEW: dict[str, str | None] = {
    "cgroup.procs": "",
    "cgroup.events": "populated 0\n",
    "cpuset.cpus": "",
    "cpuset.cpus.effective": None,
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "memory.oom.group": "0\n",
    "memory.events": "oom 3\noom_kill 2\n",
}


def proc(folder: Path, own: str, swaps: str = "Filename Type\n") -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(f"0::{own}\n")
    (folder / "proc/swaps").write_text(swaps)
    return folder / "proc"


def left(group: Path) -> list[str]:
    return [folder.name for folder in group.iterdir() if folder.is_dir()]


def test_a_group_under_the_root_gets_cpus_memory_and_no_swap(tmp_path: Path, make_group: MakeGroup) -> None:
    root = make_group(tmp_path / "cgroup", ROOT, NEW)
    with open_version_2((1, 3), 64 * MIB, cgroups=root, proc=proc(tmp_path, "/")) as envelope:
        assert (root / "cgroup.subtree_control").read_text() == "+cpuset +memory"
        assert envelope.folders[0].parent == root
        written = {name: (envelope.folders[0] / name).read_text() for name in ("cpuset.cpus", "memory.max")}
        assert written == {"cpuset.cpus": "1,3", "memory.max": str(64 * MIB)}
        assert (envelope.folders[0] / "memory.swap.max").read_text() == "0"
        assert (envelope.folders[0] / "memory.oom.group").read_text() == "0"
        assert (envelope.method, envelope.containment) == ("cgroup-v2", "cgroup")
        assert (envelope.cpus, envelope.memory_limit_bytes) == ((1, 3), 64 * MIB)
        assert envelope.join_files == (str(envelope.folders[0] / "cgroup.procs"),)
        assert envelope.command(["python"]) == ["python"]
        assert envelope.oom_kills() == 2
    assert left(root) == []


def test_on_a_hybrid_machine_the_mount_beside_version_1_counts(tmp_path: Path, make_group: MakeGroup) -> None:
    unified = make_group(tmp_path / "cgroup/unified", ROOT, NEW)
    with open_version_2((0,), None, cgroups=tmp_path / "cgroup", proc=proc(tmp_path, "/")) as envelope:
        assert envelope.folders[0].parent == unified
        assert envelope.memory_limit_bytes is None


def test_controllers_that_version_1_has_are_missed(tmp_path: Path, make_group: MakeGroup) -> None:
    make_group(tmp_path / "cgroup/unified", ROOT | {"cgroup.controllers": "hugetlb\n"}, NEW)
    with (
        pytest.raises(MeasurementError, match=r"lacks the controllers cpuset and memory \(it has hugetlb\)"),
        open_version_2((0,), None, cgroups=tmp_path / "cgroup", proc=proc(tmp_path, "/")),
    ):
        pass


def test_a_machine_without_version_2_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(MeasurementError, match="no version 2 control groups are mounted"),
        open_version_2((0,), None, cgroups=tmp_path, proc=proc(tmp_path, "/")),
    ):
        pass


def test_servefit_alone_in_a_delegated_group_steps_aside_and_comes_back(tmp_path: Path, make_group: MakeGroup) -> None:
    make_group(tmp_path / "cgroup", ROOT, NEW)
    own = make_group(tmp_path / "cgroup/user.slice", DELEGATED, NEW)
    with open_version_2((0,), 64 * MIB, cgroups=tmp_path / "cgroup", proc=proc(tmp_path, "/user.slice")) as envelope:
        assert envelope.folders[0].parent == own
        (leaf,) = set(left(own)) - {envelope.folders[0].name}
        assert (own / leaf / "cgroup.procs").read_text() == str(os.getpid())
        assert (own / "cgroup.subtree_control").read_text() == "+cpuset +memory"
        (own / "cgroup.procs").write_text("")  # as the kernel does
    assert left(own) == []
    assert (own / "cgroup.procs").read_text() == str(os.getpid())
    assert (own / "cgroup.subtree_control").read_text() == "-cpuset -memory"


def test_the_group_is_given_back_with_the_last_of_its_envelopes_in_whatever_order_they_close(
    tmp_path: Path, make_group: MakeGroup
) -> None:
    make_group(tmp_path / "cgroup", ROOT, NEW)
    own = make_group(tmp_path / "cgroup/user.slice", DELEGATED, NEW)
    told = proc(tmp_path, "/user.slice")
    first, second = ExitStack(), ExitStack()
    first_envelope = first.enter_context(open_version_2((0,), None, cgroups=tmp_path / "cgroup", proc=told))
    (leaf,) = set(left(own)) - {first_envelope.folders[0].name}
    (own / "cgroup.procs").write_text("")  # as the kernel does
    (told / "self/cgroup").write_text(f"0::/user.slice/{leaf}\n")
    second_envelope = second.enter_context(open_version_2((1,), None, cgroups=tmp_path / "cgroup", proc=told))
    assert second_envelope.folders[0].parent == own
    first.close()
    assert sorted(left(own)) == sorted([leaf, second_envelope.folders[0].name])
    assert (own / "cgroup.subtree_control").read_text() == "+cpuset +memory"
    second.close()
    assert left(own) == []
    assert (own / "cgroup.procs").read_text() == str(os.getpid())
    assert (own / "cgroup.subtree_control").read_text() == "-cpuset -memory"


def test_other_processes_in_the_group_are_left_alone(tmp_path: Path, make_group: MakeGroup) -> None:
    procs = f"1\n{os.getpid()}\n"
    own = make_group(tmp_path / "cgroup", DELEGATED | {"cgroup.procs": procs}, NEW)
    with (
        pytest.raises(MeasurementError, match=r"1 others share .* Delegate=yes"),
        open_version_2((0,), None, cgroups=own, proc=proc(tmp_path, "/")),
    ):
        pass
    assert (own / "cgroup.procs").read_text() == procs
    assert left(own) == []


def test_other_cpus_than_those_asked_for_are_an_error(tmp_path: Path, make_group: MakeGroup) -> None:
    root = make_group(tmp_path / "cgroup", ROOT, NEW | {"cpuset.cpus.effective": "0-1\n"})
    with (
        pytest.raises(MeasurementError, match=r"enforces \(0, 1\) instead of \(1, 3\) as CPUs"),
        open_version_2((1, 3), None, cgroups=root, proc=proc(tmp_path, "/")),
    ):
        pass
    assert left(root) == []


def test_a_lower_limit_of_a_group_around_is_an_error(tmp_path: Path, make_group: MakeGroup) -> None:
    make_group(tmp_path / "cgroup", ROOT, NEW)
    own = make_group(tmp_path / "cgroup/job", DELEGATED | {"memory.max": str(32 * MIB)}, NEW)
    with (
        pytest.raises(MeasurementError, match=f"allows only {32 * MIB} bytes of memory, {64 * MIB} were asked for"),
        open_version_2((0,), 64 * MIB, cgroups=tmp_path / "cgroup", proc=proc(tmp_path, "/job")),
    ):
        pass
    assert left(own) == []


@pytest.mark.parametrize("swapping", [True, False])
def test_a_kernel_that_cannot_limit_swap_will_do_where_there_is_none(
    tmp_path: Path, make_group: MakeGroup, swapping: bool
) -> None:
    without = {name: content for name, content in NEW.items() if name != "memory.swap.max"}
    root = make_group(tmp_path / "cgroup", ROOT, without)
    swaps = "Filename Type\n" + "/dev/vdb partition\n" * swapping
    with ExitStack() as stack:
        if swapping:
            stack.enter_context(pytest.raises(MeasurementError, match="cannot keep a group out of swap; turn swap off"))
        envelope = stack.enter_context(open_version_2((0,), 64 * MIB, cgroups=root, proc=proc(tmp_path, "/", swaps)))
        assert not swapping
        assert envelope.memory_limit_bytes == 64 * MIB
    assert left(root) == []
