"""A scaling plan as manifests for Kubernetes: a HorizontalPodAutoscaler, and a ScaledObject of KEDA.

Both keep the requests a second of each instance at the target of the plan, which is of the endpoint, and count what the
endpoint counts: ``servefit_requests_total`` of its ``/metrics``. They scale the Deployment that ``servefit export``
writes for the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.backends.model.names import label_of, name_after
from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.search.autoscaling.plan import ScalingPlan

ManifestKind: TypeAlias = Literal["hpa", "keda"]

_REQUESTS = "servefit_requests_total"
_RATE = "servefit_requests_per_second"
"""The name that a metrics adapter is to give the rate of the counter above."""

_HPA = """\
# kubectl apply -f hpa.yaml
# {source}
# It needs a metrics adapter that serves {rate} for pods, such as prometheus-adapter with the rule
#   seriesQuery: '{requests}{{namespace!="",pod!=""}}'
#   name: {{as: "{rate}"}}
#   metricsQuery: sum(rate(<<.Series>>{{<<.LabelMatchers>>}}[1m])) by (<<.GroupBy>>)
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {label}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {label}
  minReplicas: {min}
  maxReplicas: {max}
  metrics:
    - type: Pods
      pods:
        metric:
          name: {rate}
        target:
          type: AverageValue
          averageValue: {milli}
  behavior:
    scaleDown:
      stabilizationWindowSeconds: {scale_in_s}
"""

_KEDA = """\
# kubectl apply -f scaledobject.yaml
# {source}
# Change serverAddress to that of your Prometheus, which scrapes /metrics of the pods. Add namespace="..." to the query
# where several namespaces have a Deployment of this name.
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {label}
spec:
  scaleTargetRef:
    name: {label}
  minReplicaCount: {min}
  maxReplicaCount: {max}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          stabilizationWindowSeconds: {scale_in_s}
  triggers:
    - type: prometheus
      metricType: AverageValue
      metadata:
        serverAddress: http://prometheus.monitoring:9090
        query: {query}
        threshold: {threshold}
"""

_TEMPLATES: Mapping[ManifestKind, str] = {"hpa": _HPA, "keda": _KEDA}


def parse_kind(text: str) -> ManifestKind:
    """Parse "hpa" or "keda". Raises SpecError."""
    for kind in _TEMPLATES:
        if text == kind:
            return kind
    raise SpecError.unknown("policy", text, list(_TEMPLATES))


def manifest(plan: ScalingPlan, kind: ManifestKind, *, name: str | None = None) -> str:
    """Return a plan as a manifest.

    Args:
        plan: A plan for a job that deploys the endpoint.
        kind: "hpa" for a HorizontalPodAutoscaler, "keda" for a ScaledObject.
        name: The name that was given to ``servefit export``; that which it gives a bundle by itself if None.

    Returns:
        A YAML document.

    Raises:
        SpecError: the plan is of a library, which has no endpoint that counts requests.

    Example:
        ``print(manifest(sf.scale(job, rate_per_s=2000), "keda"))``
    """
    chosen = plan.recommendation
    if chosen.deployment == "library":
        raise SpecError(
            "policy",
            kind,
            "counts the requests of an endpoint, and this job deploys the model as a library",
            remedy="run the job with --deploy endpoint (deploy='endpoint')",
        )
    label = _label(plan) if name is None else label_of(name)
    # The name of a Deployment's pod has two parts more, so that another Deployment whose name begins alike is left out.
    query = f'sum(rate({_REQUESTS}{{pod=~"{label}-[a-z0-9]+-[a-z0-9]{{5}}"}}[1m]))'
    return _TEMPLATES[kind].format(
        source=f"Job {plan.job}, recommendation {chosen.id}: {plan.target.rate_per_s:.6g} requests/s on each instance",
        label=label,
        rate=_RATE,
        requests=_REQUESTS,
        min=plan.target.min_capacity,
        max=plan.target.max_capacity,
        # A quantity in thousandths, which no rounding makes larger than the target.
        milli=json.dumps(f"{max(1, int(1000 * plan.target.rate_per_s))}m"),
        scale_in_s=plan.target.scale_in_cooldown_s,
        query=json.dumps(query),
        threshold=json.dumps(f"{max(1, int(1000 * plan.target.rate_per_s)) / 1000:.15g}"),
    )


def _label(plan: ScalingPlan) -> str:
    """Return the name of the Deployment in the bundle."""
    model = plan.recommendation.model
    return label_of(plan.job if model is None else name_after(model.source.removeprefix("a live "), keep="_"))
