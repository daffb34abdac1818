"""Classes of hosts: who is alike, who deviates, and what is said of it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.search.fleet.classes.made_hosts import Hosts, facts, rack, timing

from servefit.errors import SpecError
from servefit.search.fleet.classes.grouping import HostClasses, host_classes

SEVEN = {f"rack3-{nth:02}": 0.001 * nth for nth in range(1, 8)}


def members(found: HostClasses) -> list[tuple[str, ...]]:
    return [each.hosts for each in found.classes]


def test_twins_within_three_per_cent_are_one_class_and_there_is_nothing_to_say() -> None:
    found = host_classes(rack(SEVEN))
    assert members(found) == [tuple(SEVEN)]
    assert (found.remarks, found.doubtful()) == ((), ())


def test_a_slow_host_is_a_class_of_its_own_and_a_sentence_says_by_how_much() -> None:
    found = host_classes(rack({**SEVEN, "rack3-11": 0.145}))
    assert members(found) == [tuple(SEVEN), ("rack3-11",)]
    assert found.remarks == ("rack3-11 is 14 % slower than its seven twins",)
    assert found.classes[1].deviates == found.remarks[0]


def test_slow_hosts_that_agree_are_one_class_and_those_that_do_not_are_several() -> None:
    found = host_classes(rack({**SEVEN, "b": 0.20, "a": 0.21, "fast": -0.1}))
    assert members(found) == [tuple(SEVEN), ("a", "b"), ("fast",)]
    assert found.remarks == (
        "a and b are 20 % slower than their seven twins",
        "fast is 10 % faster than its seven twins",
    )


def test_of_two_hosts_that_differ_nobody_says_which_is_right() -> None:
    found = host_classes(rack({"a": 0.08, "b": 0.0}))
    assert members(found) == [("a",), ("b",)]
    assert found.remarks == ("a is 8 % slower than b",)


def test_nor_of_two_halves() -> None:
    found = host_classes(rack({"a": 0.0, "b": 0.14, "c": 0.0, "d": 0.14}))
    assert found.remarks == ("b and d are 14 % slower than a and c",)


def test_many_names_are_counted() -> None:
    found = host_classes(rack({f"h{nth}": 0.2 * (nth % 2) for nth in range(10)}))
    assert found.remarks == ("h1, h3, h5 and two more are 20 % slower than h0, h2, h4 and two more",)


def test_what_alone_is_slow_is_named() -> None:
    hosts = rack(SEVEN)
    hosts["one-channel"] = (facts(), timing(0.004, memory=0.504))
    assert host_classes(hosts).remarks == ("one-channel is 50 % slower than its seven twins in memory",)


def test_calls_of_the_model_count_where_every_host_was_timed_with_it() -> None:
    hosts: Hosts = {name: (facts(), timing(subject="fraud")) for name in "abc"}
    hosts["d"] = (facts(), timing(calls=0.3, subject="fraud"))
    assert host_classes(hosts).remarks == ("d is 30 % slower than its three twins in calls of 1 and calls of 64",)
    hosts["d"] = (facts(), timing(calls=0.3, subject="another"))
    assert members(host_classes(hosts)) == [("a", "b", "c", "d")]
    hosts["d"] = (facts(), timing())
    assert members(host_classes(hosts)) == [("a", "b", "c", "d")]


def test_a_host_that_shares_its_cpu_is_told_why_it_is_slow() -> None:
    hosts = rack(SEVEN)
    hosts["busy"] = (facts(), timing(1.008, taken=0.49))
    assert host_classes(hosts).remarks == (
        "busy is 100 % slower than its seven twins; something else had its CPU for 49 % of the time",
    )


def test_hosts_with_other_facts_are_another_class_and_the_facts_are_told() -> None:
    hosts = rack({"rack3-01": 0.0, "rack3-03": 0.0}) | rack({"rack3-02": 0.0}, governors=("powersave",))
    found = host_classes(hosts)
    assert members(found) == [("rack3-01", "rack3-03"), ("rack3-02",)]
    assert found.remarks == ("rack3-02: governor powersave, the others performance",)
    assert found.doubtful() == ()


def test_facts_that_cannot_be_read_are_their_own_value() -> None:
    hosts = rack({"a": 0.0, "b": 0.0, "c": 0.0}, microcode=None) | rack({"d": 0.0})
    assert host_classes(hosts).remarks == ("d: microcode 0xa0011d5, the others not readable",)


def test_of_three_kinds_of_hosts_the_usual_one_is_named_for_what_not_all_others_share() -> None:
    hosts = (
        rack({"a": 0.0, "b": 0.0})
        | rack({"c": 0.0}, kernel_series="6.12", boost=False)
        | rack({"d": 0.0}, kernel_series="6.1")
    )
    assert host_classes(hosts).remarks == (
        "c: boost off, the others on; kernel 6.12, a and b 6.18",
        "d: kernel 6.1, a and b 6.18",
    )


def test_hosts_of_other_cpus_have_nothing_to_be_compared_with() -> None:
    assert host_classes(rack({"a": 0.0}) | rack({"b": 3.0}, cpu_model="Cortex")).remarks == ()


def test_a_host_that_was_not_timed_is_in_no_class() -> None:
    found = host_classes({**rack({"a": 0.0}), "b": (facts(), None)})
    assert members(found) == [("a",)]
    assert found.not_timed == ("b",)
    assert found.remarks == ("b was not timed",)
    assert host_classes({"b": (facts(), None)}).classes == ()
    assert host_classes({}).remarks == ()


def test_more_noise_allows_more_but_never_above_ten_per_cent() -> None:
    def with_error(error: float, longer: float) -> HostClasses:
        return host_classes({**rack(SEVEN), "noisy": (facts(), timing(longer, error=error))})

    assert len(with_error(0.005, 0.06).classes) == 2
    assert len(with_error(0.02, 0.06).classes) == 1
    assert with_error(0.02, 0.06).noisy == ()
    within = with_error(0.03, 0.09)
    assert len(within.classes) == 1
    assert within.classes[0].representative != "noisy"
    assert within.noisy == within.doubtful() == ("noisy",)
    assert within.remarks == (
        "noisy is too noisy to tell from its twins: its time for arithmetic and memory may be off by 12 %, "
        "and 10 % is the most that can be told apart",
    )
    assert len(with_error(0.03, 0.12).classes) == 2


def test_a_noisy_host_does_not_join_classes_that_are_apart() -> None:
    hosts = rack({"a": 0.0, "b": 0.0, "c": 0.12, "d": 0.12}) | {"noisy": (facts(), timing(0.06, error=0.03))}
    assert members(host_classes(hosts)) == [("a", "b", "noisy"), ("c", "d")]


def test_the_representative_is_the_host_nearest_to_the_median() -> None:
    assert (
        host_classes(rack({"a": -0.02, "b": 0.02, "c": 0.001, "d": 0.01, "e": -0.01})).classes[0].representative == "c"
    )


def test_classes_have_short_names_that_differ() -> None:
    hosts = (
        rack({**SEVEN, "rack3-11": 0.14})
        | rack({"x": 0.0}, governors=("powersave",))
        | rack({"y": 0.0}, cpu_model="Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz")
        | rack({"z": 0.0}, cpu_model="Intel(R) Xeon(R) Processor", sockets=None)
        | rack({"v": 0.0}, cpu_model="(R) CPU @")
    )
    assert [each.name for each in host_classes(hosts).classes] == [
        "epyc-7763-128c",
        "epyc-7763-128c-rack3-11",
        "cpu-128c",
        "epyc-7763-128c-x",
        "xeon-platinum-8375c-128c",
        "xeon",
    ]


def test_a_name_that_a_host_makes_equal_to_another_is_numbered() -> None:
    hosts = (
        rack({"a": 0.0}, cpu_model="x", sockets=None)
        | rack({"b": 0.0}, cpu_model="x", sockets=None, smt=False)
        | rack({"c": 0.0}, cpu_model="x b", sockets=None)
    )
    names = [each.name for each in host_classes(hosts).classes]
    assert len(set(names)) == 3
    assert names[:2] == ["x", "x-b"]


def test_control_sequences_of_a_host_do_not_reach_a_terminal() -> None:
    hosts = rack({"a": 0.0, "b": 0.0}) | rack({"c": 0.0}, governors=("\x1b[31mperformance\nroot",))
    assert host_classes(hosts).remarks == ("c: governor performance root, the others performance",)


def test_a_host_without_a_name_is_refused() -> None:
    with pytest.raises(SpecError, match="has no name"):
        host_classes(rack({" ": 0.0}))


def test_classes_are_read_back_as_they_were_kept() -> None:
    found = host_classes({**rack({**SEVEN, "rack3-11": 0.145}), "b": (facts(), None)})
    assert msgspec.convert(msgspec.to_builtins(found), HostClasses) == found


NAMED_HOSTS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.tuples(
        st.sampled_from([facts(), facts(smt=False), facts(cpu_model="other")]),
        st.none()
        | st.builds(
            timing,
            st.floats(-0.3, 0.3),
            memory=st.none() | st.floats(-0.3, 0.3),
            error=st.floats(0, 0.05),
            subject=st.sampled_from([None, "m", "n"]),
        ),
    ),
    max_size=12,
)


@given(hosts=NAMED_HOSTS, order=st.randoms(use_true_random=False))
def test_classes_do_not_depend_on_the_order_of_hosts(hosts: Hosts, order: object) -> None:
    shuffled = list(hosts.items())
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert host_classes(dict(shuffled)) == host_classes(hosts)


@given(hosts=NAMED_HOSTS)
def test_every_timed_host_is_in_one_class_with_its_facts_and_no_further_from_the_median_than_allowed(
    hosts: Hosts,
) -> None:
    found = host_classes(hosts)
    timed = sorted(name for name, (_, timed) in hosts.items() if timed is not None)
    assert sorted(name for each in found.classes for name in each.hosts) == timed
    assert len({each.name for each in found.classes}) == len(found.classes)
    for each in found.classes:
        assert each.representative in each.hosts
        assert {hosts[name][0] for name in each.hosts} == {each.facts}
        times = [known for name in each.hosts if (known := hosts[name][1]) is not None]
        of_arithmetic = np.array([timed.arithmetic.time_ns for timed in times])
        assert (np.abs(np.log(of_arithmetic / np.exp(np.median(np.log(of_arithmetic))))) <= np.log(1.1) + 1e-9).all()


def test_what_many_twins_usually_differ_by_is_no_deviation_and_other_work_stays_as_strict() -> None:
    uneven = [0.0, 0.02, -0.02, 0.035, -0.035, 0.05, -0.05, 0.01]
    hosts: Hosts = {f"h{nth}": (facts(), timing(0.0, memory=part)) for nth, part in enumerate(uneven)}
    assert len(host_classes(hosts).classes) == 1
    hosts["slow"] = (facts(), timing(0.05, memory=0.05))
    assert host_classes(hosts).remarks == ("slow is 5 % slower than its eight twins",)


def test_two_halves_are_not_taken_for_one_uneven_class() -> None:
    found = host_classes(rack({f"h{nth}": 0.08 * (nth % 2) + 0.001 * nth for nth in range(8)}))
    assert members(found) == [("h0", "h2", "h4", "h6"), ("h1", "h3", "h5", "h7")]


def test_where_a_host_deviates_its_twins_are_in_doubt_too_and_hosts_with_other_facts_are_not() -> None:
    hosts = rack({"a": 0.0, "b": 0.0, "c": -0.1}) | rack({"d": 0.0, "e": 0.0}, smt=False)
    assert host_classes(hosts).doubtful() == ("a", "b", "c")
    hosts["e"] = (facts(smt=False), timing(error=0.04))
    assert host_classes(hosts).doubtful() == ("a", "b", "c", "e")


def test_hosts_in_doubt_are_cleared_by_a_further_timing_and_slow_ones_are_not() -> None:
    hosts = rack(SEVEN)
    first, again = timing(0.2, error=0.1), timing(0.001)
    assert "x" in host_classes({**hosts, "x": (facts(), first)}).doubtful()
    assert host_classes({**hosts, "x": (facts(), first.or_quicker(again))}).remarks == ()
    slow = timing(0.2).or_quicker(timing(0.21))
    assert host_classes({**hosts, "x": (facts(), slow)}).remarks == ("x is 20 % slower than its seven twins",)
