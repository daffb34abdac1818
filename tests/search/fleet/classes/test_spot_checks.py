"""How many hosts of a class are checked, and which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.search.fleet.classes.made_hosts import rack

from servefit.errors import SpecError
from servefit.search.fleet.classes.grouping import host_classes
from servefit.search.fleet.classes.spot_checks import spot_checked, spot_checks


@pytest.mark.parametrize(
    ("hosts", "checks"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (9, 3), (10, 4), (22, 5), (10**30, 10**15)]
)
def test_the_root_of_a_class_is_checked_and_two_hosts_at_least(hosts: int, checks: int) -> None:
    assert spot_checks(hosts) == checks


@pytest.mark.parametrize("hosts", [0, -1, float("nan"), 2.5, True, "4"])
def test_what_is_no_number_of_hosts_is_refused(hosts: int) -> None:
    with pytest.raises(SpecError, match="hosts"):
        spot_checks(hosts)


@given(count=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_the_same_seed_draws_the_same_hosts_without_the_representative(count: int, seed: int) -> None:
    (only,) = host_classes(rack({f"h{nth}": 0.0001 * nth for nth in range(count)})).classes
    drawn = spot_checked(only, seed=seed)
    assert drawn == spot_checked(only, seed=seed) == tuple(sorted({*drawn}))
    assert only.representative not in drawn
    assert {*drawn} <= {*only.hosts}
    assert len(drawn) == min(count - 1, spot_checks(count))


def test_another_seed_draws_others() -> None:
    (only,) = host_classes(rack({f"h{nth}": 0.0 for nth in range(60)})).classes
    assert len({spot_checked(only, seed=seed) for seed in range(10)}) > 5
