"""Envelopes on made-up topologies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.profiler.machine.cpus import LogicalCpu, choose_cpus, client_cpus, disjoint_cpus

FOUR_CORES_WITH_SIBLINGS = [LogicalCpu(cpu=cpu, core=cpu % 4) for cpu in range(8)]
"""Numbered as Linux does on most servers: 0-3 are the first threads of the cores, 4-7 the second."""

TWO_NODES = [LogicalCpu(cpu=cpu, core=cpu, node=cpu // 4) for cpu in range(8)]


def siblings(cpu: int) -> set[int]:
    return {cpu % 4, cpu % 4 + 4}


def test_two_vcpus_are_the_two_siblings_of_one_core() -> None:
    chosen = choose_cpus(FOUR_CORES_WITH_SIBLINGS, 2)
    assert set(chosen) == siblings(chosen[0])


def test_four_vcpus_are_two_whole_cores() -> None:
    chosen = choose_cpus(FOUR_CORES_WITH_SIBLINGS, 4)
    assert set(chosen) == set().union(*(siblings(cpu) for cpu in chosen))


def test_an_odd_number_parts_the_siblings_of_one_core_only() -> None:
    chosen = set(choose_cpus(FOUR_CORES_WITH_SIBLINGS, 3))
    assert len(chosen) == 3
    assert sum(siblings(cpu) <= chosen for cpu in chosen) == 2


def test_the_first_cpu_is_left_to_the_system_while_there_are_others() -> None:
    assert 0 not in choose_cpus(FOUR_CORES_WITH_SIBLINGS, 6)


def test_an_envelope_stays_on_one_node_where_it_fits() -> None:
    for vcpus in (1, 2, 3, 4):
        assert len({cpu // 4 for cpu in choose_cpus(TWO_NODES, vcpus)}) == 1


def test_an_envelope_that_fits_no_node_fills_one_and_part_of_another() -> None:
    chosen = choose_cpus(TWO_NODES, 6)
    assert sorted([sum(cpu < 4 for cpu in chosen), sum(cpu >= 4 for cpu in chosen)]) == [2, 4]


def test_the_smallest_node_that_fits_is_taken() -> None:
    lopsided = [LogicalCpu(cpu=cpu, core=cpu, node=0 if cpu < 6 else 1) for cpu in range(8)]
    assert choose_cpus(lopsided, 2) == (6, 7)
    assert set(choose_cpus(lopsided, 3)) <= set(range(6))


def test_a_whole_core_is_preferred_to_parts_of_two_where_some_cores_have_one_cpu() -> None:
    mixed = [LogicalCpu(cpu=0, core=0), LogicalCpu(cpu=1, core=0), LogicalCpu(cpu=2, core=2)]
    assert choose_cpus(mixed, 1) == (2,)
    assert choose_cpus(mixed, 3) == (0, 1, 2)


def test_the_client_gets_the_cores_that_the_envelope_leaves_whole() -> None:
    for vcpus in (2, 3):
        chosen = choose_cpus(FOUR_CORES_WITH_SIBLINGS, vcpus)
        left = set(range(8)) - set().union(*(siblings(cpu) for cpu in chosen))
        assert set(client_cpus(FOUR_CORES_WITH_SIBLINGS, chosen)) == left


def test_no_cpu_is_left_for_a_client_beside_an_envelope_on_every_core() -> None:
    assert client_cpus(FOUR_CORES_WITH_SIBLINGS, choose_cpus(FOUR_CORES_WITH_SIBLINGS, 7)) == ()


def test_a_second_envelope_shares_no_core_with_the_first() -> None:
    first = choose_cpus(FOUR_CORES_WITH_SIBLINGS, 3)
    second = disjoint_cpus(FOUR_CORES_WITH_SIBLINGS, first, 4)
    assert second is not None
    assert len(second) == 4
    assert {cpu % 4 for cpu in first} & {cpu % 4 for cpu in second} == set()


def test_there_is_no_second_envelope_where_too_few_whole_cores_are_left() -> None:
    assert disjoint_cpus(FOUR_CORES_WITH_SIBLINGS, (0, 1, 2), 3) is None
    assert disjoint_cpus(FOUR_CORES_WITH_SIBLINGS, (0, 1, 2), 2) == (3, 7)
    assert disjoint_cpus(TWO_NODES, range(8), 1) is None
    assert disjoint_cpus(TWO_NODES, (), 3) == choose_cpus(TWO_NODES, 3)
    with pytest.raises(SpecError):
        disjoint_cpus(TWO_NODES, (), 0)


@pytest.mark.parametrize("vcpus", [0, -1, 9])
def test_an_impossible_size_is_refused(vcpus: int) -> None:
    with pytest.raises(SpecError) as caught:
        choose_cpus(TWO_NODES, vcpus)
    assert caught.value.field == "vcpus"


@given(
    threads_per_core=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    nodes=st.integers(1, 4),
    part=st.floats(0.01, 1),
)
def test_any_envelope_has_the_right_size_and_parts_at_most_one_core_a_node(
    threads_per_core: list[int], nodes: int, part: float
) -> None:
    topology: list[LogicalCpu] = []
    for core, threads in enumerate(threads_per_core):
        first = len(topology)
        topology += [LogicalCpu(cpu=first + thread, core=first, node=core % nodes) for thread in range(threads)]
    vcpus = max(1, int(part * len(topology)))
    chosen = set(choose_cpus(topology, vcpus))
    assert len(chosen) == vcpus
    assert chosen <= {cpu.cpu for cpu in topology}
    parted = [
        node
        for node, core in {(cpu.node, cpu.core) for cpu in topology}
        if 0 < len(chosen & {cpu.cpu for cpu in topology if cpu.core == core}) < sum(c.core == core for c in topology)
    ]
    assert len(parted) == len(set(parted))
