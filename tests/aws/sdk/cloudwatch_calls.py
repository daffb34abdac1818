"""Asks CloudWatch of a recommendation job, by the table and the chart of the example, with whatever boto3 there is.

    PYTHON tests/aws/sdk/cloudwatch_calls.py JOB FOLDER

JOB is the name of a job, and FOLDER that of the example. Prints what was found, and the type of the requests, as JSON.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any


def called(name: str, folder: str) -> dict[str, Any]:
    """Return what the calls found."""
    import boto3

    sys.path.insert(0, folder)
    example = import_module("cloudwatch")
    job = boto3.client("sagemaker").describe_inference_recommendations_job(JobName=name)
    client = boto3.client("cloudwatch")
    types: list[str] = []
    client.meta.events.register(
        "before-send", lambda request, **_: types.append(_text(request.headers["Content-Type"]))
    )
    try:
        client.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            StartTime=job["CreationTime"],
            EndTime=job["LastModifiedTime"],
            Period=60,
        )
    except client.exceptions.ClientError as error:
        refused = error.response["Error"]["Code"]
    return {
        "boto3": boto3.__version__,
        "account": boto3.client("sts").get_caller_identity()["Account"],
        "metrics": json.loads(example.endpoint_metrics(client, job).to_json(orient="records")),
        "chart": example.latency_chart(client, job)[:8].hex(),
        "listed": len(client.list_metrics(Namespace="AWS/SageMaker")["Metrics"]),
        "refused": refused,
        "types": sorted(set(types)),
    }


def _text(header: str | bytes) -> str:
    """Return a header without what follows its first part."""
    return (header.decode() if isinstance(header, bytes) else header).partition(";")[0]


if __name__ == "__main__":
    print(json.dumps(called(*sys.argv[1:])))
