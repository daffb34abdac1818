"""Application Auto Scaling over boto3: what is registered and put is told back, and nothing is scaled."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from tests.aws.conftest import ROLE, started
from tests.aws.test_bad_input import JSON_TYPE, send

if TYPE_CHECKING:
    from pathlib import Path

    from tests.aws.conftest import Server

pytestmark = pytest.mark.integration

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
NEXT_YEARS = (datetime(2030, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC))
PREDEFINED = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}


def variant(endpoint: str = "scaled", **changes: Any) -> dict[str, Any]:
    """What names a target in a request."""
    resource = f"endpoint/{endpoint}/variant/AllTraffic"
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": DIMENSION, **changes}


def tracking(target: float = 70.0, **configuration: Any) -> dict[str, Any]:
    metric = {} if "CustomizedMetricSpecification" in configuration else {"PredefinedMetricSpecification": PREDEFINED}
    found = {"TargetValue": target, **metric, **configuration}
    return {"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": found}


def in_steps(*steps: tuple[float | None, float | None, int], **configuration: Any) -> dict[str, Any]:
    bounds = ("MetricIntervalLowerBound", "MetricIntervalUpperBound", "ScalingAdjustment")
    adjustments = [
        {name: value for name, value in zip(bounds, step, strict=True) if value is not None} for step in steps
    ]
    found = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": adjustments, **configuration}
    return {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": found}


def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def make_endpoint(server: Server, name: str) -> None:
    """An endpoint that never comes up: that does not matter to what scales it."""
    sagemaker = server.client("sagemaker")
    container = {"Image": "none", "ModelDataUrl": "s3://models/missing"}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    production = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.local-1c"}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[{**production, "InitialInstanceCount": 1}]
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


@pytest.fixture(scope="module")
def endpoints(server: Server) -> None:
    for name in ("scaled", "other"):
        make_endpoint(server, name)


@pytest.fixture
def scaling(server: Server, endpoints: None) -> Any:
    """A client, with one target."""
    client = server.client("application-autoscaling")
    for name in ("scaled", "other"):
        with suppress(client.exceptions.ObjectNotFoundException):
            client.deregister_scalable_target(**variant(name))
    client.register_scalable_target(**variant(), MinCapacity=1, MaxCapacity=4)
    return client


def policies(client: Any, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.describe_scaling_policies(ServiceNamespace="sagemaker", **asked)[
        "ScalingPolicies"
    ]
    return found


def target(client: Any) -> dict[str, Any]:
    (found,) = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[variant()["ResourceId"]])[
        "ScalableTargets"
    ]
    return dict(found)


def test_what_the_notebook_does_from_registering_to_deregistering(server: Server, endpoints: None) -> None:
    client = server.client("application-autoscaling")
    registered = client.register_scalable_target(**variant("other"), MinCapacity=1, MaxCapacity=2)
    assert ":scalable-target/" in registered["ScalableTargetARN"]
    by_metric = client.put_scaling_policy(
        PolicyName="invocations", **variant("other"), **tracking(600.0, ScaleInCooldown=600, ScaleOutCooldown=300)
    )
    assert by_metric["PolicyARN"].endswith(":policyName/invocations")
    assert by_metric.get("Alarms", []) == []
    client.delete_scaling_policy(PolicyName="invocations", **variant("other"))
    dimensions = [{"Name": "EndpointName", "Value": "other"}, {"Name": "VariantName", "Value": "AllTraffic"}]
    cpu = {
        "MetricName": "CPUUtilization",
        "Namespace": "/aws/sagemaker/Endpoints",
        "Dimensions": dimensions,
        "Statistic": "Average",
        "Unit": "Percent",
    }
    client.put_scaling_policy(PolicyName="cpu", **variant("other"), **tracking(90.0, CustomizedMetricSpecification=cpu))
    client.put_scaling_policy(
        PolicyName="steps",
        **variant("other"),
        **in_steps((0, 10, 1), (10, None, 2), Cooldown=300, MetricAggregationType="Average"),
    )
    known = {each["PolicyName"]: each for each in policies(client, ResourceId=variant("other")["ResourceId"])}
    assert set(known) == {"cpu", "steps"}
    assert known["cpu"]["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"] == cpu
    assert len(known["steps"]["StepScalingPolicyConfiguration"]["StepAdjustments"]) == 2
    for name in known:
        client.delete_scaling_policy(PolicyName=name, **variant("other"))
    client.deregister_scalable_target(**variant("other"))
    code, message = refused(lambda: client.deregister_scalable_target(**variant("other")))
    assert (code, message) == (
        "ObjectNotFoundException",
        "No scalable target found for service namespace: sagemaker, resource ID: endpoint/other/variant/AllTraffic, "
        f"scalable dimension: {DIMENSION}",
    )


def test_registering_again_changes_what_is_given_and_keeps_the_rest(scaling: Any) -> None:
    before = target(scaling)
    assert (before["MinCapacity"], before["MaxCapacity"]) == (1, 4)
    assert before["RoleARN"].startswith("arn:aws:iam::123456789012:role/aws-service-role/sagemaker.")
    arn = scaling.register_scalable_target(**variant(), MaxCapacity=9)["ScalableTargetARN"]
    scaling.register_scalable_target(**variant(), SuspendedState={"DynamicScalingInSuspended": True})
    scaling.register_scalable_target(**variant(), SuspendedState={"ScheduledScalingSuspended": True})
    after = target(scaling)
    assert (after["MinCapacity"], after["MaxCapacity"], after["CreationTime"]) == (1, 9, before["CreationTime"])
    assert arn == before["ScalableTargetARN"] == after["ScalableTargetARN"]
    assert after["SuspendedState"] == {
        "DynamicScalingInSuspended": True,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": True,
    }


def test_the_number_of_instances_stays_as_it_was(server: Server, scaling: Any) -> None:
    scaling.register_scalable_target(**variant(), MinCapacity=3, MaxCapacity=4)
    (told,) = server.client("sagemaker").describe_endpoint(EndpointName="scaled")["ProductionVariants"]
    assert told["CurrentInstanceCount"] == 1
    assert scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"] == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (variant(MinCapacity=5), "greater than or equal to MinCapacity"),
        (variant(MaxCapacity=0), "greater than or equal to MinCapacity"),
        (variant(MinCapacity=-1), "must not be below 0"),
        (variant("other", MinCapacity=1), "MaxCapacity must be given"),
        (variant("nobody", MinCapacity=1, MaxCapacity=2), 'Could not find endpoint "nobody"'),
        (variant(ResourceId="endpoint/scaled/variant/Blue", MinCapacity=1, MaxCapacity=2), 'find variant "Blue"'),
        (variant(ResourceId="endpoint/scaled", MinCapacity=1, MaxCapacity=2), "Unsupported service namespace"),
        (variant(ResourceId="service/c/s", ServiceNamespace="ecs", ScalableDimension="ecs:service:DesiredCount"),
         "Unsupported service namespace"),
        (variant(ScalableDimension="sagemaker:variant:DesiredProvisionedConcurrency", MinCapacity=1, MaxCapacity=2),
         "Unsupported service namespace"),
        (variant(ScalableDimension="sagemaker:variant:Size"), "Member must satisfy enum value set"),
        (variant(ResourceId="x" * 1601), "length less than or equal to 1600"),
    ],
)  # fmt: skip
def test_a_target_that_makes_no_sense_is_refused(scaling: Any, given: dict[str, Any], words: str) -> None:
    code, message = refused(lambda: scaling.register_scalable_target(**given))
    assert code == "ValidationException"
    assert words in message
    assert (target(scaling)["MinCapacity"], target(scaling)["MaxCapacity"]) == (1, 4)


def metric(**changes: Any) -> dict[str, Any]:
    return {"MetricName": "M", "Namespace": "N", "Statistic": "Average", **changes}


def query(name: str, **changes: Any) -> dict[str, Any]:
    return {"Id": name, "Expression": "1", **changes}


def customized(specification: dict[str, Any], **configuration: Any) -> dict[str, Any]:
    return tracking(CustomizedMetricSpecification=specification, **configuration)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "PolicyType must be"),
        ({"PolicyType": "PredictiveScaling"}, "PolicyType must be"),
        ({"PolicyType": "StepScaling"}, "StepScalingPolicyConfiguration must be given"),
        ({**tracking(), **in_steps((0, None, 1))}, "must not be given for the policy type StepScaling"),
        (tracking(PredefinedMetricSpecification={"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}),
         "is not of the number of instances"),
        (tracking(PredefinedMetricSpecification={**PREDEFINED, "ResourceLabel": "app/x"}), "ResourceLabel"),
        (customized(metric(), PredefinedMetricSpecification=PREDEFINED), "Exactly one of"),
        (tracking(1e200), "TargetValue must be in the range"),
        (tracking(ScaleInCooldown=-1), "ScaleInCooldown must not be below 0"),
        (customized({"MetricName": "M", "Namespace": "N"}), "MetricName, Namespace and Statistic"),
        (customized(metric(Metrics=[query("a")])), "give one of them"),
        (customized({"Metrics": [query("a"), query("a", ReturnData=False)]}), "Ids of Metrics"),
        (customized({"Metrics": [query("a"), query("b")]}), "ReturnData"),
        (customized({"Metrics": [{"Id": "a"}]}), "Exactly one of Expression and MetricStat"),
        (in_steps(), "AdjustmentType and StepAdjustments"),
        (in_steps((None, None, 1)), "a lower bound, an upper bound, or both"),
        (in_steps((5, 5, 1)), "must be above its lower bound"),
        (in_steps((0, 10, 1), (11, None, 2)), "neither overlap nor have gaps"),
        (in_steps((0, 10, 1), (9, None, 2)), "neither overlap nor have gaps"),
        (in_steps((0, 10, 1)), "leads away from the threshold"),
        (in_steps(*((n, n + 1, 1) for n in range(21))), "at most 20"),
        (in_steps((0, None, -1), AdjustmentType="ExactCapacity"), "ScalingAdjustment must not be below 0"),
        (in_steps((0, None, 1), MinAdjustmentMagnitude=2), "MinAdjustmentMagnitude is for"),
        (in_steps((0, None, 1), Cooldown=-5), "Cooldown must not be below 0"),
        ({**tracking(), "PolicyName": "x" * 257}, "length less than or equal to 256"),
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(scaling: Any, given: dict[str, Any], words: str) -> None:
    code, message = refused(lambda: scaling.put_scaling_policy(**{"PolicyName": "p", **variant(), **given}))
    assert code == "ValidationException"
    assert words in message
    assert policies(scaling) == []


def test_a_policy_needs_a_target(scaling: Any) -> None:
    code, message = refused(lambda: scaling.put_scaling_policy(PolicyName="p", **variant("other"), **tracking()))
    assert code == "ObjectNotFoundException"
    assert message.startswith("No scalable target registered for service namespace: sagemaker, resource ID: endpoint/")
    elsewhere = variant(ServiceNamespace="ecs", ScalableDimension="ecs:service:DesiredCount")
    code, _ = refused(lambda: scaling.put_scaling_policy(PolicyName="p", **elsewhere, **tracking()))
    assert code == "ObjectNotFoundException"


def test_a_policy_is_put_again_under_its_name(scaling: Any) -> None:
    first = scaling.put_scaling_policy(PolicyName="p", **variant(), **tracking(70.0))
    again = scaling.put_scaling_policy(PolicyName="p", **variant(), **tracking(50.0))
    assert again["PolicyARN"] == first["PolicyARN"]
    (told,) = policies(scaling)
    assert told["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 50.0
    code, message = refused(lambda: scaling.put_scaling_policy(PolicyName="q", **variant(), **tracking(30.0)))
    assert (code, "Only one TargetTrackingScaling policy" in message) == ("ValidationException", True)
    scaling.put_scaling_policy(PolicyName="p", **variant(), **in_steps((0, None, 1)))
    (told,) = policies(scaling)
    assert told["PolicyType"] == "StepScaling"
    assert "TargetTrackingScalingPolicyConfiguration" not in told


def test_policies_are_listed_by_page_and_name(scaling: Any) -> None:
    names = [f"p/{nth:02} x" for nth in range(12)]
    for name in names:
        scaling.put_scaling_policy(PolicyName=name, **variant(), **in_steps((0, None, 1)))
    first = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")
    assert len(first["ScalingPolicies"]) == 10
    pages = scaling.get_paginator("describe_scaling_policies").paginate(
        ServiceNamespace="sagemaker", PaginationConfig={"PageSize": 5}
    )
    assert [each["PolicyName"] for page in pages for each in page["ScalingPolicies"]] == names
    assert [each["PolicyName"] for each in policies(scaling, PolicyNames=names[3:5])] == names[3:5]
    assert policies(scaling, ResourceId=variant("other")["ResourceId"]) == []
    assert scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"] == []
    foreign = {"ServiceNamespace": "sagemaker", "NextToken": first["NextToken"]}
    assert refused(lambda: scaling.describe_scheduled_actions(**foreign))[0] == "InvalidNextTokenException"
    assert refused(lambda: policies(scaling, NextToken="eA=="))[0] == "InvalidNextTokenException"
    assert refused(lambda: policies(scaling, MaxResults=11))[0] == "ValidationException"
    assert refused(lambda: policies(scaling, ScalableDimension=DIMENSION))[0] == "ValidationException"


def test_a_target_has_50_policies_at_most(scaling: Any) -> None:
    for nth in range(50):
        scaling.put_scaling_policy(PolicyName=f"p{nth}", **variant(), **in_steps((0, None, 1)))
    one_more = {"PolicyName": "one more", **variant(), **in_steps((0, None, 1))}
    assert refused(lambda: scaling.put_scaling_policy(**one_more))[0] == "LimitExceededException"


def test_a_policy_is_deleted_once(scaling: Any) -> None:
    scaling.put_scaling_policy(PolicyName="p", **variant(), **tracking())
    scaling.delete_scaling_policy(PolicyName="p", **variant())
    code, message = refused(lambda: scaling.delete_scaling_policy(PolicyName="p", **variant()))
    assert code == "ObjectNotFoundException"
    assert message.endswith("policy name: p")


def put_action(client: Any, name: str = "nightly", **given: Any) -> None:
    client.put_scheduled_action(ScheduledActionName=name, **{**variant(), **given})


def actions(client: Any) -> list[dict[str, Any]]:
    found = client.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
    return [dict(each) for each in found]


def test_a_scheduled_action_is_told_back_and_changed_in_part(scaling: Any) -> None:
    begin, end = NEXT_YEARS
    bounds = {"MinCapacity": 0, "MaxCapacity": 0}
    put_action(
        scaling,
        Schedule="cron(0 22 ? * MON-FRI *)",
        Timezone="Europe/Berlin",
        ScalableTargetAction=bounds,
        StartTime=begin,
        EndTime=end,
    )
    (first,) = actions(scaling)
    assert (first["StartTime"], first["EndTime"], first["ScalableTargetAction"]) == (begin, end, bounds)
    put_action(scaling, Schedule="rate(2 hours)")
    (second,) = actions(scaling)
    assert (second["Schedule"], second["Timezone"]) == ("rate(2 hours)", "Europe/Berlin")
    assert second["ScheduledActionARN"] == first["ScheduledActionARN"]
    assert not {"StartTime", "EndTime"} & set(second)
    scaling.delete_scheduled_action(ScheduledActionName="nightly", **variant())
    assert actions(scaling) == []
    gone = {"ScheduledActionName": "nightly", **variant()}
    assert refused(lambda: scaling.delete_scheduled_action(**gone))[0] == "ObjectNotFoundException"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Schedule must be given"),
        ({"Schedule": "every day"}, "is none of at("),
        ({"Schedule": "at(2030-02-30T00:00:00)"}, "is none of at("),
        ({"Schedule": "rate(0 hours)"}, "is none of at("),
        ({"Schedule": "cron(0 22 * * *)"}, "is none of at("),
        ({"Timezone": "Europe/Atlantis"}, "is not known"),
        ({"Timezone": "../../etc/passwd"}, "is not known"),
        ({"ScalableTargetAction": {}}, "At least one of minimum capacity and maximum capacity"),
        ({"ScalableTargetAction": {"MinCapacity": 3, "MaxCapacity": 2}}, "greater than or equal to MinCapacity"),
        ({"StartTime": NEXT_YEARS[1], "EndTime": NEXT_YEARS[0]}, "before EndTime"),
        ({"name": "a:b"}, "regular expression pattern"),
        ({"name": " a"}, "regular expression pattern"),
    ],
)  # fmt: skip
def test_a_scheduled_action_that_makes_no_sense_is_refused(scaling: Any, given: dict[str, Any], words: str) -> None:
    whole = {"Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 1}}
    code, message = refused(lambda: put_action(scaling, **({**whole, **given} if given else {})))
    assert code == "ValidationException"
    assert words in message
    assert actions(scaling) == []


def test_deregistering_removes_what_belongs_to_the_target(scaling: Any) -> None:
    scaling.put_scaling_policy(PolicyName="p", **variant(), **tracking())
    put_action(scaling, Schedule="rate(1 day)", ScalableTargetAction={"MinCapacity": 1})
    scaling.deregister_scalable_target(**variant())
    scaling.register_scalable_target(**variant(), MinCapacity=1, MaxCapacity=2)
    assert policies(scaling) == actions(scaling) == []


def test_an_endpoint_that_is_made_again_has_no_target(server: Server) -> None:
    sagemaker, client = server.client("sagemaker"), server.client("application-autoscaling")
    make_endpoint(server, "again")
    client.register_scalable_target(**variant("again"), MinCapacity=1, MaxCapacity=2)
    client.put_scaling_policy(PolicyName="p", **variant("again"), **tracking())
    sagemaker.delete_endpoint(EndpointName="again")
    asked = {"ServiceNamespace": "sagemaker", "ResourceIds": [variant("again")["ResourceId"]]}
    assert client.describe_scalable_targets(**asked)["ScalableTargets"] == []
    sagemaker.create_endpoint(EndpointName="again", EndpointConfigName="again")
    assert client.describe_scalable_targets(**asked)["ScalableTargets"] == []
    assert policies(client, ResourceId=variant("again")["ResourceId"]) == []


def test_a_target_has_tags(scaling: Any) -> None:
    arn = scaling.register_scalable_target(**variant(), Tags={"team": "fraud"})["ScalableTargetARN"]
    scaling.tag_resource(ResourceARN=arn, Tags={"team": "risk", "stage": "test"})
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"team": "risk", "stage": "test"}
    scaling.untag_resource(ResourceARN=arn, TagKeys=["team", "none"])
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"stage": "test"}
    many = {f"k{nth}": "" for nth in range(50)}
    assert refused(lambda: scaling.tag_resource(ResourceARN=arn, Tags=many))[0] == "TooManyTagsException"
    nobody = "arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/none"
    assert refused(lambda: scaling.list_tags_for_resource(ResourceARN=nobody))[0] == "ResourceNotFoundException"


def test_targets_that_are_registered_at_once_are_one(server: Server, scaling: Any) -> None:
    scaling.deregister_scalable_target(**variant())
    clients = [server.client("application-autoscaling") for _ in range(8)]
    arns: set[str] = set()

    def register(client: Any) -> None:
        arns.add(client.register_scalable_target(**variant(), MinCapacity=1, MaxCapacity=2)["ScalableTargetARN"])

    threads = [threading.Thread(target=register, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert arns == {target(scaling)["ScalableTargetARN"]}


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b"{}",
        b'{"ServiceNamespace": 1}',
        json.dumps({**variant(), "MinCapacity": "1", "MaxCapacity": 2}).encode(),
        json.dumps({**variant(), "MinCapacity": 10**20, "MaxCapacity": 2}).encode(),
        json.dumps({**variant(), "SuspendedState": []}).encode(),
    ],
)
def test_a_body_of_another_form_is_refused(server: Server, scaling: Any, body: bytes) -> None:
    headers = {"X-Amz-Target": "AnyScaleFrontendService.RegisterScalableTarget", "Content-Type": JSON_TYPE}
    status, content = send(server, "POST", "/", body, headers)
    assert status == 400
    assert json.loads(content)["__type"] in ("ValidationException", "SerializationException")


def test_an_operation_that_is_not_answered_says_so(scaling: Any) -> None:
    asked = {"PolicyName": "p", **variant(), "StartTime": datetime.now(UTC), "EndTime": datetime.now(UTC)}
    assert refused(lambda: scaling.get_predictive_scaling_forecast(**asked))[0] == "UnknownOperationException"


@pytest.mark.thorough
def test_the_next_server_knows_what_was_registered(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        make_endpoint(server, "scaled")
        client = server.client("application-autoscaling")
        arn = client.register_scalable_target(**variant(), MinCapacity=1, MaxCapacity=2)["ScalableTargetARN"]
        client.put_scaling_policy(PolicyName="p", **variant(), **tracking())
    with started(tmp_path) as server:
        client = server.client("application-autoscaling")
        assert target(client)["ScalableTargetARN"] == arn
        assert [each["PolicyName"] for each in policies(client)] == ["p"]
