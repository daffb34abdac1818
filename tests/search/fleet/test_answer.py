"""The plan of a fleet, worked out from what its classes were found to carry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.fleet.made_jobs import FREE, Made

from servefit.annexes.fleet.report_tables import plan_headline, plan_sentences, plan_table
from servefit.errors import SpecError
from servefit.search.fleet.answer import HOURS_A_YEAR, cheapest_first, cost_of, goal_of, left_out, offers_of, plan_of
from servefit.search.fleet.fleet_job import LEFT_ALONE, NOT_PLANNED
from servefit.search.fleet.many_jobs import left_out_sentences, plan_jobs
from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried
from servefit.search.fleet.plan.many_models import ManyModelsPlan, ModelsNotCarried
from servefit.search.storage.header import PlanRequest

if TYPE_CHECKING:
    from tests.search.conftest import MakeSummary, MakeTrial
    from tests.search.fleet.conftest import MakeHost

    from servefit.profiler.evidence.limits import Verdict

pytestmark = pytest.mark.usefixtures("solved_here")


@pytest.fixture
def made(trial: MakeTrial, summary: MakeSummary, fleet_host: MakeHost) -> Made:
    return Made(trial, summary, fleet_host)


@pytest.mark.integration
def test_a_host_counts_for_the_rate_at_which_the_sla_was_held(made: Made) -> None:
    job = made.job(PlanRequest(), 5000, epyc=(2, 2000, "PASS", FREE), xeon=(2, 1000, "PASS", FREE))
    plan = plan_of(job)
    assert isinstance(plan, FleetPlan)
    assert [(row.offer.host_class, row.hosts, row.weight) for row in plan.fleet.rows] == [
        ("epyc", 2, 2),
        ("xeon", 1, 1),
    ]
    assert plan.fleet.confirmed_rate_per_s == 5000


def test_a_class_that_does_not_hold_the_sla_is_no_part_of_a_plan(made: Made) -> None:
    verdicts: tuple[Verdict, ...] = ("FAIL", "UNDECIDED", "INVALID")
    for verdict in verdicts:
        job = made.job(PlanRequest(), 1000, epyc=(2, 1000, "PASS", FREE), xeon=(2, 9000, verdict, FREE))
        assert [offer.host_class for offer in offers_of(job, "hosts")] == ["epyc"]
    assert plan_of(made.job(PlanRequest(), 1000, xeon=(2, 9000, "FAIL", FREE))) is None


def test_what_was_predicted_or_measured_once_is_no_part_of_a_plan_and_is_told(made: Made) -> None:
    made.basis, made.outcome = "predicted", "predicted"
    job = made.job(PlanRequest(), 1000, epyc=(2, 1000, "PASS", FREE))
    assert plan_of(job) is None
    assert left_out(job, plan_of(job)) == [("epyc", "it was predicted, as no CPU was left to load the endpoint from")]
    made.basis, made.outcome = "measured", "not made"
    job = made.job(PlanRequest(), 1000, epyc=(2, 1000, "PASS", FREE))
    assert plan_of(job) is None
    assert left_out(job, plan_of(job)) == [("epyc", "it was not confirmed by a second measurement")]


@pytest.mark.integration
def test_a_job_for_one_model_leaves_out_what_another_may_need_and_says_how_to_begin_it(made: Made) -> None:
    fraud = made.job(PlanRequest(), 1000, epyc=(1, 1000, "PASS", FREE), xeon=(1, 900, "FAIL", FREE))
    whole = made.job(PlanRequest(every_class=True), 1000, epyc=(1, 1000, "PASS", FREE), xeon=(1, 900, "FAIL", FREE))
    reason = "xeon is not planned for fraud: its verdict is FAIL"
    assert list(left_out_sentences({"fraud": whole})) == [reason]
    sentences = list(left_out_sentences({"fraud": fraud}))
    assert sentences == [reason, "job fraud measured only what its own plan needs: begin it with --every-class"]


@pytest.mark.integration
def test_classes_that_the_plan_does_without_say_so(made: Made) -> None:
    plan = plan_of(made.job(PlanRequest(), 1000, xeon=(2, 1000, "PASS", FREE)))
    for remark in (LEFT_ALONE, NOT_PLANNED):
        made.outcome, made.remarks = "not made", (remark, "something else")
        job = made.job(PlanRequest(), 1000, epyc=(2, 1000, "PASS", FREE))
        assert left_out(job, plan) == [("epyc", remark)]


def test_where_there_is_no_plan_nothing_does_without_a_class(made: Made) -> None:
    for remark in (LEFT_ALONE, NOT_PLANNED):
        made.outcome, made.remarks = "not made", (remark,)
        job = made.job(PlanRequest(), 1000, epyc=(2, 1000, "PASS", FREE))
        ((_, reason),) = left_out(job, plan_of(job))
        assert "more time (--budget) tells what it carries" in reason
        assert "does without" not in reason


def test_hosts_that_were_not_confirmed_are_not_said_to_carry_nothing(made: Made) -> None:
    job = made.job(PlanRequest(), 5000, epyc=(2, 1000, "PASS", FREE), xeon=(3, 1000, "UNDECIDED", FREE))
    plan = plan_of(job)
    assert isinstance(plan, NotCarried)
    assert plan.unconfirmed == 3
    assert plan_headline(plan, "hosts") == (
        "5,000 requests/s were not confirmed to be carried: the hosts of which it was confirmed that they hold the "
        "SLA, 2, carry 2,000; what 3 others carry is not confirmed."
    )
    refuted = plan_of(made.job(PlanRequest(), 5000, epyc=(2, 1000, "PASS", FREE), xeon=(3, 1000, "FAIL", FREE)))
    assert isinstance(refuted, NotCarried)
    assert refuted.unconfirmed == 0
    assert "are not carried" in plan_headline(refuted, "hosts")


def test_without_a_rate_there_is_no_plan(made: Made) -> None:
    assert plan_of(made.job(PlanRequest(), None, epyc=(2, 1000, "PASS", FREE))) is None


def test_what_all_hosts_do_not_carry_is_told_with_what_they_do(made: Made) -> None:
    plan = plan_of(made.job(PlanRequest(spare=1), 5000, epyc=(3, 2000, "PASS", FREE)))
    assert isinstance(plan, NotCarried)
    assert plan.carries_per_s == 4000
    told = plan_headline(plan, "hosts")
    assert told == (
        "5,000 requests/s are not carried after the loss of any 1: the hosts of which it was confirmed that they hold "
        "the SLA, 3, carry 4,000 then."
    )


def test_more_spare_hosts_than_hold_the_sla_are_no_error_of_whoever_asked(made: Made) -> None:
    plan = plan_of(
        made.job(PlanRequest(spare=2), 1000, epyc=(2, 1000, "PASS", FREE), xeon=(3, 1000, "UNDECIDED", FREE))
    )
    assert isinstance(plan, NotCarried)
    assert (plan.hosts, plan.carries_per_s) == (2, 0.0)


@pytest.mark.integration
def test_the_cheapest_hosts_are_chosen_where_all_have_a_cost(made: Made) -> None:
    job = made.job(
        PlanRequest(),
        2000,
        epyc=(2, 2000, "PASS", (("per_hour", 3.0),)),
        xeon=(4, 1000, "PASS", (("capex", 4 * HOURS_A_YEAR), ("years", 4.0))),
    )
    plan = plan_of(job)
    assert isinstance(plan, FleetPlan)
    assert goal_of(PlanRequest(), job.header.hosts) == "cost"
    assert [(row.offer.host_class, row.hosts) for row in plan.fleet.rows] == [("xeon", 2)]
    assert plan.fleet.cost == pytest.approx(2.0)
    assert plan_headline(plan, "cost") == "2,000 requests/s are carried by 2 x xeon: 2 an hour, 2 hosts."


@pytest.mark.integration
def test_hosts_of_a_class_have_their_own_prices_and_the_cheapest_serve(made: Made) -> None:
    made.hosts = {"epyc": ("dear", "cheap")}
    job = made.job(PlanRequest(), 1000, epyc=(2, 1000, "PASS", (("per_hour", 1.0),)))
    dear, cheap = job.header.hosts
    job = replace(job, header=replace(job.header, hosts=(dear, replace(cheap, cost=(("per_hour", 0.25),)))))
    plan = plan_of(job)
    assert isinstance(plan, FleetPlan)
    assert (plan.fleet.hosts, plan.fleet.cost, plan.all_hosts.cost) == (1, 0.25, 1.25)
    assert cheapest_first(job)["epyc"] == ["cheap", "dear"]
    several = plan_jobs({"fraud": job}, PlanRequest())
    assert isinstance(several, ManyModelsPlan)
    assert several.cost == 0.25


@pytest.mark.integration
def test_without_costs_the_fewest_hosts_are_chosen_and_a_loss_is_told(made: Made) -> None:
    job = made.job(PlanRequest(spare=1), 2000, epyc=(3, 2000, "PASS", FREE), xeon=(4, 1000, "PASS", FREE))
    plan = plan_of(job)
    assert isinstance(plan, FleetPlan)
    assert plan.fleet.hosts == 2
    (told, *_) = plan_sentences(plan, "hosts")
    assert told == (
        "Without 1 x epyc the others were confirmed to carry 2,000 requests/s; the busiest gets 100 % of its confirmed "
        "rate."
    )
    assert plan_table(plan, "hosts").rows[0][:3] == ("epyc", 2, 3)


@pytest.mark.parametrize(
    ("goal", "cost", "told"),
    [
        ("cost", {}, "goal: 'cost' needs what rack3-07 costs"),
        ("cost", {"watts": 100.0}, "goal: 'cost' needs what rack3-07 costs"),
        ("watts", {"per_hour": 1.0}, "goal: 'watts' needs what rack3-07 costs"),
        ("watts", {"watts": "auto"}, "cost: 'watts=auto' of rack3-07 is not known"),
    ],
)
def test_a_goal_without_the_costs_that_it_takes_is_refused(goal: Any, cost: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        cost_of(goal, "rack3-07", cost)


@pytest.mark.parametrize(
    "fields", [{"spare": -1}, {"spare": 1.5}, {"most_hosts": 0}, {"spare": 2, "most_hosts": 2}, {"least": "speed"}]
)
def test_a_plan_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        PlanRequest(**fields)


@pytest.mark.integration
def test_each_host_serves_one_of_several_models(made: Made) -> None:
    fraud = made.job(None, 3000, epyc=(2, 2000, "PASS", FREE), xeon=(4, 1000, "PASS", FREE))
    churn = made.job(None, 900, epyc=(2, 500, "PASS", FREE), xeon=(4, 450, "PASS", FREE))
    plan = plan_jobs({"fraud": fraud, "churn": churn}, PlanRequest())
    assert isinstance(plan, ManyModelsPlan)
    serving = {each.model: sum(row.hosts * row.offer.rate_per_s for row in each.fleet.rows) for each in plan.models}
    assert serving["fraud"] >= 3000
    assert serving["churn"] >= 900
    assert sum(row.hosts for each in plan.models for row in each.fleet.rows) == 4
    assert sum(count for _, count in plan.hosts_left) == 2


@pytest.mark.integration
def test_hosts_are_alike_where_every_job_says_so(made: Made) -> None:
    made.hosts = {"slow": ("a",), "fast": ("b", "c")}
    fraud = made.job(None, 1000, slow=(1, 500, "PASS", FREE), fast=(2, 1000, "PASS", FREE))
    made.hosts = {"cold": ("a", "b"), "warm": ("c",)}
    churn = made.job(None, 300, cold=(2, 100, "PASS", FREE), warm=(1, 300, "PASS", FREE))
    plan = plan_jobs({"fraud": fraud, "churn": churn}, PlanRequest())
    assert isinstance(plan, ManyModelsPlan)
    assert [(each.model, row.offer.host_class) for each in plan.models for row in each.fleet.rows] == [
        ("fraud", "b"),
        ("churn", "c"),
    ]
    assert plan.hosts_left == (("a", 1),)


@pytest.mark.integration
def test_models_that_the_fleet_does_not_carry_are_told_with_the_part_that_it_does(made: Made) -> None:
    fraud = made.job(None, 4000, epyc=(2, 2000, "PASS", FREE))
    churn = made.job(None, 4000, epyc=(2, 2000, "PASS", FREE))
    plan = plan_jobs({"fraud": fraud, "churn": churn}, PlanRequest())
    assert isinstance(plan, ModelsNotCarried)
    assert plan.part_carried == pytest.approx(0.5)


def test_jobs_that_say_nothing_of_a_rate_make_no_plan(made: Made) -> None:
    held = made.job(None, 1000, epyc=(2, 1000, "PASS", FREE))
    with pytest.raises(SpecError, match="which was asked for no rate"):
        plan_jobs({"fraud": held, "churn": made.job(None, None, epyc=(2, 1000, "PASS", FREE))}, PlanRequest())
    with pytest.raises(SpecError, match="in which no host holds the SLA: epyc: its verdict is FAIL"):
        plan_jobs({"fraud": held, "churn": made.job(None, 1000, epyc=(2, 1000, "FAIL", FREE))}, PlanRequest())
    with pytest.raises(SpecError, match="spare"):
        plan_jobs({"fraud": held}, PlanRequest(spare=2))
    with pytest.raises(SpecError, match="are none"):
        plan_jobs({}, PlanRequest())
    with pytest.raises(SpecError, match="is for a fleet of one model"):
        plan_jobs({"fraud": held}, PlanRequest(most_hosts=2))
