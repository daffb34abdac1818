"""Scaling policies: by which metric, or in which steps, a target is to be scaled.

A policy has no alarms: nothing watches a metric here.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.services.autoscaling.belongings import Belongings
from servefit.aws.services.autoscaling.policy_checks import check_step_scaling, check_target_tracking
from servefit.aws.services.autoscaling.targets import NAMESPACE
from servefit.aws.wire.errors import ApiError, invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call
    from servefit.aws.state.resources import Resource, Resources

MAX_LISTED = 10
"""Of AWS, in an answer."""

MAX_POLICIES = 50
"""Of AWS, for a target."""

_CONFIGURATIONS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], None]]] = {
    "TargetTrackingScaling": ("TargetTrackingScalingPolicyConfiguration", check_target_tracking),
    "StepScaling": ("StepScalingPolicyConfiguration", check_step_scaling),
}
"""The member with the configuration of each type of policy, and what checks it."""

_METRICS = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")


class Policies:
    """The operations on scaling policies."""

    def __init__(self, resources: Resources) -> None:
        self._kept = Belongings(resources, "scaling-policy", member="PolicyName")

    def put(self, call: Call, target: Resource) -> dict[str, Any]:
        """Keep a policy of a target, in place of one of that name. Raises ApiError."""
        name = call.given["PolicyName"]
        known = self._kept.get(target.name, name)
        kind = call.given.get("PolicyType", known.get("PolicyType"))
        if kind not in _CONFIGURATIONS:
            raise invalid(f"PolicyType must be {' or '.join(_CONFIGURATIONS)} for service namespace {NAMESPACE}.")
        member, check = _CONFIGURATIONS[kind]
        configuration = _configuration(call.given, kind, member) or known.get(member)
        if configuration is None:
            raise invalid(f"{member} must be given for the policy type {kind}.")
        check(configuration)
        others = [each.document for each in self._kept.of(target.name) if each.document["PolicyName"] != name]
        if len(others) >= MAX_POLICIES:
            raise ApiError("LimitExceededException", f"A scalable target has at most {MAX_POLICIES} scaling policies.")
        if kind == "TargetTrackingScaling" and _metric(configuration) in [_metric(each.get(member)) for each in others]:
            raise invalid("Only one TargetTrackingScaling policy for a given metric specification is allowed.")
        resource = f"scalingPolicy:{uuid.uuid4()}:resource/{NAMESPACE}/{target.name}:policyName/{name}"
        arn = known.get("PolicyARN") or call.arn(resource, service="autoscaling")
        self._kept.put(target.name, name, {"PolicyARN": arn, "PolicyType": kind, member: configuration})
        return {"PolicyARN": arn}

    def describe(self, call: Call) -> dict[str, Any]:
        return self._kept.listed(call.given, "DescribeScalingPolicies", into="ScalingPolicies", most=MAX_LISTED)

    def delete(self, call: Call) -> dict[str, Any]:
        self._kept.delete(call.given, "scaling policy")
        return {}

    def remove_all_of(self, target: Resource) -> None:
        self._kept.remove_all_of(target.name)


def _configuration(given: Mapping[str, Any], kind: str, member: str) -> Mapping[str, Any] | None:
    """Return the configuration in a request, None where there is none. Raises ApiError for one of another type."""
    for name in given:
        if name.endswith("PolicyConfiguration") and name != member:
            raise invalid(f"{name} must not be given for the policy type {kind}.")
    return given.get(member)


def _metric(configuration: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a policy tracks, None where it tracks nothing."""
    if configuration is None:
        return None
    return {name: configuration[name] for name in _METRICS if name in configuration}
