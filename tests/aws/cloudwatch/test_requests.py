"""Requests to CloudWatch that make no sense, and such that find nothing, in both of its protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from tests.aws.cloudwatch.forms import send_form

if TYPE_CHECKING:
    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration

ENDPOINT = [{"Name": "EndpointName", "Value": "fraud"}, {"Name": "VariantName", "Value": "AllTraffic"}]
STATISTICS = {
    "Namespace": "AWS/SageMaker",
    "MetricName": "ModelLatency",
    "Dimensions": ENDPOINT,
    "StartTime": 1_796_000_000,
    "EndTime": 1_796_003_600,
    "Period": 60,
    "Statistics": ["Sum"],
}
FORM = {
    "Namespace": "AWS/SageMaker",
    "MetricName": "ModelLatency",
    "StartTime": "2026-11-30T00:00:00Z",
    "EndTime": "2026-11-30T01:00:00Z",
    "Period": "60",
    "Statistics.member.1": "Sum",
}
QUERY = {
    "Id": "m1",
    "MetricStat": {
        "Metric": {"Namespace": "AWS/SageMaker", "MetricName": "Invocations", "Dimensions": ENDPOINT},
        "Period": 60,
        "Stat": "Sum",
    },
}


@pytest.fixture(scope="module")
def cloudwatch(server: Server) -> Any:
    return server.client("cloudwatch", parameter_validation=False)


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return response["Error"]["Code"], response["Error"]["Message"]


def test_a_metric_that_nobody_knows_has_no_points(cloudwatch: Any) -> None:
    others: list[dict[str, Any]] = [
        {}, {"MetricName": "DiskUtilization"}, {"Namespace": "AWS/EC2"}, {"Dimensions": []}
    ]  # fmt: skip
    for changes in others:
        assert cloudwatch.get_metric_statistics(**{**STATISTICS, **changes})["Datapoints"] == []
    assert cloudwatch.list_metrics()["Metrics"] == []
    answer = cloudwatch.get_metric_data(MetricDataQueries=[QUERY], StartTime=0, EndTime=60)
    assert answer["MetricDataResults"] == [
        {"Id": "m1", "Label": "Invocations", "Timestamps": [], "Values": [], "StatusCode": "Complete"}
    ]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"EndTime": STATISTICS["StartTime"]}, "InvalidParameterValue", "StartTime must not equal parameter EndTime"),
        ({"EndTime": 0}, "InvalidParameterValue", "StartTime must be less than the parameter EndTime"),
        ({"Period": 7}, "InvalidParameterValue", "Period must be 1, 5, 10, 20, 30, or a multiple of 60"),
        ({"Period": 1}, "InvalidParameterCombination", "up to 3600 datapoints, which exceeds the limit of 1440"),
        ({"Statistics": None}, "InvalidParameterCombination", "Must specify either Statistics or ExtendedStatistics"),
        ({"ExtendedStatistics": ["p99", "p101"]}, "InvalidParameterValue", "The value p101 for parameter Ext"),
        ({"ExtendedStatistics": ["Sum"]}, "InvalidParameterValue", "is not supported"),
        ({"Period": 0}, "ValidationError", "Value '0' at 'period' failed to satisfy constraint: Member must have"),
        ({"Statistics": ["p99"]}, "ValidationError", "Value 'p99' at 'statistics.1.member' failed to satisfy"),
        ({"Statistics": []}, "ValidationError", "length greater than or equal to 1"),
        ({"Unit": "Bananas"}, "ValidationError", "Value 'Bananas' at 'unit'"),
        ({"MetricName": None}, "ValidationError", "Value null at 'metricName'"),
        ({"Namespace": ":x"}, "ValidationError", "Member must satisfy regular expression pattern"),
        ({"Dimensions": [{"Name": "EndpointName"}]}, "ValidationError", "Value null at 'dimensions.1.member.value'"),
        ({"Period": 2**40}, "SerializationException", "Period is not a whole number of 32 bits"),
    ],
)
def test_statistics_that_make_no_sense_are_refused(
    cloudwatch: Any, changes: dict[str, Any], code: str, words: str
) -> None:
    asked = {key: value for key, value in {**STATISTICS, **changes}.items() if value is not None}
    found, message = refused(cloudwatch.get_metric_statistics, **asked)
    assert found == code
    assert words in message


def test_errors_are_of_the_classes_that_the_client_has(cloudwatch: Any) -> None:
    with pytest.raises(cloudwatch.exceptions.InvalidParameterValueException):
        cloudwatch.get_metric_statistics(**{**STATISTICS, "EndTime": 0})
    with pytest.raises(cloudwatch.exceptions.InvalidParameterCombinationException):
        cloudwatch.get_metric_statistics(**{**STATISTICS, "Period": 1})
    with pytest.raises(cloudwatch.exceptions.InvalidNextToken):
        cloudwatch.get_metric_data(MetricDataQueries=[QUERY], StartTime=0, EndTime=60, NextToken="foreign")


@pytest.mark.parametrize(
    ("queries", "others", "words"),
    [
        ([], {}, "between 1 and 500 members"),
        ([QUERY] * 2, {}, "The values for parameter id in MetricDataQueries are not unique."),
        ([QUERY] * 501, {}, "between 1 and 500 members"),
        ([{**QUERY, "Id": "M1"}], {}, "MetricDataQueries.member.1.Id is not matching the expected pattern"),
        ([QUERY, {"Id": "e1", "Expression": "m1 * 2"}], {}, "Error in expression 'e1': metric math is not computed"),
        ([{**QUERY, "Expression": "m1"}], {}, "are mutually exclusive and you have specified both"),
        ([{"Id": "m1"}], {}, "The parameter MetricDataQueries.member.1.MetricStat is required."),
        ([{**QUERY, "ReturnData": False}], {}, "must have ReturnData true"),
        ([{"Id": "m1", "MetricStat": {**QUERY["MetricStat"], "Stat": "p"}}], {}, "Stat is not a valid statistic"),  # type: ignore[dict-item]
        ([{"Id": "m1", "MetricStat": {**QUERY["MetricStat"], "Period": 61}}], {}, "or a multiple of 60"),  # type: ignore[dict-item]
        ([{"Id": "m1", "MetricStat": {**QUERY["MetricStat"], "Metric": {}}}], {}, "Metric.Namespace is required"),  # type: ignore[dict-item]
        ([QUERY], {"EndTime": 0}, "The parameter StartTime must not equal parameter EndTime."),
        ([QUERY], {"MaxDatapoints": 0}, "MaxDatapoints must be between 1 and 100800"),
        ([QUERY], {"ScanBy": "Size"}, "Value 'Size' at 'scanBy'"),
    ],
)
def test_queries_that_make_no_sense_are_refused(
    cloudwatch: Any, queries: list[Any], others: dict[str, Any], words: str
) -> None:
    asked = {"MetricDataQueries": queries, "StartTime": 0, "EndTime": 60, **others}
    code, message = refused(cloudwatch.get_metric_data, **asked)
    assert code == "ValidationError"
    assert words in message


def test_lists_and_pictures_that_make_no_sense_are_refused(cloudwatch: Any) -> None:
    assert refused(cloudwatch.list_metrics, NextToken="foreign")[0] == "InvalidParameterValue"
    assert refused(cloudwatch.list_metrics, RecentlyActive="PT9H")[0] == "ValidationError"
    assert refused(cloudwatch.get_metric_widget_image, MetricWidget="{")[0] == "ValidationError"
    code, message = refused(cloudwatch.get_metric_widget_image, MetricWidget="{}", OutputFormat="image/gif")
    assert (code, message) == (
        "InvalidParameterValue",
        "The value image/gif for parameter OutputFormat is not supported.",
    )
    assert refused(cloudwatch.put_metric_data, Namespace="mine", MetricData=[])[0] == "UnknownOperationException"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"EndTime": FORM["StartTime"]}, "InvalidParameterValue"),
        ({"Period": "1"}, "InvalidParameterCombination"),
        ({"Period": "0"}, "ValidationError"),
        ({"Period": "minute"}, "SerializationException"),
        ({"StartTime": "yesterday"}, "SerializationException"),
        ({"StartTime": "nan"}, "SerializationException"),
        ({"Statistics.member.1": "p99"}, "ValidationError"),
        ({"MetricName": ""}, "ValidationError"),
        ({"Unit": "\x00\x01"}, "ValidationError"),
    ],
)
def test_forms_that_make_no_sense_are_refused_in_xml(server: Server, changes: dict[str, str], code: str) -> None:
    answer = send_form(server, "GetMetricStatistics", {**FORM, **changes})
    assert (answer.status, answer.text("Code"), answer.text("Type")) == (400, code, "Sender")
    assert answer.text("Message")
    assert answer.text("RequestId")


def test_a_form_is_answered_in_xml(server: Server) -> None:
    answer = send_form(server, "GetMetricStatistics", {**FORM, "MetricName": "of \x00 nothing"})
    assert (answer.status, answer.text("Label"), answer.texts("Timestamp")) == (200, "of \ufffd nothing", [])
