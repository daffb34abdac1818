"""The measurement of the winner as it would be deployed: an endpoint in its envelope, loaded over HTTP from CPUs of the
client's own.

What the search compares is measured without a network. This says what HTTP adds to it, how much an instance answers
then, and whether the SLA still holds.
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
"""Loads of the closing measurement: short ones, since nothing is searched with them, and longer where a second does not
decide whether the limits hold. Chosen, not measured."""

_START_S = 2.0
"""From the first process of an endpoint and of its client to a warm pair of them, roughly, on an idle machine."""


def closing_s(winner: Configuration, host: Host, request: JobRequest, clock: Clock) -> float:
    """Return the time to leave for the measurement after a search that ``winner`` wins."""
    return min_duration_s(request, clock) if request.over_http and has_client_cpu(winner, host) else 0.0


def min_duration_s(request: JobRequest, clock: Clock) -> float:
    """Return how long the measurement takes at least, on a machine as slow to start processes as it is to compute."""
    loaded_s = DURATIONS.capacity_s if request.phases is None else request.phases.duration_s
    at_rate_s = 0.0 if request.sla.rate_per_s is None else DURATIONS.covering_cycle(cycle_s(request)).at_rate_s
    return _START_S * clock.slowness.times + loaded_s + at_rate_s


def has_client_cpu(configuration: Configuration, host: Host) -> bool:
    """Return whether a CPU is left for the client beside the envelope of ``configuration``."""
    return bool(client_cpus(host.cpus, choose_cpus(host.cpus, configuration.vcpus)))


def why_not(configuration: Configuration, host: Host, request: JobRequest, clock: Clock) -> str | None:
    """Return why ``configuration`` is not measured over HTTP; None where it can be."""
    if not has_client_cpu(configuration, host):
        return f"its {configuration.vcpus} vCPUs leave none of this host's {len(host.cpus)} CPUs to a load client"
    if clock.left_s < min_duration_s(request, clock):
        return "the time asked for ran out"
    return None
