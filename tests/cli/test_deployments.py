"""The options of ``serve`` and ``export``, without a process for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.onnx_models import quantised
from tests.tiny_model import tiny_model

from servefit.backends.variables.secret import revealed
from servefit.cli.deployments import DeploymentOptions
from servefit.cli.options import TrustOptions
from servefit.errors import CorruptModel, ServefitError, SpecError
from servefit.profiler.procedures.prepare import Deployment


def options_for(**options: Any) -> DeploymentOptions:
    return DeploymentOptions(**{"trust": TrustOptions(), **options})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "model.ubj")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({}, "job", "is missing; name a job, or a model with --model"),
        ({"job": "x", "model": Path("m")}, "model", "cannot be said of job x"),
        ({"job": "x", "inputs": ["sr=16000"]}, "input", "cannot be said of job x"),
        ({"inputs": ["sr"]}, "input", "is not NAME=VALUE"),
        ({"job": "x", "workers": 2}, "workers", "give a model with --model in place of the job"),
        ({"job": "x", "env": ["A=1"]}, "env", "cannot be said of job x"),
        ({"job": "x", "allow_batch_dependence": True}, "allow_batch_dependence", "cannot be said of job x"),
        ({"storage": "sqlite:////jobs.db"}, "storage", "no job is named"),
        ({"job": "x", "secret_env": ["A"]}, "secret_env", "cannot be said of job x"),
        ({"env": ["GREETING"]}, "env", "does not look like NAME=VALUE"),
        ({"secret_env": ["NOT_SET_HERE"]}, "secret_env", "has no value; set the variable"),
        ({"env": ["1A=2"]}, "env", "is not the name of an environment variable"),
        ({"env": ["OMP_NUM_THREADS=2"]}, "env", "say --threads 2"),
        ({"env": ["SAGEMAKER_MODEL_SERVER_WORKERS=3"]}, "env", "say --workers 3"),
        ({"batch_delay": "soon"}, "batch_delay", "soon"),
        ({"profile": "ml.c7i.48xlarge"}, "profile", "192 vCPUs"),
        ({"backend": "onnxruntimes"}, "backend", "onnxruntime"),
        ({"target": "tpu"}, "target", "tpu"),
        ({"workers": 0}, "workers", "0"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(
    model: Path, options: dict[str, Any], field: str, said: str
) -> None:
    model_too = {} if not options or "job" in options else {"model": model}
    with pytest.raises(SpecError, match=said) as raised:
        options_for(**model_too | options).deployable(quiet=True)
    assert raised.value.field == field
    assert len(str(raised.value).splitlines()) == 1


def test_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(CorruptModel, match="there is no such file"):
        options_for(model=Path("/no/model.ubj")).deployable(quiet=True)


@pytest.mark.integration
@pytest.mark.parametrize(
    "options",
    [
        *(pytest.param(options, marks=pytest.mark.thorough) for options in ({}, {"backend": "forest"})),
        {"trust": TrustOptions(trust_pickle=True)},
    ],
)
def test_a_model_file_in_the_place_of_a_job_is_told_where_it_belongs(model: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as raised:
        options_for(job=str(model), **options).deployable(quiet=True)
    told = f"job: {str(model)!r} is a path, and not a job; name a model with --model {model}"
    assert str(raised.value) == told


def test_a_url_in_the_place_of_a_model_keeps_its_slashes() -> None:
    with pytest.raises(SpecError) as raised:
        options_for(model=Path("s3://bucket/model.ubj")).deployable(quiet=True)
    assert str(raised.value) == (
        "model: 's3://bucket/model.ubj' is a URL, and not a path; copy it to a file first: "
        "aws s3 cp s3://bucket/model.ubj FILE"
    )


@pytest.mark.integration
def test_an_unknown_job_is_refused() -> None:
    with pytest.raises(ServefitError, match="'x' is not known"):
        options_for(job="x").deployable(quiet=True)


@pytest.mark.integration
def test_what_is_said_of_a_model_is_what_is_deployed(model: Path) -> None:
    found = options_for(
        model=model,
        backend="xgboost",
        profile="local-1c",
        workers=3,
        threads=2,
        batch=8,
        batch_delay="500us",
        env=["B=x=y", "A=1"],
    ).deployable(quiet=True)
    configuration = found.configuration
    assert (configuration.backend, configuration.workers, configuration.settings.threads) == ("xgboost", 3, 2)
    assert (configuration.max_batch, configuration.batch_delay_us) == (8, 500)
    assert configuration.environment == (("A", "1"), ("B", "x=y"))
    assert (found.profile.name, found.name) == ("local-1c", "model")
    config = found.endpoint(port=0)
    assert (config.workers, config.settings.threads, config.port) == (3, 2, 0)


@pytest.mark.parametrize("options", [{"job": "x", "env": ["API_TOKEN=hunter2"]}, {"env": ["API_TOKEN hunter2"]}])
def test_what_is_wrong_with_a_secret_is_said_without_it(model: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as raised:
        options_for(**{} if "job" in options else {"model": model}, **options).deployable(quiet=True)
    assert "API_TOKEN" in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.integration
def test_secrets_are_given_marked_or_left_to_the_environment(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "of the environment")
    given = ["API_TOKEN=given", "COLOUR=marked", "PLAIN=shown"]
    deployable = options_for(model=model, env=given, secret_env=["COLOUR", "MINE"]).deployable(quiet=True)
    environment = dict(deployable.configuration.environment)
    assert environment == {"API_TOKEN": "***", "COLOUR": "***", "MINE": "***", "PLAIN": "shown"}
    assert revealed(environment) == {
        "API_TOKEN": "given",
        "COLOUR": "marked",
        "MINE": "of the environment",
        "PLAIN": "shown",
    }


def test_a_deployment_does_not_show_its_secrets() -> None:
    deployment = Deployment(environment={"API_TOKEN": "hunter2", "COLOUR": "green"}, secret_env=["COLOUR"])
    assert "hunter2" not in repr(deployment)
    assert "green" not in repr(replace(deployment, threads=2))


@pytest.mark.thorough
@pytest.mark.integration
def test_requests_that_change_each_others_predictions_are_joined_where_that_is_said(tmp_path: Path) -> None:
    network = quantised(tmp_path / "model.onnx")
    with pytest.raises(SpecError, match="allow that with --allow-batch-dependence"):
        options_for(model=network, batch=8).deployable(quiet=True)
    assert (
        options_for(model=network, batch=8, allow_batch_dependence=True).deployable(quiet=True).endpoint().max_batch
        == 8
    )
