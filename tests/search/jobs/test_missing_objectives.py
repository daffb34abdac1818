"""Jobs whose objective was offered by a package that is not installed any more: what was measured stays readable."""

from __future__ import annotations

import json
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from tests.report.story import Story, configuration

import servefit as sf
from servefit.errors import SpecError
from servefit.report.contents import report_of
from servefit.search.jobs.document import job_document
from servefit.search.jobs.lifecycle import load_job, resume_job
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servefit.search.jobs.job import RecommendationJob

ANSWER = configuration("forest")
EARLIER = configuration("xgboost")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


def job(*, over_http: bool = True, status: str = "COMPLETED") -> RecommendationJob:
    sla = Sla(thresholds=parse_sla("p95=20ms"), rate_per_s=500.0)
    story = Story.of(JobRequest(name="fraud", sla=sla, goal="tail-gap"))
    story.compiles("xgboost", "forest")
    for tested in (EARLIER, ANSWER, configuration("forest", vcpus=2, workers=2)):
        story.tests(tested)
    for tested in (EARLIER, ANSWER):
        story.tests(tested, kind="confirmation", nth_round=0)
    if over_http:
        story.tests(ANSWER, kind="endpoint", http_us=120.0)
    story.keep(status)
    return load_job("fraud")


@pytest.fixture(scope="module")
def over() -> Iterator[RecommendationJob]:
    """A job that is over, for those who only read it."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setenv("SERVEFIT_HOME", folder)
        yield job()


@pytest.mark.integration
def test_it_is_read_with_a_warning_that_names_the_goal_and_what_to_do(over: RecommendationJob) -> None:
    told = [warning for warning in over.warnings if "'tail-gap'" in warning]
    assert told == [
        "goal 'tail-gap' is not known: nothing is ranked by it, and what was measured over HTTP or else first is "
        "named; install its package again for its ranking and figure"
    ]


@pytest.mark.integration
def test_what_it_measured_over_http_comes_first(over: RecommendationJob) -> None:
    assert over.best is not None
    assert over.best.trial.configuration == ANSWER
    assert over.best.endpoint is not None
    assert over.why.runner_up is None


@pytest.mark.integration
def test_what_was_measured_first_comes_first_where_nothing_was_measured_over_http() -> None:
    found = job(over_http=False)
    assert found.best is not None
    assert found.best.trial.configuration == EARLIER


@pytest.mark.integration
def test_it_is_reported_scaled_and_written_down(over: RecommendationJob) -> None:
    assert json.loads(json.dumps(job_document(over)))["goal"] == "tail-gap"
    report = report_of(over)
    assert "deploy" in report.answer
    assert any("'tail-gap'" in warning for warning in report.warnings)
    assert len(over.trials) == 5
    assert sf.scale(over, rate_per_s=500).instances >= 1


@pytest.mark.integration
def test_it_is_not_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    host = job(status="STOPPED").host
    monkeypatch.setattr("servefit.profiler.machine.host.describe_host", lambda: host)
    monkeypatch.setattr("servefit.backends.model.kept.check_kept", lambda _: None)
    with pytest.raises(SpecError, match="'tail-gap' is not known"):
        resume_job("fraud", progress=SilentProgress())


def test_a_new_job_for_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'tail-gap' is not known"):
        sf.recommend(tmp_path / "model.ubj", goal="tail-gap")
