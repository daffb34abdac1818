"""``right_size`` on an endpoint, with the names of the SageMaker Python SDK."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

import servefit as sf
from servefit.errors import SpecError
from servefit.sagemaker.sizing import EndpointParameters, ModelParameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import HttpServer

pytestmark = pytest.mark.timed

QUICK: dict[str, Any] = {"sample_payload": [[1, 2, 3]], "allow_noise": True}


@pytest.fixture(scope="module")
def url(http_server: HttpServer) -> Iterator[str]:
    def respond(path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(0.003)
        return 200, b'{"predictions": [0.5]}', {"server-timing": "queue;dur=0.1, predict;dur=1"}

    with http_server(respond) as url:
        yield f"{url}/invocations"


@pytest.mark.thorough
def test_an_endpoint_alone_is_asked_for_the_most_invocations(url: str) -> None:
    found = sf.right_size(endpoint=url, job_duration_in_seconds=1.5, **QUICK)
    assert found.protocol == "sagemaker-csv"
    assert found.max_invocations is not None
    assert 600 < found.max_invocations < 600_000
    assert found.latency_ms["p50"] is not None
    assert found.model_latency_ms is not None
    assert found.model_latency_ms["p50"] == pytest.approx(1.1)
    assert found.overhead_ms is not None
    assert found.verdict is None
    assert found.to_dict()["endpoint"] == url


def test_invocations_and_thresholds_are_judged_at_the_client(url: str) -> None:
    limits = [sf.ModelLatencyThreshold(percentile="P95", value_in_milliseconds=1.5)]
    found = sf.right_size(
        endpoint=url, max_invocations=6000, model_latency_thresholds=limits, job_duration_in_seconds=3, **QUICK
    )
    # The model takes 1.1 ms of it, and the limit is for all that the client waits.
    assert found.verdict == "FAIL"
    assert found.summary.offered_per_s == pytest.approx(100, rel=0.4)
    assert found.capacity is not None
    assert found.max_invocations == round(60 * found.capacity.throughput_per_s)
    assert len(found.runs) == 2


@pytest.mark.thorough
def test_stairs_end_where_the_invocations_asked_for_are_reached(url: str) -> None:
    found = sf.right_size(
        endpoint=url,
        stairs=sf.Stairs(duration_in_seconds=1.2, number_of_steps=4, users_per_step=1),
        max_invocations=1200,
        job_duration_in_seconds=5.8,
        **QUICK,
    )
    assert found.stopped == "rate"
    assert len(found.steps) == 1
    assert found.verdict == "PASS"
    assert found.max_invocations is not None
    assert found.max_invocations >= 1200


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("model", {"model": "model.ubj"}),
        ("supported_instance_types", {"supported_instance_types": ["local-1c"]}),
        ("hyperparameter_ranges", {"hyperparameter_ranges": [{"A": sf.CategoricalParameter(["1"])}]}),
        ("job_name", {"job_name": "job"}),
        ("max_tests", {"max_tests": 3}),
        ("max_parallel_tests", {"max_parallel_tests": 2}),
        ("backends", {"backends": ["xgboost"]}),
        ("batch_sizes", {"batch_sizes": [1]}),
        ("batch_delays_us", {"batch_delays_us": [0]}),
        ("goal", {"goal": "latency"}),
        ("cost_weight", {"cost_weight": 0.3}),
        ("storage", {"storage": "sqlite:///jobs.db"}),
        ("trust_pickle", {"trust_pickle": True}),
        ("deploy", {"deploy": "library"}),
        ("over_http", {"over_http": False}),
        ("stairs", {"phases": [], "stairs": sf.Stairs(1, 1, 1)}),
        ("max_invocations", {"max_invocations": "30000"}),
        ("model_latency_thresholds", {"model_latency_thresholds": []}),
        ("job_duration_in_seconds", {"job_duration_in_seconds": "60s"}),
        ("duration", {"job_duration_in_seconds": 1, "phases": [sf.Phase(2, 1, 0)]}),
        ("flat_invocations", {"flat_invocations": "Perhaps"}),
    ],
)
def test_what_makes_no_sense_for_an_endpoint_is_refused_before_anything_is_sent(
    field: str, asked: dict[str, Any]
) -> None:
    right_size: Any = sf.right_size
    with pytest.raises(SpecError) as caught:
        right_size(endpoint="http://127.0.0.1:1", sample_payload=[[1]], **asked)
    assert caught.value.field == field


def parameters_for_a_model_alone() -> list[str]:
    return sorted(ModelParameters.__annotations__.keys() - EndpointParameters.__annotations__.keys())


@pytest.mark.parametrize("field", parameters_for_a_model_alone())
def test_every_parameter_that_is_for_a_model_alone_is_refused_for_an_endpoint(field: str) -> None:
    right_size: Any = sf.right_size
    with pytest.raises(SpecError, match="cannot be combined with an endpoint") as caught:
        right_size(endpoint="http://127.0.0.1:1", sample_payload=[[1]], **{field: "given"})
    assert caught.value.field == field


def test_a_model_and_no_endpoint_or_neither_of_them() -> None:
    right_size: Any = sf.right_size
    with pytest.raises(SpecError, match=r"^model is not given; give a model, or endpoint="):
        right_size()
    with pytest.raises(SpecError, match=r"^allow_remote: "):
        right_size("model.ubj", allow_remote=True)


def test_another_machine_has_to_be_allowed() -> None:
    with pytest.raises(SpecError, match="allow_remote=True"):
        sf.right_size(endpoint="http://192.0.2.1:8080", **QUICK)
