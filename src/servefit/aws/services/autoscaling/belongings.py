"""The documents that belong to a scalable target: its scaling policies and its scheduled actions. ``KINDS`` says for
each kind by which members it is known, and which of a request are kept.

A policy has no alarms: nothing watches a metric here. An action is kept, and never carried out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.aws.services.autoscaling.checks import check_scheduled_action, check_step_scaling, check_target_tracking
from servefit.aws.services.autoscaling.targets import (
    MAX_LISTED,
    NAMESPACE,
    TARGET,
    document_of,
    is_asked_for,
    not_found,
    page_of,
)
from servefit.aws.state.resources import Missing
from servefit.aws.wire.errors import ApiError, invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call
    from servefit.aws.state.resources import Resource, Resources

Document = Mapping[str, Any]

_CONFIGURATIONS: Mapping[str, tuple[str, Callable[[Document], None]]] = {
    "TargetTrackingScaling": ("TargetTrackingScalingPolicyConfiguration", check_target_tracking),
    "StepScaling": ("StepScalingPolicyConfiguration", check_step_scaling),
}
"""The member with the configuration of each type of policy, and what checks it."""

_METRICS = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")

_STAY = ("Schedule", "Timezone", "ScalableTargetAction")
"""Members of an action that stay as they were where a later request leaves them out. The times of beginning and end do
not."""


def _policy(request: Document, earlier: Document, others: Sequence[Document]) -> Document:
    """Return a policy as it is kept. Raises ApiError."""
    kind = request.get("PolicyType", earlier.get("PolicyType"))
    if kind not in _CONFIGURATIONS:
        raise invalid(f"PolicyType must be {' or '.join(_CONFIGURATIONS)} for service namespace {NAMESPACE}.")
    member, check = _CONFIGURATIONS[kind]
    for name in request:
        if name.endswith("PolicyConfiguration") and name != member:
            raise invalid(f"{name} must not be given for the policy type {kind}.")
    configuration = request.get(member) or earlier.get(member)
    if configuration is None:
        raise invalid(f"{member} must be given for the policy type {kind}.")
    check(configuration)
    if member == "TargetTrackingScalingPolicyConfiguration":
        tracked = [_metric(other[member]) for other in others if member in other]
        if _metric(configuration) in tracked:
            raise invalid("Only one TargetTrackingScaling policy for a given metric specification is allowed.")
    return {"PolicyType": kind, member: configuration}


def _metric(configuration: Document) -> Document:
    return {name: configuration[name] for name in _METRICS if name in configuration}


def _action(request: Document, earlier: Document, _others: Sequence[Document]) -> Document:
    """Return a scheduled action as it is kept. Raises ApiError."""
    document = {
        **{name: earlier[name] for name in _STAY if name in earlier},
        **{name: request[name] for name in _STAY if name in request},
        **{name: request[name].timestamp() for name in ("StartTime", "EndTime") if name in request},
    }
    check_scheduled_action(document)
    return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of documents that a target has ``most`` of, and their names: ``kind`` in the state of the server, ``noun``
    in errors, ``into`` in answers, of which each has ``most_listed``, ``member`` and ``arn`` in a document, and
    ``resource`` in its ARN. ``document`` makes what is kept of a request, of the document before, and of the others of
    the target."""

    kind: str
    noun: str
    into: str
    member: str
    arn: str
    resource: str
    most: int
    most_listed: int
    document: Callable[[Document, Document, Sequence[Document]], Document]


KINDS = (
    Kind(
        kind="scaling-policy",
        noun="scaling policy",
        into="ScalingPolicies",
        member="PolicyName",
        arn="PolicyARN",
        resource="scalingPolicy:{id}:resource/{target}:policyName/{name}",
        most=50,
        most_listed=10,
        document=_policy,
    ),
    Kind(
        kind="scheduled-action",
        noun="scheduled action",
        into="ScheduledActions",
        member="ScheduledActionName",
        arn="ScheduledActionARN",
        resource="scheduledAction:{id}:resource/{target}:scheduledActionName/{name}",
        most=200,
        most_listed=MAX_LISTED,
        document=_action,
    ),
)
"""The limits are those of AWS."""


class Belongings:
    """The operations on the documents of a kind."""

    def __init__(self, resources: Resources, kind: Kind) -> None:
        self._resources = resources
        self._kind = kind

    def put(self, call: Call, target: Resource) -> dict[str, Any]:
        """Keep a document of a target, in place of one of that name, and return its ARN. Raises ApiError."""
        kind, name = self._kind, call.given[self._kind.member]
        key = f"{target.name}/{name}"
        earlier = document_of(self._resources, kind.kind, key)
        others = [other.document for other in self._of(target.name) if other.name != key]
        document = kind.document(call.given, earlier, others)
        if len(others) >= kind.most:
            raise ApiError("LimitExceededException", f"A scalable target has at most {kind.most}: {kind.into}.")
        resource = kind.resource.format(id=uuid.uuid4(), target=f"{NAMESPACE}/{target.name}", name=name)
        arn = earlier.get(kind.arn) or call.arn(resource, service="autoscaling")
        kept = {kind.member: name, "ResourceId": target.name, kind.arn: arn, **document}
        self._resources.put(kind.kind, key, lambda _: kept)
        return {kind.arn: arn}

    def describe(self, call: Call) -> dict[str, Any]:
        """Return a page of the documents that a call asks for. Raises ApiError."""
        request, kind = call.given, self._kind
        names = request.get(f"{kind.member}s", ())
        kept = [
            resource
            for resource in self._of(request.get("ResourceId"))
            if is_asked_for(request) and (not names or resource.document[kind.member] in names)
        ]
        page, token = page_of(request, f"Describe{kind.into}", kept, most=kind.most_listed)
        documents = [{**TARGET, "CreationTime": resource.created, **resource.document} for resource in page]
        return {kind.into: documents, "NextToken": token}

    def delete(self, call: Call) -> dict[str, Any]:
        """Forget the document that a request names. Raises ApiError, ObjectNotFoundException."""
        request, kind = call.given, self._kind
        name = request[kind.member]
        try:
            if is_asked_for(request):
                self._resources.remove(kind.kind, f"{request['ResourceId']}/{name}")
                return {}
        except Missing:
            pass
        raise not_found(f"No {kind.noun} found", request, f", {kind.noun} name: {name}")

    def remove_all_of(self, target: Resource) -> None:
        for resource in self._of(target.name):
            self._resources.remove(self._kind.kind, resource.name)

    def _of(self, target: str | None) -> list[Resource]:
        """Return the documents of a target; all where it is None."""
        return [
            resource
            for resource in self._resources.all(self._kind.kind)
            if target in (None, resource.document["ResourceId"])
        ]
