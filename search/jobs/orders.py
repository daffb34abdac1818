"""Orders of a job to measure on a host, as documents: another process, on another host, may carry them out.

What there is to measure with, such as artifacts, the host finds itself; what it takes to carry an order out is in it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from servefit.profiler.queueing.service import ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import JobRequest
from servefit.search.results.measure_trial import Durations
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.stored import Stored

Started: TypeAlias = Literal["asked", "other"]
"""The deployment to put under load: the one that the job is about, or the other one."""


class TimeCalls(Stored, frozen=True, kw_only=True):
    """Time calls of ``subject`` alone, with each number of requests in ``sizes``, in an envelope of ``memory_bytes``.
    Arrivals come from ``seed``."""

    subject: Configuration
    sizes: tuple[int, ...]
    memory_bytes: int
    seed: int


class SurveyEndpoint(Stored, frozen=True, kw_only=True):
    """Measure what requests cost in an endpoint of ``subject``, where configurations join ``max_batch`` requests at
    most. ``service`` are the calls of ``subject``, timed alone; None where that is still to be done. ``rate_per_s`` is
    the rate that counts; None where what is answered at most does."""

    subject: Configuration
    max_batch: int
    service: ServiceTimes | None
    rate_per_s: float | None = None


class Load(Stored, frozen=True, kw_only=True):
    """Put ``configuration`` under load, as ``request`` says, which is that of the job with the SLA of this load.

    ``started`` says which deployment is loaded, in an envelope of ``memory_bytes`` (None: as much as there is). It is
    done ``runs`` times, each by fresh processes, with arrivals from ``seed``; the open loop of the last has ``spare_s``
    more, as far as they are left. So many ``instances`` share the rate, as
    few as keep the limits if None. ``nth_round`` is the round of finalists that it belongs to, if any; a PASS is one of
    so many ``chances``. With ``costs`` the result is that of the endpoint that is predicted with them; ``timed`` are
    the calls of the configuration and whether they are its own, if known. What is recorded is kept under the number of
    the ``step``.
    """

    configuration: Configuration
    request: JobRequest
    durations: Durations
    started: Started
    memory_bytes: int | None
    seed: int
    step: int
    runs: int = 1
    spare_s: float = 0.0
    instances: int | None = None
    nth_round: int | None = None
    chances: int = 1
    costs: EndpointCosts | None = None
    timed: tuple[ServiceTimes, bool] | None = None


Order: TypeAlias = TimeCalls | SurveyEndpoint | Load
