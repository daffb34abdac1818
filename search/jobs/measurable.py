"""The part of a job that this host can measure: profiles, and an endpoint beside a load client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.profiler.machine.cpus import choose_cpus, client_cpus
from servefit.profiler.machine.prices import check_one_currency
from servefit.profiler.machine.profiles import find_profile, profiles_to_consider, why_not_measurable
from servefit.search.results.recommendation import Skipped

if TYPE_CHECKING:
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.search.request.job_request import JobRequest


def measurable_profiles(request: JobRequest, host: Host) -> tuple[tuple[InstanceProfile, ...], list[Skipped]]:
    """Return the profiles that the request is about, as far as this host can be them, and the others with the reason:
    those asked for by name or by cloud, else those of this host and those that variables are to vary on.

    Raises SpecError for an unknown name, for a cloud without a shape that fits this host, and for prices in several
    currencies.
    """
    considered = list(profiles_to_consider(host, named=request.profiles, clouds=request.clouds))
    for variable_range in request.environment:
        for profile in (find_profile(name, host) for name in variable_range.profiles):
            if profile in considered:
                continue
            if request.profiles or request.clouds:
                raise SpecError(
                    "env",
                    variable_range.variable,
                    f"is to vary on {profile.name}, which is not among the profiles asked for",
                )
            considered.append(profile)
    measurable, skipped = [], []
    for profile in considered:
        if reason := why_not_measurable(profile, host):
            skipped.append(Skipped(kind="instance_profile", name=profile.name, reason=reason))
        else:
            measurable.append(profile)
    check_one_currency(measurable)
    return tuple(measurable), skipped


def why_disturbed(request: JobRequest, host: Host) -> str | None:
    """Return why nothing of an endpoint can be measured without a disturbance on this host: all its CPUs are of one
    core, which the endpoint shares with its load client. None where that is not so."""
    if request.deployment != "endpoint" or client_cpus(host.cpus, choose_cpus(host.cpus, 1)):
        return None
    return (
        "all CPUs of this host are of one core, which the endpoint shares with its load client: measure the model in "
        "process with --deploy library (deploy='library')"
    )
