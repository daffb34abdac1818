"""The CPUs of tests that run at the same time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.profiler.machine.cpus import LogicalCpu
from servefit.profiler.machine.host import describe_host
from servefit.search.jobs.cpu_slots import CpuSlots

HOST = describe_host()


def places_on(cores: int, *, siblings: int = 1, nodes: int = 1) -> CpuSlots:
    """A host of ``cores`` with as many ``siblings`` on each, whose first come first in the kernel's numbers."""
    cpus = [
        LogicalCpu(cpu=core + sibling * cores, core=core, node=core * nodes // cores)
        for sibling in range(siblings)
        for core in range(cores)
    ]
    return CpuSlots(replace(HOST, cpus=tuple(cpus)))


def test_tests_that_run_at_the_same_time_have_cpus_of_their_own_and_leave_the_same_ones_alone() -> None:
    found = places_on(8).disjoint([1, 4, 2])
    assert found is not None
    cpus = [slot.cpus or () for slot in found]
    inside = {cpu for slot in cpus for cpu in slot}
    assert [len(slot) for slot in cpus] == [1, 4, 2]
    assert len(inside) == 7
    assert {slot.outside for slot in found} == {tuple({*range(8)} - inside)}


def test_siblings_of_a_core_are_never_parted_between_two_tests() -> None:
    slots = places_on(2, siblings=2)
    assert slots.fit_at_once([1, 1])
    assert slots.fit_at_once([2, 2])
    assert not slots.fit_at_once([3, 1])
    assert not slots.fit_at_once([1, 1, 1])


def test_large_tests_keep_to_one_node_although_small_ones_come_first() -> None:
    found = places_on(6, nodes=2).disjoint([1, 1, 2, 2])
    assert found is not None
    assert all(len({cpu // 3 for cpu in slot.cpus or ()}) == 1 for slot in found)


def test_on_a_host_that_is_full_there_is_nothing_left_outside() -> None:
    found = places_on(2).disjoint([1, 1])
    assert found is not None
    assert [slot.outside for slot in found] == [(), ()]


def test_more_than_the_host_has_does_not_fit() -> None:
    assert places_on(4).disjoint([5]) is None
    assert not places_on(4).fit_at_once([4, 1])


def test_nothing_fits_anywhere() -> None:
    assert places_on(1).disjoint([]) == ()


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(SpecError):
        places_on(4).fit_at_once([2, 0])


@given(
    cores=st.integers(1, 12),
    siblings=st.integers(1, 2),
    nodes=st.integers(1, 3),
    vcpus=st.lists(st.integers(1, 8), max_size=5),
)
def test_no_two_places_share_a_core_and_nobody_is_outside_in_one(
    cores: int, siblings: int, nodes: int, vcpus: list[int]
) -> None:
    slots = places_on(cores, siblings=siblings, nodes=nodes)
    found = slots.disjoint(vcpus)
    if found is None:
        needed = sum(-(-count // siblings) for count in vcpus)
        assert needed > cores
        return
    cores_of = [{cpu % cores for cpu in slot.cpus or ()} for slot in found]
    assert [len(slot.cpus or ()) for slot in found] == vcpus
    assert sum(map(len, cores_of)) == len(set().union(*cores_of))
    for slot in found:
        assert not {cpu % cores for cpu in slot.outside or ()} & set().union(*cores_of)
