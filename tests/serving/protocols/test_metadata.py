"""The metadata of an endpoint and of its model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from servefit.backends.types import Settings, Target
from servefit.serving.messages import Counts, Reply
from servefit.serving.probes import check_reply
from servefit.serving.protocols import metadata
from servefit.serving.routing import Action

if TYPE_CHECKING:
    from servefit.serving.config import EndpointConfig


def content(reply: Reply) -> Any:
    assert reply.status == 200
    assert reply.content_type == b"application/json"
    return json.loads(reply.body)


def test_the_server_names_its_extensions(config: EndpointConfig) -> None:
    described = content(metadata.server_metadata(config))
    assert described["name"] == "servefit"
    assert described["version"][0].isdigit()
    assert set(described["extensions"]) == {"binary_tensor_data", "model_configuration", "statistics"}


def test_the_model_is_described_as_one_tensor_in_and_one_out(config: EndpointConfig) -> None:
    assert content(metadata.model_metadata(config)) == {
        "name": "fraud",
        "versions": ["1"],
        "platform": "onnxruntime",
        "inputs": [
            {
                "name": "input-0",
                "datatype": "FP32",
                "shape": [-1, 3],
                "parameters": {"feature_names": ["a", "b", "c"]},
            }
        ],
        "outputs": [{"name": "predictions", "datatype": "FP32", "shape": [-1, 1]}],
    }


def test_features_without_names_are_not_named(config: EndpointConfig) -> None:
    nameless = replace(config, signature=replace(config.signature, feature_names=()))
    assert content(metadata.model_metadata(nameless))["inputs"] == [
        {"name": "input-0", "datatype": "FP32", "shape": [-1, 3]}
    ]


def test_a_model_that_answers_is_ready(config: EndpointConfig) -> None:
    assert content(check_reply(Action.MODEL_READY, config.name)) == {"name": "fraud", "ready": True}
    (model,) = content(metadata.repository_index(config))
    assert (model["name"], model["version"], model["state"]) == ("fraud", "1", "READY")


def test_the_configuration_is_tritons(config: EndpointConfig) -> None:
    multiclass = replace(
        config, signature=replace(config.signature, outputs=4), workers=2, settings=Settings(threads=3)
    )
    described = content(metadata.model_config(multiclass))
    assert described["max_batch_size"] == 20
    assert described["input"] == [{"name": "input-0", "data_type": "TYPE_FP32", "dims": [3]}]
    assert described["output"] == [{"name": "predictions", "data_type": "TYPE_FP32", "dims": [4]}]
    assert described["instance_group"] == [{"kind": "KIND_CPU", "count": 2}]
    assert described["parameters"]["threads"] == {"string_value": "3"}
    assert "dynamic_batching" not in described


def test_dynamic_batching_is_in_the_configuration_where_it_is_on(config: EndpointConfig) -> None:
    on_gpu = replace(config.artifact, target=Target.CUDA)
    described = content(metadata.model_config(replace(config, artifact=on_gpu, max_batch=8, batch_delay_us=250)))
    assert described["dynamic_batching"] == {"preferred_batch_size": [8], "max_queue_delay_microseconds": 250}
    assert described["instance_group"][0]["kind"] == "KIND_GPU"


def test_statistics_are_tritons(config: EndpointConfig) -> None:
    counts = Counts(
        requests=10,
        rows=40,
        calls=4,
        queued_ns=500,
        predicting_ns=9000,
        calling_ns=3000,
        failed=1,
        last_request_ms=1234,
        batches=((1, 2, 1000), (4, 2, 2000)),
    )
    (model,) = content(metadata.model_stats(config, counts))["model_stats"]
    assert (model["name"], model["version"], model["last_inference"]) == ("fraud", "1", 1234)
    assert (model["inference_count"], model["execution_count"]) == (40, 4)
    stats = model["inference_stats"]
    assert stats["success"] == {"count": 10, "ns": 9500}
    assert stats["fail"] == {"count": 1, "ns": 0}
    assert stats["queue"] == {"count": 10, "ns": 500}
    assert stats["compute_infer"] == {"count": 10, "ns": 9000}
    for nothing in ("compute_input", "compute_output", "cache_hit", "cache_miss"):
        assert stats[nothing]["ns"] == 0
    assert [(each["batch_size"], each["compute_infer"]) for each in model["batch_stats"]] == [
        (1, {"count": 2, "ns": 1000}),
        (4, {"count": 2, "ns": 2000}),
    ]


def test_an_endpoint_that_was_never_asked_has_statistics_too(config: EndpointConfig) -> None:
    (model,) = content(metadata.model_stats(config, Counts()))["model_stats"]
    assert model["inference_count"] == model["last_inference"] == 0
    assert model["batch_stats"] == []
