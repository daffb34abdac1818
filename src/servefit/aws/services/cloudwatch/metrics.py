"""The metrics that there are: names, units and dimensions as AWS has them, and what each is of an invocation.

InvocationsPerInstance is 1 for each, as Invocations is: one instance answers all, in a load test as behind an endpoint.
What servefit does not measure, such as the use of disks, has no samples here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from servefit.aws.endpoints.invocations import Invocations, Variant
from servefit.aws.services.cloudwatch.series import SampleSeries

OF_INVOCATIONS = "AWS/SageMaker"
OF_INSTANCES = "/aws/sagemaker/Endpoints"
OF_CLIENTS = "/aws/sagemaker/InferenceRecommendationsJobs"

UNITS: Mapping[str, Mapping[str, str]] = {
    OF_INVOCATIONS: {
        "Invocations": "None",
        "InvocationsPerInstance": "None",
        "Invocation4XXErrors": "None",
        "Invocation5XXErrors": "None",
        "InvocationModelErrors": "None",
        "ModelLatency": "Microseconds",
        "OverheadLatency": "Microseconds",
    },
    OF_INSTANCES: {"CPUUtilization": "Percent", "MemoryUtilization": "Percent"},
    OF_CLIENTS: {
        "ClientInvocations": "None",
        "ClientInvocationErrors": "None",
        "ClientLatency": "Milliseconds",
        "NumberOfUsers": "None",
    },
}
"""The unit of each metric, by its namespace and its name."""

_ENDPOINT, _VARIANT, _JOB = "EndpointName", "VariantName", "JobName"


@dataclass(frozen=True, slots=True)
class CloudWatchMetric:
    """A metric. ``dimensions`` are names and values in the order of names: however they are sent, they are the same."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Iterable[tuple[str, str]]) -> Self:
        return cls(namespace, name, tuple(sorted(dimensions)))

    @classmethod
    def asked_for(cls, request: Mapping[str, Any]) -> Self:
        """Return the metric that a request names."""
        dimensions = ((dimension["Name"], dimension["Value"]) for dimension in request.get("Dimensions", ()))
        return cls.of(request.get("Namespace", ""), request.get("MetricName", ""), dimensions)

    @classmethod
    def of_variant(cls, namespace: str, name: str, variant: Variant) -> Self:
        return cls.of(namespace, name, [(_ENDPOINT, variant.endpoint), (_VARIANT, variant.name)])

    @classmethod
    def of_clients(cls, name: str, *, job: str, endpoint: str) -> Self:
        return cls.of(OF_CLIENTS, name, [(_JOB, job), (_ENDPOINT, endpoint)])

    @property
    def unit(self) -> str | None:
        """The unit of its samples, None where there is no such metric."""
        return UNITS.get(self.namespace, {}).get(self.name)

    @property
    def variant(self) -> Variant | None:
        """The variant of an endpoint that it is of, None where it is of something else."""
        names = dict(self.dimensions)
        if len(self.dimensions) != 2 or names.keys() != {_ENDPOINT, _VARIANT}:
            return None
        return Variant(names[_ENDPOINT], names[_VARIANT])

    @property
    def document(self) -> dict[str, Any]:
        """The metric as answers have it."""
        dimensions = [{"Name": name, "Value": value} for name, value in self.dimensions]
        return {"Namespace": self.namespace, "MetricName": self.name, "Dimensions": dimensions}


def of_invocations(name: str, invocations: Invocations) -> SampleSeries:
    """Return the samples of a metric of invocations, one for each of them. What is not known has none."""
    values = _VALUES[name](invocations)
    present = ~np.isnan(values)
    return SampleSeries(invocations.at_s[present], values[present])


def _is(hundreds: int) -> Callable[[Invocations], np.ndarray]:
    return lambda invocations: (invocations.status // 100 == hundreds).astype(np.float64)


def _ones(invocations: Invocations) -> np.ndarray:
    return np.ones(len(invocations.at_s))


def _errors(invocations: Invocations) -> np.ndarray:
    errors: np.ndarray = invocations.status // 100 != 2
    return errors.astype(np.float64)


_VALUES: Mapping[str, Callable[[Invocations], np.ndarray]] = {
    "Invocations": _ones,
    "InvocationsPerInstance": _ones,
    "Invocation4XXErrors": _is(4),
    "Invocation5XXErrors": _is(5),
    "InvocationModelErrors": _errors,
    "ModelLatency": lambda invocations: invocations.model_us,
    "OverheadLatency": lambda invocations: invocations.overhead_us,
    "ClientInvocations": _ones,
    "ClientInvocationErrors": _errors,
    "ClientLatency": lambda invocations: (invocations.model_us + np.nan_to_num(invocations.overhead_us)) / 1000,
}
