"""The members that each operation takes. Each of them is carried out, or ``docs/moving/sagemaker.md`` says that it
changes nothing.

A member of a newer service model than these lists know is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from servefit.aws.services.members import Members, members_under

_PAGE = "MaxResults NextToken"
_ORDER = f"SortBy SortOrder {_PAGE}"
_CREATED = "CreationTimeAfter CreationTimeBefore"
_MODIFIED = "LastModifiedTimeAfter LastModifiedTimeBefore"
_OWN_ACCOUNT = {"CrossAccountFilterOption": ("SameAccount",)}

_CONTAINER = "ModelDataUrl Environment ModelPackageName"
_CONTAINER_KEPT = "Image ImageConfig ContainerHostname"

_PACKAGED = "ModelDataUrl Environment"
_PACKAGED_KEPT = (
    "Image ImageDigest ContainerHostname ProductId ModelInput Framework FrameworkVersion NearestModelName BaseModel "
    "ModelDataETag"
)
_SPECIFICATION = members_under(
    "InferenceSpecification",
    f"{members_under('Containers', _PACKAGED)} SupportedRealtimeInferenceInstanceTypes SupportedContentTypes",
)
_SPECIFICATION_KEPT = members_under(
    "InferenceSpecification",
    f"{members_under('Containers', _PACKAGED_KEPT)} SupportedTransformInstanceTypes SupportedResponseMIMETypes",
)
_REGISTERED = {"ModelPackageRegistrationType": ("Registered",)}

SAGEMAKER: Mapping[str, Members] = {
    "CreateModel": Members(
        done=f"ModelName Tags {members_under('PrimaryContainer', _CONTAINER)} "
        f"{members_under('Containers', _CONTAINER)}",
        kept=f"{members_under('PrimaryContainer', _CONTAINER_KEPT)} {members_under('Containers', _CONTAINER_KEPT)} "
        "ExecutionRoleArn",
        only={
            "PrimaryContainer.Mode": ("SingleModel",),
            "Containers.Mode": ("SingleModel",),
            "EnableNetworkIsolation": (False,),
        },
    ),
    "DescribeModel": Members(done="ModelName"),
    "ListModels": Members(done=f"NameContains {_CREATED} {_ORDER}"),
    "DeleteModel": Members(done="ModelName"),
    "CreateModelPackageGroup": Members(done="ModelPackageGroupName ModelPackageGroupDescription Tags"),
    "DescribeModelPackageGroup": Members(done="ModelPackageGroupName"),
    "ListModelPackageGroups": Members(done=f"NameContains {_CREATED} {_ORDER}", only=_OWN_ACCOUNT),
    "DeleteModelPackageGroup": Members(done="ModelPackageGroupName"),
    "Search": Members(
        done=f"Resource SearchExpression.Filters {_PAGE}",
        only={"SearchExpression.Operator": ("And",), **_OWN_ACCOUNT},
    ),
    "CreateModelPackage": Members(
        done="ModelPackageName ModelPackageGroupName ClientToken ModelApprovalStatus SamplePayloadUrl Tags "
        f"{_SPECIFICATION}",
        kept="ModelPackageDescription SkipModelValidation Domain Task CustomerMetadataProperties MetadataProperties "
        "ModelMetrics DriftCheckBaselines ModelCard ModelLifeCycle SourceUri AdditionalInferenceSpecifications "
        f"{_SPECIFICATION_KEPT}",
        only={"CertifyForMarketplace": (False,), **_REGISTERED},
    ),
    "DescribeModelPackage": Members(done="ModelPackageName"),
    "ListModelPackages": Members(
        done=f"ModelPackageGroupName ModelPackageType ModelApprovalStatus NameContains {_CREATED} {_ORDER}"
    ),
    "UpdateModelPackage": Members(
        done=f"ModelPackageArn ModelApprovalStatus {_SPECIFICATION}",
        kept="ApprovalDescription CustomerMetadataProperties ModelCard ModelLifeCycle SourceUri ClientToken "
        f"{_SPECIFICATION_KEPT}",
        only=_REGISTERED,
    ),
    "DeleteModelPackage": Members(done="ModelPackageName"),
    "CreateEndpointConfig": Members(
        done="EndpointConfigName Tags "
        + members_under(
            "ProductionVariants", "VariantName ModelName InstanceType InitialInstanceCount InitialVariantWeight"
        ),
        kept="ExecutionRoleArn "
        + members_under(
            "ProductionVariants",
            "VolumeSizeInGB ModelDataDownloadTimeoutInSeconds ContainerStartupHealthCheckTimeoutInSeconds "
            "RoutingConfig InferenceAmiVersion",
        ),
        only={"EnableNetworkIsolation": (False,), "ProductionVariants.EnableSSMAccess": (False,)},
    ),
    "DescribeEndpointConfig": Members(done="EndpointConfigName"),
    "ListEndpointConfigs": Members(done=f"NameContains {_CREATED} {_ORDER}"),
    "DeleteEndpointConfig": Members(done="EndpointConfigName"),
    "CreateEndpoint": Members(done="EndpointName EndpointConfigName Tags"),
    "DescribeEndpoint": Members(done="EndpointName"),
    "ListEndpoints": Members(done=f"StatusEquals NameContains {_CREATED} {_MODIFIED} {_ORDER}"),
    "UpdateEndpointWeightsAndCapacities": Members(
        done="EndpointName "
        + members_under("DesiredWeightsAndCapacities", "VariantName DesiredWeight DesiredInstanceCount")
    ),
    "DeleteEndpoint": Members(done="EndpointName"),
    "CreateInferenceRecommendationsJob": Members(
        done="JobName JobType JobDescription StoppingConditions Tags "
        + members_under(
            "InputConfig",
            "ModelName ModelPackageVersionArn JobDurationInSeconds TrafficPattern ResourceLimit Endpoints "
            "ContainerConfig.PayloadConfig ContainerConfig.SupportedInstanceTypes "
            + members_under("EndpointConfigurations", "InstanceType ServerlessConfig EnvironmentParameterRanges"),
        ),
        kept="RoleArn "
        + members_under(
            "InputConfig.ContainerConfig",
            "Domain Task Framework FrameworkVersion NearestModelName DataInputConfig SupportedResponseMIMETypes",
        ),
        only={"InputConfig.ContainerConfig.SupportedEndpointType": ("RealTime",)},
    ),
    "DescribeInferenceRecommendationsJob": Members(done="JobName"),
    "ListInferenceRecommendationsJobs": Members(
        done=f"StatusEquals NameContains ModelNameEquals ModelPackageVersionArnEquals {_CREATED} {_MODIFIED} {_ORDER}"
    ),
    "ListInferenceRecommendationsJobSteps": Members(done=f"JobName Status {_PAGE}", only={"StepType": ("BENCHMARK",)}),
    "StopInferenceRecommendationsJob": Members(done="JobName"),
    "GetScalingConfigurationRecommendation": Members(
        done="InferenceRecommendationsJobName RecommendationId EndpointName TargetCpuUtilizationPerCore "
        "ScalingPolicyObjective"
    ),
    "AddTags": Members(done="ResourceArn Tags"),
    "ListTags": Members(done=f"ResourceArn {_PAGE}"),
    "DeleteTags": Members(done="ResourceArn TagKeys"),
    "ListModelMetadata": Members(done=f"SearchExpression.Filters {_PAGE}"),
}

LOGS: Mapping[str, Members] = {
    "GetLogEvents": Members(
        done="logGroupName logStreamName startTime endTime nextToken limit startFromHead", kept="unmask"
    ),
    "FilterLogEvents": Members(
        done="logGroupName",
        kept="logStreamNames logStreamNamePrefix startTime endTime filterPattern nextToken limit interleaved unmask",
    ),
    "DescribeLogStreams": Members(
        done="logGroupName logStreamNamePrefix nextToken limit",
        only={"orderBy": ("LogStreamName",), "descending": (False,)},
    ),
}

CLOUDWATCH: Mapping[str, Members] = {
    "GetMetricStatistics": Members(
        done="Namespace MetricName Dimensions StartTime EndTime Period Statistics ExtendedStatistics Unit"
    ),
    "GetMetricData": Members(
        done=f"{members_under('MetricDataQueries', 'Id MetricStat Expression Label ReturnData')} StartTime EndTime "
        "NextToken ScanBy MaxDatapoints"
    ),
    "ListMetrics": Members(
        done="Namespace MetricName Dimensions NextToken RecentlyActive OwningAccount", kept="IncludeLinkedAccounts"
    ),
    "GetMetricWidgetImage": Members(done="MetricWidget OutputFormat"),
}

_TARGET = "ServiceNamespace ResourceId ScalableDimension"

AUTOSCALING: Mapping[str, Members] = {
    "RegisterScalableTarget": Members(done=f"{_TARGET} MinCapacity MaxCapacity SuspendedState Tags", kept="RoleARN"),
    "DescribeScalableTargets": Members(done=f"ServiceNamespace ResourceIds ScalableDimension {_PAGE}"),
    "DeregisterScalableTarget": Members(done=_TARGET),
    "PutScalingPolicy": Members(
        done=f"{_TARGET} PolicyName PolicyType StepScalingPolicyConfiguration TargetTrackingScalingPolicyConfiguration"
    ),
    "DescribeScalingPolicies": Members(done=f"{_TARGET} PolicyNames {_PAGE}"),
    "DeleteScalingPolicy": Members(done=f"{_TARGET} PolicyName"),
    "PutScheduledAction": Members(
        done=f"{_TARGET} ScheduledActionName Schedule Timezone StartTime EndTime ScalableTargetAction"
    ),
    "DescribeScheduledActions": Members(done=f"{_TARGET} ScheduledActionNames {_PAGE}"),
    "DeleteScheduledAction": Members(done=f"{_TARGET} ScheduledActionName"),
    "DescribeScalingActivities": Members(done=f"{_TARGET} {_PAGE}", kept="IncludeNotScaledActivities"),
    "ListTagsForResource": Members(done="ResourceARN"),
    "TagResource": Members(done="ResourceARN Tags"),
    "UntagResource": Members(done="ResourceARN TagKeys"),
}

TAKEN: Mapping[str, Mapping[str, Members]] = {
    "sagemaker": SAGEMAKER,
    "logs": LOGS,
    "cloudwatch": CLOUDWATCH,
    "application-autoscaling": AUTOSCALING,
    "sts": {"GetCallerIdentity": Members()},
    "iam": {"GetRole": Members(done="RoleName")},
}
"""By the names of services and operations."""
