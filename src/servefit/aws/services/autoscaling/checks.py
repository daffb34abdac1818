"""Checks that Application Auto Scaling makes beyond those of its service model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from math import inf
from typing import Any
from zoneinfo import ZoneInfo

from servefit.aws.wire.errors import invalid

_PREDEFINED = ("SageMakerVariantInvocationsPerInstance", "SageMakerVariantConcurrentRequestsPerModelHighResolution")
"""The metrics that AWS has for the number of instances of a variant."""

_MAX_STEPS = 20
"""Of AWS, in a policy."""

_FORM = re.compile(r"(at|rate|cron)\((.*)\)")
_RATE = re.compile(r"[1-9][0-9]{0,8} (minute|minutes|hour|hours|day|days)")
_CRON_FIELD = re.compile(r"[A-Za-z0-9*?,/#\-]+")
_CRON_FIELDS = 6
"""Minutes, hours, day of the month, month, day of the week, year."""


def check_capacities(request: Mapping[str, Any]) -> None:
    """Raise ApiError for numbers of instances between which there is none."""
    least, most = request.get("MinCapacity"), request.get("MaxCapacity")
    if (least is not None and least < 0) or (most is not None and most < 0):
        raise invalid("MinCapacity and MaxCapacity must not be below 0.")
    if least is not None and most is not None and least > most:
        raise invalid("MaxCapacity must be greater than or equal to MinCapacity.")


def check_target_tracking(configuration: Mapping[str, Any]) -> None:
    """Raise ApiError, ValidationException, for a configuration of target tracking."""
    if not abs(configuration["TargetValue"]) <= 2.0**360:
        raise invalid("TargetValue must be in the range of -2^360 to 2^360.")
    predefined, customized = (
        configuration.get("PredefinedMetricSpecification"),
        configuration.get("CustomizedMetricSpecification"),
    )
    if (predefined is None) == (customized is None):
        raise invalid("Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be given.")
    if predefined is not None:
        if predefined["PredefinedMetricType"] not in _PREDEFINED:
            kind = predefined["PredefinedMetricType"]
            raise invalid(f"PredefinedMetricType {kind} is not of the number of instances of a variant.")
        if "ResourceLabel" in predefined:
            raise invalid(f"ResourceLabel must not be given for {predefined['PredefinedMetricType']}.")
    if customized is not None:
        _check_customized(customized)
    for name in ("ScaleOutCooldown", "ScaleInCooldown"):
        _check_not_below_zero(configuration, name)


def check_step_scaling(configuration: Mapping[str, Any]) -> None:
    """Raise ApiError, ValidationException, for a configuration of steps."""
    kind, steps = configuration.get("AdjustmentType"), configuration.get("StepAdjustments", ())
    if kind is None or not steps:
        raise invalid("AdjustmentType and StepAdjustments must be given for step scaling.")
    if len(steps) > _MAX_STEPS:
        raise invalid(f"A step scaling policy has at most {_MAX_STEPS} step adjustments.")
    if "MinAdjustmentMagnitude" in configuration and kind != "PercentChangeInCapacity":
        raise invalid("MinAdjustmentMagnitude is for the adjustment type PercentChangeInCapacity.")
    if kind == "ExactCapacity" and any(step["ScalingAdjustment"] < 0 for step in steps):
        raise invalid("ScalingAdjustment must not be below 0 for the adjustment type ExactCapacity.")
    for name in ("Cooldown", "MinAdjustmentMagnitude"):
        _check_not_below_zero(configuration, name)
    _check_intervals(steps)


def _check_intervals(steps: Sequence[Mapping[str, Any]]) -> None:
    spans = sorted(
        (step.get("MetricIntervalLowerBound", -inf), step.get("MetricIntervalUpperBound", inf)) for step in steps
    )
    if (-inf, inf) in spans:
        raise invalid("A step adjustment must have a lower bound, an upper bound, or both.")
    if any(lower >= upper for lower, upper in spans):
        raise invalid("The upper bound of a step adjustment must be above its lower bound.")
    if any(upper != lower for (_, upper), (lower, _) in pairwise(spans)):
        raise invalid("Step adjustment intervals must neither overlap nor have gaps between them.")
    if -inf < spans[0][0] < 0 or 0 < spans[-1][1] < inf:
        raise invalid(
            "The outermost step adjustments must have no bound on the side that leads away from the threshold."
        )


def _check_customized(specification: Mapping[str, Any]) -> None:
    single = [name for name in ("MetricName", "Namespace", "Statistic") if name in specification]
    queries = specification.get("Metrics", ())
    if queries and (single or "Dimensions" in specification or "Unit" in specification):
        raise invalid("CustomizedMetricSpecification has Metrics and a metric of its own: give one of them.")
    if not queries and len(single) < 3:
        raise invalid("MetricName, Namespace and Statistic must be given in CustomizedMetricSpecification.")
    if any(("Expression" in query) == ("MetricStat" in query) for query in queries):
        raise invalid("Exactly one of Expression and MetricStat must be given in each of Metrics.")
    if len({query["Id"] for query in queries}) < len(queries):
        raise invalid("The Ids of Metrics must be different.")
    if queries and sum(query.get("ReturnData", True) for query in queries) != 1:
        raise invalid("ReturnData must be true for one of Metrics, and false for all others.")


def _check_not_below_zero(configuration: Mapping[str, Any], name: str) -> None:
    if configuration.get(name, 0) < 0:
        raise invalid(f"{name} must not be below 0.")


def check_scheduled_action(document: Mapping[str, Any]) -> None:
    """Raise ApiError for an action that could not be carried out."""
    if "Schedule" not in document:
        raise invalid("Schedule must be given for a new scheduled action.")
    _check_schedule(document["Schedule"])
    if "Timezone" in document:
        _check_time_zone(document["Timezone"])
    if not document.get("ScalableTargetAction"):
        raise invalid("At least one of minimum capacity and maximum capacity should be provided.")
    check_capacities(document["ScalableTargetAction"])
    begin, end = (document.get(name) for name in ("StartTime", "EndTime"))
    if begin is not None and end is not None and begin >= end:
        raise invalid("StartTime must be before EndTime.")


def _check_schedule(schedule: str) -> None:
    """Raise ApiError, ValidationException, for what is not at(...), rate(...) or cron(...)."""
    match = _FORM.fullmatch(schedule)
    if match is None or not _IS_ONE[match[1]](match[2]):
        raise invalid(
            f"Schedule {schedule[:80]!r} is none of at(yyyy-mm-ddThh:mm:ss), rate(value unit) and cron(fields), with "
            "six fields."
        )


def _check_time_zone(name: str) -> None:
    """Raise ApiError, ValidationException, for a time zone that nobody knows."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise invalid(f"Timezone {name[:80]!r} is not known.") from error


def _is_time(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return False
    return True


def _is_cron(text: str) -> bool:
    fields = text.split()
    return len(fields) == _CRON_FIELDS and all(_CRON_FIELD.fullmatch(field) for field in fields)


_IS_ONE: Mapping[str, Callable[[str], bool]] = {
    "at": _is_time,
    "rate": lambda text: _RATE.fullmatch(text) is not None,
    "cron": _is_cron,
}
