"""All operations of Application Auto Scaling that are answered here, one at a time: most read, check and write."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from servefit.aws.services.autoscaling.belongings import KINDS, Belongings
from servefit.aws.services.autoscaling.targets import MAX_LISTED, Targets, page_of
from servefit.aws.services.sagemaker.tags import MAX_TAGS, keep_tags, tags_of
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.aws.services.call import Call, Operation, Operations
    from servefit.aws.services.sagemaker.endpoints import Endpoints
    from servefit.aws.state.resources import Resource, Resources


class AutoScaling:
    """Scalable targets of ``endpoints``, with their policies, scheduled actions and tags."""

    def __init__(self, resources: Resources, endpoints: Endpoints) -> None:
        self._resources = resources
        self._targets = Targets(resources, endpoints)
        self._policies, self._actions = (Belongings(resources, kind) for kind in KINDS)
        self._lock = threading.Lock()

    @property
    def operations(self) -> Operations:
        operations: Operations = {
            "RegisterScalableTarget": self.register,
            "DescribeScalableTargets": self._targets.describe,
            "DeregisterScalableTarget": self.deregister,
            "PutScalingPolicy": lambda call: self._policies.put(call, self._targets.find(call.given)),
            "DescribeScalingPolicies": self._policies.describe,
            "DeleteScalingPolicy": self._policies.delete,
            "PutScheduledAction": self.put_action,
            "DescribeScheduledActions": self._actions.describe,
            "DeleteScheduledAction": self._actions.delete,
            "DescribeScalingActivities": self.activities,
            "ListTagsForResource": self.tags,
            "TagResource": self.tag,
            "UntagResource": self.untag,
        }
        return {name: self._alone(operation) for name, operation in operations.items()}

    def put_action(self, call: Call) -> dict[str, Any]:
        self._actions.put(call, self._targets.find(call.given))
        return {}

    def register(self, call: Call) -> dict[str, Any]:
        target = self._targets.register(call)
        self._add_tags(target, call.given.get("Tags", {}))
        return {"ScalableTargetARN": target.document["ScalableTargetARN"]}

    def deregister(self, call: Call) -> dict[str, Any]:
        self._forget(self._targets.find(call.given, missing="No scalable target found"))
        return {}

    def activities(self, call: Call) -> dict[str, Any]:
        """Return none: nothing is ever scaled."""
        none: list[Mapping[str, Any]] = []
        page, _ = page_of(call.given, "DescribeScalingActivities", none, most=MAX_LISTED)
        return {"ScalingActivities": page}

    def tags(self, call: Call) -> dict[str, Any]:
        target = self._targets.with_arn(call.given["ResourceARN"])
        return {"Tags": self._tags_of(target)}

    def tag(self, call: Call) -> dict[str, Any]:
        self._add_tags(self._targets.with_arn(call.given["ResourceARN"]), call.given["Tags"])
        return {}

    def untag(self, call: Call) -> dict[str, Any]:
        target = self._targets.with_arn(call.given["ResourceARN"])
        gone = set(call.given["TagKeys"])
        self._keep_tags(target, {key: value for key, value in self._tags_of(target).items() if key not in gone})
        return {}

    def _alone(self, operation: Operation) -> Operation:
        """Return an operation that is carried out while no other is. It finds no target whose endpoint was deleted:
        DeleteEndpoint deregisters them at AWS."""

        def carried_out(call: Call) -> Mapping[str, Any]:
            with self._lock:
                for target in self._targets.of_deleted_endpoints():
                    self._forget(target)
                return operation(call)

        return carried_out

    def _forget(self, target: Resource) -> None:
        self._policies.remove_all_of(target)
        self._actions.remove_all_of(target)
        self._keep_tags(target, {})
        self._targets.remove(target)

    def _add_tags(self, target: Resource, added: Mapping[str, str]) -> None:
        tags = {**self._tags_of(target), **added}
        if len(tags) > MAX_TAGS:
            fields: dict[str, object] = {"ResourceName": target.document["ScalableTargetARN"]}
            raise ApiError("TooManyTagsException", f"A resource has at most {MAX_TAGS} tags.", fields=fields)
        self._keep_tags(target, tags)

    def _tags_of(self, target: Resource) -> dict[str, str]:
        return tags_of(self._resources, target.document["ScalableTargetARN"])

    def _keep_tags(self, target: Resource, tags: Mapping[str, str]) -> None:
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        keep_tags(self._resources, target.document["ScalableTargetARN"], pairs)
