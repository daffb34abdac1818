"""The closing of a job: its winner is measured in the other deployment than the one that was asked for.

Where the endpoint is deployed that is the model alone, called in process, which shows what HTTP costs. Where the
library is, it is the endpoint, loaded over HTTP from CPUs of the client's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.machine.cpus import choose_cpus, client_cpus
from servefit.search.request.arrivals import cycle_s
from servefit.search.results.measure_trial import Durations

if TYPE_CHECKING:
    from servefit.profiler.machine.host import Host
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.clock import Clock
    from servefit.search.request.job_request import JobRequest

DURATIONS = Durations(capacity_s=1.0, at_rate_s=1.0, at_rate_max_s=4.0)
"""Loads of an endpoint: short ones, since nothing is searched with them, and longer where a second does not decide
whether the limits hold. Chosen, not measured."""

DURATIONS_ALONE = Durations(capacity_s=0.5, at_rate_s=0.5, at_rate_max_s=0.5)
"""Loads of the model alone, whose figures decide nothing. Chosen, not measured."""

_START_S = 2.0
"""From the first process of an endpoint and of its client to a warm pair of them, roughly, on an idle machine."""

_START_ALONE_S = 0.8
"""From nothing to warm workers, roughly, on an idle machine."""


def closing_s(winner: Configuration, host: Host, request: JobRequest, clock: Clock) -> float:
    """Return the time to leave for the closing of a search that ``winner`` wins."""
    return min_duration_s(request, clock) if _is_measured(winner, host, request) else 0.0


def _is_measured(winner: Configuration, host: Host, request: JobRequest) -> bool:
    """Return whether the closing has anything to measure: an endpoint that was predicted was measured in process
    before."""
    if request.deployment == "library" and not request.over_http:
        return False
    return has_client_cpu(winner, host)


def min_duration_s(request: JobRequest, clock: Clock) -> float:
    """Return how long the closing takes at least, on a machine as slow to start processes as it is to compute."""
    endpoint = request.deployment == "library"
    durations = DURATIONS if endpoint else DURATIONS_ALONE
    loaded_s = durations.capacity_s if request.phases is None else request.phases.duration_s
    at_rate_s = 0.0 if request.sla.rate_per_s is None else durations.covering_cycle(cycle_s(request)).at_rate_s
    start_s = _START_S if endpoint else _START_ALONE_S
    return start_s * clock.slowness.times + loaded_s + at_rate_s


def has_client_cpu(configuration: Configuration, host: Host) -> bool:
    """Return whether a CPU is left for the client beside the envelope of ``configuration``."""
    return bool(client_cpus(host.cpus, choose_cpus(host.cpus, configuration.vcpus)))


def why_not(configuration: Configuration, host: Host, request: JobRequest, clock: Clock) -> str | None:
    """Return why ``configuration`` is not measured in the other deployment; None where it can be."""
    if request.deployment == "library" and not has_client_cpu(configuration, host):
        return f"its {configuration.vcpus} vCPUs leave none of this host's {len(host.cpus)} CPUs to a load client"
    if clock.left_s < (takes_s := min_duration_s(request, clock)):
        return clock.budget.ran_out(takes_s)
    return None
