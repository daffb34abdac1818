"""A job of the command line that took the name of one of the API, while that waited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.aws.conftest import OPTIONS, ROLE, started
from tests.aws.test_jobs import IMAGE, asked, refused, waited_for
from tests.report.story import PROFILES, Story, configuration

from servefit.search.jobs.lifecycle import load_job
from servefit.search.request.job_request import JobRequest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.thorough]


def take_name(name: str) -> None:
    """Keep a job of the command line that is over, in the state folder that the environment names."""
    story = Story.of(JobRequest(name=name), profiles=PROFILES[:1])
    story.tests(configuration("forest"))
    story.keep()


def test_its_result_is_not_told_as_that_of_the_job_that_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("SERVEFIT_HOME", str(home))
    with started(home, *OPTIONS) as server:
        model, payload = server.put_model(tmp_path)
        sagemaker = server.client("sagemaker")
        container = {"Image": IMAGE, "ModelDataUrl": model}
        sagemaker.create_model(ModelName="tiny", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        for name in ("running", "waiting"):
            sagemaker.create_inference_recommendations_job(**asked(name, {"model": "tiny", "payload": payload}))
        take_name("waiting")
        assert sagemaker.list_inference_recommendations_job_steps(JobName="waiting")["Steps"] == []
        sagemaker.stop_inference_recommendations_job(JobName="running")
        told = waited_for(sagemaker, "waiting")
        assert told["Status"] == "FAILED"
        assert "'waiting' is in use by an earlier job" in told["FailureReason"]
        assert "InferenceRecommendations" not in told
        assert sagemaker.list_inference_recommendations_job_steps(JobName="waiting")["Steps"] == []
        scaling = {"InferenceRecommendationsJobName": "waiting", "RecommendationId": "waiting/00000000"}
        code, _ = refused(lambda: sagemaker.get_scaling_configuration_recommendation(**scaling))
        assert code == "ResourceNotFound"
    assert load_job("waiting").recommendations, "the job of the command line is left as it was"
