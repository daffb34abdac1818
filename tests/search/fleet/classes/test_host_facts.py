"""Facts of made-up machines and of this one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.search.fleet.classes.made_hosts import GIB, facts

from servefit.profiler.machine.gpu import Gpu
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.machine.topology import Cache
from servefit.search.fleet.classes.facts_text import described, differences
from servefit.search.fleet.classes.host_facts import ClassGpu, HostFacts, Socket, host_facts
from servefit.search.fleet.classes.installed_memory import installed_bytes

Facts = Callable[..., HostFacts]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.fixture
def read_facts(tmp_path: Path) -> Facts:
    """Read the facts of a machine with two sockets of two CPUs each, on a core of its own, and the files given; with
    ``cpus`` of them usable, and ``facts`` of the host that are not in files."""

    def read(*, cpus: tuple[int, ...] = (0, 1, 2, 3), facts: dict[str, Any] | None = None, **files: str) -> HostFacts:
        proc, sys = tmp_path / "proc", tmp_path / "sys"
        blocks = [f"processor\t: {cpu}\nmodel name\t: Imaginary 9000\nmicrocode\t: 0x2b\n" for cpu in range(4)]
        write(
            proc,
            {
                "cpuinfo": "\n".join(blocks),
                "meminfo": "MemTotal:       16000000 kB\n",
                "stat": "cpu  10 0 10 70 0 0 0 10 0 0\n",
                "loadavg": "0.50 0.25 0.10 1/100 1234\n",
                "sys/kernel/osrelease": "6.18.44-test\n",
                "self/cgroup": "0::/\n",
            },
        )
        for cpu in range(4):
            write(
                sys / f"devices/system/cpu/cpu{cpu}",
                {
                    "topology/thread_siblings_list": str(cpu),
                    "topology/physical_package_id": str(cpu // 2),
                    "cache/index2/level": "2",
                    "cache/index2/type": "Unified",
                    "cache/index2/size": "2048K",
                    "cache/index2/shared_cpu_list": str(cpu),
                },
            )
        write(sys, {"devices/system/node/node0/cpulist": "0-1\n", "devices/system/node/node1/cpulist": "2-3\n"})
        write(tmp_path, files)
        host = describe_host(proc=proc, sys=sys, etc=tmp_path / "etc", cpus=frozenset(cpus))
        return host_facts(dataclasses.replace(host, **(facts or {})), proc=proc, sys=sys)

    return read


def test_what_the_kernel_tells_is_read(read_facts: Facts) -> None:
    cpu = "sys/devices/system/cpu"
    found = read_facts(
        **{
            **{f"{cpu}/cpu{nth}/cpufreq/scaling_governor": "performance\n" for nth in range(4)},
            f"{cpu}/cpufreq/boost": "1\n",
            f"{cpu}/smt/active": "0\n",
            f"{cpu}/vulnerabilities/retbleed": "Vulnerable\n",
            f"{cpu}/vulnerabilities/meltdown": "Not affected\n",
        }
    )
    assert (found.cpu_model, found.microcode, found.kernel_series) == ("Imaginary 9000", "0x2b", "6.18")
    assert found.sockets == (Socket(nodes=1, cores=2, cpus=2),) * 2
    assert found.cores == 4
    assert found.caches == (Cache(level=2, kind="unified", size_bytes=2**21, count=4),)
    assert (found.governors, found.boost, found.smt) == (("performance",), True, False)
    assert found.mitigations == (("meltdown", "Not affected"), ("retbleed", "Vulnerable"))


def test_what_cannot_be_read_is_none_and_never_zero(read_facts: Facts, tmp_path: Path) -> None:
    read_facts()
    (tmp_path / "sys/devices/system/cpu/cpu1/topology/physical_package_id").unlink()
    found = read_facts(
        facts={"kernel": "unknown", "caches": (), "virtualisation": None}, **{"proc/cpuinfo": "model name: Imaginary\n"}
    )
    nothing = (found.microcode, found.caches, found.governors, found.boost, found.smt, found.mitigations)
    assert nothing == (None,) * 6
    assert (found.kernel_series, found.virtualisation, found.cpu_quota) == (None, None, None)
    assert described(found)["governor"] == described(found)["microcode"] == described(found)["SMT"] == "not readable"


def test_a_machine_that_does_not_name_its_sockets_has_no_shape(read_facts: Facts, tmp_path: Path) -> None:
    found = read_facts(**{"sys/devices/system/cpu/cpu3/topology/physical_package_id": ""})
    assert (found.sockets, found.cores) == (None, None)
    assert described(found)["CPUs"] == "not readable"


def test_one_machine_seen_through_either_of_its_cpus_is_one_class(read_facts: Facts) -> None:
    assert read_facts(cpus=(0,)) == read_facts(cpus=(1,)) == read_facts(cpus=(3,))
    assert read_facts(cpus=(0, 1)) == read_facts(cpus=(2, 3))
    assert read_facts(cpus=(0, 1)) != read_facts(cpus=(1, 2))
    assert read_facts(cpus=(0, 1)) != read_facts(cpus=(0, 1, 2))


def test_gpus_have_no_number(read_facts: Facts) -> None:
    a, b = (Gpu(index=nth, model=name, memory_bytes=GIB, driver="550") for nth, name in enumerate(("T4", "A10G")))
    one = read_facts(facts={"gpus": (a, b)})
    other = read_facts(facts={"gpus": (dataclasses.replace(b, index=0), dataclasses.replace(a, index=1))})
    assert one == other
    assert one.gpus[0] == ClassGpu(model="A10G", memory_bytes=GIB, driver="550")
    assert described(one)["GPUs"] == "1 x A10G of 1,024 MiB, driver 550 and 1 x T4 of 1,024 MiB, driver 550"


def test_load_and_patch_level_and_a_few_megabytes_make_no_other_class(read_facts: Facts) -> None:
    busy = {
        "load_average": (9.0, 9.0, 9.0),
        "steal_percent": 50.0,
        "kernel": "6.18.45",
        "memory_bytes": 15_990_000 << 10,
    }
    assert read_facts(facts=busy) == read_facts()
    assert read_facts(facts={"kernel": "6.19"}) != read_facts()
    assert read_facts(facts={"python": "3.12.1"}) != read_facts()


def test_memory_is_counted_in_the_kernels_blocks(tmp_path: Path) -> None:
    folder = "devices/system/memory"
    write(tmp_path, {f"{folder}/block_size_bytes": "80000000\n"} | {f"{folder}/memory{n}/state": "" for n in range(8)})
    assert (
        installed_bytes(round(15.4 * GIB), sys=tmp_path) == installed_bytes(round(15.6 * GIB), sys=tmp_path) == 16 * GIB
    )
    # What a container is shown of a larger machine.
    assert installed_bytes(4 * GIB, sys=tmp_path) == 4 * GIB
    write(tmp_path, {f"{folder}/block_size_bytes": "nonsense"})
    assert installed_bytes(round(15.6 * GIB), sys=tmp_path) == 16 * GIB


@given(gib=st.integers(1, 4096), taken=st.floats(0.01, 0.05))
def test_without_blocks_memory_is_rounded_up_to_what_is_nearly_installed(gib: int, taken: float) -> None:
    usable = round(gib * GIB * (1 - taken))
    assert usable <= installed_bytes(usable, sys=Path("/nonexistent")) <= 1.125 * usable + 1


def test_a_control_group_may_allow_less(read_facts: Facts) -> None:
    found = read_facts(**{"sys/fs/cgroup/cgroup.controllers": "cpu memory", "sys/fs/cgroup/memory.max": str(2**30)})
    assert found.memory_bytes == 2**30


def test_the_same_facts_are_read_of_this_machine_twice_and_kept() -> None:
    found = host_facts(describe_host())
    assert found == host_facts(describe_host())
    assert msgspec.convert(msgspec.to_builtins(found), HostFacts) == found
    assert dict(found.libraries).keys() >= {"numpy", "onnxruntime", "treelite", "xgboost"}
    assert found.memory_bytes >= describe_host().memory_bytes
    assert found.cores is None or found.cores <= (os.cpu_count() or 0)


def test_this_machine_seen_through_either_cpu_is_one_class() -> None:
    host: Host = describe_host()
    seen = {host_facts(describe_host(cpus=frozenset({cpu.cpu}))) for cpu in host.cpus[:2]}
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"microcode": None}, {"microcode": ("0xa0011d5", "not readable")}),
        ({"memory_bytes": 480 * GIB}, {"memory": ("512 GiB", "480 GiB")}),
        ({"cpu_quota": 1.5}, {"CPU quota": ("none", "1.5")}),
        ({"caches": None, "mitigations": None}, dict.fromkeys(("caches", "mitigations"), ("readable", "not readable"))),
        (
            {"caches": (Cache(level=3, kind="unified", size_bytes=2**25, count=8),)},
            {"L3 unified cache": ("16 x 32,768 KiB", "8 x 32,768 KiB")},
        ),
        ({"libraries": (("xgboost", "3.1.0"),)}, {"numpy": ("2.4.6", "none"), "xgboost": ("3.2.0", "3.1.0")}),
        ({"boost": None, "smt": False}, {"boost": ("on", "not readable"), "SMT": ("on", "off")}),
        (
            {"mitigations": (("meltdown", "Not affected"), ("retbleed", "Vulnerable"))},
            {"retbleed": ("'Mitigation: untrained return thunk'", "'Vulnerable'")},
        ),
        (
            {"sockets": (Socket(nodes=4, cores=64, cpus=64),)},
            {
                "CPUs": (
                    "2 x socket of 64 cores, 128 CPUs and 1 NUMA node",
                    "1 x socket of 64 cores, 64 CPUs and 4 NUMA nodes",
                )
            },
        ),
    ],
)
def test_differences_are_told_in_words(other: dict[str, Any], told: dict[str, tuple[str, str]]) -> None:
    assert differences(facts(), facts(**other)) == told


@given(memory=st.tuples(st.integers(1, 2**44), st.integers(1, 2**44)))
def test_unlike_facts_are_never_told_in_the_same_words(memory: tuple[int, int]) -> None:
    one, other = (facts(memory_bytes=size) for size in memory)
    assert (one == other) == (not differences(one, other))
