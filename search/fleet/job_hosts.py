"""The hosts of a job on a fleet as it begins: whether they can have it at all, and what it keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.backends.model.types import Format
from servefit.backends.variables.allowed_variables import check_variables
from servefit.errors import SpecError
from servefit.profiler.machine.cpus import choose_cpus, client_cpus
from servefit.profiler.machine.profiles import local_profile
from servefit.search.fleet.answer import check_costs
from servefit.search.fleet.launching.agent_options import CONSENT
from servefit.search.jobs.beginning import check_objective
from servefit.search.jobs.measurable import measurable_profiles
from servefit.search.storage.header import JobHost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from servefit.backends.model import Model
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.search.fleet.host import HostState
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Skipped
    from servefit.search.storage.header import PlanRequest


def check_hosts(request: JobRequest, plan: PlanRequest, chosen: Sequence[HostState]) -> None:
    """Raise SpecError where the hosts that were ``chosen`` cannot be planned as asked for, or do not let the job set
    what it is to vary."""
    check_costs(plan, ((state.host.name, dict(state.host.cost)) for state in chosen))
    if plan.spare >= len(chosen):
        raise SpecError(
            "spare",
            plan.spare,
            f"is not less than the {len(chosen)} hosts that were chosen",
            remedy="choose more hosts",
        )
    for state in chosen:
        check_variables(
            ((varied.variable, value) for varied in request.environment for value in varied.values),
            state.host.allows,
            remedy=CONSENT,
        )


def job_hosts(request: JobRequest, chosen: Iterable[HostState]) -> tuple[tuple[JobHost, ...], tuple[Skipped, ...]]:
    """Return the hosts as the job keeps them, and the profiles that none of them can be, each told once."""
    hosts, skipped, possible = [], [], set()
    for state in chosen:
        check_objective(request, state.host.host)
        profiles, left_out = measurable_profiles(request, state.host.host)
        if not (request.profiles or request.clouds):
            profiles = _whole_host(profiles, request, state.host.host)
        possible |= {profile.name for profile in profiles}
        skipped += left_out
        hosts.append(
            JobHost(
                name=state.host.name,
                host=state.host.host,
                profiles=profiles,
                host_class="",
                labels=state.host.labels,
                cost=state.host.cost,
            )
        )
    impossible = {profile.name: profile for profile in skipped if profile.name not in possible}
    return tuple(hosts), tuple(impossible.values())


def _whole_host(profiles: Sequence[InstanceProfile], request: JobRequest, host: Host) -> tuple[InstanceProfile, ...]:
    """Return what a host that serves one model is: of its CPUs as many as can be measured, which leaves those of a load
    client where an endpoint is; its GPUs; and those of ``profiles`` that variables vary on."""
    varied = {name for variable in request.environment for name in variable.profiles}
    kept = tuple(profile for profile in profiles if profile.gpus or profile.name in varied)
    most = max(profile.vcpus for profile in profiles)
    if request.deployment == "endpoint":
        most = next(
            (count for count in range(most, 0, -1) if client_cpus(host.cpus, choose_cpus(host.cpus, count))), most
        )
    whole = next((profile for profile in profiles if not profile.gpus and profile.vcpus == most), None)
    whole = whole or local_profile(host, most)
    return (*kept, *([] if whole in kept else [whole]))


def check_trust(model: Model, chosen: Iterable[HostState]) -> None:
    """Raise SpecError where opening the model runs code, as that of a pickle or a script does, and a host does not
    allow it."""
    if model.format is Format.SCRIPT:
        if refusing := [state.host.name for state in chosen if not state.host.trust_code]:
            raise SpecError(
                "model",
                model.source,
                f"is a script, and the agents of {', '.join(refusing)} run none",
                remedy="start them with --trust-code, which lets models run code there",
            )
        return
    what = model.format.that_runs_code
    if what is None:
        return
    is_pickle = model.format is Format.PICKLE
    if refusing := [state.host.name for state in chosen if not state.host.trust_pickle]:
        raise SpecError(
            "model",
            model.source,
            f"is {what}, and the agents of {', '.join(refusing)} {'unpickle' if is_pickle else 'open'} none",
            remedy="start them with --trust-pickle, which lets models run code there, or save the model otherwise",
        )
