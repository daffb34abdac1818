"""Instant recommendations, which DescribeModel tells: how to serve a model on this machine's own profiles.

They are those of the last job of the same model data, which were measured under load. Where there is none they are
predicted by a survey, which times calls alone; it is made once for the same data, and begins when the model is first
described, unless a job of that data is on its way. A survey that was broken off is made again after a while.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.aws.jobs.queue import ENDED
from servefit.aws.jobs.survey import SurveyFiles, SurveyPlan
from servefit.aws.jobs.turns import DATA_VERSION, JOB, SURVEY
from servefit.aws.services.sagemaker.instance_types import type_of
from servefit.aws.services.sagemaker.models import container_of
from servefit.aws.services.sagemaker.packages import data_of
from servefit.aws.services.sagemaker.recommendations import variables_told
from servefit.aws.state.resources import Missing
from servefit.aws.wire.errors import ApiError
from servefit.version import __version__

if TYPE_CHECKING:
    from servefit.aws.jobs.model_data import DataVersions
    from servefit.aws.jobs.plan import JobSettings
    from servefit.aws.jobs.queue import JobQueue
    from servefit.aws.services.call import Call, Operations
    from servefit.aws.services.sagemaker.models import Models
    from servefit.aws.services.sagemaker.packages import Packages
    from servefit.aws.services.sagemaker.recommendation_jobs import RecommendationJobs
    from servefit.aws.state.resources import Resource, Resources
    from servefit.profiler.machine.host import Host

_log = logging.getLogger(__name__)

_MAX_RECOMMENDATIONS = 3
"""Of AWS, for a model."""

_AGAIN_AFTER_S = 60.0
"""After this a survey may be made again that was killed, had no time on a busy machine, or whose data changed. AWS
promises an answer within a minute; and a model that takes its process down whenever it is timed keeps the machine busy
for less than half of the time, however often it is asked for. Chosen, not measured."""


class InstantRecommendations:
    """The operation that tells them.

    Args:
        resources: Where jobs and surveys are kept.
        queue: What carries them out.
        models: The models that they are of.
        packages: The model packages that models may name in place of data of their own.
        jobs: Tell what was measured.
        versions: Tell whether model data has changed.
        file_of: Gives the file of an s3:// or file:// URL; raises ApiError for another one.
        settings: How models are read.
        host: The machine that surveys are made on.
    """

    def __init__(
        self,
        resources: Resources,
        queue: JobQueue,
        models: Models,
        packages: Packages,
        jobs: RecommendationJobs,
        versions: DataVersions,
        *,
        file_of: Callable[[str], Path],
        settings: JobSettings,
        host: Host,
    ) -> None:
        self._resources = resources
        self._queue = queue
        self._models = models
        self._packages = packages
        self._jobs = jobs
        self._versions = versions
        self._file_of = file_of
        self._settings = settings
        self._host = host
        self._making = threading.Lock()
        self._logged: set[tuple[str, str]] = set()
        self._forget_failures()

    @property
    def operations(self) -> Operations:
        return {"DescribeModel": self.describe_model}

    def describe_model(self, call: Call) -> dict[str, Any]:
        """Return a model with its recommendations, as far as they are known by now."""
        return {
            **self._models.describe(call),
            "DeploymentRecommendation": self._recommendation(self._models.find(call.given["ModelName"])),
        }

    def _recommendation(self, model: Resource) -> dict[str, Any]:
        container = container_of(model)
        if "ModelDataUrl" not in container and "ModelPackageName" not in container:
            return {"RecommendationStatus": "NOT_APPLICABLE"}
        try:
            url, _ = data_of(container, self._packages, about=f"Model {model.name}")
            file = self._file_of(url)
        except ApiError as error:
            return self._failed(model, error.message)
        version = self._versions.of(file)
        if version is None:
            return self._failed(model, f"{url} is not there, or holds nothing that can be read")
        jobs = [job for job in self._resources.all(JOB) if job.document.get(DATA_VERSION) == version]
        if measured := next(self._measured(jobs), None):
            return _completed([_told(model.name, *entry) for entry in measured])
        survey = self._survey(version, file, url, wanted=not any(job.document["Status"] not in ENDED for job in jobs))
        if survey is None or survey.document["Status"] not in ENDED:
            return {"RecommendationStatus": "IN_PROGRESS"}
        if survey.document["Status"] != "COMPLETED":
            return self._failed(model, str(survey.document["FailureReason"]))
        expected = SurveyFiles(self._queue.files(survey.name, SURVEY).folder).expected()
        return _completed(
            [
                _told(
                    model.name,
                    _identifier(version, prospect.profile, prospect.variables),
                    type_of(prospect.profile),
                    prospect.variables,
                )
                for prospect in expected
            ]
        )

    def _measured(self, jobs: Sequence[Resource]) -> Iterator[list[tuple[str, str, Mapping[str, str]]]]:
        """Yield what jobs have found, the last first: identifiers, instance types and variables."""
        for job in reversed(jobs):
            if job.document["Status"] == "COMPLETED" and (recommendations := self._jobs.recommendations_of(job.name)):
                yield [
                    (
                        recommendation["RecommendationId"].partition("/")[2],
                        recommendation["EndpointConfiguration"]["InstanceType"],
                        variables_told(recommendation),
                    )
                    for recommendation in recommendations
                ]

    def _survey(self, version: str, file: Path, url: str, *, wanted: bool) -> Resource | None:
        """Return the survey of model data, which is begun where there is none that counts and one is ``wanted``."""
        name = survey_name(version, self._host)
        with self._making:
            earlier = self._known_survey(name)
            if earlier is not None or not wanted:
                return earlier
            files = SurveyFiles(self._queue.files(name, SURVEY).folder)
            files.write_plan(
                SurveyPlan(
                    model=str(file),
                    model_url=url,
                    trust_pickle=self._settings.trust_pickle,
                    trust_code=self._settings.trust_code,
                )
            )
            made = self._resources.add(SURVEY, name, {"Status": "PENDING", DATA_VERSION: version})
        self._queue.added()
        return made

    def _known_survey(self, name: str) -> Resource | None:
        """Return the survey of that name, None where there is none, or none any more: one that was broken off is
        forgotten after a while."""
        try:
            survey = self._resources.get(SURVEY, name)
        except Missing:
            return None
        if survey.document["Status"] not in ENDED or survey.document["Status"] == "COMPLETED":
            return survey
        outcome = self._queue.files(name, SURVEY).outcome()
        blames_data = outcome is not None and outcome.blames_data
        if blames_data or time.time() < survey.document["CompletionTime"] + _AGAIN_AFTER_S:
            return survey
        self._forget(name)
        return None

    def _forget(self, name: str) -> None:
        shutil.rmtree(self._queue.files(name, SURVEY).folder, ignore_errors=True)
        self._resources.remove(SURVEY, name)

    def _failed(self, model: Resource, reason: str) -> dict[str, Any]:
        """Return that there is no recommendation. AWS does not say why: the log does, once."""
        if (model.name, reason) not in self._logged:
            self._logged.add((model.name, reason))
            _log.warning("model %s has no recommendation: %s", model.name, reason)
        return {"RecommendationStatus": "FAILED"}

    def _forget_failures(self) -> None:
        """Forget the surveys that have failed under another server: what failed is tried again, perhaps with
        --trust-pickle."""
        for survey in self._resources.all(SURVEY):
            if survey.document["Status"] not in ("PENDING", "IN_PROGRESS", "COMPLETED"):
                self._forget(survey.name)


def _completed(recommendations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "RecommendationStatus": "COMPLETED",
        "RealTimeInferenceRecommendations": recommendations[:_MAX_RECOMMENDATIONS],
    }


def _told(model: str, identifier: str, instance_type: str, variables: Mapping[str, str]) -> dict[str, Any]:
    return {
        "RecommendationId": f"{model}/{identifier}",
        "InstanceType": instance_type,
        "Environment": dict(variables),
    }


def survey_name(version: str, host: Host) -> str:
    """Return the name of the survey of model data: one for each machine and each version of servefit, which may come
    to something else."""
    about = (version, host.fingerprint, __version__)
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:32]


def _identifier(version: str, profile: str, variables: Mapping[str, str]) -> str:
    """Return the eight characters of a recommendation, the same whenever it is told."""
    about = (version, profile, *(f"{name}={value}" for name, value in variables.items()))
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:8]
