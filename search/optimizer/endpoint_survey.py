"""Measures what a request costs in an endpoint beside its prediction, so that endpoints can be predicted.

Endpoints of one worker are loaded over HTTP, one that joins no requests, one that joins a few and one that joins many,
on the smallest envelope, beside which a client has a CPU. What the predictor takes by itself is known from calls timed
alone; the rest of what a request takes is the endpoint's. Those that join are left out where the rate of the job leaves
nothing to join. How that is used is said in
:mod:`servefit.search.simulation.endpoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

from servefit.errors import MeasurementError
from servefit.profiler.arrivals.contract import STEADY
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop
from servefit.search.optimizer.idle_times import longer_than
from servefit.search.results.objectives.registry import rate_that_counts
from servefit.search.simulation.endpoint import SURVEY_S, EndpointCosts

if TYPE_CHECKING:
    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.drivers.http.bodies import Form
    from servefit.profiler.evidence.problem import Problem
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration, Run
    from servefit.search.request.job_request import JobRequest

Start: TypeAlias = "Callable[[Configuration], AbstractContextManager[MeasuredDriver]]"
"""Starts an endpoint of a configuration, with clients."""

_CLOSED_S = 0.4
_OPEN_S = 0.8
"""Seconds of each load. Chosen: a few thousand requests to the quickest models."""

_CLOSED_LOOPS = 2
"""The mean of so many counts. Chosen, not measured."""

_SLOW_SHARE, _SLOW_PER_S = 0.05, 1000.0
"""The quieter of the two open loops: this part of the capacity, and no more than this, so that the CPU sleeps between
requests. Chosen, not measured."""

_BUSY_SHARE = 0.5
"""The busier of the two: the worker is idle half of the time, for moments. Chosen, not measured."""

_IDLE_SHARE = 0.25
"""Of the capacity of single calls: at a rate below it joining requests moves p95 by 6 % at most in the simulation,
where calls vary by up to half their mean and share 30 or 70 % of what a request takes (tests/search/optimizer)."""

_FEW_JOINED = 4
"""Requests a call of the endpoint that joins a few: their rows are copied together, which single ones are spared.
Chosen, not measured."""

MAX_JOINED = 64
"""Requests a call of the endpoint that joins many, unless the job allows fewer: what a call costs by itself has become
small by then. Chosen, not measured."""


def rate_of_survey(request: JobRequest) -> float | None:
    """Return the rate by which a survey for ``request`` decides whether endpoints that join are measured; None where
    they always are: figures depend on what is answered at most, or more requests come at times."""
    return rate_that_counts(request) if request.phases is None and request.arrivals in STEADY else None


def survey_endpoint(
    start: Start,
    subject: Configuration,
    service: ServiceTimes,
    *,
    rows: int,
    request_bytes: int,
    form: Form = "open-inference",
    max_batch: int,
    rate_per_s: float | None = None,
    seed: int = 0,
) -> EndpointCosts:
    """Measure the costs of an endpoint.

    Args:
        start: Starts an endpoint of a configuration, on CPUs of its own, with clients on others.
        subject: The configuration to serve: its backend and settings count. The quickest one tells most.
        service: The calls of ``subject``, timed alone.
        rows: The rows of a request.
        request_bytes: The mean length of a request's body.
        form: The form of the requests.
        max_batch: The most requests that any configuration of the job joins.
        rate_per_s: The rate that counts. Where single calls carry four times as much, endpoints that join are not
            measured: joining hardly changes latencies there. None: what an endpoint answers at most counts.
        seed: That of the arrivals.

    Returns:
        The costs of a request of this shape on this host.

    Raises:
        MeasurementError: an endpoint does not start, or nothing is answered.
    """
    problems: list[Problem] = []
    with start(_serving(subject, 1)) as driver:
        single_per_s, client_ns = _capacity(driver, problems)
        runs = [
            _run(driver, OpenLoop(rate_per_s=open_per_s, duration_s=_OPEN_S, seed=seed), problems)
            for open_per_s in (min(_SLOW_SHARE * single_per_s, _SLOW_PER_S), _BUSY_SHARE * single_per_s)
        ]
    is_enough = rate_per_s is not None and rate_per_s <= _IDLE_SHARE * single_per_s
    joined = 1 if is_enough else min(MAX_JOINED, max_batch)
    single_ns = max(1.0, NS_PER_S / single_per_s - service.mean_ns(1))
    request_ns, call_ns = single_ns, 0.0
    if joined > 1:
        each_ns = {}
        for size in sorted({min(_FEW_JOINED, joined), joined}):
            with start(_serving(subject, size)) as driver:
                joined_per_s, busier_ns = _capacity(driver, problems)
            each_ns[size] = NS_PER_S / joined_per_s - service.mean_ns(size) / size
            # The more a client has to do, the less often it falls asleep.
            client_ns = min(client_ns, busier_ns)
        request_ns, call_ns = _shared(each_ns, single_ns)
    return EndpointCosts(
        request_ns=request_ns,
        call_ns=call_ns,
        single_ns=max(single_ns, request_ns),
        client_ns=client_ns,
        after_idle=longer_than(single_ns + service.mean_ns(1) + client_ns / 2, runs),
        rows=rows,
        request_bytes=request_bytes,
        form=form,
        joined=joined,
        enough_for_per_s=_IDLE_SHARE * single_per_s,
        problems=tuple({problem.kind: problem for problem in problems}.values()),
    )


def _shared(each_ns: Mapping[int, float], single_ns: float) -> tuple[float, float]:
    """Return what a request and a call cost that joins several, from what each request of full calls of two sizes cost,
    or of one: then a call costs what a single request costs more."""
    (few, of_few_ns), (many, of_many_ns) = min(each_ns.items()), max(each_ns.items())
    if few == many:
        few, of_few_ns = 1, single_ns
    # A call shares its cost among its requests.
    call_ns = max(0.0, of_few_ns - of_many_ns) / (1 / few - 1 / many)
    return max(1.0, of_many_ns - call_ns / many), call_ns


def _serving(subject: Configuration, max_batch: int) -> Configuration:
    """Return ``subject`` with one worker in an envelope of its threads."""
    return replace(
        subject, vcpus=subject.settings.threads, workers=1, max_batch=max_batch, batch_delay_us=0, environment=()
    )


def _capacity(driver: MeasuredDriver, problems: list[Problem]) -> tuple[float, float]:
    """Return the requests a second that are answered to as many users as keep the endpoint busy, and the nanoseconds of
    CPU time that each takes the busiest process of the client; 0 where that is not known."""
    traffic = ClosedLoop.constant(users=driver.usual_users, duration_s=_CLOSED_S)
    runs = [_run(driver, traffic, problems) for _ in range(_CLOSED_LOOPS)]
    capacity_per_s = fmean(summarize(run).throughput_per_s for run in runs)
    if not capacity_per_s:
        raise MeasurementError("not one request was answered while the endpoint's costs were measured")
    percents = [0.0 if run.client is None else run.client.cpu_percent or 0.0 for run in runs]
    return capacity_per_s, fmean(percents) / 100 * NS_PER_S / capacity_per_s


def _run(driver: MeasuredDriver, traffic: ClosedLoop | OpenLoop, problems: list[Problem]) -> Run:
    """Carry out ``traffic``, again if the machine got in the way and there is time for a whole survey after that, and
    add to ``problems`` what is wrong with it: costs from a disturbed run, which say so, are better than none."""
    run, disturbances = run_valid(driver, traffic, kept_s=SURVEY_S)
    problems.extend(disturbances)
    return run
