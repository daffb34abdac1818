"""Forms of the query protocol, held against what botocore's older clients make of the same input."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import pytest
from botocore.serialize import create_serializer
from botocore.session import Session

from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.forms import read_form
from servefit.aws.wire.service_models import operation_model

if TYPE_CHECKING:
    from botocore.model import Shape

AT = datetime(2026, 12, 1, 5, 40, tzinfo=UTC)


def shape_of(operation: str, service: str = "cloudwatch") -> Shape:
    model = operation_model(service, operation)
    assert model is not None
    assert model.input_shape is not None
    return model.input_shape


def form_of(operation: str, given: dict[str, Any]) -> dict[str, str]:
    """What a client of botocore sends."""
    model = Session().get_service_model("cloudwatch").operation_model(operation)
    request = create_serializer("query").serialize_to_request(given, model)
    return dict(parse_qsl(urlencode(request["body"]), keep_blank_values=True))


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        (
            "GetMetricStatistics",
            {
                "Namespace": "AWS/SageMaker",
                "MetricName": "a & b = ü",
                "Dimensions": [{"Name": f"name {nth}", "Value": "v"} for nth in range(12)],
                "StartTime": AT,
                "EndTime": AT,
                "Period": 60,
                "Statistics": ["Sum", "Maximum"],
                "ExtendedStatistics": ["p99"],
            },
        ),
        (
            "GetMetricData",
            {
                "MetricDataQueries": [
                    {
                        "Id": f"q{nth}",
                        "MetricStat": {
                            "Metric": {"Namespace": "n", "MetricName": "m", "Dimensions": []},
                            "Period": 60,
                            "Stat": "Sum",
                        },
                        "ReturnData": nth == 1,
                    }
                    for nth in range(3)
                ],
                "StartTime": AT,
                "EndTime": AT,
                "LabelOptions": {"Timezone": "+0100"},
            },
        ),
        ("ListMetrics", {}),
    ],
)
def test_a_form_is_read_as_what_botocore_made_it_of(operation: str, given: dict[str, Any]) -> None:
    assert read_form(shape_of(operation), form_of(operation, given)) == given


def test_members_are_in_the_order_of_their_numbers_whatever_the_order_of_the_fields() -> None:
    form = {"Statistics.member.10": "Sum", "Statistics.member.2": "Average", "Period": "60", "Other.member.1": "x"}
    found = read_form(shape_of("GetMetricStatistics"), form)
    assert found == {"Statistics": ["Average", "Sum"], "Period": 60}


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"Period": "many"}, "Period is not a value of the type integer: 'many'"),
        ({"Period": "9" * 5000}, "Period is not a value of the type integer"),
        ({"Period": "9" * 40}, "Period is not a whole number"),
        ({"StartTime": "today"}, "StartTime is not a time"),
        ({"StartTime": "nan"}, "StartTime is not"),
        ({"Statistics.member.first": "Sum"}, "Statistics has a member with the number 'first'"),
        ({"Statistics.member." + "9" * 5000: "Sum"}, "Statistics has a member with the number"),
        ({"Statistics.member.-1": "Sum"}, "Statistics has a member with the number '-1'"),
    ],
)
def test_a_text_that_is_no_value_of_its_shape_is_refused(form: dict[str, str], words: str) -> None:
    with pytest.raises(ApiError, match="^" + words) as caught:
        read_form(shape_of("GetMetricStatistics"), form)
    assert caught.value.code == "SerializationException"


def test_a_boolean_is_true_or_false() -> None:
    shape = shape_of("ListMetrics")
    assert read_form(shape, {"IncludeLinkedAccounts": "True"}) == {"IncludeLinkedAccounts": True}
    with pytest.raises(ApiError, match="IncludeLinkedAccounts is not a value of the type boolean"):
        read_form(shape, {"IncludeLinkedAccounts": "perhaps"})


def test_names_that_are_a_value_and_hold_others_do_no_harm() -> None:
    shape = shape_of("GetMetricStatistics")
    assert read_form(shape, {"Period": "60", "Period.member.1": "61", "Dimensions": "x", "": "y", ".": "z"}) == {
        "Period": 60
    }


@pytest.mark.parametrize(
    "field",
    [
        "MetricDataQueries.member.{nth}.MetricStat.Metric.MetricName",
        "MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.{nth}.Name",
        "MetricDataQueries.member.{nth}",
        "Unknown.member.{nth}",
    ],
)
def test_a_form_of_thousands_of_members_is_read_in_no_time(field: str) -> None:
    form = {field.format(nth=nth): "x" for nth in range(1, 4001)} | {"a." * 500_000: "x"}
    began_s = time.process_time()  # not that of others on the machine
    read_form(shape_of("GetMetricData"), form)
    assert time.process_time() - began_s < 1
