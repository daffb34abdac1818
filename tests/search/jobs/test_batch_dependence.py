"""Requests that change each other's predictions are only joined where the user allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.onnx_models import quantised

import servefit
from servefit.errors import SpecError
from servefit.profiler.procedures.prepare import Deployment, prepare
from servefit.search.deployment.deployable import deployable_of_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short")]

REFUSED = "joins requests, and what this model predicts of one depends on the others"
ONE_TEST: dict[str, Any] = {
    "supported_instance_types": ["local-1c"],
    "backends": ["onnxruntime"],
    "max_tests": 1,
    "allow_noise": True,
    "over_http": False,
}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared, so that the model is compiled once."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _state(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(state))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantised(tmp_path_factory.mktemp("model") / "model.onnx")


def test_a_deployment_that_joins_requests_has_to_allow_it(model: Path) -> None:
    for deploy in (prepare, deployable_of_model):
        with pytest.raises(SpecError, match=REFUSED) as refused:
            deploy(model, Deployment(batch=8))
        assert refused.value.field == "batch"
        assert "--allow-batch-dependence" in str(refused.value.remedy)
    allowed = Deployment(batch=8, allow_batch_dependence=True)
    assert prepare(model, allowed).configuration.max_batch == 8
    deployable = deployable_of_model(model, allowed)
    assert deployable.endpoint().max_batch == 8
    assert any("depend on what else is in the call" in note for note in deployable.notes)
    assert prepare(model, Deployment()).configuration.max_batch == 1


@pytest.mark.parametrize(
    ("asked", "problem"), [({"batch_sizes": [1, 8]}, REFUSED), ({"batch_delays_us": [500]}, "delays")]
)
def test_a_job_that_is_to_join_requests_has_to_allow_it(asked: dict[str, Any], problem: str, model: Path) -> None:
    with pytest.raises(SpecError, match=problem) as refused:
        servefit.right_size(model, **ONE_TEST, **asked)
    assert "--allow-batch-dependence" in str(refused.value.remedy)


def test_profiling_that_joins_requests_has_to_allow_it(model: Path) -> None:
    with pytest.raises(SpecError, match=REFUSED):
        servefit.profile(model, batch=2, duration_s=0.2)


def test_unasked_a_job_joins_none_and_says_why(model: Path) -> None:
    job = servefit.right_size(model, **ONE_TEST)
    assert {trial.configuration.max_batch for trial in job.trials} == {1}
    assert any("depend on what else is in the call" in warning for warning in job.warnings)
    assert job.to_dict()["model"]["batch_dependent"]


@pytest.mark.thorough
def test_a_job_that_allows_it_joins_them(model: Path) -> None:
    job = servefit.right_size(model, **ONE_TEST, batch_sizes=[8], allow_batch_dependence=True)
    assert {trial.configuration.max_batch for trial in job.trials} == {8}
