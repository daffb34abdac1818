"""What is deployed of a made-up job on a real model."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.onnx_models import encoder
from tests.tiny_model import tiny_model

from servefit.api.job import Job
from servefit.backends.model import Model
from servefit.backends.types import Settings, Target
from servefit.errors import CorruptModel, SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.deployment.deployable import (
    Deployable,
    configuration_text,
    cpu_ranges,
    deployable_of_recommendation,
)
from servefit.search.jobs.job import RecommendationJob
from servefit.search.request.job_request import EnvironmentRange, JobRequest
from servefit.search.request.sla import Sla
from servefit.search.results.recommendation import CompilationReport
from servefit.search.storage.header import JobHeader, JobState, PayloadFacts
from servefit.search.storage.steps import Result, Step, StepKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.search.conftest import MakeTrial

    from servefit.search.results.recommendation import Trial
    from servefit.search.storage.header import JobStatus

pytestmark = pytest.mark.integration

PROFILE = InstanceProfile(name="small", vcpus=6, memory_bytes=2**30, price_per_hour=0.1)
TWO = Configuration(
    vcpus=6,
    backend="xgboost",
    settings=Settings(threads=3),
    workers=2,
    max_batch=8,
    batch_delay_us=250,
    environment=(("GREETING", "hello"),),
)
P95_10_MS = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=10.0),))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that the model is compiled once."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _state(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(state))


@pytest.fixture
def model(state: Path) -> Model:
    path = state / "fraud_v2.ubj"
    if not path.exists():
        tiny_model(path)
    return Model.load(path)


def job(
    model: Model,
    *trials: Trial,
    sla: Sla | None = None,
    status: JobStatus = "COMPLETED",
    measured_with: str | None = None,
    allowed: frozenset[str] | None = None,
) -> RecommendationJob:
    header = JobHeader(
        request=JobRequest(
            name="fraud",
            sla=sla or Sla(),
            environment=(EnvironmentRange(variable="GREETING", values=("hello",)),),
        ),
        model=model,
        payload=PayloadFacts(source="rows.csv", rows=10, digest="1" * 64, synthetic=False, truncated_from=None),
        host=describe_host(),
        profiles=(PROFILE,),
        servefit="0.1",
        created_at=time.time(),
    )
    report = CompilationReport(
        backend="xgboost", target=Target.CPU, status="COMPLETED", seconds=1.0, version=measured_with
    )
    results: list[tuple[StepKind, Configuration | None, Result]] = [("compilation", None, report)]
    results += [("load_test", trial.configuration, trial) for trial in trials]
    steps = [
        Step(
            number=number,
            kind=kind,
            status="COMPLETED",
            backend="xgboost",
            configuration=configuration,
            host_fingerprint="f",
            began_at=1e9 + number,
            ended_at=1e9 + number,
            result=result,
        )
        for number, (kind, configuration, result) in enumerate(results)
    ]
    return RecommendationJob.of(header, JobState(status=status), steps, allowed=allowed)


def test_exactly_the_recommended_configuration_is_deployed(model: Model, trial: MakeTrial) -> None:
    found = deployable_of_recommendation(job(model, trial(TWO, instances=3)))
    config = found.endpoint(port=0)
    assert (found.name, config.name) == ("fraud_v2", "fraud_v2")
    assert (config.workers, config.settings, config.max_batch, config.batch_delay_us) == (2, TWO.settings, 8, 250)
    assert config.environment == (("GREETING", "hello"),)
    assert config.signature == model.signature
    assert config.opened() == found.artifact
    assert found.artifact.model_digest == model.digest
    assert (found.profile, found.instances) == (PROFILE, 3)


def test_a_job_that_others_may_have_written_sets_no_variable_that_nobody_allowed(
    model: Model, trial: MakeTrial
) -> None:
    with pytest.raises(SpecError, match=r"'GREETING' is not on the list .* --allow-env GREETING"):
        deployable_of_recommendation(job(model, trial(TWO), allowed=frozenset()))
    named = deployable_of_recommendation(job(model, trial(TWO), allowed=frozenset({"GREETING"})))
    assert named.configuration == TWO


def test_one_of_several_recommendations_is_chosen_by_its_id(model: Model, trial: MakeTrial) -> None:
    slow = replace(TWO, workers=1)
    found = job(model, trial(TWO, p95_ms=1.0), trial(slow, p95_ms=0.5, throughput_per_s=500.0))
    ids = {recommendation.trial.configuration: recommendation.id for recommendation in found.pareto}
    assert deployable_of_recommendation(found).configuration == TWO
    assert deployable_of_recommendation(found, ids[slow]).configuration == slow
    with pytest.raises(SpecError, match=f"'nothing' is not known.*{ids[slow]}"):
        deployable_of_recommendation(found, "nothing")


def test_a_job_in_which_nothing_was_measured_deploys_nothing(model: Model) -> None:
    with pytest.raises(SpecError, match="has no recommendation: nothing was measured"):
        deployable_of_recommendation(job(model))


@pytest.mark.thorough
def test_a_network_whose_inputs_an_earlier_servefit_did_not_know_is_described_anew(
    trial: MakeTrial, tmp_path: Path
) -> None:
    now = Model.load(encoder(tmp_path / "encoder.onnx"))
    before = replace(now, signature=replace(now.signature, inputs=()))
    found = deployable_of_recommendation(job(before, trial(replace(TWO, backend="onnxruntime"))))
    assert [tensor.name for tensor in found.endpoint().signature.inputs] == [
        "input_ids",
        "attention_mask",
        "token_type_ids",
    ]
    assert found.name == "encoder"


def test_a_model_that_is_not_what_was_measured_is_not_deployed(model: Model, trial: MakeTrial) -> None:
    with pytest.raises(CorruptModel, match="it is gone, or not what it was when it was measured"):
        deployable_of_recommendation(job(replace(model, digest="0" * 64), trial(TWO)))


def damage(file: Path) -> None:
    file.chmod(0o600)
    file.write_bytes(b"damaged")


@pytest.mark.parametrize("harm", [Path.unlink, damage])
def test_a_kept_model_that_is_damaged_is_put_back_from_where_it_came(
    model: Model, trial: MakeTrial, harm: Callable[[Path], None]
) -> None:
    content = model.file.read_bytes()
    harm(model.file)
    assert deployable_of_recommendation(job(model, trial(TWO))).model == model
    assert model.file.read_bytes() == content


def test_a_model_that_an_earlier_servefit_used_where_it_lay_is_kept_and_deployed(
    model: Model, trial: MakeTrial, tmp_path: Path
) -> None:
    """Such a model had splits without a digest, which are read no more."""
    file, splits = tmp_path / "fraud_v2.ubj", tmp_path / "splits.npz"
    file.write_bytes(model.file.read_bytes())
    splits.write_bytes(b"of another model")
    model.file.unlink()
    once = replace(model, file=file, splits=splits, source=str(file))
    assert deployable_of_recommendation(job(once, trial(TWO))).model == replace(model, source=str(file))
    assert model.file.read_bytes() == file.read_bytes()
    file.unlink()
    assert deployable_of_recommendation(job(once, trial(TWO))).model == replace(model, source=str(file))


def test_what_was_measured_and_is_deployed_as_it_was_needs_no_word(model: Model, trial: MakeTrial) -> None:
    assert deployable_of_recommendation(job(model, trial(TWO), sla=P95_10_MS)).notes == ()


def test_what_differs_from_what_was_measured_or_asked_is_said(model: Model, trial: MakeTrial) -> None:
    def notes(found: RecommendationJob) -> str:
        return "; ".join(deployable_of_recommendation(found).notes)

    assert "job fraud is not over" in notes(job(model, trial(TWO), status="IN_PROGRESS"))
    assert "is not known to meet p95 <= 10 ms (FAIL)" in notes(job(model, trial(TWO, verdict="FAIL"), sla=P95_10_MS))
    assert "recommends 2 instances of small: this is one" in notes(job(model, trial(TWO, instances=2)))
    assert "measured xgboost 1.2.3; what is installed is" in notes(job(model, trial(TWO), measured_with="1.2.3"))


def test_a_recommendation_of_no_job_has_no_model_to_serve(model: Model, trial: MakeTrial) -> None:
    best = Job.from_results(job(model, trial(TWO))).best
    assert best is not None
    with pytest.raises(SpecError, match="is of no job"):
        replace(best, model=None).serve()


def test_a_host_that_cannot_be_the_profile_does_not_serve(model: Model, trial: MakeTrial) -> None:
    best = Job.from_results(job(model, trial(TWO))).best
    assert best is not None
    with pytest.raises(SpecError, match="cannot be had here: it needs 5000 vCPUs"):
        replace(best, profile=replace(PROFILE, vcpus=5000)).serve()


def test_models_are_called_like_their_files(model: Model, trial: MakeTrial) -> None:
    def name(source: str) -> str:
        found: Deployable = deployable_of_recommendation(job(model, trial(TWO)))
        return replace(found, model=replace(model, source=source)).name

    assert name("/models/Fraud 2024.tar.gz") == "Fraud-2024"
    assert name("a live XGBClassifier") == "XGBClassifier"
    assert name("___.ubj") == "model"
    assert len(name("x" * 500)) == 40


@pytest.mark.parametrize(
    ("cpus", "text"), [((), ""), ((1,), "1"), ((0, 1, 2), "0-2"), ((4, 0, 1, 6, 7), "0-1,4,6-7"), ((3, 5), "3,5")]
)
def test_cpus_are_written_as_ranges(cpus: tuple[int, ...], text: str) -> None:
    assert cpu_ranges(cpus) == text


def test_a_configuration_is_said_in_words() -> None:
    assert configuration_text(TWO) == (
        "xgboost, 2 workers x 3 threads, up to 8 requests a call that wait up to 250 us for each other"
    )
    assert configuration_text(Configuration(vcpus=1, backend="treelite")) == "treelite, 1 worker x 1 thread"
