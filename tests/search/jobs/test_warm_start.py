"""What a job begins with of earlier ones on the same model, as far as that depends on what is deployed."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.story import COSTS, Story, configuration

from servefit.backends.types import Artifact, Target
from servefit.profiler.evidence.problem import Problem
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.service import ServiceTimes
from servefit.search.jobs.warm_start import EarlierResults, results_of_earlier_jobs
from servefit.search.request.job_request import Deployed, JobRequest
from servefit.search.request.sla import Sla
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from servefit.search.simulation.endpoint import EndpointCosts

pytestmark = pytest.mark.integration

TESTED = configuration("forest")
NUMBERS = count()
LARGE = replace(TESTED, max_batch=64)
ARTIFACT = Artifact(
    backend="forest",
    backend_version="3.2.0",
    model_digest="",
    target=Target.CPU,
    folder=Path("/nonexistent"),
    facts={},
)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


def keep_earlier(deployed: Deployed, costs: EndpointCosts | None = None, **asked: Any) -> None:
    """Keep a job with one test of the deployment, in which requests to an endpoint took ``costs``."""
    story = Story.of(JobRequest(name=f"earlier-{deployed}-{next(NUMBERS)}", deploy=deployed, **asked))
    story.compiles("forest")
    if costs is not None:
        story.learns_endpoint_costs(TESTED)
        story.steps[-1] = replace(story.steps[-1], result=costs)
    over_http: dict[str, Any] = {"http_us": 120.0} if deployed == "endpoint" else {}
    story.tests(TESTED, **over_http)
    story.keep()


def known_to(
    deployed: Deployed, *, grid: tuple[Any, ...] = (TESTED,), disturbed: bool = False, **asked: Any
) -> EarlierResults:
    header = Story.of(JobRequest(name=f"later-{next(NUMBERS)}", deploy=deployed, **asked)).header
    with JobStore.open() as store:
        return results_of_earlier_jobs(store, header, [ARTIFACT], grid, disturbed=disturbed)


def test_tests_of_the_same_deployment_count_and_those_of_the_other_do_not() -> None:
    keep_earlier("endpoint")
    assert [trial.driver for trial in known_to("endpoint").trials] == ["http"]
    assert known_to("library").trials == []
    keep_earlier("library")
    assert [trial.driver for trial in known_to("library").trials] == ["inprocess"]


def test_the_usual_duration_of_a_test_is_that_of_the_same_deployment() -> None:
    keep_earlier("library")
    assert known_to("endpoint").usual_s == {}
    assert known_to("library").usual_s.keys() == {"test"}


def test_what_requests_cost_in_an_endpoint_is_measured_once_for_requests_of_one_shape() -> None:
    costs = replace(COSTS, joined=64)
    keep_earlier("endpoint", costs)
    for grid in ((TESTED,), (LARGE,)):
        assert known_to("endpoint", grid=grid).costs == {TESTED: costs}
    assert known_to("endpoint", rows_per_request=3).costs == {}


def test_costs_of_calls_that_joined_less_than_this_job_may_are_measured_again() -> None:
    keep_earlier("endpoint", replace(COSTS, joined=8))
    assert known_to("endpoint", grid=(LARGE,)).costs == {}
    assert known_to("endpoint", grid=(replace(TESTED, max_batch=8),)).costs.keys() == {TESTED}


def test_costs_of_single_calls_do_up_to_the_rate_that_they_are_enough_for() -> None:
    of_single_calls = replace(COSTS, joined=1, enough_for_per_s=500.0)
    keep_earlier("endpoint", of_single_calls, sla=Sla(rate_per_s=500.0))
    assert known_to("endpoint", grid=(LARGE,), sla=Sla(rate_per_s=400.0)).costs == {TESTED: of_single_calls}
    for sla in (Sla(rate_per_s=600.0), Sla()):
        assert known_to("endpoint", grid=(LARGE,), sla=sla).costs == {}
    assert known_to("endpoint", grid=(LARGE,), sla=Sla(rate_per_s=400.0), arrivals="bursts").costs == {}
    assert known_to("endpoint", grid=(LARGE,), sla=Sla(rate_per_s=400.0), goal="throughput").costs == {}


def test_costs_that_the_machine_got_in_the_way_of_do_where_no_figure_is_predicted_with_them() -> None:
    noise = Problem(kind="competing load", reason="others were busy", remedy="stop them")
    disturbed = replace(COSTS, joined=64, problems=(noise,))
    keep_earlier("endpoint", disturbed)
    assert known_to("endpoint").costs == {}
    assert known_to("endpoint", disturbed=True).costs == {TESTED: disturbed}


def test_undisturbed_costs_of_an_older_job_come_before_disturbed_ones() -> None:
    noise = Problem(kind="competing load", reason="others were busy", remedy="stop them")
    undisturbed = replace(COSTS, joined=64)
    for costs in (undisturbed, replace(undisturbed, problems=(noise,))):
        keep_earlier("endpoint", costs)
    assert known_to("endpoint", disturbed=True).costs == {TESTED: undisturbed}


def test_calls_that_were_not_timed_in_traffic_are_timed_again_where_this_job_does_that() -> None:
    in_traffic = (AfterIdle(idle_ns=0.0, extra_ns=(2_000.0,)),)
    at_rate = Sla(rate_per_s=500.0)
    for nth, after_idle in enumerate([(), in_traffic]):
        story = Story.of(JobRequest(name=f"earlier-{nth}", deploy="library"))
        story.compiles("forest")
        story.times(TESTED)
        result = story.steps[-1].result
        assert isinstance(result, ServiceTimes)
        story.steps[-1] = replace(story.steps[-1], result=replace(result, after_idle=after_idle))
        story.keep()
        assert len(known_to("endpoint", sla=at_rate).service_times) == 1
        assert len(known_to("library").service_times) == 1
        assert [each.after_idle for each in known_to("library", sla=at_rate).service_times.values()] == (
            [after_idle] if after_idle else []
        )
