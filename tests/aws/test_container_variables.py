"""Variables of containers: what a request may set in the processes that open models, wherever it says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.aws.conftest import ROLE, started
from tests.backends.variables.test_allowed_variables import LOADERS

from servefit.aws.endpoints.commands import serving_command
from servefit.aws.endpoints.variables import refuse_variables
from servefit.aws.state.resources import Resources
from servefit.aws.wire.errors import ApiError
from servefit.backends.variables.allowed_variables import ALLOWED
from servefit.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.aws.conftest import Server


def of_model(name: str, value: str) -> dict[str, Any]:
    return {"PrimaryContainer": {"Environment": {name: value}}}


def of_containers(name: str, value: str) -> dict[str, Any]:
    return {"Containers": [{"Environment": {name: value}}]}


def of_package(name: str, value: str) -> dict[str, Any]:
    return {"InferenceSpecification": of_containers(name, value)}


def of_added_specification(name: str, value: str) -> dict[str, Any]:
    return {"AdditionalInferenceSpecificationsToAdd": [of_containers(name, value)]}


def of_job(name: str, value: str) -> dict[str, Any]:
    ranges = {"CategoricalParameterRanges": [{"Name": name, "Value": ["1", value]}]}
    return {"InputConfig": {"EndpointConfigurations": [{"EnvironmentParameterRanges": ranges}]}}


SAYS = (of_model, of_containers, of_package, of_added_specification, of_job)


@pytest.mark.parametrize("says", SAYS)
@pytest.mark.parametrize("name", LOADERS)
def test_a_variable_that_does_more_than_tune_is_refused_by_name_wherever_a_request_has_it(
    says: Callable[[str, str], dict[str, Any]], name: str
) -> None:
    with pytest.raises(ApiError, match="--allow-env") as caught:
        refuse_variables(says(name, "/tmp/evil"), ())
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)
    assert repr(name) in caught.value.message


@pytest.mark.thorough
@given(st.sampled_from(SAYS), st.text(max_size=30), st.text(max_size=30))
def test_what_a_request_sets_is_on_the_list_or_refused(
    says: Callable[[str, str], dict[str, Any]], name: str, value: str
) -> None:
    plain = name.removeprefix("SAGEMAKER_").removeprefix("SERVEFIT_")
    if plain == name and name not in ALLOWED:
        with pytest.raises(ApiError):
            refuse_variables(says(name, value), ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVEFIT_BACKEND", "--trust-pickle"),
        ("SERVEFIT_BACKEND", "../x"),
        ("SERVEFIT_MEASURED_AS", "--help"),
        ("SERVEFIT_MAX_BATCH", "-1"),
        ("SERVEFIT_BATCH_DELAY_US", "1s"),
        ("SAGEMAKER_OMP_NUM_THREADS", "/tmp/x"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "many"),
        ("SAGEMAKER_ANYTHING", "1"),
        ("SAGEMAKER_REGION", "a\0b"),
    ],
)
def test_no_variable_becomes_an_option_that_nobody_meant(name: str, value: str) -> None:
    with pytest.raises(ApiError):
        refuse_variables(of_model(name, value), ())


@pytest.mark.parametrize("name", ["Environment", "CategoricalParameterRanges"])
def test_metadata_of_the_name_of_variables_is_no_variable(name: str) -> None:
    refuse_variables({"CustomerMetadataProperties": {name: "a text"}}, ())


def test_what_tells_a_container_where_its_script_is_reaches_no_process() -> None:
    told = {"SAGEMAKER_PROGRAM": "/tmp/x.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://b/k", "SAGEMAKER_REGION": "eu-1"}
    refuse_variables({"PrimaryContainer": {"Environment": told}}, ())
    serving = serving_command("m.ubj", "local-1c", told, name="m", trust_pickle=False)
    assert not any(value in word for word in serving.arguments for value in told.values())
    assert serving.environment == {}
    with pytest.raises(ApiError):
        refuse_variables(of_job("SAGEMAKER_PROGRAM", "/tmp/x.py"), ())


def test_an_endpoint_that_an_earlier_version_made_is_not_begun_with_what_loads_code() -> None:
    with pytest.raises(SpecError, match="'OPENSSL_CONF'"):
        serving_command("m.ubj", "local-1c", {"OPENSSL_CONF": "x"}, name="m", trust_pickle=False)
    before = {"SAGEMAKER_ANYTHING": "1", "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    serving = serving_command("m.ubj", "local-1c", before, name="m", trust_pickle=False)
    assert serving.environment == {"OMP_WAIT_POLICY": "passive"}


def test_what_the_server_was_started_to_allow_reaches_the_process() -> None:
    own = {"MY_MODE": "fast", "SAGEMAKER_MINE": "1"}
    refuse_variables({"PrimaryContainer": {"Environment": own}}, tuple(own))
    assert serving_command("m", "p", own, name="m", trust_pickle=False, allowed=tuple(own)).environment == own


@pytest.mark.integration
def test_code_that_was_uploaded_is_not_loaded_by_a_configuration_of_openssl(server: Server) -> None:
    s3, client = server.client("s3"), server.client("sagemaker")
    s3.create_bucket(Bucket="loaders")
    s3.put_object(Bucket="loaders", Key="evil.so", Body=b"\x7fELF")
    s3.put_object(Bucket="loaders", Key="openssl.cnf", Body=b"openssl_conf = x")
    [uploaded] = server.home.rglob("openssl.cnf")
    container = {"Image": "i", "ModelDataUrl": "s3://loaders/m", "Environment": {"OPENSSL_CONF": str(uploaded)}}
    with pytest.raises(
        client.exceptions.ClientError, match=r"'OPENSSL_CONF' is not on the list.*--allow-env"
    ) as caught:
        client.create_model(ModelName="loader", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.thorough
@pytest.mark.integration
def test_a_model_that_was_made_before_there_was_a_list_is_not_served(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        client = server.client("sagemaker")
        container = {"Image": "i", "ModelDataUrl": "s3://bucket/file"}
        client.create_model(ModelName="loader", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        [kept] = tmp_path.rglob("resources.db")
        resources = Resources(kept)
        stored = {"PrimaryContainer": {**container, "Environment": {"OPENSSL_CONF": "/tmp/x"}}}
        resources.change("model", "loader", lambda before: {**before, **stored})
        resources.close()
        variant = {
            "VariantName": "A", "ModelName": "loader", "InstanceType": "ml.local-1c", "InitialInstanceCount": 1,
        }  # fmt: skip
        client.create_endpoint_config(EndpointConfigName="loader", ProductionVariants=[variant])
        with pytest.raises(client.exceptions.ClientError, match=r"ValidationException.*'OPENSSL_CONF'"):
            client.create_endpoint(EndpointName="loader", EndpointConfigName="loader")
