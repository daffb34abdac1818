"""Control groups of version 1 on made-up machines: folders stand for groups, and answer as the kernel does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servefit.errors import MeasurementError
from servefit.profiler.machine.envelope.version_1 import open_version_1

if TYPE_CHECKING:
    from tests.profiler.machine.envelope.conftest import MakeGroup

MIB = 2**20
NEW: dict[str, str | None] = {
    "cgroup.procs": "",
    "cpuset.mems": "",
    "cpuset.cpus": "",
    "cpuset.effective_cpus": None,
    "memory.limit_in_bytes": "",
    "memory.memsw.limit_in_bytes": "",
    "memory.swappiness": "60",
    "memory.stat": f"cache 0\nhierarchical_memory_limit {64 * MIB}\n",
    "memory.oom_control": "oom_kill_disable 0\noom_kill 2\n",
}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The process is in another group of each controller; that of the cpuset is one of the host, not seen from here."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/job\n3:cpuset:/docker/abc\n0::/\n")
    return tmp_path


def make(machine: Path, make_group: MakeGroup, new: dict[str, str | None] = NEW) -> Path:
    make_group(machine / "cgroup/cpuset", {"cgroup.procs": "", "cpuset.mems": "0-1\n"}, new)
    make_group(machine / "cgroup/memory", {"cgroup.procs": ""}, new)
    make_group(machine / "cgroup/memory/job", {"cgroup.procs": ""}, new)
    return machine / "cgroup"


def left(cgroups: Path) -> list[Path]:
    return [*cgroups.glob("**/servefit-*")]


def test_each_controller_gets_a_group_where_this_process_has_its_own(machine: Path, make_group: MakeGroup) -> None:
    cgroups = make(machine, make_group)
    with open_version_1((1, 3), 64 * MIB, cgroups=cgroups, proc=machine / "proc") as envelope:
        cpuset, memory = envelope.folders
        assert (cpuset.parent, memory.parent) == (cgroups / "cpuset", cgroups / "memory/job")
        assert cpuset.name == memory.name
        assert (cpuset / "cpuset.mems").read_text() == "0-1"
        assert (cpuset / "cpuset.cpus").read_text() == "1,3"
        limits = [(memory / f"memory.{name}limit_in_bytes").read_text() for name in ("", "memsw.")]
        assert limits == [str(64 * MIB)] * 2
        assert (memory / "memory.swappiness").read_text() == "0"
        assert (envelope.cpus, envelope.memory_limit_bytes) == ((1, 3), 64 * MIB)
        assert envelope.join_files == (str(cpuset / "cgroup.procs"), str(memory / "cgroup.procs"))
        assert envelope.oom_kills() == 2
    assert left(cgroups) == []


def test_a_machine_without_both_controllers_is_refused(machine: Path, make_group: MakeGroup) -> None:
    make_group(machine / "cgroup/cpuset", {"cgroup.procs": ""}, NEW)
    with (
        pytest.raises(MeasurementError, match="no version 1 memory controller is mounted"),
        open_version_1((0,), None, cgroups=machine / "cgroup", proc=machine / "proc"),
    ):
        pass
    assert left(machine / "cgroup") == []


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"cpuset.effective_cpus": "1\n"}, r"\(1,\) instead of \(1, 3\) as CPUs"),
        ({"memory.stat": "hierarchical_memory_limit 4096\n"}, "4096 instead of .* the groups around"),
    ],
)
def test_what_the_kernel_enforces_is_compared_with_what_was_asked_for(
    machine: Path, make_group: MakeGroup, answers: dict[str, str | None], reason: str
) -> None:
    cgroups = make(machine, make_group, NEW | answers)
    with (
        pytest.raises(MeasurementError, match=reason),
        open_version_1((1, 3), 64 * MIB, cgroups=cgroups, proc=machine / "proc"),
    ):
        pass
    assert left(cgroups) == []


def test_a_folder_in_which_no_group_can_be_made_is_refused_with_the_reason_and_a_remedy(
    machine: Path, make_group: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroups = make(machine, make_group)

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(MeasurementError, match=f"{cgroups}/cpuset: Permission denied; run as root"),
        open_version_1((0,), None, cgroups=cgroups, proc=machine / "proc"),
    ):
        pass
