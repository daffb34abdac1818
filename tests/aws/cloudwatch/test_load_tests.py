"""The metrics of a recommendation job's load tests, asked for as notebooks ask, in both protocols."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.aws.cloudwatch.asking import CLIENTS, INSTANCES, INVOCATIONS, NOTEBOOK, Job, ask, dimensions, total
from tests.aws.cloudwatch.forms import send_form
from tests.aws.conftest import ROLE

if TYPE_CHECKING:
    from tests.aws.conftest import Server

pytestmark = [pytest.mark.timed, pytest.mark.thorough]


@pytest.fixture(scope="module")
def cloudwatch(server: Server) -> Any:
    return server.client("cloudwatch")


@pytest.fixture(scope="module")
def job(server: Server, cloudwatch: Any, tmp_path_factory: pytest.TempPathFactory) -> Job:
    model, payload = server.put_model(tmp_path_factory.mktemp("uploaded"))
    sagemaker = server.client("sagemaker")
    container = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost:1.7-1", "ModelDataUrl": model}
    sagemaker.create_model(ModelName="loaded", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    sagemaker.create_inference_recommendations_job(
        JobName="measured",
        JobType="Advanced",
        RoleArn=ROLE,
        InputConfig={
            "ModelName": "loaded",
            "JobDurationInSeconds": 12,
            "ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": payload}},
            "EndpointConfigurations": [{"InstanceType": "ml.c5.large"}],
            "ResourceLimit": {"MaxNumberOfTests": 2, "MaxParallelOfTests": 1},
        },
    )
    while_running, until = 0.0, time.monotonic() + 120
    while time.monotonic() < until:
        told = sagemaker.describe_inference_recommendations_job(JobName="measured")
        steps = sagemaker.list_inference_recommendations_job_steps(JobName="measured")["Steps"]
        if told["Status"] not in ("PENDING", "IN_PROGRESS"):
            assert told["Status"] == "COMPLETED", told
            return Job(told, steps, while_running)
        if not while_running and any(step["Status"] == "COMPLETED" for step in steps):
            endpoint = steps[0]["InferenceBenchmark"]["EndpointConfiguration"]
            begin, end = told["CreationTime"], datetime.now(UTC) + timedelta(seconds=1)
            while_running = total(ask(cloudwatch, endpoint, "Invocations", begin=begin, end=end))
        time.sleep(0.2)
    raise AssertionError("the job is not over")


def test_a_notebook_finds_the_figures_of_each_recommendation_and_step(cloudwatch: Any, job: Job) -> None:
    for endpoint in job.endpoints:
        found = {name: ask(cloudwatch, endpoint, name, **job.span) for name in NOTEBOOK}
        assert [name for name, points in found.items() if not points] == ["DiskUtilization"]
        for name, points in found.items():
            assert {point["Unit"] for point in points} <= {NOTEBOOK[name][1]}
            assert all(point["Timestamp"].second == 0 for point in points)
        assert total(found["Invocations"]) > 100
        assert total(found["Invocation4XXErrors"]) == total(found["Invocation5XXErrors"]) == 0
        assert 0 < found["ModelLatency"][0]["ExtendedStatistics"]["p99"] < 1e6
        assert 0 < found["OverheadLatency"][0]["ExtendedStatistics"]["p99"] < 1e6
        assert 0 < found["MemoryUtilization"][0]["Maximum"] < 100
        assert 0 < found["CPUUtilization"][0]["Maximum"] < 200


def test_points_are_within_the_steps_and_all_requests_are_in_them(cloudwatch: Any, job: Job) -> None:
    endpoint = job.endpoints[0]
    per_second = ask(cloudwatch, endpoint, "Invocations", **job.span, period=1)
    for point in per_second:
        at = point["Timestamp"]
        assert any(
            step["InferenceBenchmark"]["InvocationStartTime"] - timedelta(seconds=1)
            <= at
            <= step["InferenceBenchmark"]["InvocationEndTime"]
            for step in job.steps
        )
    for period in (5, 30, 60, 3600):
        assert total(ask(cloudwatch, endpoint, "Invocations", **job.span, period=period)) == total(per_second)
    counted = ask(
        cloudwatch,
        endpoint,
        "ModelLatency",
        **job.span,
        ExtendedStatistics=["p0", "p50", "p99.9", "p100", "ts99"],
        Statistics=["SampleCount", "Average", "Sum", "Minimum", "Maximum"],
    )
    assert total(counted, "SampleCount") == total(per_second)
    for point in counted:
        more = point["ExtendedStatistics"]
        assert more["p0"] == point["Minimum"] <= more["p50"] <= more["p99.9"] <= more["p100"] == point["Maximum"]
        assert point["Average"] * point["SampleCount"] == pytest.approx(point["Sum"])
        assert point["Sum"] * 0.5 < more["ts99"] < point["Sum"]


def test_times_may_be_numbers_and_texts_and_another_unit_has_no_points(cloudwatch: Any, job: Job) -> None:
    endpoint, begin, end = job.endpoints[0], job.told["CreationTime"], job.told["LastModifiedTime"]
    expected = ask(cloudwatch, endpoint, "Invocations", begin=begin, end=end)
    assert ask(cloudwatch, endpoint, "Invocations", begin=begin.timestamp(), end=end.timestamp()) == expected
    assert ask(cloudwatch, endpoint, "Invocations", begin=begin.isoformat(), end=str(end)) == expected
    assert ask(cloudwatch, endpoint, "Invocations", begin=begin, end=end, Unit="Count") == []
    assert (
        ask(cloudwatch, endpoint, "Invocations", begin=begin - timedelta(days=2), end=begin - timedelta(days=1)) == []
    )


def test_steps_that_are_over_have_metrics_while_the_job_runs(cloudwatch: Any, job: Job) -> None:
    assert 0 < job.while_running <= total(ask(cloudwatch, job.endpoints[0], "Invocations", **job.span))


def test_what_the_clients_saw_is_under_the_name_of_the_job(cloudwatch: Any, job: Job) -> None:
    endpoint = job.endpoints[0]
    asked = {
        "Namespace": CLIENTS,
        "Dimensions": [
            {"Name": "JobName", "Value": "measured"},
            {"Name": "EndpointName", "Value": endpoint["EndpointName"]},
        ],
        "StartTime": job.told["CreationTime"],
        "EndTime": job.told["LastModifiedTime"],
        "Period": 3600,
        "Statistics": ["Sum", "Average", "Maximum", "SampleCount"],
    }
    found = {
        name: cloudwatch.get_metric_statistics(**asked, MetricName=name)["Datapoints"][0]
        for name in ("ClientInvocations", "ClientInvocationErrors", "ClientLatency", "NumberOfUsers")
    }
    assert found["ClientLatency"]["Unit"] == "Milliseconds"
    assert found["ClientLatency"]["SampleCount"] == found["ClientInvocations"]["Sum"]
    assert found["ClientInvocationErrors"]["Sum"] == 0
    assert found["NumberOfUsers"]["Maximum"] >= 1
    whole = ask(cloudwatch, endpoint, "ModelLatency", **job.span, period=3600, Statistics=["Average"])[0]
    assert found["ClientLatency"]["Average"] > whole["Average"] / 1000


def test_queries_come_in_pages_in_the_order_that_is_asked_for(cloudwatch: Any, job: Job) -> None:
    def query(name: str, statistic: str) -> dict[str, Any]:
        metric = {"Namespace": INVOCATIONS, "MetricName": name, "Dimensions": dimensions(job.endpoints[0])}
        stat = {"Metric": metric, "Period": 1, "Stat": statistic}
        return {"Id": f"of_{name.lower()}", "Label": f"all {name}", "MetricStat": stat}

    asked = {
        "MetricDataQueries": [query("Invocations", "Sum"), query("Unknown", "Sum"), query("ModelLatency", "p50")],
        "StartTime": job.told["CreationTime"],
        "EndTime": job.told["LastModifiedTime"],
    }
    whole = cloudwatch.get_metric_data(**asked, ScanBy="TimestampAscending")
    assert [result["Label"] for result in whole["MetricDataResults"]] == [
        "all Invocations",
        "all Unknown",
        "all ModelLatency",
    ]
    first = whole["MetricDataResults"][0]
    assert first["Timestamps"] == sorted(first["Timestamps"])
    assert first["Values"] == [
        point["Sum"] for point in ask(cloudwatch, job.endpoints[0], "Invocations", **job.span, period=1)
    ]
    newest_first = cloudwatch.get_metric_data(**asked)["MetricDataResults"][0]
    assert newest_first["Values"] == first["Values"][::-1]
    paginator = cloudwatch.get_paginator("get_metric_data")
    pages = [*paginator.paginate(**asked, ScanBy="TimestampAscending", MaxDatapoints=1)]
    assert len(pages) == sum(max(1, len(result["Values"])) for result in whole["MetricDataResults"])
    collected = [value for page in pages for value in page["MetricDataResults"][0]["Values"]]
    assert collected == [value for result in whole["MetricDataResults"] for value in result["Values"]]
    assert {page["MetricDataResults"][0]["StatusCode"] for page in pages} <= {"Complete", "PartialData"}
    other = {**asked, "StartTime": 0}
    with pytest.raises(cloudwatch.exceptions.InvalidNextToken):
        cloudwatch.get_metric_data(**other, MaxDatapoints=1, NextToken=pages[0]["NextToken"])


def test_metrics_are_listed_by_what_is_asked_for(cloudwatch: Any, job: Job) -> None:
    endpoint = job.endpoints[0]["EndpointName"]
    listed = cloudwatch.list_metrics()["Metrics"]
    assert {metric["Namespace"] for metric in listed} == {INVOCATIONS, INSTANCES, CLIENTS}
    of_job = cloudwatch.list_metrics(Dimensions=[{"Name": "JobName", "Value": "measured"}])["Metrics"]
    assert {metric["Namespace"] for metric in of_job} == {CLIENTS}
    latencies = cloudwatch.list_metrics(
        Namespace=INVOCATIONS, MetricName="ModelLatency", Dimensions=[{"Name": "VariantName"}], RecentlyActive="PT3H"
    )["Metrics"]
    assert endpoint in [metric["Dimensions"][0]["Value"] for metric in latencies]
    assert cloudwatch.list_metrics(Dimensions=[{"Name": "Model"}])["Metrics"] == []


def test_a_picture_of_the_job_is_a_png_of_that_size(cloudwatch: Any, job: Job) -> None:
    endpoint = job.endpoints[0]
    names = ["EndpointName", endpoint["EndpointName"], "VariantName", endpoint["VariantName"]]
    widget = {
        "metrics": [
            [INVOCATIONS, "ModelLatency", *names, {"stat": "ts99", "color": "#ff0000"}],
            [".", "Invocations", ".", ".", ".", ".", {"stat": "Sum", "yAxis": "right"}],
        ],
        "start": "-PT1H",
        "period": 30,
        "width": 640,
        "height": 320,
        "title": "load",
    }
    image = cloudwatch.get_metric_widget_image(MetricWidget=json.dumps(widget), OutputFormat="png")["MetricWidgetImage"]
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(image[16:20], "big"), int.from_bytes(image[20:24], "big")) == (640, 320)
    widget["metrics"][0][1] = "Unknown"  # type: ignore[index]
    assert cloudwatch.get_metric_widget_image(MetricWidget=json.dumps(widget))["MetricWidgetImage"] != image


def test_forms_of_older_clients_get_the_same_in_xml(server: Server, cloudwatch: Any, job: Job) -> None:
    import base64

    endpoint = job.endpoints[0]
    form = {
        "Namespace": INVOCATIONS,
        "MetricName": "ModelLatency",
        "StartTime": job.told["CreationTime"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "EndTime": job.told["LastModifiedTime"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Period": "60",
        "Statistics.member.1": "SampleCount",
        "ExtendedStatistics.member.1": "p99",
        "Dimensions.member.1.Name": "EndpointName",
        "Dimensions.member.1.Value": endpoint["EndpointName"],
        "Dimensions.member.2.Name": "VariantName",
        "Dimensions.member.2.Value": endpoint["VariantName"],
    }
    answer = send_form(server, "GetMetricStatistics", form)
    expected = ask(cloudwatch, endpoint, "ModelLatency", **job.span, Statistics=["SampleCount"])
    assert [float(text) for text in answer.texts("SampleCount")] == [point["SampleCount"] for point in expected]
    assert [float(text) for text in answer.texts("value")] == [point["ExtendedStatistics"]["p99"] for point in expected]
    assert set(answer.texts("Unit")) == {"Microseconds"}
    assert all(text.endswith("Z") for text in answer.texts("Timestamp"))
    listed = send_form(server, "ListMetrics", {"Namespace": CLIENTS})
    assert "ClientLatency" in listed.texts("MetricName")
    widget = json.dumps({"metrics": [[INVOCATIONS, "ModelLatency"]], "width": 80, "height": 40})
    picture = send_form(server, "GetMetricWidgetImage", {"MetricWidget": widget})
    assert base64.b64decode(picture.text("MetricWidgetImage"), validate=True).startswith(b"\x89PNG")
