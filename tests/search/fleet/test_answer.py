"""The plan of a fleet, worked out from what its classes were found to carry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pytest

from servefit.errors import SpecError
from servefit.profiler.record.types import Configuration
from servefit.report.fleet_tables import plan_headline, plan_sentences, plan_table
from servefit.search.fleet.answer import HOURS_A_YEAR, cost_of, goal_of, left_out, offers_of, plan_of
from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.results.recommendation import Basis, Confirmation, TrialVerdict
from servefit.search.storage.header import JobHost, PlanRequest

if TYPE_CHECKING:
    from tests.search.conftest import MakeSummary, MakeTrial
    from tests.search.fleet.conftest import MakeHost

Cost = tuple[tuple[str, float | str], ...]
Held = tuple[int, float, TrialVerdict, Cost]
"""Hosts of a class, the rate that each was loaded at, what came of it, and what each costs."""


@dataclass(frozen=True)
class _Profile:
    name: str


@dataclass(frozen=True)
class _Recommendation:
    profile: _Profile
    trial: Any
    confirmation: Confirmation


@dataclass(frozen=True)
class _Job:
    recommendations: tuple[_Recommendation, ...]

    @property
    def best(self) -> _Recommendation:
        return self.recommendations[0]


@dataclass(frozen=True)
class _Class:
    host_class: str
    hosts: tuple[str, ...]
    job: _Job


@dataclass(frozen=True)
class _Header:
    request: JobRequest
    hosts: tuple[JobHost, ...]
    plan: PlanRequest | None


@dataclass(frozen=True)
class _Fleet:
    """As much of a job as an answer is worked out from."""

    header: _Header
    classes: tuple[_Class, ...]


class Made:
    """Makes jobs of classes, each with its hosts and the rates at which the SLA was held or not."""

    def __init__(self, trial: MakeTrial, summary: MakeSummary, fleet_host: MakeHost) -> None:
        self._trial, self._summary, self._host = trial, summary, fleet_host
        self.outcome: Literal["confirmed", "predicted", "not made"] = "confirmed"
        self.basis: Basis = "measured"

    def job(
        self, wanted: PlanRequest | None, rate_per_s: float | None, **classes: tuple[int, float, TrialVerdict, Cost]
    ) -> Any:
        hosts, made = [], []
        for name, (count, held_per_s, verdict, cost) in classes.items():
            names = tuple(f"{name}-{nth}" for nth in range(count))
            here = self._host("any").host
            hosts += [JobHost(name=each, host=here, profiles=(), host_class=name, cost=cost) for each in names]
            summary = replace(self._summary(), offered_per_s=held_per_s)
            trial = replace(
                self._trial(Configuration(backend="xgboost", vcpus=8)),
                at_rate=summary,
                verdict=verdict,
                basis=self.basis,
            )
            made.append(
                _Class(
                    name,
                    names,
                    _Job((_Recommendation(_Profile("local-8c"), trial, Confirmation(outcome=self.outcome)),)),
                )
            )
        request = JobRequest(name="fraud", sla=Sla(rate_per_s=rate_per_s))
        return _Fleet(_Header(request, tuple(hosts), wanted), tuple(made))


@pytest.fixture
def made(trial: MakeTrial, summary: MakeSummary, fleet_host: MakeHost) -> Made:
    return Made(trial, summary, fleet_host)


FREE: Cost = ()


def test_a_host_counts_for_the_rate_at_which_the_sla_was_held(made: Made) -> None:
    job = made.job(PlanRequest(), 5000, epyc=(3, 2000, "PASS", FREE), xeon=(2, 1000, "PASS", FREE))
    plan = plan_of(job)
    assert isinstance(plan, FleetPlan)
    assert [(row.offer.host_class, row.hosts, row.weight) for row in plan.fleet.rows] == [
        ("epyc", 2, 2),
        ("xeon", 1, 1),
    ]
    assert plan.fleet.confirmed_rate_per_s == 5000


def test_a_class_that_does_not_hold_the_sla_is_no_part_of_a_plan(made: Made) -> None:
    verdicts: tuple[TrialVerdict, ...] = ("FAIL", "UNDECIDED", "INVALID")
    for verdict in verdicts:
        job = made.job(PlanRequest(), 1000, epyc=(2, 1000, "PASS", FREE), xeon=(2, 9000, verdict, FREE))
        assert [offer.host_class for offer in offers_of(job, "hosts")] == ["epyc"]
    assert plan_of(made.job(PlanRequest(), 1000, xeon=(2, 9000, "FAIL", FREE))) is None


def test_what_was_predicted_or_measured_once_is_no_part_of_a_plan_and_is_told(made: Made) -> None:
    made.basis, made.outcome = "predicted", "predicted"
    job = made.job(PlanRequest(), 1000, epyc=(2, 1000, "PASS", FREE))
    assert plan_of(job) is None
    assert left_out(job) == [("epyc", "it was predicted, as no CPU was left to load the endpoint from")]
    made.basis, made.outcome = "measured", "not made"
    job = made.job(PlanRequest(), 1000, epyc=(2, 1000, "PASS", FREE))
    assert plan_of(job) is None
    assert left_out(job) == [("epyc", "it was not confirmed by a second measurement")]


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
    "fields", [{"spare": -1}, {"spare": 1.5}, {"most_hosts": 0}, {"spare": 2, "most_hosts": 2}, {"goal": "speed"}]
)
def test_a_plan_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        PlanRequest(**fields)
