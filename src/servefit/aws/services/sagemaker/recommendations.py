"""Recommendations and steps of a job, under the names and in the units of Inference Recommender.

Invocations are a minute, latencies whole milliseconds, rounded up, and utilisations per cent of one CPU, summed up. A
figure that is not known is left out.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from math import ceil, floor, inf, isnan
from typing import TYPE_CHECKING, Any

from servefit.aws.endpoints.commands import variables_of
from servefit.aws.jobs.plan import is_told
from servefit.aws.jobs.process import MAX_REASON_CHARACTERS
from servefit.aws.services.sagemaker.instance_types import SERVERLESS, serverless_configurations
from servefit.aws.services.sagemaker.prices import cost_metrics
from servefit.search.figures.registry import values
from servefit.search.jobs.job import space_of
from servefit.search.results.recommendation import Trial
from servefit.search.storage.steps import TESTS

if TYPE_CHECKING:
    from servefit.aws.jobs.plan import Measured, Plan
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Basis, Recommendation
    from servefit.search.storage.steps import Step

MAX_RECOMMENDATIONS = 10


def recommendations(job: RecommendationJob, plan: Plan) -> list[dict[str, Any]]:
    """Return the recommendations of a job, the best first, one for each instance type."""
    documents = [_recommendation(job, recommendation, measured) for recommendation, measured in _of_types(job, plan)]
    if any(measured.priced_as not in (None, measured.profile) for measured in plan.measured):
        # The job knew other prices, or none, of what it measured.
        documents.sort(key=_cost_of(job))
    return documents[:MAX_RECOMMENDATIONS]


def recommended(job: RecommendationJob, plan: Plan) -> dict[str, Recommendation]:
    """Return servefit's own by the identifiers that are told of them."""
    return {
        _told_id(job, recommendation, measured.instance_type): recommendation
        for recommendation, measured in _of_types(job, plan)
    }


def _of_types(job: RecommendationJob, plan: Plan) -> list[tuple[Recommendation, Measured]]:
    """Return what is recommended for each instance type: where there are limits, what keeps them."""
    return [
        (recommendation, measured)
        for recommendation in job.recommendations
        if is_told(job, recommendation)
        for measured in plan.types_of(recommendation.profile.name)
    ]


def _cost_of(job: RecommendationJob) -> Callable[[Mapping[str, Any]], float]:
    """Return what gives the cost of a recommendation as it is told: of an hour where a rate is to be carried, else of
    an inference. Where it is not known it is beyond all others."""
    metric = "CostPerInference" if job.request.sla.rate_per_s is None else "CostPerHour"

    def cost(document: Mapping[str, Any]) -> float:
        value: float = document["Metrics"][metric]
        return inf if isnan(value) else value

    return cost


def _told_id(job: RecommendationJob, recommendation: Recommendation, instance_type: str) -> str:
    return f"{job.name}/{_identifier(recommendation.id, instance_type, recommendation.profile.name)}"


def _recommendation(job: RecommendationJob, recommendation: Recommendation, measured: Measured) -> dict[str, Any]:
    trial, profile, instance_type = recommendation.trial, recommendation.profile.name, measured.instance_type
    step = next((step for step in job.steps if step.number == recommendation.step), None)
    return {
        "RecommendationId": _told_id(job, recommendation, instance_type),
        "Metrics": _metrics(recommendation, _per_hour(measured, recommendation.profile, trial.instance_count)),
        "EndpointConfiguration": {
            **_names(job.name, instance_type, trial.configuration),
            "InstanceType": instance_type,
            "InitialInstanceCount": trial.instance_count,
        },
        "ModelConfiguration": _model_configuration(trial.configuration, instance_type, profile, basis=trial.basis),
        **({} if step is None else _times(step)),
    }


def variables_told(recommendation: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of a recommendation as it is told."""
    parameters = recommendation["ModelConfiguration"]["EnvironmentParameters"]
    return {parameter["Key"]: parameter["Value"] for parameter in parameters}


def step_documents(job: RecommendationJob, plan: Plan, *, role: str) -> list[dict[str, Any]]:
    """Return the load tests of a job as steps, and a failed step for each instance type that cannot be measured here.

    A test that stands for several instance types was made once, and is one step: of the first of them.
    """
    space = space_of(job.header, job.trials)
    documents: list[dict[str, Any]] = []
    for step in job.steps:
        if step.kind not in TESTS or step.configuration is None:
            continue
        profiles = {
            profile.name: profile
            for profile, points in space.profiles
            # What runs, or failed, is no point yet.
            if step.configuration in points or (step.result is None and profile.vcpus == step.configuration.vcpus)
        }
        tested = [measured for measured in plan.measured if measured.reason is None and measured.profile in profiles]
        for measured in tested[:1]:
            profile = profiles[measured.profile]
            documents.append(_step(job, step, step.configuration, measured, profile, role=role))
    return documents + unmeasured_steps(job.name, plan, role=role)


def unmeasured_steps(name: str, plan: Plan, *, role: str) -> list[dict[str, Any]]:
    """Return a failed step for each instance type, or serverless configuration, that cannot be measured here."""
    documents = []
    for measured in plan.measured:
        if measured.reason is None:
            continue
        configurations: list[dict[str, Any]] = [{"InstanceType": measured.instance_type, "InitialInstanceCount": 1}]
        if measured.instance_type == SERVERLESS:
            configurations = [{"ServerlessConfig": asked} for asked in serverless_configurations(plan.asked)]
        documents += [
            _unmeasured_step(name, configuration, measured.reason, role=role) for configuration in configurations
        ]
    return documents


def _unmeasured_step(name: str, configuration: Mapping[str, Any], reason: str, *, role: str) -> dict[str, Any]:
    endpoint = _endpoint_name(name, str(configuration.get("InstanceType", configuration)))
    return {
        "StepType": "BENCHMARK",
        "JobName": name,
        "RoleArn": role,
        "Status": "FAILED",
        "InferenceBenchmark": {
            "ModelConfiguration": {},
            "EndpointConfiguration": {"EndpointName": endpoint, "VariantName": endpoint, **configuration},
            "FailureReason": reason,
        },
    }


def _step(
    job: RecommendationJob,
    step: Step,
    configuration: Configuration,
    measured: Measured,
    profile: InstanceProfile,
    *,
    role: str,
) -> dict[str, Any]:
    """Return one load test, of that configuration, as the test of an instance type."""
    instance_type = measured.instance_type
    trial = step.result if isinstance(step.result, Trial) else None
    instances = 1 if trial is None else trial.instance_count
    benchmark: dict[str, Any] = {
        "ModelConfiguration": _model_configuration(
            configuration, instance_type, profile.name, basis="measured" if trial is None else trial.basis
        ),
        "EndpointConfiguration": {
            **_names(job.name, instance_type, configuration),
            "InstanceType": instance_type,
            "InitialInstanceCount": instances,
        },
        **_times(step),
    }
    if trial is not None:
        benchmark["Metrics"] = _metrics(trial, _per_hour(measured, profile, instances))
    if reason := step.reason or (None if trial is None else trial.reason):
        benchmark["FailureReason"] = reason[:MAX_REASON_CHARACTERS]
    return {
        "StepType": "BENCHMARK",
        "JobName": job.name,
        "RoleArn": role,
        "Status": "IN_PROGRESS" if step.status == "RUNNING" else step.status,
        "InferenceBenchmark": benchmark,
    }


def _per_hour(measured: Measured, profile: InstanceProfile, instances: int) -> float | None:
    """Return the price of an hour of so many instances of a type, None if unknown. Plans of earlier
    versions have none: theirs was that of the profile."""
    price = measured.price_per_hour
    if price is None and (measured.instance_type == profile.name or profile.is_local):
        price = profile.price_per_hour
    return None if price is None else price * instances


def _metrics(subject: Trial | Recommendation, cost_per_hour: float | None) -> dict[str, Any]:
    """Return the figures of a test or a recommendation, of all its instances together."""
    figures = values(subject, "max_invocations", "model_latency_ms.p95", "cpu_utilization", "memory_utilization")
    per_minute = None if figures["max_invocations"] is None else floor(float(figures["max_invocations"]))
    latency_ms = figures["model_latency_ms.p95"]
    metrics = {
        **cost_metrics(cost_per_hour, per_minute),
        "MaxInvocations": per_minute,
        "ModelLatency": None if latency_ms is None else max(1, ceil(float(latency_ms))),
        "CpuUtilization": figures["cpu_utilization"],
        "MemoryUtilization": figures["memory_utilization"],
    }
    return {name: value for name, value in metrics.items() if value is not None}


def _model_configuration(
    configuration: Configuration, instance_type: str, profile: str, *, basis: Basis = "measured"
) -> dict[str, Any]:
    """Return the variables of a configuration. AWS has ten at most; with many of the user's own there are some more
    here, since an endpoint without one of them is another one."""
    measured_as = None if instance_type == profile else profile
    variables = variables_of(configuration, measured_as=measured_as, basis=basis)
    parameters = [{"Key": key, "ValueType": "String", "Value": value} for key, value in variables.items()]
    return {"EnvironmentParameters": parameters}


def _names(job: str, instance_type: str, configuration: Configuration) -> dict[str, str]:
    name = endpoint_of(job, instance_type, configuration)
    return {"EndpointName": name, "VariantName": name}


def endpoint_of(job: str, instance_type: str, configuration: Configuration) -> str:
    """Return the name of the endpoint, and of its variant, that a configuration of a job was tested as."""
    return _endpoint_name(job, instance_type, str(configuration))


def _endpoint_name(*parts: str) -> str:
    """Return the name of the endpoint that a test had, the same whenever it is asked for."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return f"sm-epc-{uuid.UUID(bytes=digest[:16])}"


def _identifier(own_id: str, instance_type: str, profile: str) -> str:
    """Return the eight characters of a recommendation: those of servefit where the type is what was measured."""
    if instance_type == profile:
        return own_id
    return hashlib.sha256(f"{own_id}/{instance_type}".encode()).hexdigest()[:8]


def _times(step: Step) -> dict[str, float]:
    ended = {} if step.ended_at is None else {"InvocationEndTime": step.ended_at}
    return {"InvocationStartTime": step.began_at, **ended}
