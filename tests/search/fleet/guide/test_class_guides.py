"""Searches of the classes of a fleet, side by side: what is tested, what is confirmed, and what is left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.fleet.guide.fleets import Fleet
from tests.search.optimizer.search.conftest import Table

from servefit.errors import AgentLost
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.search.fleet.fleet_job import LEFT_ALONE, NOT_PLANNED
from servefit.search.fleet.guide.class_guide import confirmed_before
from servefit.search.fleet.guide.fleet_guide import SAME_COST, FleetGuide
from servefit.search.jobs.job import JobStopped
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.storage.header import PlanRequest

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.profiler.record.types import Configuration
    from servefit.search.results.recommendation import Trial

pytestmark = pytest.mark.usefixtures("solved_here")

UNLIKE = {"fast": 1.0, "middle": 2.0, "slow": 4.0}
ONE_OF_EACH = dict.fromkeys(UNLIKE, 1)


def fleet(
    trial: MakeTrial,
    *,
    times: float,
    hosts: dict[str, int] | None = None,
    limit_ms: float | None = None,
    budget_s: float = 60,
    **fields: Any,
) -> Fleet:
    """A fleet for so many ``times`` the rate that a fast host carries."""
    thresholds = () if limit_ms is None else (LatencyThreshold(percentile="p95", limit_ms=limit_ms),)
    request = JobRequest(name="fraud", budget_s=budget_s, sla=Sla(rate_per_s=1.0, thresholds=thresholds))
    hosts = hosts or ONE_OF_EACH
    most_per_s = Fleet(request, trial, UNLIKE, {"fast": 1}).most_per_s("fast")
    request = replace(request, sla=replace(request.sla, rate_per_s=times * most_per_s))
    return Fleet(request, trial, UNLIKE, hosts, **fields)


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.parametrize(
    ("times", "planned"), [(0.8, {"fast"}), (1.3, {"fast", "middle"}), (1.6, {"fast", "middle", "slow"})]
)
def test_what_is_in_the_plan_is_confirmed_at_the_rate_that_the_plan_gives_it(
    trial: MakeTrial, times: float, planned: set[str]
) -> None:
    found = fleet(trial, times=times)
    found.search()
    confirmed = found.confirmed()
    assert set(confirmed) == planned
    # Where a plan was made anew, a class may have been confirmed at more than the last one gives it, and is not again.
    assert 0.998 <= sum(confirmed.values()) / found.guide.rate_per_s < 1.05
    for name, rate_per_s in confirmed.items():
        # Hosts take parts in proportion to what they carry; which configuration is best is looked for no further than
        # the plan needs.
        share = found.most_per_s(name) / sum(map(found.most_per_s, planned))
        assert rate_per_s == pytest.approx(found.guide.rate_per_s * share, rel=0.25)


@pytest.mark.thorough
@pytest.mark.integration
def test_three_classes_take_at_most_half_as_many_tests_again_as_one_host(trial: MakeTrial) -> None:
    found = fleet(trial, times=1.3)
    found.search()
    alone = found.table("fast")
    Fleet.search_of(alone).carry_out()
    assert found.tests <= 1.5 * len(alone.measured)
    saving = found.guide.saving()
    assert saving is not None
    assert saving <= SAME_COST


@pytest.mark.integration
def test_a_class_that_no_plan_has_is_not_tested_and_says_so(trial: MakeTrial) -> None:
    found = fleet(trial, times=0.7, costs={"fast": 1.0, "middle": 5.0, "slow": 5.0})
    searches = found.search()
    assert {name: found.tests_of(name) for name in ("middle", "slow")} == {"middle": 0, "slow": 0}
    assert found.tests_of("fast") > 0
    for name in ("middle", "slow"):
        assert searches[name].remarks == [LEFT_ALONE]
        assert found.guides[name].left_alone


@pytest.mark.integration
def test_a_class_that_was_tested_in_vain_is_not_confirmed_and_says_so(trial: MakeTrial) -> None:
    # Nobody knows before the tests which of two is cheaper for what it carries.
    found = fleet(trial, times=0.45, costs={"fast": 1.0, "middle": 0.97, "slow": 5.0})
    searches = found.search()
    tested = {name for name in UNLIKE if found.tests_of(name)}
    (confirmed,) = found.confirmed()
    assert tested > {confirmed}
    for name in tested - {confirmed}:
        assert NOT_PLANNED in searches[name].remarks
        assert not found.tables[name].of_kind("confirmation")


@pytest.mark.thorough
@pytest.mark.integration
def test_spare_hosts_raise_the_rate_that_the_others_are_confirmed_at(trial: MakeTrial) -> None:
    hosts = {"fast": 4, "middle": 1, "slow": 1}
    without = fleet(trial, times=2.0, hosts=hosts)
    without.search()
    with_spare = fleet(trial, times=2.0, hosts=hosts, wanted=PlanRequest(spare=1))
    with_spare.search()
    rate_per_s = with_spare.guide.rate_per_s
    assert without.confirmed()["fast"] >= rate_per_s / 3 * 0.9
    # Of three or more that are left after a loss.
    assert with_spare.confirmed()["fast"] >= rate_per_s / 3 * 0.9


@pytest.mark.integration
def test_more_hosts_of_a_class_are_checked_at_its_rate(trial: MakeTrial) -> None:
    found = fleet(trial, times=9.5, hosts={"fast": 12})
    found.search()
    names = [name for name, _ in found.checked]
    assert len(names) == 4
    assert "fast-00" not in names
    assert {rate for _, rate in found.checked} == set(found.confirmed().values())
    assert found.unlike == {}
    assert any("spot-checked at" in remark for remark in found.guides["fast"].remarks)


@pytest.mark.integration
def test_a_host_that_is_not_like_its_class_is_left_out_and_the_rest_is_planned_again(trial: MakeTrial) -> None:
    def check(_: Configuration, rate_per_s: float, host: str) -> Trial:
        slower = 0.75 if host == "fast-01" else 1.0
        table = found.tables["fast"]
        (winner,) = found.guides["fast"].confirmed_per_s
        made = trial(winner, throughput_per_s=slower * table.capacity_per_s(winner), at_rate=True)
        return replace(made, asked_per_s=rate_per_s)

    found = fleet(trial, times=1.7, hosts={"fast": 2, "middle": 2}, costs={"fast": 1.0, "middle": 1.0}, check=check)
    found.search()
    assert list(found.unlike) == ["fast-01"]
    assert found.unlike["fast-01"].startswith("answers 2")
    # One fast host is left, and the middle ones, which were not in the first plan, take what it does not.
    confirmed = found.confirmed()
    assert set(confirmed) == {"fast", "middle"}
    assert confirmed["fast"] + 2 * confirmed["middle"] >= found.guide.rate_per_s * 0.999


@pytest.mark.integration
def test_a_host_that_cannot_be_checked_stays_and_is_named(trial: MakeTrial) -> None:
    def check(_: Configuration, __: float, host: str) -> Trial | None:
        raise AgentLost(host, "its agent is not there")

    found = fleet(trial, times=1.5, hosts={"fast": 2}, check=check)
    found.search()
    assert found.unlike == {}
    assert any(remark.startswith("fast-01 could not be checked") for remark in found.guides["fast"].remarks)


@pytest.mark.integration
def test_a_class_that_does_not_hold_its_planned_rate_is_confirmed_at_a_lower_one(trial: MakeTrial) -> None:
    class LateWhenBusy(Table):
        """Beyond 60 % of its capacity, nothing holds the limit."""

        def p95_ms(self, configuration: Configuration, rate_per_s: float | None) -> float:
            busy = (rate_per_s or 0.0) / self.capacity_per_s(configuration)
            return 40.0 if busy > 0.6 else 10.0

    found = fleet(trial, times=1.5, hosts={"fast": 3}, limit_ms=20.0, kind=LateWhenBusy)
    found.search()
    table = found.tables["fast"]
    (confirmed_per_s,) = found.confirmed().values()
    assert 3 * confirmed_per_s >= found.guide.rate_per_s * 0.999
    assert confirmed_per_s <= 0.61 * max(map(table.capacity_per_s, table.space.grid))
    assert len(table.of_kind("confirmation")) > 1


@pytest.mark.thorough
@pytest.mark.integration
def test_a_fleet_that_does_not_carry_the_rate_is_confirmed_at_what_it_carries(trial: MakeTrial) -> None:
    found = fleet(trial, times=5.0)
    found.search()
    confirmed = found.confirmed()
    assert set(confirmed) == set(UNLIKE)
    for name, rate_per_s in confirmed.items():
        assert rate_per_s == pytest.approx(found.most_per_s(name), rel=0.15)
        assert len(found.tables[name].of_kind("confirmation")) <= 2
    assert found.guide.saving() is None


@pytest.mark.integration
def test_a_job_that_runs_out_of_time_says_how_much_cheaper_its_plan_may_be(trial: MakeTrial) -> None:
    found = fleet(trial, times=100.5, hosts={"fast": 150}, budget_s=25)
    found.search()
    saving = found.guide.saving()
    assert found.confirmed()
    assert saving is not None
    assert 0.01 < saving < 0.5


def test_a_class_whose_agents_are_lost_leaves_the_plan_to_the_others(trial: MakeTrial) -> None:
    found = fleet(trial, times=0.8, costs={"fast": 1.0, "middle": 1.0, "slow": 1.0})

    def lose() -> None:
        raise AgentLost("fast-00", "its agent is not there")

    found.tables["fast"].before = lose
    with pytest.raises(AgentLost):
        found.search()
    assert set(found.confirmed()) == {"middle", "slow"}


@pytest.mark.thorough
def test_every_class_is_tested_and_confirmed_at_the_highest_rate_where_that_is_asked_for(trial: MakeTrial) -> None:
    found = fleet(trial, times=0.8, wanted=PlanRequest(every_class=True))
    found.search()
    confirmed = found.confirmed()
    assert set(confirmed) == set(UNLIKE)
    for name, rate_per_s in confirmed.items():
        assert rate_per_s == pytest.approx(found.most_per_s(name), rel=0.15)


@pytest.mark.integration
def test_a_class_whose_calls_are_not_timed_in_time_does_not_keep_the_others_from_being_tested(
    trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fleet(trial, times=0.8, costs={"fast": 1.0, "middle": 1.0, "slow": 1.0})
    table = found.tables["fast"]

    def pass_time(_: FleetGuide, seconds: float) -> None:
        table.now_s += 10 * seconds

    monkeypatch.setattr(FleetGuide, "wait", pass_time)
    Fleet.search_of(table, guide=found.guides["fast"]).carry_out()
    # The others never came to their tests, nor to an end.
    assert table.of_kind("load test")


def test_a_stop_ends_all_classes(trial: MakeTrial) -> None:
    found = fleet(trial, times=1.3, stopped=lambda: True)
    with pytest.raises(JobStopped):
        found.search()
    assert found.tests == 0


@pytest.mark.integration
def test_what_was_learnt_elsewhere_is_never_a_measurement(trial: MakeTrial) -> None:
    found = fleet(trial, times=1.6)
    searches = found.search()
    for name, search in searches.items():
        measured = {configuration for _, configuration in found.tables[name].measured}
        assert {each.configuration for each in search.trials} <= measured
        assert set(found.guides[name].confirmed_per_s) <= measured


def test_confirmations_of_an_earlier_run_count_at_the_highest_rate_that_passed(trial: MakeTrial) -> None:
    table = fleet(trial, times=1.0).tables["fast"]
    one, other = table.space.grid[:2]
    made = [
        replace(trial(one, at_rate=True), asked_per_s=100.0, verdict="PASS"),
        replace(trial(one, at_rate=True), asked_per_s=300.0, verdict="FAIL"),
        replace(trial(one, at_rate=True), asked_per_s=200.0, verdict="PASS"),
        replace(trial(other, at_rate=True), asked_per_s=50.0, verdict="PASS", round=1),
    ]
    assert confirmed_before(made) == {one: 200.0}
