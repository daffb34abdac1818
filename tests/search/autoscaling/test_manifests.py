"""Scaling plans as manifests for Kubernetes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.search.autoscaling.test_scale import CONFIGURATION, job

from servefit.backends.model.names import label_of
from servefit.errors import SpecError
from servefit.search.autoscaling.manifests import manifest, parse_kind
from servefit.search.autoscaling.scale import scale

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.conftest import MakeTrial

    from servefit.search.autoscaling.plan import ScalingPlan


@pytest.fixture
def plan(trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScalingPlan:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    return scale(job(replace(trial(CONFIGURATION), driver="http"), deploy="endpoint"), rate_per_s=2000, headroom=0.2)


def parsed(text: str) -> Any:
    return yaml.safe_load(text)


def test_a_horizontal_pod_autoscaler_keeps_each_pod_at_the_target_of_the_plan(plan: ScalingPlan) -> None:
    found = parsed(manifest(plan, "hpa"))
    assert (found["apiVersion"], found["kind"]) == ("autoscaling/v2", "HorizontalPodAutoscaler")
    assert found["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "model"}
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (1, 7)
    (metric,) = found["spec"]["metrics"]
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "640000m"}
    assert found["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == plan.target.scale_in_cooldown_s


def test_a_scaled_object_counts_the_requests_of_the_pods_of_the_same_deployment(plan: ScalingPlan) -> None:
    found = parsed(manifest(plan, "keda"))
    assert (found["kind"], found["spec"]["scaleTargetRef"]) == ("ScaledObject", {"name": "model"})
    assert (found["spec"]["minReplicaCount"], found["spec"]["maxReplicaCount"]) == (1, 7)
    (trigger,) = found["spec"]["triggers"]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("AverageValue", "640")
    assert trigger["metadata"]["query"] == 'sum(rate(servefit_requests_total{pod=~"model-[a-z0-9]+-[a-z0-9]{5}"}[1m]))'


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_a_bundle_that_was_given_a_name_is_scaled_by_that_name(plan: ScalingPlan, kind: Any) -> None:
    found = parsed(manifest(plan, kind, name="Payments EU"))
    assert found["metadata"]["name"] == found["spec"]["scaleTargetRef"]["name"] == "payments-eu"


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_a_manifest_says_which_recommendation_it_is_of(plan: ScalingPlan, kind: Any) -> None:
    assert f"Job fraud, recommendation {plan.recommendation.id}: 640 requests/s on each instance" in manifest(
        plan, kind
    )


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_a_library_has_no_endpoint_that_counts_requests(
    trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    plan = scale(job(trial(CONFIGURATION), deploy="library"), rate_per_s=100)
    with pytest.raises(SpecError, match="deploys the model as a library") as caught:
        manifest(plan, kind)
    assert "--deploy endpoint" in str(caught.value.remedy)


def test_only_known_kinds_of_manifests_are_taken() -> None:
    assert [parse_kind(kind) for kind in ("hpa", "keda")] == ["hpa", "keda"]
    with pytest.raises(SpecError, match="policy"):
        parse_kind("vpa")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("fraud", "fraud"),
        ("My_Model v2", "my-model-v2"),
        ("2024", "model-2024"),
        ("ünïcode", "n-code"),
        ("--", "model"),
        ("x" * 60, "x" * 40),
    ],
)
def test_a_label_is_a_name_that_kubernetes_takes(name: str, label: str) -> None:
    assert label_of(name) == label
