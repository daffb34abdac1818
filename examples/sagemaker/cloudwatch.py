"""What CloudWatch knows of the endpoints that a recommendation job tested: a table, and a chart.

Both ask CloudWatch for the time between the beginning of the job and its end, and for the endpoints that its
recommendations name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

PERIOD_S = 60
"""Of the points in the table: SageMaker sends CloudWatch one each minute."""

CHART_PERIOD_S = 5
"""Of the points in the chart. AWS has one each minute all the same; servefit has as many as are asked for, and its jobs
may be over within a minute."""

ENDPOINT = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"

METRICS = (
    (ENDPOINT, "Invocations", "None", "Sum"),
    (ENDPOINT, "Invocation4XXErrors", "None", "Sum"),
    (ENDPOINT, "Invocation5XXErrors", "None", "Sum"),
    (ENDPOINT, "ModelLatency", "Microseconds", "p99"),
    (ENDPOINT, "OverheadLatency", "Microseconds", "p99"),
    (INSTANCES, "CPUUtilization", "Percent", "Maximum"),
    (INSTANCES, "MemoryUtilization", "Percent", "Maximum"),
)
"""Namespace, name, unit and statistic of the metrics in the table."""


def endpoint_metrics(cloudwatch: Any, job: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row for each recommendation of a job: what is recommended, and the metrics of its endpoint, each at its
    highest. ``job`` is what DescribeInferenceRecommendationsJob returns."""
    rows = []
    for recommendation in job["InferenceRecommendations"]:
        configuration, figures = recommendation["EndpointConfiguration"], recommendation["Metrics"]
        row = {
            "InstanceType": configuration["InstanceType"],
            "OMP_NUM_THREADS": variables_of(recommendation).get("OMP_NUM_THREADS"),
            "CostPerHour": figures["CostPerHour"],
            "MaxInvocations": figures["MaxInvocations"],
        }
        for namespace, name, unit, statistic in METRICS:
            points = _points(
                cloudwatch,
                namespace,
                name,
                unit,
                statistic,
                dimensions=_dimensions(configuration),
                between=(job["CreationTime"], job["LastModifiedTime"]),
            )
            row[f"{name} ({statistic})"] = max(points, default=None)
        rows.append(row)
    return pd.DataFrame(rows)


def latency_chart(cloudwatch: Any, job: Mapping[str, Any]) -> bytes:
    """Return a chart of the model latency of all recommended endpoints while the job ran: a PNG that CloudWatch
    draws."""
    metrics = []
    for recommendation in job["InferenceRecommendations"]:
        configuration = recommendation["EndpointConfiguration"]
        dimensions = [part for each in _dimensions(configuration) for part in (each["Name"], each["Value"])]
        metrics.append([ENDPOINT, "ModelLatency", *dimensions, {"label": configuration["InstanceType"]}])
    widget = {
        "title": f"Model latency, {job['JobName']}",
        "metrics": metrics,
        "stat": "p95",
        "period": CHART_PERIOD_S,
        "yAxis": {"left": {"label": "microseconds", "showUnits": False}},
        "start": job["CreationTime"].isoformat(),
        "end": job["LastModifiedTime"].isoformat(),
        "width": 800,
        "height": 300,
    }
    image: bytes = cloudwatch.get_metric_widget_image(MetricWidget=json.dumps(widget))["MetricWidgetImage"]
    return image


def variables_of(recommendation: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that a recommendation sets in the container."""
    parameters = recommendation["ModelConfiguration"].get("EnvironmentParameters", ())
    return {each["Key"]: each["Value"] for each in parameters}


def _points(
    cloudwatch: Any,
    namespace: str,
    name: str,
    unit: str,
    statistic: str,
    *,
    dimensions: list[dict[str, str]],
    between: tuple[datetime, datetime],
) -> list[float]:
    """Return one statistic of a metric for each minute that has data."""
    is_percentile = statistic.startswith("p")
    asked = {"ExtendedStatistics" if is_percentile else "Statistics": [statistic]}
    found = cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=dimensions,
        StartTime=between[0],
        EndTime=between[1],
        Period=PERIOD_S,
        Unit=unit,
        **asked,
    )
    return [
        point["ExtendedStatistics"][statistic] if is_percentile else point[statistic] for point in found["Datapoints"]
    ]


def _dimensions(configuration: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": configuration[name]} for name in ("EndpointName", "VariantName")]
