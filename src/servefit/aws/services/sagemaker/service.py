"""All operations of Amazon SageMaker that are answered here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.aws.endpoints.variables import refuse_variables
from servefit.aws.jobs.files import JobOutcome
from servefit.aws.s3.urls import missing_bucket
from servefit.aws.services.pages import one_page
from servefit.aws.services.sagemaker.endpoint_configurations import EndpointConfigurations
from servefit.aws.services.sagemaker.endpoints import Endpoints
from servefit.aws.services.sagemaker.instance_types import InstanceTypes
from servefit.aws.services.sagemaker.instant_recommendations import InstantRecommendations
from servefit.aws.services.sagemaker.job_plans import JobPlans
from servefit.aws.services.sagemaker.loaded_endpoints import LoadedEndpoints
from servefit.aws.services.sagemaker.models import Models
from servefit.aws.services.sagemaker.package_groups import PackageGroups
from servefit.aws.services.sagemaker.packages import Packages
from servefit.aws.services.sagemaker.recommendation_jobs import RecommendationJobs
from servefit.aws.services.sagemaker.tags import Tags

if TYPE_CHECKING:
    from servefit.aws.endpoints.hosts import EndpointHosts
    from servefit.aws.jobs.files import JobFiles
    from servefit.aws.jobs.model_data import DataVersions
    from servefit.aws.jobs.own_job import OwnJobs
    from servefit.aws.jobs.plan import JobSettings
    from servefit.aws.jobs.queue import JobQueue
    from servefit.aws.services.call import Call, Operation, Operations
    from servefit.aws.state.resources import Resources
    from servefit.profiler.machine.host import Host


_READ = (
    ("xgboost", "MACHINE_LEARNING", "OTHER", "XGBOOST", "1.7-1"),
    ("sklearn", "MACHINE_LEARNING", "OTHER", "SAGEMAKER-SCIKIT-LEARN", "1.2-1"),
    ("lightgbm", "MACHINE_LEARNING", "OTHER", "LIGHTGBM", "4.6"),
    ("onnx", "MACHINE_LEARNING", "OTHER", "ONNX", "1.16"),
)
"""Name, domain, task, framework and version, as notebooks choose by. Versions are those of the containers that AWS's
notebooks name; models are read by what is installed here, whatever these say."""

_FIELDS = ("Model", "Domain", "Task", "Framework", "FrameworkVersion")


def model_metadata(call: Call) -> dict[str, Any]:
    request = call.given
    models = [dict(zip(_FIELDS, values, strict=True)) for values in _READ]
    for asked in request.get("SearchExpression", {}).get("Filters", ()):
        models = [model for model in models if model.get(asked["Name"], "").lower() == asked["Value"].lower()]
    page, token = one_page(request, "ListModelMetadata", models)
    return {"ModelMetadataSummaries": page, "NextToken": token}


def refuse_missing_buckets(files: JobFiles) -> bool:
    """End a job, as FAILED, whose model or payload is in a bucket that is not there. Return whether it was ended.

    Whoever names a bucket of AWS is to hear that objects are files here.
    """
    plan = files.plan()
    for file, url in ((plan.model, plan.model_url), (plan.payload, plan.payload_url)):
        if file is None or url is None or (bucket := missing_bucket(url, Path(file))) is None:
            continue
        reason = (
            f"{url}: there is no bucket {bucket}: objects are files below the server's own S3 root (--s3-root), not "
            "AWS's; make the bucket and upload the object to this server"
        )
        files.write_outcome(JobOutcome(status="FAILED", reason=reason))
        files.journal.write(f"the job is over: FAILED: {reason}")
        return True
    return False


class SageMaker:
    """The kinds of resources, put together; arguments as in ``RecommendationJobs``, ``JobPlans`` and ``Endpoints``."""

    def __init__(
        self,
        resources: Resources,
        queue: JobQueue,
        hosts: EndpointHosts,
        *,
        file_of: Callable[[str], Path],
        versions: DataVersions,
        own_jobs: OwnJobs,
        settings: JobSettings,
        host: Host,
    ) -> None:
        self._models = Models(resources)
        self._groups = PackageGroups(resources)
        self._packages = Packages(resources, self._groups)
        self._configurations = EndpointConfigurations(resources, self._models)
        self._tags = Tags(resources)
        self._loaded = LoadedEndpoints(resources, hosts)
        plans = JobPlans(self._models, self._packages, self._loaded, file_of=file_of, settings=settings, host=host)
        self._jobs = RecommendationJobs(resources, queue, plans, versions, own_jobs)
        self._instant = InstantRecommendations(
            resources,
            queue,
            self._models,
            self._packages,
            self._jobs,
            versions,
            file_of=file_of,
            settings=settings,
            host=host,
        )
        self.endpoints = Endpoints(
            resources,
            hosts,
            self._configurations,
            self._models,
            self._packages,
            file_of=file_of,
            measured_best=self._jobs.best_for,
            types=InstanceTypes(settings.profiles, host),
            allowed=settings.allow_env,
        )
        self._allowed = settings.allow_env

    def prepare(self, files: JobFiles, is_wanted: Callable[[], bool]) -> None:
        """Find out, when a job has its turn, whether its data can be there and where its endpoint is."""
        if not refuse_missing_buckets(files):
            self._loaded.prepare(files, is_wanted)

    @property
    def operations(self) -> Operations:
        """The operations by name, each of which refuses variables that a container may not have."""
        operations = {
            **self._models.operations,
            **self._instant.operations,
            **self._groups.operations,
            **self._packages.operations,
            **self._configurations.operations,
            **self.endpoints.operations,
            **self._jobs.operations,
            **self._tags.operations,
            "ListModelMetadata": model_metadata,
        }
        return {name: partial(_checked, operation, self._allowed) for name, operation in operations.items()}


def _checked(operation: Operation, allowed: Collection[str], call: Call) -> Mapping[str, Any]:
    refuse_variables(call.given, allowed)
    return operation(call)
