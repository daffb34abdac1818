"""The load of an endpoint, under the names and in the units of Inference Recommender: as the performance of the
endpoint, and as a step of the job."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from servefit.aws.jobs.endpoint_load import EndpointLoad, KeptLoad
from servefit.aws.jobs.process import MAX_REASON_CHARACTERS
from servefit.aws.jobs.queue import ENDED
from servefit.aws.services.sagemaker.prices import cost_metrics

if TYPE_CHECKING:
    from servefit.aws.jobs.files import JobFiles
    from servefit.aws.jobs.plan import LoadedEndpoint
    from servefit.aws.state.resources import Resource

_BROKEN_OFF = "interrupted"
"""The reason of a step that ran when its job was stopped, as it is with other steps."""


def endpoint_performances(files: JobFiles) -> list[dict[str, Any]]:
    """Return the performance of the endpoint that a job has loaded; none where it has loaded none."""
    endpoint, load = files.plan().endpoint, KeptLoad(files.folder).read()
    if endpoint is None or load is None or load.status != "COMPLETED":
        return []
    return [{"Metrics": _figures(load), "EndpointInfo": {"EndpointName": endpoint.name}}]


def endpoint_steps(job: Resource, files: JobFiles) -> list[dict[str, Any]]:
    """Return the load of a job's endpoint as a step, once it was begun or has failed."""
    endpoint, load = files.plan().endpoint, KeptLoad(files.folder).read()
    if endpoint is None or load is None or load.status == "PENDING":
        return []
    status, reason = load.status, load.reason
    if status == "IN_PROGRESS" and job.document["Status"] in ENDED:
        status, reason = "FAILED", _BROKEN_OFF
    benchmark: dict[str, Any] = {"ModelConfiguration": {}, "EndpointConfiguration": _configuration(endpoint)}
    if load.began_at is not None:
        benchmark["InvocationStartTime"] = load.began_at
    if load.ended_at is not None:
        benchmark["InvocationEndTime"] = load.ended_at
    if figures := _figures(load):
        utilisation = {} if load.cpu_percent is None else {"CpuUtilization": load.cpu_percent}
        instances = endpoint.instance_count or 1
        per_hour = None if endpoint.price_per_hour is None else endpoint.price_per_hour * instances
        benchmark["Metrics"] = {**cost_metrics(per_hour, load.max_invocations), **figures, **utilisation}
        if len(figures) == len(_REQUIRED):
            benchmark["EndpointMetrics"] = figures
    if reason is not None:
        benchmark["FailureReason"] = reason[:MAX_REASON_CHARACTERS]
    return [
        {
            "StepType": "BENCHMARK",
            "JobName": job.name,
            "Status": status,
            "InferenceBenchmark": benchmark,
        }
    ]


def _configuration(endpoint: LoadedEndpoint) -> dict[str, Any]:
    inputs = {"InstanceType": endpoint.instance_type, "InitialInstanceCount": endpoint.instance_count}
    return {
        "EndpointName": endpoint.name,
        # It is required, and unknown of an endpoint that is not the server's own.
        "VariantName": endpoint.variant or endpoint.name,
        **{name: value for name, value in inputs.items() if value is not None},
    }


_REQUIRED = ("MaxInvocations", "ModelLatency")
"""The members without which the service model allows no figures of an endpoint."""


def _figures(load: EndpointLoad) -> dict[str, int]:
    latency_ms = None if load.model_latency_ms is None else max(1, ceil(load.model_latency_ms))
    values = zip(_REQUIRED, (load.max_invocations, latency_ms), strict=True)
    return {name: value for name, value in values if value is not None}
