"""Work in the background keeps to the CPUs that envelopes leave, and so does what it starts."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.profiler.machine.test_cpus import FOUR_CORES_WITH_SIBLINGS, TWO_NODES

from servefit.profiler.machine.background import background_cpus, in_background, work_in_background
from servefit.profiler.machine.cpus import LogicalCpu, choose_cpus, client_cpus
from servefit.profiler.machine.host import describe_host

ONE_CPU = [LogicalCpu(cpu=0, core=0)]


ONE_CORE = [LogicalCpu(cpu=cpu, core=0) for cpu in range(2)]

TWO_CPUS = [LogicalCpu(cpu=cpu, core=cpu) for cpu in range(2)]


@pytest.mark.parametrize(
    ("topology", "cpus"),
    [
        (TWO_CPUS, (0,)),
        (FOUR_CORES_WITH_SIBLINGS, (0, 4)),
        (TWO_NODES, (0, 1, 2, 3)),
        (ONE_CPU, ()),
        (ONE_CORE, ()),
    ],
    ids=["two CPUs", "four cores with siblings", "two nodes", "one CPU", "one core"],
)
def test_what_envelopes_leave(topology: list[LogicalCpu], cpus: tuple[int, ...]) -> None:
    assert background_cpus(topology) == cpus


@given(st.integers(2, 40), st.integers(1, 2), st.integers(1, 3))
def test_no_envelope_up_to_some_size_shares_a_core_with_them_and_the_next_one_has_them_all(
    cores: int, threads: int, nodes: int
) -> None:
    topology = [
        LogicalCpu(cpu=cpu, core=cpu % cores, node=cpu % cores * nodes // cores) for cpu in range(cores * threads)
    ]
    left = set(background_cpus(topology))
    assert left
    shared = [left - set(client_cpus(topology, choose_cpus(topology, n))) for n in range(1, len(topology) + 1)]
    first = next(n for n, cpus in enumerate(shared) if cpus)
    assert shared[first] == left


def test_a_thread_makes_way_with_those_that_it_starts_and_the_others_do_not() -> None:
    found: list[set[int]] = []
    here = describe_host().cpus

    def seen() -> None:
        found.append(os.sched_getaffinity(0))

    def work() -> None:
        work_in_background(here)
        seen()
        inner = threading.Thread(target=seen)
        inner.start()
        inner.join()

    before = os.sched_getaffinity(0)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [set(background_cpus(here) or before)] * 2
    assert os.sched_getaffinity(0) == before


def test_a_cpu_that_is_not_there_is_not_waited_for() -> None:
    missing = [LogicalCpu(cpu=cpu, core=cpu) for cpu in (1000, 1001)]
    thread = threading.Thread(target=work_in_background, args=(missing,))
    thread.start()
    thread.join()
    assert not thread.is_alive()


def test_a_thread_is_where_it_was_once_its_work_in_the_background_is_done() -> None:
    here, before = describe_host().cpus, os.sched_getaffinity(0)
    with in_background(here):
        assert os.sched_getaffinity(0) == set(background_cpus(here) or before)
    assert os.sched_getaffinity(0) == before
