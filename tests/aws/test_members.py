"""Members of requests: each of the service models is carried out, kept as the documentation says, or refused by its
name."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from tests.aws.conftest import ROLE

from servefit.aws.endpoints.invocations import InvocationLogs, Variant
from servefit.aws.services.call import Call
from servefit.aws.services.members import Members, refusing_others
from servefit.aws.services.runtime import Runtime
from servefit.aws.services.sagemaker.endpoints import Served
from servefit.aws.services.taken import TAKEN
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import HttpRequest
from servefit.aws.wire.service_models import operation_model

if TYPE_CHECKING:
    from tests.aws.conftest import Server

ROOT = Path(__file__).parents[2]
OPERATIONS = [(service, name) for service, operations in TAKEN.items() for name in operations]
CONTAINER = {"Image": "i", "ModelDataUrl": "s3://bucket/model"}
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.c5.large", "InitialInstanceCount": 1}


def paths_of(shape: Any, where: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
    """All members of a shape that have none below them, and the first level of what holds itself."""
    while shape.type_name == "list":
        shape = shape.member
    if shape.type_name != "structure" or shape.name in above:
        yield where
        return
    for name, member in shape.members.items():
        yield from paths_of(member, f"{where}.{name}" if where else name, above | {shape.name})


def members_of(service: str, operation: str) -> list[str]:
    model = operation_model(service, operation)
    assert model is not None
    return [] if model.input_shape is None else list(paths_of(model.input_shape))


def is_below(path: str, others: Any) -> bool:
    return any(path == other or path.startswith(f"{other}.") for other in others)


def with_member(path: str, value: Any) -> dict[str, Any]:
    """A request with one member."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


@pytest.mark.integration
def test_every_operation_that_is_answered_says_which_members_it_takes(server: Server) -> None:
    # The server does not start otherwise.
    assert server.client("sagemaker").list_models(NameContains="nobody-made-it")["Models"] == []


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_a_member_of_the_service_model_is_taken_or_refused_by_its_name(service: str, operation: str) -> None:
    members = TAKEN[service][operation]
    called: list[Call] = []

    def answered(call: Call) -> dict[str, Any]:
        called.append(call)
        return {}

    carried_out = refusing_others({operation: answered}, {operation: members})[operation]
    for path in members_of(service, operation):
        call = Call(given=with_member(path, "value"), region="us-east-1")
        if is_below(path, members.taken):
            carried_out(call)
            assert called.pop() is call
        else:
            with pytest.raises(ApiError) as caught:
                carried_out(call)
            assert caught.value.code == "ValidationException"
            assert is_below(path, [caught.value.message.partition(" ")[0]])
            assert called == []


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_what_an_operation_takes_is_in_the_service_model(service: str, operation: str) -> None:
    members = TAKEN[service][operation]
    known = members_of(service, operation)
    for path in (*members.taken, *members.only):
        assert is_below(path, known) or any(each.startswith(f"{path}.") for each in known), path
    for path, values in members.only.items():
        for value in values:
            assert list(members.untaken(with_member(path, value))) == []


def test_what_is_carried_out_is_read_by_some_code() -> None:
    folder = ROOT / "src" / "servefit" / "aws"
    code = "\n".join(file.read_text() for file in folder.rglob("*.py") if file.name != "taken.py")
    read = set(re.findall(r'"(\w+)"', code))
    for service, operation in OPERATIONS:
        done = TAKEN[service][operation].done.split()
        for path in members_of(service, operation):
            # Policies are checked, kept and told as a whole, and serverless configurations are a failed step.
            told_as_a_whole = operation == "PutScalingPolicy" or ".ServerlessConfig." in path
            if is_below(path, done) and not told_as_a_whole:
                name = path.rpartition(".")[2]
                assert {name, name.removesuffix("s")} & read, (operation, path)


def test_what_changes_nothing_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "moving" / "sagemaker.md").read_text()
    named = set(re.findall(r"`(\w+)`", page.partition("### Members without effect")[2].partition("\n### ")[0]))
    for service, operation in OPERATIONS:
        for path in TAKEN[service][operation].kept.split():
            assert path.rpartition(".")[2] in named, (operation, path)


def test_members_are_refused_at_every_depth_and_once() -> None:
    members = Members(done="Name List.Known", only={"List.Mode": ("Single",)})
    given = {"Name": "n", "List": [{"Known": 1, "Other": 2}, {"Other": 3}, {"Mode": "Many"}, {"Mode": "Single"}]}
    assert list(dict.fromkeys(members.untaken(given))) == [
        "List.Other is not carried out here: leave it out",
        "List.Mode is not carried out here with any other value than Single",
    ]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("TargetVariant", "Variant other of endpoint fraud not found: its variant is only"),
        ("TargetModel", "Endpoint fraud is not a multi-model endpoint and does not support target model header."),
        ("InferenceComponentName", "Inference Component Name header is not allowed for endpoints"),
        ("TargetContainerHostname", "Endpoint fraud does not support TargetContainerHostname"),
        ("EnableExplanations", "Endpoint fraud does not support EnableExplanations"),
        ("SessionId", "Endpoint fraud does not support SessionId"),
    ],
)
def test_an_invocation_of_something_else_than_the_model_of_an_endpoint_is_refused(
    tmp_path: Path, member: str, words: str
) -> None:
    error = invoked(tmp_path, {header_of(member): "other"})
    assert (error.code, error.status) == ("ValidationError", 400)
    assert error.message.startswith(words)


@pytest.mark.integration
def test_every_header_of_an_invocation_is_passed_on_or_documented_or_refused(tmp_path: Path) -> None:
    model = operation_model("sagemaker-runtime", "InvokeEndpoint")
    assert model is not None
    assert model.input_shape is not None
    page = (ROOT / "docs" / "moving" / "sagemaker.md").read_text()
    taken = set()
    for name, shape in model.input_shape.members.items():
        # Nothing listens: what is not refused ends in a ModelError.
        if shape.serialization.get("location") == "header":
            error = invoked(tmp_path, {header_of(name): "only" if name == "TargetVariant" else "other"})
            if error.code == "ModelError":
                taken.add(name)
    assert taken == {"ContentType", "Accept", "CustomAttributes", "TargetVariant", "InferenceId"}
    assert "`InferenceId`" in page
    assert invoked(tmp_path, {"x-amzn-sagemaker-of-tomorrow": "x"}).message.startswith(
        "Endpoint fraud does not support OfTomorrow"
    )


def header_of(member: str) -> str:
    model = operation_model("sagemaker-runtime", "InvokeEndpoint")
    assert model is not None
    assert model.input_shape is not None
    return str(model.input_shape.members[member].serialization["name"]).lower()


def invoked(folder: Path, headers: dict[str, str]) -> ApiError:
    """The error of an invocation of an endpoint whose process is not there."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    runtime = Runtime(lambda name: Served(variant=Variant(name, "only"), port=port), InvocationLogs(folder))
    request = HttpRequest(method="POST", path="/endpoints/fraud/invocations", headers=headers, body=b"1,2")
    with pytest.raises(ApiError) as caught:
        runtime.invoke(request, "us-east-1")
    return caught.value


def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("AsyncInferenceConfig", {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}),
        (
            "DataCaptureConfig",
            {
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": "s3://bucket/captured",
                "CaptureOptions": [{"CaptureMode": "Input"}],
            },
        ),
        ("ShadowProductionVariants", [{**VARIANT, "VariantName": "shadow"}]),
        ("KmsKeyId", "key"),
        ("EnableNetworkIsolation", True),
        ("ProductionVariants", [{**VARIANT, "ManagedInstanceScaling": {"Status": "ENABLED"}}]),
    ],
)
def test_an_endpoint_configuration_with_what_is_not_done_is_refused_and_not_kept(
    server: Server, member: str, value: Any
) -> None:
    client = server.client("sagemaker")
    given = {"EndpointConfigName": "much", "ProductionVariants": [VARIANT], member: value}
    code, message = refused(lambda: client.create_endpoint_config(**given))
    assert code == "ValidationException"
    assert message.startswith(member)
    assert client.list_endpoint_configs(NameContains="much")["EndpointConfigs"] == []


@pytest.mark.integration
def test_a_package_of_several_containers_is_no_source_of_a_model(server: Server) -> None:
    client = server.client("sagemaker")
    specification = {"Containers": [CONTAINER, CONTAINER], "SupportedContentTypes": ["text/csv"]}
    arn = client.create_model_package(ModelPackageName="pipeline", InferenceSpecification=specification)[
        "ModelPackageArn"
    ]
    job = {"JobName": "pipeline", "JobType": "Default", "RoleArn": ROLE, "InputConfig": {"ModelPackageVersionArn": arn}}
    code, message = refused(lambda: client.create_inference_recommendations_job(**job))
    assert (code, "has 2 containers" in message) == ("ValidationException", True)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"Resource": "Endpoint"}, "use ListEndpoints"),
        ({"SearchExpression": {"Filters": [{"Name": "CreationTime", "Operator": "Equals", "Value": "x"}]}}, "alone"),
        ({"SearchExpression": {"Operator": "Or"}}, "SearchExpression.Operator is not carried out here with any other"),
        ({"SortBy": "CreationTime"}, "SortBy is not carried out here"),
    ],
)
def test_a_search_that_is_not_carried_out_is_refused(server: Server, given: dict[str, Any], words: str) -> None:
    client = server.client("sagemaker")
    code, message = refused(lambda: client.search(**{"Resource": "ModelPackageGroup", **given}))
    assert (code, words in message) == ("ValidationException", True)
    assert client.search(Resource="TrainingJob")["Results"] == []
