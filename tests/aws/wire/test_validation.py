"""Requests held against botocore's service models, at every depth."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.formats import read_request
from servefit.aws.wire.messages import HttpRequest
from servefit.aws.wire.service_models import operation_model, service_model
from servefit.aws.wire.validation import check, pattern_of

ROLE = "arn:aws:iam::123456789012:role/servefit"
SERVICES = ("sagemaker", "logs", "cloudwatch", "application-autoscaling", "sts", "iam")


def refused(operation: str, given: object, *, service: str = "sagemaker") -> ApiError | None:
    """Return the error for a request, None where it is taken."""
    model = operation_model(service, operation)
    assert model is not None
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    request = HttpRequest(method="POST", path="/", headers={"content-type": "application/x-amz-json-1.1"}, body=body)
    try:
        check(model.input_shape, read_request(service, model, request))
    except ApiError as error:
        return error
    return None


def job(**changes: Any) -> dict[str, Any]:
    return {"JobName": "fraud", "JobType": "Default", "RoleArn": ROLE, "InputConfig": {"ModelName": "m"}, **changes}


def test_a_request_that_keeps_to_the_model_is_taken() -> None:
    assert refused("CreateInferenceRecommendationsJob", job()) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"JobName": "a b"}, "Value 'a b' at 'jobName' failed to satisfy constraint: Member must satisfy regular"),
        (
            {"JobName": ""},
            "at 'jobName' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        ({"JobName": "x" * 65}, "Member must have length less than or equal to 64"),
        ({"JobType": "Other"}, "Member must satisfy enum value set: [Default, Advanced]"),
        ({"JobType": None}, "Value null at 'jobType' failed to satisfy constraint: Member must not be null"),
        (
            {"InputConfig": {"TrafficPattern": {"Phases": [{"InitialNumberOfUsers": 0}]}}},
            "Value '0' at 'inputConfig.trafficPattern.phases.1.member.initialNumberOfUsers' failed to satisfy "
            "constraint: Member must have value greater than or equal to 1",
        ),
        (
            {"InputConfig": {"EndpointConfigurations": [{"InstanceType": "ml.m5.large"}] * 11}},
            "at 'inputConfig.endpointConfigurations' failed to satisfy constraint: Member must have length less than "
            "or equal to 10",
        ),
        (
            {
                "InputConfig": {
                    "EndpointConfigurations": [
                        {
                            "InstanceType": "ml.m5.large",
                            "EnvironmentParameterRanges": {
                                "CategoricalParameterRanges": [{"Name": "OMP_NUM_THREADS", "Value": list("1234")}]
                            },
                        }
                    ]
                }
            },
            "categoricalParameterRanges.1.member.value' failed to satisfy constraint: Member must have length less "
            "than or equal to 3",
        ),
    ],
)
def test_what_a_request_breaks_is_said_in_the_words_of_aws(changes: dict[str, Any], words: str) -> None:
    error = refused("CreateInferenceRecommendationsJob", job(**changes))
    assert error is not None
    assert (error.code, error.status) == ("ValidationException", 400)
    assert words in error.message


def test_no_more_problems_are_looked_for_than_anybody_counts() -> None:
    error = refused("CreateModel", {"ModelName": "a", "Tags": [{}] * 100_000})
    assert error is not None
    assert error.message.startswith("1000 validation errors or more detected: ")


def test_several_problems_are_counted() -> None:
    error = refused("CreateInferenceRecommendationsJob", {})
    assert error is not None
    assert error.message.startswith("4 validation errors detected: ")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"3", b"{", b"\xff", b'{"JobName": 3}', b'{"InputConfig": []}', b'{"a": NaN}', b"[" * 100_000],
)
def test_a_body_of_another_form_is_a_serialization_exception(body: bytes) -> None:
    error = refused("CreateInferenceRecommendationsJob", body)
    assert error is not None
    assert error.code == ("SerializationException" if body else "ValidationException")


@pytest.mark.parametrize("service", SERVICES)
def test_every_pattern_of_a_service_is_one_of_python_too(service: str) -> None:
    model = service_model(service)
    patterns = {
        shape.metadata["pattern"]
        for shape in map(model.shape_for, model.shape_names)
        if shape.type_name == "string" and "pattern" in shape.metadata
    }
    assert patterns
    assert all(isinstance(pattern_of(pattern), re.Pattern) for pattern in patterns)


def test_tags_may_have_letters_of_any_script() -> None:
    tags = [{"Key": "Größe", "Value": "数 1"}]
    assert refused("CreateInferenceRecommendationsJob", job(Tags=tags)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(job())) | st.text(max_size=4), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=examples(60, drawn=200))
@given(JSON)
def test_whatever_json_a_client_sends_is_taken_or_refused_in_the_protocol(value: Any) -> None:
    error = refused("CreateInferenceRecommendationsJob", value)
    assert error is None or error.code in ("ValidationException", "SerializationException")
