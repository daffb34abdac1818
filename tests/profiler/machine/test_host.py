"""Descriptions of made-up machines and of this one."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import TYPE_CHECKING

import psutil
import pytest

from servefit.profiler.machine.cpus import LogicalCpu
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.machine.topology import Cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.profiler.conftest import MakeHost

FLAGS = "fpu vme sse2 avx2"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.fixture
def describe(tmp_path: Path) -> Callable[..., Host]:
    """Describe a machine with four CPUs on two cores, each core a NUMA node of its own, and the files given."""

    def make(*, flags: str = FLAGS, cpus: frozenset[int] = frozenset(range(4)), **files: str) -> Host:
        proc, sys, etc = (tmp_path / name for name in ("proc", "sys", "etc"))
        write(
            proc,
            {
                "cpuinfo": f"processor\t: 0\nmodel name\t: Imaginary 9000\nflags\t\t: {flags}\n\nprocessor\t: 1\n",
                "meminfo": "MemTotal:       16000000 kB\nMemFree: 5 kB\n",
                "stat": "cpu  10 0 10 70 0 0 0 10 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n",
                "loadavg": "0.50 0.25 0.10 1/100 1234\n",
                "sys/kernel/osrelease": "6.1.0-test\n",
                "self/cgroup": "0::/\n",
            },
        )
        write(etc, {"os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 13"\n'})
        write(sys, {"devices/system/node/node0/cpulist": "0,2\n", "devices/system/node/node1/cpulist": "1,3\n"})
        for cpu in range(4):
            core = "0,2" if cpu % 2 == 0 else "1,3"
            write(
                sys / f"devices/system/cpu/cpu{cpu}",
                {
                    "topology/thread_siblings_list": core,
                    "cache/index0/level": "1", "cache/index0/type": "Data", "cache/index0/size": "32K",
                    "cache/index0/shared_cpu_list": core,
                    "cache/index3/level": "3", "cache/index3/type": "Unified", "cache/index3/size": "8M",
                    "cache/index3/shared_cpu_list": "0-3",
                },
            )  # fmt: skip
        write(sys, files)
        return describe_host(proc=proc, sys=sys, etc=etc, cpus=cpus)

    return make


def test_cores_siblings_nodes_and_caches_are_read(describe: Callable[..., Host]) -> None:
    host = describe()
    assert host.cpus == tuple(LogicalCpu(cpu=cpu, core=cpu % 2, node=cpu % 2) for cpu in range(4))
    assert (host.logical_cpus, host.physical_cores, host.smt, host.numa_nodes) == (4, 2, True, 2)
    assert host.caches == (
        Cache(level=1, kind="data", size_bytes=32 * 1024, count=2),
        Cache(level=3, kind="unified", size_bytes=8 * 2**20, count=1),
    )


def test_only_usable_cpus_count(describe: Callable[..., Host]) -> None:
    host = describe(cpus=frozenset({1, 3}))
    assert (host.logical_cpus, host.physical_cores, host.numa_nodes) == (2, 1, 1)


def test_the_rest_of_the_machine_is_described(describe: Callable[..., Host]) -> None:
    host = describe(**{"devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n"})
    assert host.cpu_model == "Imaginary 9000"
    assert host.memory_bytes == 16_000_000 * 1024
    assert host.operating_system == "Debian GNU/Linux 13"
    assert host.kernel == "6.1.0-test"
    assert host.governor == "performance"
    assert host.load_average == (0.5, 0.25, 0.1)
    assert host.steal_percent == 10


def test_what_cannot_be_read_is_none(describe: Callable[..., Host], tmp_path: Path) -> None:
    host = describe()
    assert host.governor is None
    assert host.cgroups.kind is None


@pytest.mark.parametrize(
    ("flags", "files", "expected"),
    [
        (FLAGS, {"class/dmi/id/sys_vendor": "Dell Inc."}, "none"),
        (FLAGS + " hypervisor", {"class/dmi/id/sys_vendor": "QEMU"}, "kvm"),
        (FLAGS + " hypervisor", {"class/dmi/id/sys_vendor": "VMware, Inc."}, "vmware"),
        (FLAGS + " hypervisor", {"class/dmi/id/sys_vendor": "Microsoft Corporation"}, "hyper-v"),
        (FLAGS, {"class/dmi/id/sys_vendor": "Microsoft Corporation"}, "none"),
        (FLAGS, {"hypervisor/type": "xen"}, "xen"),
        (FLAGS + " hypervisor", {}, "unknown hypervisor"),
        (
            FLAGS + " hypervisor",
            {"devices/system/clocksource/clocksource0/available_clocksource": "tsc kvm-clock"},
            "kvm",
        ),
    ],
)
def test_virtualisation_is_told_from_bare_metal(
    describe: Callable[..., Host], flags: str, files: dict[str, str], expected: str
) -> None:
    assert describe(flags=flags, **files).virtualisation == expected


def test_a_control_group_may_allow_less_memory_than_there_is(describe: Callable[..., Host]) -> None:
    host = describe(**{"fs/cgroup/cgroup.controllers": "cpu memory", "fs/cgroup/memory.max": str(2**30)})
    assert host.memory_bytes == 2**30


def test_the_fingerprint_is_that_of_the_hardware(describe: Callable[..., Host], make_host: MakeHost) -> None:
    host = describe()
    assert re.fullmatch("[0-9a-f]{12}", host.fingerprint)
    later = dataclasses.replace(
        host, load_average=(9.0, 9.0, 9.0), steal_percent=50.0, kernel="7.0", python="3.12", governor="powersave"
    )
    assert later.fingerprint == host.fingerprint
    others = [make_host(), make_host(cpus=4), make_host(memory_gib=64), make_host(gpus=("Tesla T4",))]
    assert len({machine.fingerprint for machine in [host, *others]}) == 5


def test_this_machine_is_described_as_other_programs_see_it() -> None:
    host = describe_host()
    assert {cpu.cpu for cpu in host.cpus} == os.sched_getaffinity(0)
    assert 0 < host.memory_bytes <= psutil.virtual_memory().total
    assert 1 <= host.physical_cores <= host.logical_cpus
    assert bool(host.gpus) == (host.no_gpu_reason is None)
    assert host.fingerprint == describe_host().fingerprint
    assert host.cpu_model.strip()
