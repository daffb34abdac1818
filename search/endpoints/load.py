"""The job on an endpoint that runs already, whosever it is: how many invocations it answers, how fast, and whether that
is within limits. ``profiler.procedures.target_endpoint`` finds out what it speaks; nothing is sent anywhere else."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from servefit.backends.payload.types import unused_warning
from servefit.checks import check_above_zero
from servefit.errors import MeasurementError
from servefit.field_types import check_type
from servefit.keywords import with_keywords
from servefit.profiler.defaults import TIMEOUT_S
from servefit.profiler.evidence.cautions import cautions_of
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.problem import one_of_each_kind
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.procedures.load_clients import (
    Placement,
    clients_at,
    competing_load,
    place_clients,
    with_own_remedy,
)
from servefit.profiler.procedures.open_loops import remarks_on
from servefit.profiler.procedures.target_endpoint import resolve_target
from servefit.profiler.procedures.traffic_rules import TRAFFIC_DEFAULTS, TrafficOptions, given_traffic
from servefit.search.endpoints.load_plan import measure
from servefit.search.endpoints.load_result import LoadTest, SeenServer
from servefit.search.optimizer.progress import Moment, Progress, SilentProgress
from servefit.search.request.job_request import USUAL
from servefit.search.request.load_request import LoadRequest
from servefit.search.request.sla import Sla
from servefit.search.results.instances import per_minute

if TYPE_CHECKING:
    from servefit.profiler.evidence.problem import Problem
    from servefit.profiler.machine.host import Host
    from servefit.profiler.procedures.target_endpoint import LoadTarget
    from servefit.search.endpoints.load_plan import LoadOutcome


@with_keywords(TrafficOptions, TRAFFIC_DEFAULTS)
def load_endpoint(
    url: str,
    *,
    payload: Any = None,
    protocol: str = "auto",
    model: str | None = None,
    rows_per_request: int = USUAL.rows_per_request,
    connections: int | None = None,
    timeout_s: float = TIMEOUT_S,
    seed: int = USUAL.seed,
    allow_remote: bool = False,
    allow_noise: bool = USUAL.allow_noise,
    wait_s: float | None = None,
    progress: Progress | None = None,
    **asked: Unpack[TrafficOptions],
) -> LoadTest:
    """Load a running endpoint, and measure how many requests it answers, how fast, and whether that is within limits.

    With a rate, thresholds are decided as soon as they can be; with phases, on the best of their plateaus. With
    thresholds and neither a rate, users nor phases, the highest rate at which they hold is looked for, and without
    thresholds the most requests that are answered. A run that the machine disturbed is repeated. Nothing is sent
    anywhere else. Limits that do not hold are a result.

    Args:
        url: The address of the endpoint.
        payload: A path, or an array of shape (rows, features). None: random rows, where the endpoint says how wide they
            are.
        protocol: What the endpoint speaks: "auto", "open-inference", "open-inference-binary", "sagemaker-csv",
            "sagemaker-json" or "json" (a POST of the rows, or of the JSON objects of the payload as they stand).
        model: The name of the model, where there are several.
        rate: Requests a second in an open loop. None: the rate of ``arrivals`` that have their own, such as
            "replay:FILE".
        arrivals: The shape in which requests arrive at the rate: "poisson", "constant", "sine:period=2s" and others.
        users: Users who take turns in a closed loop.
        traffic: A closed loop with phases.
        thresholds: Limits on percentiles of the response time at the client.
        duration_s: Most seconds of the run (None: 5, or 25 times the limit), of the search for the highest rate (None:
            30), or of the search for the most requests (None: 20).
        rows_per_request: Rows of the payload in one request.
        connections: Connections that are open at the same time; None: as many as it takes.
        timeout_s: Seconds after which a request has failed.
        seed: Seed of traffic and drawn rows.
        allow_remote: Load an endpoint on another machine.
        allow_noise: Judge a run that the machine disturbed, and do not repeat it.
        wait_s: Seconds to wait while something else measures on this machine; None: until that is done.
        progress: Told of everything as it happens.

    Returns:
        The runs with their figures, and the verdict where there are ``thresholds``.

    Raises:
        SpecError: What is asked makes no sense.
        PayloadMismatch: The payload does not fit the endpoint.
        MeasurementError: The endpoint answers nothing, or SlotTaken after ``wait_s``.

    Example:
        ::

            with job.best.serve() as endpoint:
                print(sf.load_endpoint(endpoint.url, payload="payload.csv", users=1, duration_s=1))
    """
    check_type("url", url, str)
    check_type("model", model, str | None)
    check_type("thresholds", asked["thresholds"], Collection[LatencyThreshold])
    rate, users, phases, duration_s = asked["rate"], asked["users"], asked["traffic"], asked["duration_s"]
    if rate is not None:
        check_above_zero("rate", rate)
    given_traffic(rate=rate, users=users, phases=phases, duration_s=duration_s)
    request = LoadRequest(
        sla=Sla(thresholds=tuple(asked["thresholds"]), rate_per_s=rate),
        arrivals=asked["arrivals"],
        users=users,
        phases=phases,
        duration_s=duration_s,
        rows_per_request=rows_per_request,
        connections=connections,
        timeout_s=timeout_s,
        seed=seed,
        allow_noise=allow_noise,
    )
    return run_load(
        url,
        payload,
        request,
        protocol=protocol,
        model=model,
        allow_remote=allow_remote,
        wait_s=wait_s,
        progress=progress or SilentProgress(),
    )


def run_load(
    url: str,
    payload: Any,
    request: LoadRequest,
    *,
    protocol: str = "auto",
    model: str | None = None,
    allow_remote: bool = False,
    wait_s: float | None = None,
    progress: Progress,
) -> LoadTest:
    """Carry out :func:`load_endpoint` for a request that is validated."""
    from servefit.profiler.machine.host import describe_host

    begin = time.monotonic()
    progress.stage("asking what the endpoint speaks")
    target = resolve_target(
        url,
        payload=payload,
        protocol=protocol,
        model=model,
        rows_per_request=request.rows_per_request,
        seed=request.seed,
        timeout_s=request.timeout_s,
        allow_remote=allow_remote,
    )
    # Errors in the endpoint or the payload have been raised by now, before the wait for the slot.
    with measuring_slot(f"load on {target.destination.address.authority}", wait_s=wait_s) as slot:
        begin += slot.waited_s
        host = describe_host()
        placement = place_clients(target, host)
        progress.stage("looking at what else runs here")
        busy = competing_load(placement, host)
        clients = partial(
            clients_at,
            target,
            placement,
            rows_per_request=request.rows_per_request,
            connections=request.connections,
            timeout_s=request.timeout_s,
        )
        outcome = measure(clients, request, _Timed(progress, request, begin))
    if not outcome.summary.throughput_per_s and not any((run.samples.ended_ns() > 0).any() for run in outcome.runs):
        kinds = ", ".join(outcome.summary.errors) or "no answer"
        raise MeasurementError(f"{target.destination.address.url} answered nothing: {kinds}", remedy="see what it logs")
    if busy is not None:
        outcome = replace(outcome, problems=one_of_each_kind((*outcome.problems, busy)))
    return _load_test(target, host, placement, request, outcome, elapsed_s=time.monotonic() - begin)


class _Timed(SilentProgress):
    """Progress that adds to every stage of the load how long all of it still takes."""

    def __init__(self, progress: Progress, request: LoadRequest, began_s: float) -> None:
        self._progress = progress
        self._request = request
        self._began_s = began_s
        self._ends_s = time.monotonic() + request.max_duration_s

    def stage(self, text: str, at: Moment | None = None) -> None:
        now_s, at_most = time.monotonic(), self._request.may_end_early
        moment = Moment(elapsed_s=now_s - self._began_s, left_s=max(0.0, self._ends_s - now_s), at_most=at_most)
        self._progress.stage(text, at or moment)


def _load_test(
    target: LoadTarget,
    host: Host,
    placement: Placement,
    request: LoadRequest,
    outcome: LoadOutcome,
    *,
    elapsed_s: float,
) -> LoadTest:
    problems = tuple(with_own_remedy(problem, placement) for problem in outcome.problems)
    invalid = bool(problems) and not request.allow_noise
    server, decision = placement.server, outcome.decision
    if decision is not None:
        decision = replace(decision, problems=problems, verdict="INVALID" if invalid else decision.verdict)
    return LoadTest(
        endpoint=target.destination.address.url,
        protocol=target.destination.form,
        model=target.destination.model,
        payload=target.payload,
        synthetic=target.synthetic,
        request=request,
        host=host,
        is_here=placement.is_here,
        server=None
        if server is None
        else SeenServer(name=server.name, pid=server.listening[0], cpus=tuple(sorted(server.cpus))),
        runs=outcome.runs,
        summary=outcome.summary,
        capacity=outcome.capacity,
        users=outcome.users,
        steps=outcome.steps,
        stopped=outcome.runs[0].stopped if request.phases is not None else None,
        ended=outcome.ended,
        decision=decision,
        highest=outcome.highest,
        max_invocations=None if outcome.most_per_s is None else round(per_minute(outcome.most_per_s)),
        verdict="INVALID" if invalid else outcome.verdict,
        reason=problems[0].reason if invalid else outcome.reason,
        problems=problems,
        warnings=tuple(_warnings(target, placement, outcome, problems)),
        elapsed_s=elapsed_s,
    )


def _warnings(target: LoadTarget, placement: Placement, outcome: LoadOutcome, problems: Sequence[Problem]) -> list[str]:
    lines = [f"{problem.reason}; {problem.remedy}" for problem in one_of_each_kind(problems)]
    if target.synthetic:
        lines.append("synthetic payload: rows are random numbers, not your traffic; give one with --payload")
    if target.truncated_from is not None:
        lines.append(f"the first {len(target.rows):,} of {target.truncated_from:,} rows of the payload are used")
    lines += unused_warning(target.payload, target.unused_columns)
    if placement.caution is not None:
        lines.append(placement.caution)
    lines += [line for run in outcome.runs for line in remarks_on(run.traffic)]
    return [*dict.fromkeys(lines), *cautions_of(outcome.summary)]
