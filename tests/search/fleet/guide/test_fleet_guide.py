"""What is worth a test on a fleet, without any search: classes of which only the ranges are given."""

from __future__ import annotations

import time

import pytest

from servefit.search.fleet.guide.fleet_guide import FleetGuide, Standing
from servefit.search.fleet.guide.rate_range import RateRange
from servefit.search.storage.header import PlanRequest


def guide(rate_per_s: float, **costs: float) -> FleetGuide:
    return FleetGuide(
        rate_per_s=rate_per_s,
        wanted=PlanRequest(),
        hosts={name: (f"{name}-0", f"{name}-1") for name in costs},
        costs=costs,
    )


def between(low: float, likely: float, high: float, *, measured: bool = True) -> RateRange:
    return RateRange(low_per_s=low, likely_per_s=likely, high_per_s=high, measured=measured)


def test_a_class_waits_until_the_calls_of_all_are_timed() -> None:
    fleet = guide(100, epyc=1.0, xeon=1.0)
    assert fleet.goes_on("epyc", between(40, 50, 60)) is None
    assert fleet.goes_on("epyc", between(40, 50, 60), patient=False) is True


def test_a_class_is_tested_where_its_range_alone_changes_the_cost() -> None:
    fleet = guide(100, epyc=1.0, xeon=1.0)
    assert fleet.goes_on("epyc", between(90, 99, 110)) is None
    # One EPYC is enough, or it takes another host.
    assert fleet.goes_on("xeon", between(10, 11, 12)) is None
    assert fleet.goes_on("epyc", between(90, 99, 110)) is True
    assert fleet.goes_on("xeon", between(10, 11, 12)) is None
    assert fleet.goes_on("epyc", between(100, 105, 110)) is False
    assert fleet.goes_on("xeon", between(10, 11, 12)) is False


def test_what_was_not_measured_and_is_in_a_plan_is_tested_once() -> None:
    fleet = guide(100, epyc=1.0, xeon=9.0)
    fleet.goes_on("xeon", between(200, 210, 220, measured=False))
    assert fleet.goes_on("epyc", between(200, 210, 220, measured=False)) is True
    assert fleet.goes_on("epyc", between(200, 210, 220)) is False
    assert fleet.goes_on("xeon", between(200, 210, 220, measured=False)) is False


@pytest.mark.integration
@pytest.mark.thorough
def test_a_thousand_classes_are_told_in_seconds_what_is_worth_a_test() -> None:
    names = {f"class-{nth}": 1.0 + nth % 7 for nth in range(1000)}
    fleet = guide(50_000.0, **names)
    for nth, name in enumerate(names):
        fleet.goes_on(name, between(80.0 + nth % 40, 90.0 + nth % 40, 100.0 + nth % 40))
    began_s = time.monotonic()
    verdicts = [fleet.goes_on(name, between(80.0 + nth % 40, 90.0 + nth % 40, 101.0)) for nth, name in enumerate(names)]
    assert time.monotonic() - began_s < 30
    assert True in verdicts


def test_what_ended_counts_for_what_was_confirmed_of_it() -> None:
    fleet = guide(100, epyc=1.0, xeon=5.0)
    fleet.goes_on("xeon", between(95, 100, 130))
    fleet.ended("epyc", Standing(likely_per_s=0.0, confirmed_per_s=100.0))
    assert fleet.goes_on("xeon", between(95, 100, 130)) is False
    assert fleet.saving() == 0.0


@pytest.mark.integration
def test_what_is_lost_while_it_is_confirmed_is_planned_again_without_it() -> None:
    fleet = guide(100, epyc=1.0, xeon=9.0)
    ready = {"epyc": Standing(likely_per_s=120), "xeon": Standing(likely_per_s=120)}
    assert fleet.next_task("epyc", ready["epyc"], late=False) == "wait"
    assert fleet.next_task("xeon", ready["xeon"], late=False) == "wait"
    assert fleet.next_task("epyc", ready["epyc"], late=False) == pytest.approx(100)
    assert fleet.next_task("xeon", ready["xeon"], late=False) == "wait"
    fleet.ended("epyc")
    assert fleet.next_task("xeon", ready["xeon"], late=False) == pytest.approx(100)
