"""Names that differ in upper and lower case alone: ARNs have them in lower case, and two resources share none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from tests.aws.conftest import ROLE
from tests.aws.test_registry import CONTAINER, SPECIFICATION, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration


def make_model(client: Any, name: str, **given: Any) -> Any:
    return client.create_model(ModelName=name, PrimaryContainer=CONTAINER, ExecutionRoleArn=ROLE, **given)


def make_configuration(client: Any, name: str, **given: Any) -> Any:
    variant = {"VariantName": "one", "ModelName": "used", "InstanceType": "ml.c5.large", "InitialInstanceCount": 1}
    return client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **given)


def make_endpoint(client: Any, name: str, **given: Any) -> Any:
    return client.create_endpoint(EndpointName=name, EndpointConfigName="used", **given)


def make_package(client: Any, name: str, **given: Any) -> Any:
    return client.create_model_package(ModelPackageName=name, InferenceSpecification=SPECIFICATION, **given)


def make_job(client: Any, name: str, **given: Any) -> Any:
    config = {"ModelName": "used", "ContainerConfig": {"PayloadConfig": {"SamplePayloadUrl": "s3://none/none.csv"}}}
    request = {"JobName": name, "JobType": "Default", "RoleArn": ROLE, "InputConfig": config}
    return client.create_inference_recommendations_job(**request, **given)


@pytest.fixture(scope="module")
def sagemaker(server: Server) -> Any:
    client = server.client("sagemaker", max_pool_connections=20)
    make_model(client, "used")
    make_configuration(client, "used")
    return client


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (make_model, "ValidationException"),
        (make_configuration, "ValidationException"),
        (make_endpoint, "ValidationException"),
        (make_package, "ValidationException"),
        (make_job, "ResourceInUse"),
    ],
)
def test_a_second_name_in_another_case_is_taken_and_leaves_the_tags_of_the_first(
    sagemaker: Any, make: Callable[..., Any], code: str
) -> None:
    (arn,) = [
        value
        for key, value in make(sagemaker, "Case", Tags=[{"Key": "of", "Value": "the first"}]).items()
        if key.endswith("Arn")
    ]
    found, message = refused(lambda: make(sagemaker, "case", Tags=[{"Key": "of", "Value": "the second"}]))
    assert found == code
    assert "exist" in message
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "of", "Value": "the first"}]


def test_a_name_in_another_case_is_free_once_the_first_is_gone_and_is_not_that_of_the_first(sagemaker: Any) -> None:
    make_model(sagemaker, "Gone")
    assert refused(lambda: sagemaker.describe_model(ModelName="gone"))[0] == "ValidationException"
    sagemaker.delete_model(ModelName="Gone")
    make_model(sagemaker, "gone")
    assert sagemaker.describe_model(ModelName="gone")["ModelName"] == "gone"


def test_of_names_that_are_made_at_once_one_is_taken(sagemaker: Any) -> None:
    def make(name: str) -> bool:
        try:
            make_model(sagemaker, name)
        except ClientError:
            return False
        return True

    names = ["race-a", "race-A", "Race-a", "Race-A", "RACE-a", "RACE-A"]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, names)) == 1


def test_groups_whose_arns_keep_the_case_are_two(sagemaker: Any) -> None:
    arns = [
        sagemaker.create_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"]
        for name in ("Group", "group")
    ]
    assert len(set(arns)) == 2
