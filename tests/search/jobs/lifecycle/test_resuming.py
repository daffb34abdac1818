"""Jobs that are cut short and taken up again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.onnx_models import encoder
from tests.search.jobs.conftest import QUICK
from tests.search.jobs.lifecycle.conftest import ONE_TEST, AfterTest, Listener, interrupt

import servefit
from servefit.backends.model import Format, Model
from servefit.backends.quality.limits import PrecisionLimits, QualityLimit
from servefit.backends.variables.secret import revealed
from servefit.errors import CorruptModel, HostMismatch, ModelError, SpecError
from servefit.search.deployment.deployable import deployable, deployable_of_job
from servefit.search.jobs.job import JobInterrupted
from servefit.search.jobs.lifecycle import load_job, resume_job, stop_job
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.jobs.job import RecommendationJob

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short")]


def test_an_interrupted_job_goes_on_and_measures_nothing_twice(model: Path) -> None:
    with pytest.raises(JobInterrupted) as caught:
        servefit.right_size(model, progress=AfterTest(interrupt), **QUICK)
    before = caught.value.job
    assert before.status == "STOPPED"
    assert load_job("job").status == "STOPPED"
    after = resume_job("job", progress=SilentProgress())
    assert after.status == "COMPLETED"
    assert after.steps[: len(before.steps)] == before.steps
    searched = [step.configuration for step in after.steps if step.kind == "load_test"]
    assert len(searched) == len(set(searched))
    timed = [step.configuration for step in after.steps if step.kind == "service_time"]
    assert len(timed) == len(set(timed))
    compiled = [step.backend for step in after.steps if step.kind == "compilation"]
    assert compiled == ["xgboost"]
    assert after.tests <= 2
    assert after.elapsed_s > before.elapsed_s


@pytest.mark.usefixtures("finished")
def test_a_job_that_is_over_is_not_taken_up_again() -> None:
    with pytest.raises(SpecError, match="is over: COMPLETED"):
        resume_job("job", progress=SilentProgress())


def test_a_job_is_only_taken_up_where_and_with_what_it_began(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = model.with_name("copy.ubj")
    copy.write_bytes(model.read_bytes())
    with pytest.raises(JobInterrupted):
        servefit.right_size(copy, progress=Listener("compiling", interrupt), **QUICK)
    with closing(JobStore.open()) as store:
        header = store.job("job").header
    elsewhere = replace(header.host, cpu_model="another")
    with monkeypatch.context() as patched:
        patched.setattr("servefit.profiler.machine.host.describe_host", lambda: elsewhere)
        with pytest.raises(HostMismatch):
            resume_job("job", progress=SilentProgress())
    copy.write_bytes(b"{}")
    header.model.file.unlink()
    with pytest.raises(CorruptModel, match="it is gone, or not what it was when it was measured"):
        resume_job("job", progress=SilentProgress())


def test_a_job_whose_trace_is_gone_is_not_taken_up_and_stays_stopped(model: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("0\n0.01\n0.02\n")
    with pytest.raises(JobInterrupted):
        servefit.recommend(
            model,
            name="job",
            progress=Listener("compiling", interrupt),
            arrivals=f"replay:{trace}",
            sla="p95=500ms",
            profile=["local-1c"],
            backend=["xgboost"],
            allow_noise=True,
        )
    assert load_job("job").status == "STOPPED"
    trace.unlink()
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        resume_job("job", progress=SilentProgress())
    assert load_job("job").status == "STOPPED"


@pytest.mark.thorough
def test_a_stopped_job_ends_after_the_test_that_runs_and_says_so(model: Path) -> None:
    job = servefit.right_size(
        model, progress=AfterTest(lambda: stop_job("job")), **{**QUICK, "max_tests": 50, "job_duration_in_seconds": 60}
    )
    assert job.status == "STOPPED"
    assert job.tests == 1
    assert not stop_job("job"), "nobody works on it any more"
    assert resume_job("job", progress=AfterTest(lambda: stop_job("job"))).tests == 2


@pytest.mark.thorough
def test_a_second_process_that_works_on_a_job_is_told(model: Path) -> None:
    refused: list[str] = []

    def second() -> None:
        with pytest.raises(SpecError) as caught:
            resume_job("job", progress=SilentProgress())
        refused.append(str(caught.value))
        interrupt()

    with pytest.raises(JobInterrupted):
        servefit.right_size(model, progress=Listener("compiling", second), **ONE_TEST)
    assert "is being worked on by process" in refused[0]


def with_secret(name: str, token: str) -> dict[str, Any]:
    ranges = [{"API_TOKEN": servefit.CategoricalParameter([token])}]
    return {**ONE_TEST, "job_name": name, "hyperparameter_ranges": ranges}


@pytest.mark.thorough
def test_a_job_with_a_secret_goes_on_where_it_is_known(model: Path, state: Path) -> None:
    with pytest.raises(JobInterrupted):
        servefit.right_size(model, progress=Listener("compiling", interrupt), **with_secret("job", "hunter2"))
    secrets = state / "jobs" / "job" / "secrets.json"
    secrets.rename(state / "elsewhere")
    with pytest.raises(SpecError, match="'API_TOKEN' is a secret, and its value is not known here"):
        resume_job("job", progress=SilentProgress())
    (state / "elsewhere").rename(secrets)
    job = resume_job("job", progress=SilentProgress())
    assert job.best is not None
    assert job.best.environment["API_TOKEN"] == "***"
    assert revealed(job.best.environment)["API_TOKEN"] == "hunter2"


@pytest.mark.thorough
def test_a_job_with_a_secret_teaches_later_jobs_nothing(model: Path) -> None:
    servefit.right_size(model, **with_secret("job", "hunter2"))
    second = servefit.right_size(model, **with_secret("other", "another"))
    assert second.best is not None
    assert revealed(second.best.environment)["API_TOKEN"] == "another"
    assert not any("earlier jobs" in warning for warning in second.warnings)


@pytest.mark.thorough
def test_a_job_of_a_shared_database_sets_no_variable_that_nobody_here_named(
    finished: RecommendationJob, tmp_path: Path
) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    forged = servefit.EnvironmentRange(variable="OPENSSL_CONF", values=("x.cnf",))
    with JobStore.open(shared) as store:
        for name, environment, variable in (("asked", (forged,), "OPENSSL_CONF"), ("measured", (), "LD_AUDIT")):
            request = replace(finished.request, name=name, environment=environment)
            log = store.create(replace(finished.header, request=request))
            trial = finished.trials[0]
            configuration = replace(trial.configuration, environment=((variable, "x.cnf"),))
            with log.owned():
                step = log.begin("load_test", "xgboost", configuration)
                log.finish(step, status="COMPLETED", result=replace(trial, configuration=configuration))
    with pytest.raises(SpecError, match=r"'OPENSSL_CONF' is not on the list .* --allow-env OPENSSL_CONF"):
        deployable_of_job("asked", storage=shared)
    with pytest.raises(SpecError, match="'OPENSSL_CONF' is not on the list"):
        deployable(load_job("asked", storage=shared).recommendations[0], finished.header.model, finished.header.host)
    allowed = deployable_of_job("asked", storage=shared, allowed=("OPENSSL_CONF",))
    assert allowed.configuration.environment == (("OPENSSL_CONF", "x.cnf"),)
    for name, variable in (("asked", "OPENSSL_CONF"), ("measured", "LD_AUDIT")):
        with pytest.raises(SpecError, match=f"'{variable}' is not on the list .* --allow-env {variable}"):
            resume_job(name, progress=SilentProgress(), storage=shared)
    with pytest.raises(SpecError, match="payload"):  # it is taken up, and the rows are not on this machine
        resume_job("measured", progress=SilentProgress(), storage=shared, allowed=("LD_AUDIT",))


@pytest.mark.thorough
def test_a_job_of_a_shared_database_runs_no_code_that_nobody_here_trusted(
    finished: RecommendationJob, tmp_path: Path
) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    quality = QualityLimit(source="labels.csv", metric="own:score", drop=0.1, labels=(1.0, 0.0))
    own_metric = PrecisionLimits(allowed=("int8",), quality=quality)
    pickled = replace(finished.header.model, format=Format.PICKLE)
    metric = replace(finished.request, name="metric", precision=own_metric)
    with JobStore.open(shared) as store:
        store.create(replace(finished.header, request=metric))
        store.create(replace(finished.header, request=replace(finished.request, name="pickle"), model=pickled))
    with pytest.raises(SpecError, match="metric: 'own:score' is a function"):
        resume_job("metric", progress=SilentProgress(), storage=shared)
    # The same content is kept here, and was opened as what it is.
    with pytest.raises(ModelError, match=r"runs code, and it was never opened here; .* --trust-pickle"):
        resume_job("pickle", progress=SilentProgress(), storage=shared)


def test_a_job_on_a_network_whose_inputs_were_not_known_then_is_read_but_not_taken_up(
    finished: RecommendationJob, tmp_path: Path
) -> None:
    network = Model.load(encoder(tmp_path / "encoder.onnx"))
    before = replace(network, signature=replace(network.signature, inputs=()))
    request = replace(finished.request, name="before")
    with JobStore.open(None) as store:
        store.create(replace(finished.header, request=request, model=before))
    assert load_job("before").model == before
    with pytest.raises(SpecError, match="did not know what the inputs of its model are"):
        resume_job("before", progress=SilentProgress())
