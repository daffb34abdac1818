"""Inference Recommender: recommendation jobs, their steps, and how an endpoint of one is scaled."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.aws.jobs.queue import ENDED, KIND
from servefit.aws.jobs.turns import DATA_VERSION
from servefit.aws.services.pages import check_times, listed, one_page
from servefit.aws.services.sagemaker.endpoint_performances import endpoint_performances, endpoint_steps
from servefit.aws.services.sagemaker.job_plans import first_lines
from servefit.aws.services.sagemaker.recommendations import (
    recommendations,
    recommended,
    step_documents,
    unmeasured_steps,
    variables_told,
)
from servefit.aws.services.sagemaker.scaling import scaling_recommendation
from servefit.aws.services.sagemaker.tags import keep_tags
from servefit.aws.state.resources import Missing, Taken
from servefit.aws.wire.errors import ApiError, invalid
from servefit.errors import SpecError
from servefit.search.jobs.lifecycle import load_job

if TYPE_CHECKING:
    from servefit.aws.jobs.model_data import DataVersions
    from servefit.aws.jobs.own_job import OwnJobs
    from servefit.aws.jobs.queue import JobQueue
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.services.sagemaker.job_plans import JobPlans
    from servefit.aws.state.resources import Resource, Resources


class RecommendationJobs:
    """The operations on recommendation jobs.

    Args:
        resources: Where jobs are kept.
        queue: What carries them out.
        plans: Say what is carried out.
        versions: Tell whether model data has changed.
        own_jobs: Load what was carried out.
    """

    def __init__(
        self, resources: Resources, queue: JobQueue, plans: JobPlans, versions: DataVersions, own_jobs: OwnJobs
    ) -> None:
        self._resources = resources
        self._queue = queue
        self._plans = plans
        self._versions = versions
        self._making = threading.Lock()
        self._own_jobs = own_jobs
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
        request = call.given
        name = request["JobName"]
        arn = call.arn(f"{KIND}/{name.lower()}")
        if self._is_taken(name):
            raise ApiError("ResourceInUse", f"Inference recommendations job {name} already exists.")
        plan = self._plans.of(request)
        files = self._queue.files(name)
        files.write_plan(plan)
        document = {
            **{key: value for key, value in request.items() if key not in ("Tags", "OutputConfig")},
            "JobArn": arn,
            "Status": "PENDING",
            DATA_VERSION: None if plan.model is None else self._versions.of(Path(plan.model)),
        }
        try:
            self._resources.add(KIND, name, document, ignores_case=True)
        except Taken as error:
            raise ApiError("ResourceInUse", f"Inference recommendations job {name} already exists.") from error
        keep_tags(self._resources, arn, request.get("Tags", ()))
        for line in first_lines(plan):
            files.journal.write(line)
        self._queue.added()
        return {"JobArn": arn}

    def describe(self, call: Call) -> dict[str, Any]:
        job = self.find(call.given["JobName"])
        document = job.document
        described = {
            key: document[key]
            for key in ("JobDescription", "JobType", "JobArn", "RoleArn", "Status", "InputConfig", "StoppingConditions")
            if key in document
        }
        for key in ("CompletionTime", "FailureReason"):
            if document.get(key) is not None:
                described[key] = document[key]
        is_over = document["Status"] in ENDED
        found_best = self.recommendations_of(job.name) if is_over else []
        performances = endpoint_performances(self._queue.files(job.name)) if is_over else []
        return {
            "JobName": job.name,
            **described,
            "CreationTime": job.created,
            "LastModifiedTime": document.get("CompletionTime") or job.modified,
            **({"InferenceRecommendations": found_best} if found_best else {}),
            **({"EndpointPerformances": performances} if performances else {}),
        }

    def list(self, call: Call) -> dict[str, Any]:
        request = call.given
        jobs: Sequence[Resource] = self._resources.all(KIND)
        if (status := request.get("StatusEquals")) is not None:
            jobs = [job for job in jobs if job.document["Status"] == status]
        for asked, about in (
            ("ModelNameEquals", "ModelName"),
            ("ModelPackageVersionArnEquals", "ModelPackageVersionArn"),
        ):
            if (value := request.get(asked)) is not None:
                jobs = [job for job in jobs if job.document["InputConfig"].get(about) == value]
        return listed(
            call,
            "ListInferenceRecommendationsJobs",
            jobs,
            summary=_summary,
            into="InferenceRecommendationsJobs",
            orders={"Status": lambda job: job.document["Status"]},
        )

    def steps(self, call: Call) -> dict[str, Any]:
        request = call.given
        check_times(request)
        resource = self.find(request["JobName"])
        plan = self._queue.files(resource.name).plan()
        job, role = self._own_jobs.of(self._queue.files(resource.name)), resource.document["RoleArn"]
        steps = (
            unmeasured_steps(resource.name, plan, role=role) if job is None else step_documents(job, plan, role=role)
        )
        steps = [*endpoint_steps(resource, self._queue.files(resource.name)), *steps]
        if (status := request.get("Status")) is not None:
            steps = [step for step in steps if step["Status"] == status]
        page, token = one_page(request, "ListInferenceRecommendationsJobSteps", steps)
        return {"Steps": page, "NextToken": token}

    def stop(self, call: Call) -> dict[str, Any]:
        job = self.find(call.given["JobName"])
        if not self._queue.stop(job.name):
            status = self.find(job.name).document["Status"]
            raise invalid(f"The job {job.name} cannot be stopped: it is {status}.")
        return {}

    def scaling(self, call: Call) -> dict[str, Any]:
        """Return how many instances a recommendation takes, and when to have more of them."""
        resource = self.find(call.given["InferenceRecommendationsJobName"])
        job = self._own_jobs.of(self._queue.files(resource.name)) if resource.document["Status"] in ENDED else None
        if job is None or not job.recommendations:
            raise ApiError("ResourceNotFound", f"Job {resource.name} has no recommendation.")
        ours = recommended(job, self._queue.files(resource.name).plan())
        return scaling_recommendation(call.given, job, ours, self.recommendations_of(resource.name))

    def best_for(self, model: Path, instance_type: str) -> dict[str, str]:
        """Return the variables of the best that was measured last on an instance type for the data that is in a file
        or folder now, none where nothing was."""
        version = self._versions.of(model)
        for job in reversed(self._resources.all(KIND)):
            document = job.document
            if version is None or document["Status"] != "COMPLETED" or document.get(DATA_VERSION) != version:
                continue
            for recommendation in self.recommendations_of(job.name):
                if recommendation["EndpointConfiguration"]["InstanceType"] == instance_type:
                    return variables_told(recommendation)
        return {}

    def find(self, name: str) -> Resource:
        """Return a job. Raises ApiError."""
        try:
            return self._resources.get(KIND, name)
        except Missing as error:
            raise ApiError("ResourceNotFound", f"Could not find inference recommendations job {name}.") from error

    def recommendations_of(self, name: str) -> Sequence[dict[str, Any]]:
        """Return the recommendations of a job that is over. They do not change any more."""
        if name not in self._told:
            files = self._queue.files(name)
            job = self._own_jobs.of(files)
            self._told[name] = [] if job is None else recommendations(job, files.plan())
        return self._told[name]

    def _is_taken(self, name: str) -> bool:
        """Return whether there is a job of that name, also of the command line."""
        return self._resources.is_taken(KIND, name) or _is_known(name)


def _is_known(name: str) -> bool:
    """Return whether servefit has a job of that name, whoever made it."""
    try:
        load_job(name)
    except SpecError:
        return False
    return True


def _summary(job: Resource) -> dict[str, Any]:
    document = job.document
    return {
        "JobName": job.name,
        "JobDescription": document.get("JobDescription", ""),
        "JobType": document["JobType"],
        "JobArn": document["JobArn"],
        "Status": document["Status"],
        "CreationTime": job.created,
        "CompletionTime": document.get("CompletionTime"),
        "RoleArn": document["RoleArn"],
        "LastModifiedTime": document.get("CompletionTime") or job.modified,
        "FailureReason": document.get("FailureReason"),
        "ModelName": document["InputConfig"].get("ModelName"),
        "ModelPackageVersionArn": document["InputConfig"].get("ModelPackageVersionArn"),
    }
