"""How a notebook of Inference Recommender asks for the metrics of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

INVOCATIONS, INSTANCES = "AWS/SageMaker", "/aws/sagemaker/Endpoints"
CLIENTS = "/aws/sagemaker/InferenceRecommendationsJobs"

NOTEBOOK = {
    "Invocations": (INVOCATIONS, "None", "Sum"),
    "InvocationsPerInstance": (INVOCATIONS, "None", "Sum"),
    "Invocation4XXErrors": (INVOCATIONS, "None", "Sum"),
    "Invocation5XXErrors": (INVOCATIONS, "None", "Sum"),
    "ModelLatency": (INVOCATIONS, "Microseconds", "p99"),
    "OverheadLatency": (INVOCATIONS, "Microseconds", "p99"),
    "CPUUtilization": (INSTANCES, "Percent", "Maximum"),
    "MemoryUtilization": (INSTANCES, "Percent", "Maximum"),
    "DiskUtilization": (INSTANCES, "Percent", "Maximum"),
}
"""Namespace, unit and statistic of each metric."""


@dataclass(frozen=True)
class Job:
    """A job that is over, as it is told, its steps, and the invocations that were known of while it ran."""

    told: dict[str, Any]
    steps: list[dict[str, Any]]
    while_running: float

    @property
    def endpoints(self) -> list[dict[str, Any]]:
        """The endpoints of recommendations and of steps."""
        recommended = [each["EndpointConfiguration"] for each in self.told["InferenceRecommendations"]]
        return recommended + [step["InferenceBenchmark"]["EndpointConfiguration"] for step in self.steps]

    @property
    def span(self) -> dict[str, Any]:
        """The times between which a notebook looks."""
        return {"begin": self.told["CreationTime"], "end": self.told["LastModifiedTime"]}


def dimensions(endpoint: dict[str, Any]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": endpoint[name]} for name in ("EndpointName", "VariantName")]


def ask(
    cloudwatch: Any, endpoint: dict[str, Any], name: str, *, begin: Any, end: Any, period: int = 60, **changes: Any
) -> list[dict[str, Any]]:
    """Ask for a metric; return its points, the earliest first."""
    namespace, unit, statistic = NOTEBOOK[name]
    kind = "ExtendedStatistics" if statistic.startswith("p") else "Statistics"
    asked = {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": dimensions(endpoint),
        "StartTime": begin,
        "EndTime": end,
        "Period": period,
        "Unit": unit,
        kind: [statistic],
    }
    points: list[dict[str, Any]] = cloudwatch.get_metric_statistics(**{**asked, **changes})["Datapoints"]
    return sorted(points, key=lambda point: point["Timestamp"])


def total(points: list[dict[str, Any]], statistic: str = "Sum") -> float:
    return float(sum(point[statistic] for point in points))
