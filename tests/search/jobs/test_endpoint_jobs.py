"""Jobs whose endpoint is deployed: it is loaded over HTTP, or predicted where its instance leaves a client no CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import servefit
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.profiles import local_profiles
from servefit.search.jobs.document import job_document, step_document
from servefit.search.jobs.job import JobInterrupted, RecommendationJob
from servefit.search.jobs.lifecycle import load_job, resume_job
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.simulation.endpoint import EndpointCosts

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.optimizer.progress import Moment
    from servefit.search.results.recommendation import Recommendation
    from servefit.search.storage.steps import StepKind

pytestmark = [pytest.mark.timed, pytest.mark.usefixtures("state_of_module"), pytest.mark.thorough]


def asked(name: str, profile: str, max_tests: int, *, budget_s: float = 25.0, rows_per_request: int = 1) -> JobRequest:
    return JobRequest(
        name=name,
        profiles=(profile,),
        backends=("xgboost",),
        batch_sizes=(1, 4),
        sla=Sla(thresholds=parse_sla("p95=500ms"), rate_per_s=100.0),
        max_tests=max_tests,
        budget_s=budget_s,
        rows_per_request=rows_per_request,
        allow_noise=True,
    )


class Impatient(SilentProgress):
    """Interrupts a job when its winner is about to be measured alone."""

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text == "measuring the winner in process":
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def interrupted(model: Path) -> RecommendationJob:
    # Of 25 s a slow machine leaves so little for the confirmation that the resumed job needs the rest for that.
    request = asked("served", "local-1c", max_tests=2, budget_s=40.0)
    with pytest.raises(JobInterrupted) as caught:
        servefit.recommend(model, request=request, progress=Impatient())
    return caught.value.job


@pytest.fixture(scope="module")
def measured(interrupted: RecommendationJob) -> RecommendationJob:
    """A job whose endpoints were loaded over HTTP, taken up again after an interruption."""
    return resume_job(interrupted.name, progress=SilentProgress())


@pytest.fixture(scope="module")
def predicted(model: Path) -> RecommendationJob:
    """A job whose only profile is the whole host. Its requests are others than those of the job before."""
    largest = max(local_profiles(describe_host()), key=lambda profile: profile.vcpus)
    return servefit.recommend(model, request=asked("whole-host", largest.name, max_tests=3, rows_per_request=2))


def best(job: RecommendationJob) -> Recommendation:
    assert job.best is not None
    return job.best


def completed(job: RecommendationJob) -> list[StepKind]:
    return [step.kind for step in job.steps if step.status == "COMPLETED"]


def test_an_endpoint_is_tested_and_recommended_by_what_it_does_over_http(measured: RecommendationJob) -> None:
    assert measured.status == "COMPLETED"
    assert measured.request.deployment == "endpoint"
    assert {(trial.driver, trial.basis) for trial in measured.trials} == {("http", "measured")}
    trial = best(measured).trial
    assert best(measured).endpoint is trial
    assert (trial.verdict, trial.judged.loop) == ("PASS", "open")
    assert trial.judged.model_latency_ms is not None
    assert trial.judged.largest_call is not None
    assert best(measured).capacity.basis == "measured"
    assert best(measured).max_invocations == pytest.approx(60 * best(measured).capacity.rate_per_s)


def test_its_winner_is_measured_alone_at_the_end_and_that_is_no_test(measured: RecommendationJob) -> None:
    assert completed(measured)[-1] == "model_alone"
    assert measured.tests <= 2
    alone = best(measured).model_alone
    assert alone is not None
    assert (alone.driver, alone.basis) == ("inprocess", "measured")
    assert alone.configuration == best(measured).trial.configuration
    assert alone.capacity.throughput_per_s > best(measured).capacity.rate_per_s
    assert best(measured).beside_step == measured.steps[-1].number


def test_a_job_of_an_endpoint_goes_on_where_it_was_interrupted(
    interrupted: RecommendationJob, measured: RecommendationJob
) -> None:
    assert interrupted.status == "STOPPED"
    assert best(interrupted).model_alone is None
    assert measured.steps[: len(interrupted.steps)] == interrupted.steps
    assert [completed(measured).count(kind) for kind in ("endpoint_costs", "model_alone")] == [1, 1]
    again = load_job(measured.name)
    assert again.recommendations == measured.recommendations


def test_its_document_is_about_the_endpoint_and_has_the_model_alone_beside_it(measured: RecommendationJob) -> None:
    (found,) = job_document(measured)["recommendations"]
    trial, alone = best(measured).trial, best(measured).model_alone
    assert alone is not None
    assert (found["deployment"], found["driver"]) == ("endpoint", "http")
    assert found["capacity"] == {"rate_per_s": trial.capacity.throughput_per_s, "basis": "measured"}
    assert found["overhead_latency_ms"] == trial.judged.overhead_ms
    assert found["endpoint"]["step"] == found["step"] == best(measured).step
    assert found["endpoint"]["response_ms"] == dict(trial.judged.latency_ms)
    beside = found["model_alone"]
    assert (beside["driver"], beside["step"]) == ("inprocess", measured.steps[-1].number)
    assert beside["capacity_rate_per_s"] == alone.capacity.throughput_per_s
    assert beside["latency_ms"] == dict(alone.judged.latency_ms)
    tests = [step_document(step)["metrics"] for step in measured.steps if step.kind == "load_test"]
    assert {(metrics["driver"], metrics["basis"]) for metrics in tests} == {("http", "measured")}


def test_where_no_cpu_is_left_to_a_client_the_endpoint_is_predicted_and_says_so(predicted: RecommendationJob) -> None:
    assert predicted.status == "COMPLETED"
    assert {(trial.driver, trial.basis) for trial in predicted.trials} == {("http", "predicted")}
    assert completed(predicted).count("endpoint_costs") == 1, "what requests cost is measured once"
    assert not {"endpoint", "model_alone"} & set(completed(predicted)), "the model alone was measured in every test"
    assert any("figures on" in warning and "are predicted" in warning for warning in predicted.warnings)
    trial, alone = best(predicted).trial, best(predicted).model_alone
    assert best(predicted).capacity.basis == "predicted"
    assert alone is not None
    assert (alone.driver, alone.basis, alone.measurement) == ("inprocess", "measured", trial.measurement)
    assert 0 < best(predicted).capacity.rate_per_s < alone.capacity.throughput_per_s


def test_what_requests_cost_in_an_endpoint_is_kept_with_the_shape_of_the_requests(predicted: RecommendationJob) -> None:
    (step,) = [step for step in predicted.steps if step.kind == "endpoint_costs"]
    costs = step.result
    assert isinstance(costs, EndpointCosts)
    assert (costs.rows, costs.form) == (2, "open-inference")
    assert costs.request_bytes > 0
    assert step_document(step)["metrics"] == {"request_ms": costs.request_ns / 1e6, "call_ms": costs.call_ns / 1e6}
    assert load_job(predicted.name).steps == predicted.steps


def test_the_document_of_a_prediction_says_that_it_is_one(predicted: RecommendationJob) -> None:
    (found,) = job_document(predicted)["recommendations"]
    assert (found["deployment"], found["driver"]) == ("endpoint", "http")
    assert found["capacity"]["basis"] == "predicted"
    assert found["samples"] == 0
    assert found["model_alone"]["driver"] == "inprocess"
    assert found["model_alone"]["step"] == found["step"], "one test measured what both are of"
