"""Profiles that share a measurement: each is recommended with its price, and a table has one row of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.jobs.document import recommendation_document
from servefit.search.request.job_request import JobRequest
from servefit.search.request.space import Space
from servefit.search.results.ranking import recommend
from servefit.search.results.same_shape import folded

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.request.job_request import Goal
    from servefit.search.results.recommendation import Recommendation

TWO = Configuration(vcpus=2, backend="fast", workers=2)
ONE = Configuration(vcpus=1, backend="fast")


def profile(name: str, price_per_hour: float | None = None, vcpus: int = 2) -> InstanceProfile:
    return InstanceProfile(
        name=name,
        vcpus=vcpus,
        memory_bytes=2**30,
        price_per_hour=price_per_hour,
        cloud="aws",
        currency="EUR",
        region="eu-west-1",
        price_date="2026-11-02",
    )


def found(trial: MakeTrial, goal: Goal = "cost") -> tuple[Recommendation, ...]:
    space = Space(
        profiles=(
            (profile("m5.large", 0.096), frozenset({TWO})),
            (profile("n2-standard-2"), frozenset({TWO})),
            (profile("c5.large", 0.085), frozenset({TWO})),
            (profile("n1-standard-1", 0.05, vcpus=1), frozenset({ONE})),
        ),
        grid=(TWO, ONE),
    )
    trials = [trial(TWO, throughput_per_s=2000.0), trial(ONE, throughput_per_s=500.0)]
    return recommend(space, trials, JobRequest(name="job", goal=goal))


def test_every_profile_names_the_others_of_its_shape_the_cheapest_first(trial: MakeTrial) -> None:
    same_as = {each.profile.name: each.same_as for each in found(trial)}
    assert same_as == {
        "c5.large": ("m5.large", "n2-standard-2"),
        "m5.large": ("c5.large", "n2-standard-2"),
        "n2-standard-2": ("c5.large", "m5.large"),
        "n1-standard-1": (),
    }


def test_one_row_is_left_of_each_shape_that_of_the_cheapest_profile(trial: MakeTrial) -> None:
    goals: tuple[Goal, ...] = ("cost", "latency", "throughput")
    for goal in goals:
        everything = found(trial, goal)
        rows = folded(everything)
        assert {row.profile.name for row in rows} == {"c5.large", "n1-standard-1"}
        assert rows[0].trial is everything[0].trial
        assert len(everything) == 4


def test_a_document_says_what_is_known_of_a_price_and_what_stands_for_one(trial: MakeTrial) -> None:
    documents = {each.profile.name: recommendation_document(each) for each in found(trial)}
    priced, unpriced = documents["c5.large"], documents["n2-standard-2"]
    known = {name: priced[name] for name in ("cost_per_hour", "currency", "region", "price_date")}
    assert known == {"cost_per_hour": 0.085, "currency": "EUR", "region": "eu-west-1", "price_date": "2026-11-02"}
    assert priced["same_as"] == ["m5.large", "n2-standard-2"]
    assert [unpriced[name] for name in known] == [None] * 4
    assert priced["vcpu_s_per_million"] == unpriced["vcpu_s_per_million"] == 2 * 1e6 / 2000
