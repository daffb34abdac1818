"""A scaling plan, and its JSON form: servefit's own names, and SageMaker's beside them. ``scale`` makes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.search.figures.registry import values
from servefit.search.jobs.document import sla_document
from servefit.search.results.instances import per_minute
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.search.capacity.instance_rate import InstanceRate
    from servefit.search.capacity.latency_curve import CurvePoint
    from servefit.search.request.sla import Sla
    from servefit.search.results.recommendation import Recommendation

SCHEMA = 1
"""It rises when a name in the document changes."""

METRIC = "SageMakerVariantInvocationsPerInstance"
"""The name of the invocations per instance and minute in Application Auto Scaling."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTracking:
    """A policy that keeps every instance at ``rate_per_s``, with ``min_capacity`` to ``max_capacity`` instances."""

    rate_per_s: float
    min_capacity: int
    max_capacity: int
    scale_in_cooldown_s: int
    scale_out_cooldown_s: int

    @property
    def invocations_per_minute(self) -> float:
        """The target value of SageMaker's policy."""
        return per_minute(self.rate_per_s)


@shown("instances", "rate_per_s", "target", "headroom")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPlan:
    """A scaling plan: ``instances`` serve ``rate_per_s`` within the ``sla``, each with ``headroom`` to what ``rate``
    says it can take.

    ``min_rate_per_s`` and ``max_rate_per_s`` are the rates that the bounds of the policy are for, the first None where
    it was not asked. ``curve`` has the points that were measured, and those that were simulated at the target and at
    the highest rate, by ascending rate. ``notes`` say what to know before relying on the plan.

    Example:
        ::

            plan = sf.scale(job, rate_per_s=1000)
            print(plan.instances, plan.target.max_capacity, plan.notes)
    """

    job: str
    recommendation: Recommendation
    sla: Sla
    rate_per_s: float
    instances: int
    headroom: float
    rate: InstanceRate
    target: TargetTracking
    min_rate_per_s: float | None
    max_rate_per_s: float
    curve: tuple[CurvePoint, ...]
    notes: tuple[str, ...]

    def cost_per_hour(self, instances: int) -> float | None:
        """Return the price of ``instances`` in the currency of the profile, None where it has none."""
        price = self.recommendation.profile.price_per_hour
        return None if price is None else price * instances

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document that ``servefit scale --format json`` prints."""
        return scaling_document(self)


def scaling_document(plan: ScalingPlan) -> dict[str, Any]:
    """Return the whole plan. Rates and the target are of one instance where their name or place says so, else of
    all."""
    chosen, target = plan.recommendation, plan.target
    return {
        "schema": SCHEMA,
        "job": plan.job,
        "recommendation": chosen.id,
        "instance_profile": chosen.profile.name,
        "deployment": chosen.deployment,
        "driver": chosen.trial.driver,
        "backend": chosen.trial.configuration.backend,
        "environment": chosen.environment,
        "sla": None if plan.sla.asks_nothing else sla_document(plan.sla),
        "rate_per_s": plan.rate_per_s,
        "instances": plan.instances,
        "headroom": plan.headroom,
        "instance": {
            "highest_rate_per_s": plan.rate.highest_per_s,
            "basis": plan.rate.basis,
            "source": plan.rate.source,
            "simulated_rate_per_s": plan.rate.simulated_per_s,
            "capacity_per_s": plan.rate.capacity_per_s,
            "capacity_source": "measured" if chosen.capacity.basis == "measured" else "estimated",
        },
        "target": {
            "invocations_per_minute": target.invocations_per_minute,
            "rate_per_s": target.rate_per_s,
            "min_capacity": target.min_capacity,
            "max_capacity": target.max_capacity,
            "scale_in_cooldown_s": target.scale_in_cooldown_s,
            "scale_out_cooldown_s": target.scale_out_cooldown_s,
        },
        "min_rate_per_s": plan.min_rate_per_s,
        "max_rate_per_s": plan.max_rate_per_s,
        "cost_per_hour": {
            "at_rate": plan.cost_per_hour(plan.instances),
            "at_min": plan.cost_per_hour(target.min_capacity),
            "at_max": plan.cost_per_hour(target.max_capacity),
        },
        **values(chosen, "currency", "region", "price_date"),
        "DynamicScalingConfiguration": dynamic_scaling_configuration(target),
        "curve": [_point_document(point) for point in plan.curve],
        "notes": list(plan.notes),
    }


def dynamic_scaling_configuration(target: TargetTracking) -> dict[str, Any]:
    """Return the policy as in SageMaker's answer to GetScalingConfigurationRecommendation."""
    return {
        "MinCapacity": target.min_capacity,
        "MaxCapacity": target.max_capacity,
        "ScaleInCooldown": target.scale_in_cooldown_s,
        "ScaleOutCooldown": target.scale_out_cooldown_s,
        "ScalingPolicies": [
            {
                "TargetTracking": {
                    "MetricInfo": {"Predefined": {"PredefinedMetricType": METRIC}},
                    "TargetValue": target.invocations_per_minute,
                }
            }
        ],
    }


def _point_document(point: CurvePoint) -> dict[str, Any]:
    """Return a point of the curve."""
    return {
        "rate_per_s": point.rate_per_s,
        "loop": point.loop,
        "source": point.source,
        "latency_ms": dict(point.latency_ms),
        "latency_ms_ci95": {name: list(interval) for name, interval in point.latency_ms_ci95.items()},
        "samples": point.samples,
        "verdict": point.verdict,
    }
