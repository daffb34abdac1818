"""Models, packages and groups through boto3."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from tests.aws.conftest import ROLE

if TYPE_CHECKING:
    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost:1.7-1"
CONTAINER = {"Image": IMAGE, "ModelDataUrl": "s3://models/tiny/model.ubj"}
SPECIFICATION = {"Containers": [CONTAINER], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": []}


@pytest.fixture(scope="module")
def sagemaker(server: Server) -> Any:
    return server.client("sagemaker")


def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_model_is_told_back_listed_and_deleted(sagemaker: Any) -> None:
    made = sagemaker.create_model(ModelName="Fraud", PrimaryContainer=CONTAINER, ExecutionRoleArn=ROLE)
    assert made["ModelArn"] == "arn:aws:sagemaker:us-east-1:123456789012:model/fraud"
    told = sagemaker.describe_model(ModelName="Fraud")
    assert told["PrimaryContainer"] == CONTAINER
    assert told["CreationTime"].year >= 2026
    assert [each["ModelName"] for each in sagemaker.list_models(NameContains="frau")["Models"]] == ["Fraud"]
    again = refused(
        lambda: sagemaker.create_model(ModelName="Fraud", PrimaryContainer=CONTAINER, ExecutionRoleArn=ROLE)
    )
    assert again[0] == "ValidationException"
    assert again[1].startswith("Cannot create already existing model")
    sagemaker.delete_model(ModelName="Fraud")
    gone = refused(lambda: sagemaker.describe_model(ModelName="Fraud"))
    assert gone == ("ValidationException", 'Could not find model "Fraud".')


def test_packages_of_a_group_are_numbered(sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="numbered", ModelPackageGroupDescription="payments")
    assert refused(lambda: sagemaker.create_model_package_group(ModelPackageGroupName="numbered"))[1].startswith(
        "Model Package Group already exists"
    )
    asked = {"ModelPackageGroupName": "numbered", "InferenceSpecification": SPECIFICATION, "Domain": "MACHINE_LEARNING"}
    first, second = (sagemaker.create_model_package(**asked)["ModelPackageArn"] for _ in range(2))
    assert first.endswith(":model-package/numbered/1")
    assert second.endswith(":model-package/numbered/2")
    told = sagemaker.describe_model_package(ModelPackageName=second)
    assert (told["ModelPackageVersion"], told["ModelPackageStatus"]) == (2, "Completed")
    assert told["InferenceSpecification"]["Containers"] == [CONTAINER]
    sagemaker.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Approved")
    listed = sagemaker.list_model_packages(ModelPackageGroupName="numbered", ModelApprovalStatus="Approved")
    assert [each["ModelPackageArn"] for each in listed["ModelPackageSummaryList"]] == [second]
    in_use = refused(lambda: sagemaker.delete_model_package_group(ModelPackageGroupName="numbered"))
    assert in_use[0] == "ValidationException"
    for arn in (first, second):
        sagemaker.delete_model_package(ModelPackageName=arn)
    sagemaker.delete_model_package_group(ModelPackageGroupName="numbered")
    assert refused(lambda: sagemaker.describe_model_package(ModelPackageName=first))[1].startswith("Could not find")


def test_a_group_is_found_by_its_name_as_the_sdk_searches(sagemaker: Any) -> None:
    sagemaker.create_model_package_group(ModelPackageGroupName="searched")

    def found(name: str) -> list[Any]:
        filters = [{"Name": "ModelPackageGroupName", "Operator": "Equals", "Value": name}]
        answer = sagemaker.search(Resource="ModelPackageGroup", SearchExpression={"Filters": filters})
        return list(answer["Results"])

    assert [each["ModelPackageGroup"]["ModelPackageGroupName"] for each in found("searched")] == ["searched"]
    assert found("other") == []


def test_lists_come_in_pages_whose_tokens_are_of_that_list(sagemaker: Any) -> None:
    for nth in range(5):
        sagemaker.create_model(ModelName=f"page-{nth}", PrimaryContainer=CONTAINER, ExecutionRoleArn=ROLE)
    asked = {"NameContains": "page-", "SortBy": "Name", "SortOrder": "Ascending", "MaxResults": 2}
    first = sagemaker.list_models(**asked)
    second = sagemaker.list_models(**asked, NextToken=first["NextToken"])
    third = sagemaker.list_models(**asked, NextToken=second["NextToken"])
    names = [each["ModelName"] for page in (first, second, third) for each in page["Models"]]
    assert names == [f"page-{nth}" for nth in range(5)]
    assert "NextToken" not in third
    for token in ("abc", "%%%", first["NextToken"]):
        code, _ = refused(lambda token=token: sagemaker.list_endpoints(NextToken=token))
        assert code == "ValidationException"


def test_times_the_wrong_way_round_are_refused(sagemaker: Any) -> None:
    code, message = refused(lambda: sagemaker.list_models(CreationTimeAfter=2e9, CreationTimeBefore=1e9))
    assert (code, message) == ("ValidationException", "CreationTimeAfter must be before CreationTimeBefore.")


def test_tags_are_kept_with_what_they_are_of(sagemaker: Any) -> None:
    tags = [{"Key": "team", "Value": "fraud"}]
    arn = sagemaker.create_model(ModelName="tagged", PrimaryContainer=CONTAINER, ExecutionRoleArn=ROLE, Tags=tags)[
        "ModelArn"
    ]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "test"}])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [*tags, {"Key": "stage", "Value": "test"}]


def test_who_somebody_is_has_an_answer_in_xml(server: Server) -> None:
    assert server.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert server.client("iam").get_role(RoleName="servefit")["Role"]["Arn"] == ROLE


def post(server: Server, target: str, body: bytes) -> tuple[int, dict[str, Any], str]:
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    request = urllib.request.Request(server.address, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"{}"), answer.headers["content-type"]
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), error.headers["content-type"]


@pytest.mark.parametrize(
    ("target", "body", "code"),
    [
        ("SageMaker.LaunchRocket", b"{}", "UnknownOperationException"),
        ("SageMaker.CreateTrainingJob", b"{}", "UnknownOperationException"),
        ("SageMaker.CreateModel", b"[]", "SerializationException"),
        ("SageMaker.CreateModel", b"\xff\xfe", "SerializationException"),
        ("SageMaker.CreateModel", b'{"ModelName": "a b"}', "ValidationException"),
        ("SageMaker.CreateModel", b" " * (7 * 2**20), "RequestEntityTooLarge"),
        ("Logs_20140328.GetLogEvents", b"{}", "ValidationException"),
    ],
)
def test_what_is_not_understood_is_a_4xx_in_json(server: Server, target: str, body: bytes, code: str) -> None:
    status, document, content_type = post(server, target, body)
    assert 400 <= status < 500
    assert document["__type"] == code
    assert content_type == "application/x-amz-json-1.1"
