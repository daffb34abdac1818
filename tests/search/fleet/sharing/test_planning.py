"""Plans of models that share hosts, with a made interference: what does not hold, or was not measured, is left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.search.fleet.sharing.made_pairs import Jobs, MadeInterference

from servefit.annexes.fleet.sharing import print_sharing, sharing_document
from servefit.errors import SpecError
from servefit.search.fleet.plan.many_models import ManyModelsPlan, ModelsNotCarried
from servefit.search.fleet.sharing.planning import plan_sharing_jobs
from servefit.search.storage.header import PlanRequest

if TYPE_CHECKING:
    from tests.search.conftest import MakeSummary

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("solved_here")]


def test_two_models_that_hold_together_share_a_host(jobs: Jobs, summary: MakeSummary) -> None:
    asked = MadeInterference(summary)
    found = plan_sharing_jobs({"a": jobs.job("fraud"), "b": jobs.job("churn")}, PlanRequest(), asked)
    assert isinstance(found.plan, ManyModelsPlan)
    assert [(each.models, each.hosts) for each in found.plan.shared] == [(("a", "b"), 1)]
    assert found.plan.hosts_left == (("epyc", 2),)
    assert found.plan.cost == pytest.approx(1)
    (pair,) = found.measured
    assert pair.holds
    assert pair.found is not None
    assert pair.found.sides[0].latency is not None
    assert pair.found.sides[0].latency.part == 0.2


def test_a_pair_of_which_one_breaks_its_sla_is_never_planned(jobs: Jobs, summary: MakeSummary) -> None:
    asked = MadeInterference(summary, frozenset({frozenset("ab")}))
    found = plan_sharing_jobs({"a": jobs.job("fraud"), "b": jobs.job("churn")}, PlanRequest(), asked)
    assert isinstance(found.plan, ManyModelsPlan)
    assert found.plan.shared == ()
    assert found.plan.hosts_left == (("epyc", 1),)
    (pair,) = found.measured
    assert not pair.holds
    assert pair.reason == "a is FAIL beside the other: p95 is 60 ms"


def test_what_models_cost_each_other_is_printed_in_per_cent_with_its_interval(
    jobs: Jobs, summary: MakeSummary, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    models = {"a": jobs.job("fraud"), "b": jobs.job("churn"), "c": jobs.job("price", vcpus=8)}
    breaks = frozenset({frozenset("ab")})
    found = plan_sharing_jobs(models, PlanRequest(), MadeInterference(summary, breaks))
    print_sharing(found)
    told = capsys.readouterr()
    assert "+20.0 (15.0 to 26.0)" in told.out
    assert "FAIL" in told.out
    assert "serves" not in told.out
    assert "a and c do not share epyc: their 4 and 8 vCPUs do not fit side by side on its 8 CPUs." in told.out
    assert "a and b do not share epyc: a is FAIL beside the other: p95 is 60 ms" in told.err
    document = sharing_document(found)
    assert json.loads(json.dumps(document, allow_nan=False))["pairs"][0]["holds"] is False
    assert [each["models"] for each in document["pairs_left_out"]] == [("a", "c"), ("b", "c")]


def test_where_one_pair_does_not_hold_another_is_measured_and_no_more_than_matter(
    jobs: Jobs, summary: MakeSummary
) -> None:
    """Of three models on two hosts two share one; whichever pair is tried first does not hold."""
    models = {"a": jobs.job("fraud", hosts=2), "b": jobs.job("churn", hosts=2), "c": jobs.job("price", hosts=2)}
    asked = MadeInterference(summary, frozenset({frozenset("ab"), frozenset("bc")}))
    found = plan_sharing_jobs(models, PlanRequest(), asked)
    assert isinstance(found.plan, ManyModelsPlan)
    assert [each.models for each in found.plan.shared] == [("a", "c")]
    assert {pair.models for pair in found.measured} == set(asked.asked)
    assert len(asked.asked) == len(set(asked.asked))
    assert found.unmeasured == 3 - len(asked.asked)


def test_each_model_keeps_its_spare_hosts(jobs: Jobs, summary: MakeSummary) -> None:
    models = {"a": jobs.job("fraud"), "b": jobs.job("churn")}
    found = plan_sharing_jobs(models, PlanRequest(spare=1), MadeInterference(summary))
    assert isinstance(found.plan, ManyModelsPlan)
    assert [each.hosts for each in found.plan.shared] == [2]
    assert all(each.fleet.kept_rate_per_s >= each.rate_per_s for each in found.plan.models)


def test_rates_that_are_not_carried_even_so_are_told_by_what_was_measured_alone(
    jobs: Jobs, summary: MakeSummary
) -> None:
    asked = MadeInterference(summary)
    models = {name: jobs.job(name, asked_per_s=3000, hosts=2) for name in ("a", "b")}
    found = plan_sharing_jobs(models, PlanRequest(), asked)
    assert isinstance(found.plan, ModelsNotCarried)
    # One host for each. Two that they share would carry two thirds, which nobody has measured.
    assert found.plan.part_carried == pytest.approx(1 / 3)
    assert asked.asked == []


def test_a_pair_that_breaks_is_not_counted_on_where_the_rates_need_it(jobs: Jobs, summary: MakeSummary) -> None:
    asked = MadeInterference(summary, frozenset({frozenset("ab")}))
    models = {name: jobs.job(name, hosts=1) for name in ("a", "b")}
    found = plan_sharing_jobs(models, PlanRequest(), asked)
    assert isinstance(found.plan, ModelsNotCarried)
    assert asked.asked == [("a", "b")]
    assert [pair.holds for pair in found.measured] == [False]


def test_a_plan_for_one_model_or_of_one_job_twice_is_refused(jobs: Jobs, summary: MakeSummary) -> None:
    fraud = jobs.job("fraud")
    for models, told in (({"a": fraud}, "is for two models"), ({"a": fraud, "b": fraud}, "has the job of a, fraud")):
        with pytest.raises(SpecError, match=told):
            plan_sharing_jobs(models, PlanRequest(), MadeInterference(summary))
