"""Inference Recommender: recommendation jobs, their steps, and how an endpoint of one is scaled."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.aws.jobs.plan import Measured, Plan
from servefit.aws.jobs.queue import ENDED, KIND
from servefit.aws.services.pages import check_times, listed, one_page
from servefit.aws.services.sagemaker.instance_types import profile_of, type_of
from servefit.aws.services.sagemaker.job_requests import check_request
from servefit.aws.services.sagemaker.job_sources import source_of
from servefit.aws.services.sagemaker.recommendations import (
    recommendations,
    recommended,
    step_documents,
    unmeasured_steps,
)
from servefit.aws.services.sagemaker.scaling import scaling_recommendation
from servefit.aws.services.sagemaker.tags import keep_tags
from servefit.aws.state.resources import Missing, Taken
from servefit.aws.wire.errors import ApiError, invalid
from servefit.errors import SpecError
from servefit.search.jobs.lifecycle import check_budget, load_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.aws.jobs.plan import JobSettings
    from servefit.aws.jobs.queue import JobQueue
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.services.sagemaker.job_sources import JobSource
    from servefit.aws.services.sagemaker.models import Models
    from servefit.aws.services.sagemaker.packages import Packages
    from servefit.aws.state.resources import Resource, Resources
    from servefit.search.jobs.job import RecommendationJob


class RecommendationJobs:
    """The operations on recommendation jobs.

    Args:
        resources: Where jobs are kept.
        queue: What carries them out.
        models: The models that jobs are made of.
        packages: The model packages that jobs are made of.
        file_of: Gives the file of an s3:// or file:// URL; raises ApiError for another one.
        settings: How jobs are carried out.
    """

    def __init__(
        self,
        resources: Resources,
        queue: JobQueue,
        models: Models,
        packages: Packages,
        *,
        file_of: Callable[[str], Path],
        settings: JobSettings,
    ) -> None:
        self._resources = resources
        self._queue = queue
        self._models = models
        self._packages = packages
        self._file_of = file_of
        self._settings = settings
        self._making = threading.Lock()
        self._told: dict[str, Sequence[dict[str, Any]]] = {}

    @property
    def operations(self) -> Operations:
        return {
            "CreateInferenceRecommendationsJob": self.create,
            "DescribeInferenceRecommendationsJob": self.describe,
            "ListInferenceRecommendationsJobs": self.list,
            "ListInferenceRecommendationsJobSteps": self.steps,
            "StopInferenceRecommendationsJob": self.stop,
            "GetScalingConfigurationRecommendation": self.scaling,
        }

    def create(self, call: Call) -> dict[str, Any]:
        with self._making:
            return self._create(call)

    def _create(self, call: Call) -> dict[str, Any]:
        given = call.given
        name, asked = given["JobName"], given["InputConfig"]
        arn = call.arn(f"{KIND}/{name.lower()}")
        if self._is_taken(name):
            raise ApiError("ResourceInUse", f"Inference recommendations job {name} already exists.")
        check_request(given)
        source = source_of(asked, self._models, self._packages)
        plan = self._plan(given, source)
        try:
            if any(each.reason is None for each in plan.measured):
                check_budget(plan.request())
        except SpecError as error:
            raise invalid(str(error)) from error
        files = self._queue.files(name)
        files.write_plan(plan)
        document = {
            **{key: value for key, value in given.items() if key not in ("Tags", "OutputConfig")},
            "JobArn": arn,
            "Status": "PENDING",
        }
        try:
            self._resources.add(KIND, name, document)
        except Taken as error:
            raise ApiError("ResourceInUse", f"Inference recommendations job {name} already exists.") from error
        keep_tags(self._resources, arn, given.get("Tags", ()))
        files.journal.write(f"job {name} was made, of {plan.model_url} and {plan.payload_url}")
        if self._settings.time_scale != 1:
            files.journal.write(f"durations are multiplied by {self._settings.time_scale:g} (--time-scale)")
        if asked.get("ResourceLimit", {}).get("MaxParallelOfTests", 1) > 1:
            files.journal.write("tests are made one at a time: MaxParallelOfTests is taken as 1")
        for each in plan.measured:
            if each.reason is not None:
                files.journal.write(f"{each.instance_type} is not measured: {each.reason}")
        self._queue.added()
        return {"JobArn": arn}

    def describe(self, call: Call) -> dict[str, Any]:
        found = self.find(call.given["JobName"])
        document = found.document
        told = {
            key: document[key]
            for key in ("JobDescription", "JobType", "JobArn", "RoleArn", "Status", "InputConfig", "StoppingConditions")
            if key in document
        }
        for key in ("CompletionTime", "FailureReason"):
            if document.get(key) is not None:
                told[key] = document[key]
        found_best = [] if document["Status"] not in ENDED else self._recommendations(found.name)
        return {
            "JobName": found.name,
            **told,
            "CreationTime": found.created,
            "LastModifiedTime": document.get("CompletionTime") or found.modified,
            **({"InferenceRecommendations": found_best} if found_best else {}),
        }

    def list(self, call: Call) -> dict[str, Any]:
        given = call.given
        found: Sequence[Resource] = self._resources.all(KIND)
        if (status := given.get("StatusEquals")) is not None:
            found = [each for each in found if each.document["Status"] == status]
        for asked, about in (
            ("ModelNameEquals", "ModelName"),
            ("ModelPackageVersionArnEquals", "ModelPackageVersionArn"),
        ):
            if (value := given.get(asked)) is not None:
                found = [each for each in found if each.document["InputConfig"].get(about) == value]
        return listed(
            call,
            "ListInferenceRecommendationsJobs",
            found,
            summary=_summary,
            into="InferenceRecommendationsJobs",
            orders={"Status": lambda each: each.document["Status"]},
        )

    def steps(self, call: Call) -> dict[str, Any]:
        given = call.given
        check_times(given)
        found = self.find(given["JobName"])
        plan = self._queue.files(found.name).plan()
        job, role = self._job(found.name), found.document["RoleArn"]
        steps = unmeasured_steps(found.name, plan, role=role) if job is None else step_documents(job, plan, role=role)
        if (status := given.get("Status")) is not None:
            steps = [step for step in steps if step["Status"] == status]
        page, token = one_page(given, "ListInferenceRecommendationsJobSteps", steps)
        return {"Steps": page, "NextToken": token}

    def stop(self, call: Call) -> dict[str, Any]:
        found = self.find(call.given["JobName"])
        if not self._queue.stop(found.name):
            status = self.find(found.name).document["Status"]
            raise invalid(f"The job {found.name} cannot be stopped: it is {status}.")
        return {}

    def scaling(self, call: Call) -> dict[str, Any]:
        """Return how many instances a recommendation takes, and when to have more of them."""
        found = self.find(call.given["InferenceRecommendationsJobName"])
        job = self._job(found.name) if found.document["Status"] in ENDED else None
        if job is None or not job.recommendations:
            raise ApiError("ResourceNotFound", f"Job {found.name} has no recommendation.")
        ours = recommended(job, self._queue.files(found.name).plan())
        return scaling_recommendation(call.given, job, ours, self._recommendations(found.name))

    def best_for(self, model_url: str, instance_type: str) -> dict[str, str]:
        """Return the variables of the best that was measured last for the data of a model on an instance type, none
        where nothing was."""
        for each in reversed(self._resources.all(KIND)):
            if each.document["Status"] != "COMPLETED" or self._queue.files(each.name).plan().model_url != model_url:
                continue
            for found in self._recommendations(each.name):
                if found["EndpointConfiguration"]["InstanceType"] == instance_type:
                    parameters = found["ModelConfiguration"]["EnvironmentParameters"]
                    return {parameter["Key"]: parameter["Value"] for parameter in parameters}
        return {}

    def find(self, name: str) -> Resource:
        """Return a job. Raises ApiError."""
        try:
            return self._resources.get(KIND, name)
        except Missing as error:
            raise ApiError("ResourceNotFound", f"Could not find inference recommendations job {name}.") from error

    def _recommendations(self, name: str) -> Sequence[dict[str, Any]]:
        """Return the recommendations of a job that is over. They do not change any more."""
        if name not in self._told:
            job = self._job(name)
            self._told[name] = [] if job is None else recommendations(job, self._queue.files(name).plan())
        return self._told[name]

    @staticmethod
    def _job(name: str) -> RecommendationJob | None:
        """Return the job of servefit, None where it has not been begun."""
        try:
            return load_job(name)
        except SpecError:
            return None

    def _is_taken(self, name: str) -> bool:
        """Return whether there is a job of that name, also of the command line."""
        try:
            self._resources.get(KIND, name)
        except Missing:
            return self._job(name) is not None
        return True

    def _plan(self, given: Mapping[str, Any], source: JobSource) -> Plan:
        return Plan(
            name=given["JobName"],
            model=str(self._file_of(source.model_url)),
            model_url=source.model_url,
            payload=str(self._file_of(source.payload_url)),
            payload_url=source.payload_url,
            measured=self._measured(given, source),
            asked={key: given[key] for key in ("InputConfig", "StoppingConditions") if key in given},
            time_scale=self._settings.time_scale,
            trust_pickle=self._settings.trust_pickle,
            allow_noise=self._settings.allow_noise,
        )

    def _measured(self, given: Mapping[str, Any], source: JobSource) -> tuple[Measured, ...]:
        """Return the instance types that a job is about, each with its profile, or why it is not measured here."""
        from servefit.profiler.machine.host import describe_host
        from servefit.profiler.machine.profiles import find_profile, local_profiles, why_not_measurable

        host = describe_host()
        configurations = given["InputConfig"].get("EndpointConfigurations", ())
        types = [each["InstanceType"] for each in configurations if "InstanceType" in each]
        if given["JobType"] == "Default":
            types = list(source.types) or [type_of(profile.name) for profile in local_profiles(host)]
        found = []
        for instance_type in dict.fromkeys(types):
            name = profile_of(instance_type, self._settings.profiles)
            try:
                reason = why_not_measurable(find_profile(name, host), host)
            except SpecError:
                reason = "has a shape that is not known here"
            if reason is not None:
                reason = f"it {reason}; measure one shape under another's name with --map {instance_type}=local-1c"
            found.append(Measured(instance_type=instance_type, profile=name, reason=reason))
        if any("ServerlessConfig" in each for each in configurations):
            found.append(
                Measured(instance_type="serverless", profile="", reason="serverless endpoints are not served here")
            )
        return tuple(found)


def _summary(each: Resource) -> dict[str, Any]:
    document = each.document
    return {
        "JobName": each.name,
        "JobDescription": document.get("JobDescription", ""),
        "JobType": document["JobType"],
        "JobArn": document["JobArn"],
        "Status": document["Status"],
        "CreationTime": each.created,
        "CompletionTime": document.get("CompletionTime"),
        "RoleArn": document["RoleArn"],
        "LastModifiedTime": document.get("CompletionTime") or each.modified,
        "FailureReason": document.get("FailureReason"),
        "ModelName": document["InputConfig"].get("ModelName"),
        "ModelPackageVersionArn": document["InputConfig"].get("ModelPackageVersionArn"),
    }
