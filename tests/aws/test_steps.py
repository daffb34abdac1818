"""Steps of a job as Inference Recommender tells them: one for each load test, and one for what cannot be measured."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.story import PROFILES, Story, configuration

from servefit.aws.jobs.plan import Measured, Plan
from servefit.aws.services.sagemaker.recommendations import recommendations, step_documents, unmeasured_steps
from servefit.search.jobs.lifecycle import load_job
from servefit.search.request.job_request import JobRequest

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.jobs.job import RecommendationJob

ROLE = "arn:aws:iam::123456789012:role/servefit"


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


def job_of_two_tests() -> RecommendationJob:
    story = Story.of(JobRequest(name="steps"), profiles=PROFILES)
    story.tests(configuration("forest"))
    story.tests(configuration("xgboost"))
    story.begins(configuration("treelite"))
    story.keep("STOPPED")
    return load_job("steps")


def plan_of(*types: tuple[str, str], configurations: list[dict[str, Any]] | None = None) -> Plan:
    return Plan(
        name="steps",
        model="model.ubj",
        model_url="s3://models/model.ubj",
        payload="payload.csv",
        payload_url="s3://models/payload.csv",
        measured=tuple(
            Measured(instance_type=instance_type, profile=profile, reason=None if profile else "it is not served here")
            for instance_type, profile in types
        ),
        asked={"InputConfig": {"EndpointConfigurations": configurations or []}},
    )


def told(plan: Plan) -> list[dict[str, Any]]:
    return [step["InferenceBenchmark"] for step in step_documents(job_of_two_tests(), plan, role=ROLE)]


def types_in(told: list[dict[str, Any]]) -> list[str]:
    return [each["EndpointConfiguration"]["InstanceType"] for each in told]


@pytest.mark.integration
def test_a_test_that_stands_for_two_types_is_one_step_of_the_first() -> None:
    steps = told(plan_of(("ml.c5.xlarge", "local-1c"), ("ml.c5.large", "local-1c")))
    assert types_in(steps) == ["ml.c5.xlarge"] * 3
    spans = [(step["InvocationStartTime"], step.get("InvocationEndTime")) for step in steps]
    assert all(end is not None and end <= begin for (_, end), (begin, _) in pairwise(spans))


@pytest.mark.integration
def test_a_test_that_two_profiles_of_its_size_admit_is_one_step_too() -> None:
    other = replace(PROFILES[0], name="t3-half")
    story = Story.of(JobRequest(name="steps"), profiles=(PROFILES[0], other))
    story.tests(configuration("forest"))
    story.keep()
    plan = plan_of(("ml.t3.small", "t3-half"), ("ml.c5.large", "local-1c"))
    (step,) = step_documents(load_job("steps"), plan, role=ROLE)
    assert step["InferenceBenchmark"]["EndpointConfiguration"]["InstanceType"] == "ml.t3.small"


@pytest.mark.integration
def test_each_type_has_its_recommendation_all_the_same() -> None:
    plan = plan_of(("ml.c5.xlarge", "local-1c"), ("ml.c5.large", "local-1c"))
    found = recommendations(job_of_two_tests(), plan)
    assert types_in(found) == ["ml.c5.xlarge", "ml.c5.large"]
    assert len({each["RecommendationId"] for each in found}) == 2


def test_a_serverless_configuration_is_told_as_it_was_sent_and_has_no_type() -> None:
    asked = [{"MemorySizeInMB": 2048, "MaxConcurrency": 5}, {"MemorySizeInMB": 4096, "MaxConcurrency": 1}]
    plan = plan_of(
        ("serverless", ""),
        ("ml.m5.24xlarge", ""),
        configurations=[{"ServerlessConfig": each} for each in asked] + [{"InstanceType": "ml.m5.24xlarge"}],
    )
    first, second, third = (step["InferenceBenchmark"] for step in unmeasured_steps("steps", plan, role=ROLE))
    assert [each["EndpointConfiguration"]["ServerlessConfig"] for each in (first, second)] == asked
    assert all("InstanceType" not in each["EndpointConfiguration"] for each in (first, second))
    assert third["EndpointConfiguration"]["InstanceType"] == "ml.m5.24xlarge"
    assert len({each["EndpointConfiguration"]["EndpointName"] for each in (first, second, third)}) == 3
