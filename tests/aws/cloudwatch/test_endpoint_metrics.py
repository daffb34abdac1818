"""The metrics of an endpoint that was invoked, also after the server was killed, and when the endpoint is gone."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from tests.aws.conftest import OPTIONS, ROLE, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration

CALLS = 24
DIMENSIONS = [{"Name": "EndpointName", "Value": "scored"}, {"Name": "VariantName", "Value": "first"}]


def sums(server: Server, name: str) -> float:
    """The sum of a metric over the last minutes."""
    now = time.time()
    found = server.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=name,
        Dimensions=DIMENSIONS,
        StartTime=now - 1800,
        EndTime=now + 60,
        Period=60,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in found["Datapoints"]))


@contextmanager
def with_endpoint(home: Path, folder: Path) -> Iterator[Server]:
    """A server, and an endpoint that is in service."""
    with started(home, *OPTIONS) as server:
        sagemaker = server.client("sagemaker")
        model, _ = server.put_model(folder)
        container = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost:1.7-1", "ModelDataUrl": model}
        sagemaker.create_model(ModelName="scored", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        variant = {"VariantName": "first", "ModelName": "scored", "InstanceType": "ml.c5.large"}
        sagemaker.create_endpoint_config(
            EndpointConfigName="scored", ProductionVariants=[{**variant, "InitialInstanceCount": 2}]
        )
        sagemaker.create_endpoint(EndpointName="scored", EndpointConfigName="scored")
        wait_until_in_service(server)
        yield server


def wait_until_in_service(server: Server) -> None:
    waiter = server.client("sagemaker").get_waiter("endpoint_in_service")
    waiter.wait(EndpointName="scored", WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def invoke(runtime: Any, body: str = "1,2") -> None:
    runtime.invoke_endpoint(EndpointName="scored", ContentType="text/csv", Body=body)


@pytest.mark.timeout(180)
@pytest.mark.thorough
def test_each_invocation_counts_whatever_becomes_of_the_server_and_the_endpoint(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with with_endpoint(home, tmp_path) as server:
        runtime, cloudwatch = server.client("sagemaker-runtime"), server.client("cloudwatch")
        assert cloudwatch.list_metrics()["Metrics"] == []
        with ThreadPoolExecutor(4) as threads:
            for _ in threads.map(lambda _: invoke(runtime), range(CALLS)):
                pass
        for body in ("no,numbers", "1,2,3"):
            with pytest.raises(ClientError, match="ModelError"):
                invoke(runtime, body)
        with pytest.raises(ClientError, match="ValidationError"):
            runtime.invoke_endpoint(EndpointName="another", Body=b"1,2")
        assert sums(server, "Invocations") == sums(server, "InvocationsPerInstance") == CALLS + 2
        assert sums(server, "Invocation4XXErrors") == sums(server, "InvocationModelErrors") == 2
        assert sums(server, "Invocation5XXErrors") == 0
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(10)
    with started(home, *OPTIONS) as server:
        assert sums(server, "Invocations") == CALLS + 2
        wait_until_in_service(server)
        invoke(server.client("sagemaker-runtime"))
        sagemaker, cloudwatch = server.client("sagemaker"), server.client("cloudwatch")
        sagemaker.delete_endpoint(EndpointName="scored")
        assert sums(server, "Invocations") == CALLS + 3
        of_endpoint = {"Namespace": "AWS/SageMaker", "Dimensions": [{"Name": "EndpointName", "Value": "scored"}]}
        listed = cloudwatch.list_metrics(**of_endpoint, RecentlyActive="PT3H")["Metrics"]
        assert {metric["MetricName"] for metric in listed} >= {"Invocations", "ModelLatency", "OverheadLatency"}
        assert all(metric["Dimensions"] == DIMENSIONS for metric in listed)
        latency = statistics_of_latency(cloudwatch)
        assert latency["SampleCount"] == CALLS + 3
        assert 0 < latency["Minimum"] <= latency["ExtendedStatistics"]["p50"] <= latency["Maximum"] < 60e6


def statistics_of_latency(cloudwatch: Any) -> dict[str, Any]:
    """All statistics of ModelLatency, of whole days: it may be midnight."""
    now = time.time()
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="ModelLatency",
        Dimensions=DIMENSIONS[::-1],
        StartTime=now - 7 * 86_400,
        EndTime=now + 60,
        Period=30 * 86_400,
        Statistics=["SampleCount", "Minimum", "Maximum"],
        ExtendedStatistics=["p50"],
        Unit="Microseconds",
    )["Datapoints"]
    assert len(points) == 1
    found: dict[str, Any] = points[0]
    return found
