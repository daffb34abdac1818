"""Slices of systemd for envelopes, with a systemctl and a busctl that record their arguments."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from servefit.errors import MeasurementError
from servefit.processes import own_mark
from servefit.profiler.machine.envelope.scope import open_scope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servefit.profiler.machine.envelope.groups import GroupEnvelope

pytestmark = pytest.mark.integration

MIB = 2**20
WHOSE = "--system" if os.geteuid() == 0 else "--user"
SYSTEMCTL = """#!/bin/sh
shift
echo "$*" >> {folder}/calls
case "$1" in
    list-units) echo "servefit_1_2_3_4.slice loaded active active"; cat {folder}/units ;;
    show) echo /servefit.slice ;;
    call) if [ -e {folder}/refusing ]; then echo "Access denied" >&2; exit 1; fi ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    group = tmp_path / "cgroup/servefit.slice"
    group.mkdir(parents=True)
    for name, content in {
        "cgroup.procs": "",
        "cpuset.cpus.effective": "1,3\n",
        "memory.max": f"{64 * MIB}\n",
        "memory.swap.max": "0\n",
        "memory.events": "oom_kill 2\n",
    }.items():
        (group / name).write_text(content)
    (tmp_path / "units").touch()
    (tmp_path / "bin").mkdir()
    for program in (tmp_path / "bin/systemctl", tmp_path / "bin/busctl"):
        program.write_text(SYSTEMCTL.format(folder=tmp_path))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def slice_of(scope: GroupEnvelope) -> str:
    """The unit that processes are started in."""
    (option,) = [word for word in scope.prefix if word.startswith("--slice=")]
    return option.removeprefix("--slice=")


@contextmanager
def opened(machine: Path, cpus: tuple[int, ...] = (1, 3)) -> Iterator[GroupEnvelope]:
    with open_scope(cpus, 64 * MIB, cgroups=machine / "cgroup", running=machine) as scope:
        yield scope


def calls(machine: Path) -> list[str]:
    return (machine / "calls").read_text().splitlines()


def test_a_slice_carries_the_limits_and_is_forgotten_in_the_end(machine: Path) -> None:
    with opened(machine) as scope:
        assert (scope.method, scope.containment, scope.join_files) == ("systemd-scope", "cgroup", ())
        assert (scope.cpus, scope.memory_limit_bytes, scope.oom_kills()) == ((1, 3), 64 * MIB, 2)
        made, started = calls(machine)[-3:-1]
        limits = f"4 AllowedCPUs ay 1 10 MemoryAccounting b true MemoryMax t {64 * MIB} MemorySwapMax t 0"
        assert made.endswith(f" StartTransientUnit ssa(sv)a(sa(sv)) {slice_of(scope)} fail {limits} 0")
        assert started == f"start {slice_of(scope)}"
    assert calls(machine)[-1] == f"stop {slice_of(scope)}"


def test_cpus_of_a_big_machine_are_a_mask_of_several_bytes(machine: Path) -> None:
    (machine / "cgroup/servefit.slice/cpuset.cpus.effective").write_text("0,17\n")
    with opened(machine, (0, 17)):
        assert any(" AllowedCPUs ay 3 1 0 2 " in call for call in calls(machine))


def test_every_process_gets_a_scope_in_the_slice(machine: Path) -> None:
    with opened(machine) as scope:
        command = scope.command(["python", "-c", "pass"])
    run = ["systemd-run", WHOSE, "--scope", "--quiet", "--collect", f"--slice={slice_of(scope)}"]
    assert command == [*run, "--", "python", "-c", "pass"]


def test_slices_of_dead_owners_are_swept_and_others_are_not(machine: Path) -> None:
    boot, namespace, pid, _ = own_mark().split("-")
    dead = f"servefit_{boot}_{namespace}_{pid}_1_0.slice"
    (machine / "units").write_text(f"{dead} loaded active active\n")
    with opened(machine):
        assert [call for call in calls(machine) if call.startswith("stop")] == [f"stop {dead}"]


def test_a_machine_that_systemd_does_not_run_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(MeasurementError, match="systemd is not running here; run as root"),
        open_scope((0,), None, running=tmp_path / "nothing"),
    ):
        pass


def test_what_systemd_complains_about_is_the_reason(machine: Path) -> None:
    (machine / "refusing").touch()
    with pytest.raises(MeasurementError, match="busctl call failed: Access denied"), opened(machine):
        pass


def test_other_cpus_than_those_asked_for_are_an_error_and_the_slice_goes(machine: Path) -> None:
    with pytest.raises(MeasurementError, match=r"\(1, 3\) instead of \(0,\) as CPUs"), opened(machine, (0,)):
        pass
    assert calls(machine)[-1].startswith("stop servefit_")


def test_a_systemd_without_the_cpuset_controller_is_refused_with_the_remedy(machine: Path) -> None:
    (machine / "cgroup/servefit.slice/cpuset.cpus.effective").unlink()
    with (
        pytest.raises(MeasurementError, match=r"no cpuset controller to give; .* Delegate=cpu cpuset"),
        opened(machine),
    ):
        pass
    assert calls(machine)[-1].startswith("stop servefit_")
