"""``right_size`` on a model says what is deployed: the endpoint, as in SageMaker, or the model as a library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.tiny_model import ROWS, tiny_model

import servefit as sf

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timed  # a client and the endpoint have a CPU each

QUICK: dict[str, Any] = {
    "sample_payload": ROWS,
    "supported_instance_types": ["local-1c"],
    "backends": ["xgboost"],
    "batch_sizes": [1],
    "max_tests": 1,
    "max_invocations": 6000,
    "job_duration_in_seconds": 40,
    "allow_noise": True,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "model.ubj")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


@pytest.mark.thorough
def test_invocations_are_those_of_the_endpoint_unless_the_library_is_deployed(model: Path) -> None:
    served, called = sf.right_size(model, **QUICK).best, sf.right_size(model, deploy="library", **QUICK).best
    assert served is not None
    assert called is not None
    assert (served.deployment, served.trial.driver) == ("endpoint", "http")
    assert served.endpoint is served.trial
    assert (called.deployment, called.trial.driver) == ("library", "inprocess")
    assert called.model_alone is called.trial
    for best in (served, called):
        assert best.max_invocations == pytest.approx(60 * best.capacity.rate_per_s)
        assert best.endpoint is not None
        assert best.model_alone is not None
        assert best.endpoint.capacity.throughput_per_s < best.model_alone.capacity.throughput_per_s


@pytest.mark.thorough
def test_without_http_it_is_the_library(model: Path) -> None:
    best = sf.right_size(model, over_http=False, **QUICK).best
    assert best is not None
    assert (best.deployment, best.trial.driver, best.endpoint) == ("library", "inprocess", None)
