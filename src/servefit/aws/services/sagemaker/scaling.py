"""GetScalingConfigurationRecommendation: servefit's plan of instances, in the words of Application Auto Scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from servefit.aws.wire.errors import ApiError, invalid
from servefit.errors import SpecError
from servefit.search.autoscaling.scale import scale

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Recommendation

_USUAL_CPU_PERCENT = 50
"""Of AWS, where a caller does not say."""


def scaling_recommendation(
    request: Mapping[str, Any],
    job: RecommendationJob,
    ours: Mapping[str, Recommendation],
    documents: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the plan for one of the recommendations of a job: ``ours`` by identifier, and as they are told. Raises
    ApiError.

    The target keeps each CPU at the part of its time that is asked for, at most: an endpoint that answers most of what
    it can is busy all the time.
    """
    identifier, endpoint = request.get("RecommendationId"), request.get("EndpointName")
    if (identifier is None) == (endpoint is None):
        raise invalid("Exactly one of RecommendationId and EndpointName must be given.")
    chosen = [
        document
        for document in documents
        if document["RecommendationId"] == identifier or document["EndpointConfiguration"]["EndpointName"] == endpoint
    ]
    if not chosen:
        raise ApiError("ResourceNotFound", f"Job {job.name} has no recommendation {identifier or endpoint}.")
    target_percent = request.get("TargetCpuUtilizationPerCore", _USUAL_CPU_PERCENT)
    objective = request.get("ScalingPolicyObjective", {})
    most = objective.get("MaxInvocationsPerMinute") or chosen[0]["Metrics"]["MaxInvocations"]
    least = objective.get("MinInvocationsPerMinute") or most
    if least > most:
        raise invalid("MinInvocationsPerMinute must not be above MaxInvocationsPerMinute.")
    try:
        plan = scale(
            job,
            rate_per_s=least / 60,
            min_rate_per_s=least / 60,
            max_rate_per_s=most / 60,
            headroom=1 - target_percent / 100,
            recommendation_id=ours[chosen[0]["RecommendationId"]].id,
        )
    except SpecError as error:
        raise invalid(str(error)) from error
    latency_ms = chosen[0]["Metrics"].get("ModelLatency")
    return {
        "InferenceRecommendationsJobName": job.name,
        **{
            key: request[key]
            for key in ("RecommendationId", "EndpointName", "ScalingPolicyObjective")
            if key in request
        },
        "TargetCpuUtilizationPerCore": target_percent,
        "Metric": {"InvocationsPerInstance": int(plan.target.invocations_per_minute), "ModelLatency": latency_ms},
        "DynamicScalingConfiguration": plan.to_dict()["DynamicScalingConfiguration"],
    }
