"""The Open Inference Protocol's words about an endpoint and its model, as KServe and Triton have it: metadata,
configuration, statistics. What the numbers are is counted elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from servefit.backends.types import Target
from servefit.serving.messages import Counts, Reply
from servefit.serving.protocols.datatypes import datatype_of
from servefit.serving.routing import VERSION
from servefit.version import __version__

if TYPE_CHECKING:
    from servefit.backends.model.types import Input, Output, Signature
    from servefit.serving.config import EndpointConfig

SERVER = "servefit"
"""The name of the server."""

INPUT = "input-0"
"""The name of the input of a table; a request that has one tensor may call it anything."""

OUTPUT = "predictions"
"""The name of the output of all models but networks."""

FEATURE_NAMES = "feature_names"
"""The parameter of an input, in the metadata, that lists the names of its columns in their order."""

_EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics")


def server_metadata(config: EndpointConfig) -> Reply:  # noqa: ARG001
    """Return the metadata of the server."""
    return _reply({"name": SERVER, "version": __version__, "extensions": _EXTENSIONS})


def model_metadata(config: EndpointConfig) -> Reply:
    """Return what the model takes and gives; -1 is the number of rows. Where the columns of its only input have names,
    these are a parameter of that input; columns of different kinds have what is in them as parameters."""
    signature = config.signature
    inputs: list[dict[str, Any]] = [
        {"name": name, "datatype": datatype, "shape": [-1, *shape]} for name, datatype, shape in inputs_of(signature)
    ]
    if signature.has_columns:
        for tensor, column in zip(inputs, signature.inputs, strict=True):
            tensor["parameters"] = _column_parameters(column, signature)
    elif signature.feature_names and len(inputs) == 1:
        # The protocol has no field for them; MLServer has parameters of a tensor too.
        inputs[0]["parameters"] = {FEATURE_NAMES: signature.feature_names}
    return _reply(
        {
            "name": config.name,
            "versions": [VERSION],
            "platform": config.artifact.backend,
            "inputs": inputs,
            "outputs": [
                {"name": name, "datatype": datatype, "shape": [*_rows_of(signature, name), *shape]}
                for name, datatype, shape in outputs_of(signature)
            ],
        }
    )


def _column_parameters(column: Input, signature: Signature) -> dict[str, Any]:
    """Return what a client has to know of a column: what it holds, whether a value may be missing, and of a category
    some values that are known, and whether others are taken."""
    missing = column.takes_missing or (not column.is_text and not column.is_whole and signature.accepts_missing)
    if not column.known or column.joined:
        of_texts = "date" if column.is_date else "text"
        kind = of_texts if column.is_text else "whole number" if column.is_whole else "number"
        return {"kind": kind, "takes_missing": missing}
    return {
        "kind": "category",
        "takes_missing": missing,
        "takes_unknown": column.takes_unknown,
        "known": list(column.known),
    }


def inputs_of(signature: Signature) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return name, datatype and row shape of each tensor of a request; -1 stands for a size that varies by request. A
    network has its own inputs. A model of rows of numbers has one, called ``INPUT``, and its rows are flat."""
    if signature.has_columns:
        # Like other servers for data frames: each column is a matrix of one column.
        return [(column.name, datatype_of(column.datatype), (1,)) for column in signature.inputs]
    if len(signature.inputs) > 1 or signature.output_tensors:
        return [(tensor.name, datatype_of(tensor.datatype), _sizes(tensor)) for tensor in signature.inputs]
    only = signature.inputs[0].datatype if signature.inputs else signature.table_datatype
    return [(INPUT, datatype_of(only), (signature.features,))]


def outputs_of(signature: Signature) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return name, datatype and row shape of each tensor of an answer: a network's own outputs, else ``OUTPUT``."""
    if signature.output_tensors:
        return [(tensor.name, datatype_of(tensor.datatype), _sizes(tensor)) for tensor in signature.output_tensors]
    return [(OUTPUT, datatype_of(signature.output_datatype), (signature.outputs,))]


def _rows_of(signature: Signature, output: str) -> list[int]:
    """Return -1, the first dimension of an output, if that counts the rows; else nothing."""
    return [] if any(tensor.unbatched and tensor.name == output for tensor in signature.output_tensors) else [-1]


def _sizes(tensor: Input | Output) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in tensor.shape)


def repository_index(config: EndpointConfig) -> Reply:
    """Return the models there are: one."""
    return _reply([{"name": config.name, "version": VERSION, "state": "READY", "reason": ""}])


def model_config(config: EndpointConfig) -> Reply:
    """Return Triton's ModelConfig. Its ``max_batch_size`` is in rows, and bounds one request; ``dims`` are those of a
    row. If an output has no dimension for rows, there are no batches, and ``dims`` are all dimensions."""
    signature, artifact = config.signature, config.artifact
    batches = not any(tensor.unbatched for tensor in signature.output_tensors)
    rows = [] if batches else [1]
    document: dict[str, Any] = {
        "name": config.name,
        "platform": "",
        "backend": artifact.backend,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": config.limits.rows if batches else 0,
        "input": [
            # Triton has no tensor without dimensions.
            {"name": name, "data_type": f"TYPE_{datatype}", "dims": [*rows, *shape] or [1]}
            for name, datatype, shape in inputs_of(signature)
        ],
        "output": [
            {
                "name": name,
                "data_type": f"TYPE_{datatype}",
                "dims": [*(rows if _rows_of(signature, name) else ()), *shape] or [1],
            }
            for name, datatype, shape in outputs_of(signature)
        ],
        "instance_group": [
            {"kind": "KIND_GPU" if artifact.target is Target.CUDA else "KIND_CPU", "count": config.workers}
        ],
        "parameters": {
            "backend_version": {"string_value": artifact.backend_version},
            "threads": {"string_value": str(config.settings.threads)},
        },
    }
    if config.max_batch > 1:
        document["dynamic_batching"] = {
            "preferred_batch_size": [config.max_batch],
            "max_queue_delay_microseconds": config.batch_delay_us,
        }
    return _reply(document)


def model_stats(config: EndpointConfig, counts: Counts) -> Reply:
    """Return Triton's statistics. A ``batch_size`` counts requests that one call served, whatever their rows."""
    served = counts.requests
    document = {
        "name": config.name,
        "version": VERSION,
        "last_inference": counts.last_request_ms,
        "inference_count": counts.rows,
        "execution_count": counts.calls,
        "inference_stats": {
            "success": _duration(served, counts.queued_ns + counts.predicting_ns),
            "fail": _duration(counts.failed),
            "queue": _duration(served, counts.queued_ns),
            "compute_input": _duration(served),
            "compute_infer": _duration(served, counts.predicting_ns),
            "compute_output": _duration(served),
            "cache_hit": _duration(0),
            "cache_miss": _duration(0),
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _duration(calls),
                "compute_infer": _duration(calls, time_ns),
                "compute_output": _duration(calls),
            }
            for size, calls, time_ns in counts.batches
        ],
    }
    return _reply({"model_stats": [document]})


def _duration(count: int, time_ns: int = 0) -> dict[str, int]:
    return {"count": count, "ns": time_ns}


def _reply(document: Any) -> Reply:
    return Reply(200, msgspec.json.encode(document))
