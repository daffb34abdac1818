"""The plan of a recommendation job: what a request comes to, once the model, the endpoint and the instance types that
it names are looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from servefit.aws.jobs.plan import Measured, Plan
from servefit.aws.services.sagemaker.instance_types import (
    SERVERLESS,
    InstanceTypes,
    profile_of,
    serverless_configurations,
    type_of,
)
from servefit.aws.services.sagemaker.job_sources import check_request, source_of
from servefit.aws.services.sagemaker.prices import TypePrices, price_note
from servefit.aws.wire.errors import invalid
from servefit.errors import SpecError
from servefit.profiler.machine.profiles import local_profiles
from servefit.search.jobs.beginning import check_budget

if TYPE_CHECKING:
    from servefit.aws.jobs.plan import JobSettings, LoadedEndpoint
    from servefit.aws.services.sagemaker.job_sources import JobSource
    from servefit.aws.services.sagemaker.loaded_endpoints import LoadedEndpoints
    from servefit.aws.services.sagemaker.models import Models
    from servefit.aws.services.sagemaker.packages import Packages
    from servefit.profiler.machine.host import Host


class JobPlans:
    """Makes the plans of jobs.

    Args:
        models: The models that jobs are made of.
        packages: The model packages that jobs are made of.
        loaded: Finds the endpoints that jobs load.
        file_of: Gives the file of an s3:// or file:// URL; raises ApiError for another one.
        settings: How jobs are carried out.
        host: The machine that they are carried out on.
    """

    def __init__(
        self,
        models: Models,
        packages: Packages,
        loaded: LoadedEndpoints,
        *,
        file_of: Callable[[str], Path],
        settings: JobSettings,
        host: Host,
    ) -> None:
        self._models = models
        self._packages = packages
        self._loaded = loaded
        self._file_of = file_of
        self._settings = settings
        self._host = host
        self._types = InstanceTypes(settings.profiles, host)

    def of(self, request: Mapping[str, Any]) -> Plan:
        """Return the plan of a request. Raises ApiError, ValidationException, for one that makes no sense, and for what
        servefit does not carry out."""
        check_request(request)
        source = source_of(request, self._models, self._packages)
        prices = TypePrices(self._settings.prices, self._host)
        plan = Plan(
            name=request["JobName"],
            model=self._path_of(source.model_url),
            model_url=source.model_url,
            payload=self._path_of(source.payload_url),
            payload_url=source.payload_url,
            content_types=source.content_types,
            endpoint=self._endpoint(request, prices),
            measured=prices.priced(self._measured(request, source)),
            asked={key: request[key] for key in ("InputConfig", "StoppingConditions") if key in request},
            time_scale=self._settings.time_scale,
            trust_pickle=self._settings.trust_pickle,
            trust_code=self._settings.trust_code,
            allow_noise=self._settings.allow_noise,
        )
        _check_plan(plan)
        return plan

    def _endpoint(self, request: Mapping[str, Any], prices: TypePrices) -> LoadedEndpoint | None:
        """Return the endpoint that a job loads, with the price of its instances."""
        endpoint = self._loaded.of_request(request)
        if endpoint is None or endpoint.instance_type is None:
            return endpoint
        (priced,) = prices.priced([self._types.find(endpoint.instance_type)])
        return msgspec.structs.replace(endpoint, price_per_hour=priced.price_per_hour)

    def _path_of(self, url: str | None) -> str | None:
        return None if url is None else str(self._file_of(url))

    def _measured(self, request: Mapping[str, Any], source: JobSource) -> tuple[Measured, ...]:
        """Return the instance types that a job is about, each with its profile, or why it is not measured here."""
        if source.model_url is None:
            return ()
        configurations = request["InputConfig"].get("EndpointConfigurations", ())
        types = [configuration["InstanceType"] for configuration in configurations if "InstanceType" in configuration]
        if request["JobType"] == "Default":
            types = list(source.types) or [type_of(profile.name) for profile in local_profiles(self._host)]
        measured = [self._types.find(instance_type) for instance_type in dict.fromkeys(types)]
        if serverless_configurations(request):
            measured.append(
                Measured(instance_type=SERVERLESS, profile="", reason="serverless endpoints are not served here")
            )
        return tuple(measured)


def _check_plan(plan: Plan) -> None:
    """Raise ApiError, ValidationException, for what servefit does not carry out."""
    try:
        if plan.endpoint is not None:
            plan.load_request()
        if any(measured.reason is None for measured in plan.measured):
            check_budget(plan.request())
    except SpecError as error:
        raise invalid(f"{error}{plan.scale_note}".replace("budget:", "JobDurationInSeconds:")) from error


def first_lines(plan: Plan) -> Iterator[str]:
    """Yield what there is to say of a job before it is carried out."""
    urls = [url for url in (plan.model_url, plan.payload_url) if url is not None]
    yield f"job {plan.name} was made{', of ' if urls else ''}{' and '.join(urls)}"
    if plan.endpoint is not None and plan.measured:
        yield (
            f"endpoint {plan.endpoint.name} is loaded before instance types are measured; JobDurationInSeconds holds "
            "for each of both"
        )
    if plan.time_scale != 1:
        yield f"durations are multiplied by {plan.time_scale:g} (--time-scale)"
    if plan.asked["InputConfig"].get("ResourceLimit", {}).get("MaxParallelOfTests", 1) > 1:
        yield "tests are made one at a time: MaxParallelOfTests is taken as 1"
    for measured in plan.measured:
        if measured.reason is not None:
            yield f"{measured.instance_type} is not measured: {measured.reason}"
            continue
        if measured.profile not in (measured.instance_type, profile_of(measured.instance_type, {})):
            yield f"{measured.instance_type} is measured as {measured.profile}"
        if (note := price_note(measured)) is not None:
            yield note
