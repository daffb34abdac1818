"""Counters of the machine, recorded or made up after the kernel's documentation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from servefit.profiler.machine.telemetry.machine import MachineCounters, MachineSnapshot, cpu_groups

PID = 4711


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[dict[str, str]], tuple[Path, Path]]:
    """/proc and /sys with these files."""

    def write(files: dict[str, str]) -> tuple[Path, Path]:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        return tmp_path / "proc", tmp_path / "sys"

    return write


Tree = Callable[[dict[str, str]], tuple[Path, Path]]


def snapshot(tree: Tree, files: dict[str, str]) -> MachineSnapshot:
    proc, sys = tree(files)
    with ExitStack() as stack:
        return MachineCounters(PID, (0, 1), proc, sys, stack).snapshot()


def test_what_a_machine_does_not_tell_is_none(tree: Tree) -> None:
    seen = snapshot(tree, {"proc/stat": "cpu 0\n"})
    assert seen == MachineSnapshot(
        cpu_pressure_us=None, memory_pressure_us=None, throttled_ns=None, thermal_throttles=None, energy_uj=None
    )


def test_pressure_is_the_total_of_some(tree: Tree) -> None:
    line = "avg10=0.79 avg60=0.97 avg300=0.94 total="
    seen = snapshot(
        tree,
        {
            "proc/pressure/cpu": f"some {line}1947386737\nfull {line}5\n",
            "proc/pressure/memory": f"some {line}12\nfull {line}5\n",
        },
    )
    assert (seen.cpu_pressure_us, seen.memory_pressure_us) == (1947386737, 12)


def test_throttling_counts_every_group_above_the_worker(tree: Tree) -> None:
    files = {
        f"proc/{PID}/cgroup": "0::/slice/servefit\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 99\n",
        "sys/fs/cgroup/slice/cpu.stat": "usage_usec 9\nnr_periods 7\nnr_throttled 2\nthrottled_usec 30\n",
        "sys/fs/cgroup/slice/servefit/cpu.stat": "usage_usec 9\nnr_throttled 1\nthrottled_usec 4\n",
    }
    assert snapshot(tree, files).throttled_ns == 34_000


def test_throttling_under_version_1_is_in_nanoseconds_and_the_idle_version_2_mount_beside_it_is_passed_by(
    tree: Tree,
) -> None:
    files = {
        f"proc/{PID}/cgroup": "0::/\n4:memory:/elsewhere\n1:cpu,cpuacct:/box\n",
        "sys/fs/cgroup/unified/cgroup.procs": "",
        "sys/fs/cgroup/cpu/box/cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 12345\n",
        "sys/fs/cgroup/cpu/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
    }
    assert snapshot(tree, files).throttled_ns == 12345


def test_a_group_named_as_the_host_sees_it_is_the_mount_itself(tree: Tree) -> None:
    proc, sys = tree({f"proc/{PID}/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/cgroup.controllers": "cpu\n"})
    assert cpu_groups(PID, proc, sys) == (sys / "fs/cgroup",)


def test_thermal_throttling_is_summed_over_the_envelope(tree: Tree) -> None:
    files = {
        f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/{what}_throttle_count": f"{count}\n"
        for cpu, what, count in [
            (0, "core", 1),
            (0, "package", 10),
            (1, "core", 2),
            (1, "package", 10),
            (2, "core", 99),
        ]
    }
    assert snapshot(tree, files).thermal_throttles == 23


def test_energy_is_that_of_packages_and_survives_the_wrap_of_their_counters(tree: Tree) -> None:
    zones = "sys/class/powercap/intel-rapl:"
    files = {
        f"{zones}{zone}/{name}": f"{value}\n"
        for zone, energy in [("0", 990), ("0:0", 500), ("1", 5)]
        for name, value in [("energy_uj", energy), ("max_energy_range_uj", 999)]
    }
    proc, sys = tree(files)
    with ExitStack() as stack:
        counters = MachineCounters(PID, (0,), proc, sys, stack)
        assert counters.snapshot().energy_uj == 0
        (sys / "class/powercap/intel-rapl:0/energy_uj").write_text("20\n")
        (sys / "class/powercap/intel-rapl:1/energy_uj").write_text("105\n")
        assert counters.snapshot().energy_uj == 30 + 100


def test_files_are_closed_again(tree: Tree) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    snapshot(tree, {"proc/pressure/cpu": "some total=1\n"})
    assert len(list(Path("/proc/self/fd").iterdir())) == before
