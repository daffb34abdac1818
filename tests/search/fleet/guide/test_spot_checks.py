"""How many hosts of a class are checked, which, and what tells one that is not like it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.profiler.record.types import Configuration
from servefit.search.fleet.guide.spot_checks import MIN_PART, spot_checked, spot_checks, unlike

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

CONFIGURATION = Configuration(backend="xgboost", vcpus=8)


@pytest.mark.parametrize(
    ("hosts", "checks"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (9, 3), (10, 4), (22, 5), (10**30, 10**15)]
)
def test_the_root_of_the_hosts_is_checked_and_two_at_least(hosts: int, checks: int) -> None:
    assert spot_checks(hosts) == checks


@pytest.mark.parametrize("hosts", [0, -1, float("nan"), 2.5, True, "4"])
def test_what_is_no_number_of_hosts_is_refused(hosts: int) -> None:
    with pytest.raises(SpecError, match="hosts"):
        spot_checks(hosts)


@given(count=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_the_same_seed_draws_the_same_hosts_without_the_representative(count: int, seed: int) -> None:
    hosts = [f"h{nth}" for nth in range(count)]
    drawn = spot_checked(hosts, representative="h0", seed=seed)
    assert drawn == spot_checked(hosts, representative="h0", seed=seed) == tuple(sorted({*drawn}))
    assert "h0" not in drawn
    assert {*drawn} <= {*hosts}
    assert len(drawn) == min(count - 1, spot_checks(count))


def test_another_seed_draws_others() -> None:
    hosts = [f"h{nth}" for nth in range(60)]
    assert len({spot_checked(hosts, representative="h0", seed=seed) for seed in range(10)}) > 5


def test_no_host_that_was_not_chosen_is_checked() -> None:
    assert spot_checked((), representative="h0") == ()


def test_a_host_that_answers_as_much_as_two_measurements_differ_by_is_like_its_class(trial: MakeTrial) -> None:
    confirmed = trial(CONFIGURATION, throughput_per_s=1000.0, at_rate=True)
    for part in (MIN_PART + 0.01, 1.0, 1.3):
        checked = trial(CONFIGURATION, throughput_per_s=1000.0 * part, at_rate=True)
        assert unlike(checked, confirmed, rate_per_s=500) is None


def test_a_host_that_answers_less_or_breaks_the_sla_is_not_like_its_class(trial: MakeTrial) -> None:
    confirmed = trial(CONFIGURATION, throughput_per_s=1000.0, at_rate=True)
    slower = trial(CONFIGURATION, throughput_per_s=800.0, at_rate=True)
    assert unlike(slower, confirmed, rate_per_s=500) == "answers 20 % less than hosts like it"
    late = replace(trial(CONFIGURATION, throughput_per_s=1000.0, at_rate=True), verdict="FAIL", reason="p95 is 30 ms")
    assert unlike(late, confirmed, rate_per_s=500) == "does not hold the SLA at 500 requests/s: p95 is 30 ms"
