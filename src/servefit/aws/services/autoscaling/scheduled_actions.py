"""Scheduled actions: other bounds for a target, from a time on. They are kept, and never carried out."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from servefit.aws.services.autoscaling.belongings import Belongings
from servefit.aws.services.autoscaling.schedules import check_schedule, check_time_zone
from servefit.aws.services.autoscaling.targets import MAX_LISTED, NAMESPACE, check_capacities
from servefit.aws.wire.errors import ApiError, invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call
    from servefit.aws.state.resources import Resource, Resources

MAX_ACTIONS = 200
"""Of AWS, for a target."""

_KEPT = ("Schedule", "Timezone", "ScalableTargetAction")
"""Members that stay as they were where a later request leaves them out. The times of beginning and end do not."""

_TIMES = ("StartTime", "EndTime")


class ScheduledActions:
    """The operations on scheduled actions."""

    def __init__(self, resources: Resources) -> None:
        self._kept = Belongings(resources, "scheduled-action", member="ScheduledActionName")

    def put(self, call: Call, target: Resource) -> dict[str, Any]:
        """Keep an action of a target, in place of one of that name. Raises ApiError."""
        given, name = call.given, call.given["ScheduledActionName"]
        known = self._kept.get(target.name, name)
        if not known and len(self._kept.of(target.name)) >= MAX_ACTIONS:
            raise ApiError("LimitExceededException", f"A scalable target has at most {MAX_ACTIONS} scheduled actions.")
        resource = f"scheduledAction:{uuid.uuid4()}:resource/{NAMESPACE}/{target.name}:scheduledActionName/{name}"
        document = {
            "ScheduledActionARN": known.get("ScheduledActionARN") or call.arn(resource, service="autoscaling"),
            **{key: known[key] for key in _KEPT if key in known},
            **{key: given[key] for key in _KEPT if key in given},
            **{key: given[key].timestamp() for key in _TIMES if key in given},
        }
        _check(document)
        self._kept.put(target.name, name, document)
        return {}

    def describe(self, call: Call) -> dict[str, Any]:
        return self._kept.listed(call.given, "DescribeScheduledActions", into="ScheduledActions", most=MAX_LISTED)

    def delete(self, call: Call) -> dict[str, Any]:
        self._kept.delete(call.given, "scheduled action")
        return {}

    def remove_all_of(self, target: Resource) -> None:
        self._kept.remove_all_of(target.name)


def _check(document: Mapping[str, Any]) -> None:
    """Raise ApiError for an action that could not be carried out."""
    if "Schedule" not in document:
        raise invalid("Schedule must be given for a new scheduled action.")
    check_schedule(document["Schedule"])
    if "Timezone" in document:
        check_time_zone(document["Timezone"])
    if not document.get("ScalableTargetAction"):
        raise invalid("At least one of minimum capacity and maximum capacity should be provided.")
    check_capacities(document["ScalableTargetAction"])
    begin, end = (document.get(name) for name in _TIMES)
    if begin is not None and end is not None and begin >= end:
        raise invalid("StartTime must be before EndTime.")
