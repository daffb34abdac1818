"""``right_size`` takes the parameters of the SDK by the SDK's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tiny_model import ROWS, tiny_model

import servefit as sf
from servefit.errors import SpecError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("SERVEFIT_HOME", str(folder))
    return folder


@pytest.mark.thorough
@pytest.mark.timed
def test_a_call_of_the_sdk_runs_as_it_is(home: Path) -> None:
    bucket = home / "api" / "s3" / "models"
    bucket.mkdir(parents=True)
    tiny_model(bucket / "model.ubj")
    np.savetxt(bucket / "payload.csv", ROWS, delimiter=",", fmt="%g")
    job = sf.right_size(
        "s3://models/model.ubj",
        sample_payload_url="s3://models/payload.csv",
        supported_content_types=["text/csv"],
        supported_instance_types=["local-1c"],
        job_name="of-the-sdk",
        framework="XGBOOST",
        job_duration_in_seconds=12,
        phases=[sf.Phase(duration_in_seconds=1, initial_number_of_users=1, spawn_rate=0)],
        traffic_type="PHASES",
        max_tests=1,
        log_level="Quiet",
        allow_noise=True,
    )
    assert job.name == "of-the-sdk"
    assert job.best is not None
    assert job.best.max_invocations > 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sample_payload_url": 5}, "sample_payload_url: 5 is not text"),
        ({"sample_payload_url": "https://example.com/p"}, "is no file of this machine; download it"),
        ({"sample_payload_url": "s3://models/../../etc"}, "is no file of this machine"),
        ({"sample_payload_url": "p.csv", "sample_payload": [[1]]}, "cannot be combined with sample_payload"),
        ({"supported_content_types": "text/csv"}, "supported_content_types: 'text/csv' is not a list"),
        ({"supported_content_types": [5]}, "supported_content_types: 5 is not a str"),
        ({"framework": 5}, "framework: 5 is not text"),
        ({"traffic_type": 5}, "traffic_type: 5 is not text"),
        ({"traffic_type": "WAVES"}, "traffic_type: 'WAVES' is not known; known: PHASES, STAIRS"),
        ({"traffic_type": "STAIRS", "phases": [sf.Phase(1, 1, 0)]}, "is not the traffic that is given"),
        ({"log_level": "Loud"}, "log_level: 'Loud' is not known; known: Verbose, Quiet"),
    ],
)
def test_a_parameter_without_sense_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        sf.right_size("model.ubj", **given)
    assert words in str(caught.value)


def test_a_model_at_a_url_of_elsewhere_is_refused() -> None:
    with pytest.raises(SpecError, match=r"model: 'https://example\.com/m' is no file"):
        sf.right_size("https://example.com/m")


def test_an_endpoint_has_no_framework() -> None:
    with pytest.raises(SpecError, match="cannot be combined with an endpoint"):
        sf.right_size(endpoint="http://127.0.0.1:1", framework="XGBOOST")  # type: ignore[call-overload]
