"""How the winner is measured again: in how many runs, and how long each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.record.traffic import ClosedLoop
from servefit.search.optimizer.confirmation_plan import (
    ConfirmationPlan,
    kept_for_confirmation_s,
    min_confirmation_s,
    plan_confirmation,
    too_little_traffic,
)
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.measure_trial import CONFIRMING, CONFIRMING_RUNS

ROUND_S = 2.7


def request_of(limit: str = "p95=20ms", *, rate_per_s: float = 500.0, **asked: Any) -> JobRequest:
    return JobRequest(name="job", sla=Sla(thresholds=parse_sla(limit), rate_per_s=rate_per_s), **asked)


def planned(request: JobRequest, left_s: float, *, in_one: bool = False) -> ConfirmationPlan:
    return plan_confirmation(request, left_s=left_s, round_test_s=ROUND_S, in_one=in_one)


def test_with_time_there_are_five_runs_and_five_minutes_of_traffic() -> None:
    plan = planned(request_of(), 600.0)
    assert plan.runs == CONFIRMING_RUNS
    assert plan.traffic_s == plan.runs * plan.each.at_rate_s == pytest.approx(CONFIRMING.at_rate_max_s)


def test_without_a_limit_of_time_there_are_twenty_seconds_of_traffic() -> None:
    plan = planned(request_of(), float("inf"))
    assert plan.traffic_s == plan.runs * plan.each.at_rate_s == pytest.approx(20.0)
    assert planned(request_of(arrivals="sine:period=4s"), float("inf")).each.at_rate_s == 20.0


def test_with_little_time_there_are_fewer_and_three_at_least_or_one() -> None:
    request = request_of()
    runs = [planned(request, left_s).runs for left_s in (3.0, 5.0, 7.0, 8.0, 9.0, 30.0)]
    assert set(runs) <= {1, 3, 4, 5}
    assert runs == sorted(runs)
    assert (runs[0], runs[-1]) == (1, 5)


@given(left_s=st.floats(4, 300), rate_per_s=st.floats(10, 5000), round_s=st.floats(0.5, 6))
def test_runs_fit_into_the_time_and_have_the_requests_for_their_percentiles(
    left_s: float, rate_per_s: float, round_s: float
) -> None:
    request = request_of(rate_per_s=rate_per_s)
    plan = plan_confirmation(request, left_s=left_s, round_test_s=round_s, in_one=False)
    if plan.runs > 1:
        start_s = max(0.3, round_s - 0.5 - max(1.0, 135 / rate_per_s))
        assert plan.runs * start_s + plan.loads_s <= left_s + 1e-6
        assert plan.each.at_rate_s * rate_per_s >= 90


def test_what_is_kept_for_runs_that_are_made_again_is_traffic_of_the_last_where_none_is() -> None:
    """But for a second, or as long as the limit, for what waits at its end."""
    start_s, left_s = 1.2, 16.0
    plan = planned(request_of(), left_s)
    assert plan.spare_s == pytest.approx(0.25 * plan.runs * plan.each.at_rate_s - 1)
    assert plan.runs * start_s + plan.loads_s == pytest.approx(left_s - 1)
    assert planned(request_of("p95=1500ms"), left_s).spare_s == pytest.approx(plan.spare_s - 0.5)
    assert planned(request_of(allow_noise=True), left_s).spare_s == 0.0


def test_a_high_percentile_at_a_low_rate_takes_one_long_run() -> None:
    assert planned(request_of("p99.9=20ms", rate_per_s=100.0), 30.0).runs == 1


def test_the_users_own_traffic_and_whole_cycles_are_one_run() -> None:
    phases = JobRequest(name="job", phases=ClosedLoop.constant(users=2, duration_s=10))
    assert planned(phases, 100.0).runs == 1
    cycles = request_of(arrivals="sine:period=4s")
    assert planned(cycles, 100.0).runs == 1
    assert planned(cycles, 100.0).each.at_rate_s >= 4.0
    assert planned(request_of(), 100.0, in_one=True).runs == 1


def test_without_a_rate_runs_are_closed_loops() -> None:
    plan = planned(JobRequest(name="job"), 60.0)
    assert (plan.runs, plan.traffic_s) == (CONFIRMING_RUNS, 0.0)


def test_nearly_half_of_a_short_job_is_kept_for_it_and_of_a_long_one_five_runs_with_twenty_seconds_of_traffic() -> None:
    request = request_of()
    kept = [kept_for_confirmation_s(request, limit_s=limit_s, round_test_s=ROUND_S) for limit_s in (6, 30, 600)]
    assert kept[0] == min_confirmation_s(request, round_test_s=ROUND_S)
    assert kept[1] == 13.5
    assert kept[2] == pytest.approx(5 * (1.2 + 0.3) + 20)


def test_a_job_whose_time_is_too_short_for_any_pass_says_so_with_the_budget_that_is_not() -> None:
    request = request_of("p95=20ms,p99=50ms", rate_per_s=10.0)
    said = too_little_traffic(request, limit_s=42.0) or ""
    assert "p99 takes 46 s of traffic at 10/s, and about " in said
    proposed_s = float(said.rpartition("--budget ")[2].removesuffix("s"))
    assert too_little_traffic(request, limit_s=proposed_s) is None
    plan = planned(request, 0.45 * proposed_s)
    assert plan.traffic_s * 10.0 >= 459


@pytest.mark.parametrize("request_", [JobRequest(name="job"), JobRequest(name="job", sla=Sla(rate_per_s=0.1))])
def test_without_limits_at_a_rate_no_time_is_too_short(request_: JobRequest) -> None:
    assert too_little_traffic(request_, limit_s=42.0) is None


def test_as_little_is_kept_for_a_hurried_one_as_gives_an_interval() -> None:
    kept_s = kept_for_confirmation_s(request_of(), limit_s=600, round_test_s=ROUND_S, hurried=True)
    assert kept_s == pytest.approx(3 * (1.2 + 0.3 + 0.4))
