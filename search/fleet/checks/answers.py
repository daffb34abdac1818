"""Any answer held against its order: the kind of the result, what it is about, and the figures in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.queueing.service import ServiceTimes
from servefit.profiler.record.traffic import NS_PER_S, OpenLoop
from servefit.search.fleet.checks.loads import checked_load
from servefit.search.fleet.checks.rates import check_timed
from servefit.search.fleet.checks.unfit import Unfit, same
from servefit.search.fleet.classes.calibration import BATCH_SIZES
from servefit.search.fleet.compiling import Compile, Compiled
from servefit.search.fleet.load_orders import LoadClient, LoadPart
from servefit.search.fleet.orders import Calibrate
from servefit.search.fleet.pair_orders import LoadPair, PairLoaded
from servefit.search.jobs.orders import Load, SurveyEndpoint, TimeCalls
from servefit.search.results.host_timing import HostTiming
from servefit.search.results.recommendation import Trial
from servefit.search.simulation.endpoint import EndpointCosts

if TYPE_CHECKING:
    from servefit.profiler.machine.host import Host
    from servefit.search.fleet.checks.rates import TimedCalls
    from servefit.search.fleet.host import FleetHost
    from servefit.search.fleet.orders import Answer, Order, Result

MAX_TIMES_RATE = 2.0
"""Times the samples that a rate makes on average: arrivals in bursts may be more in a short turn. Chosen, not
measured."""


def checked(order: Order, answer: Answer, host: FleetHost, calls: TimedCalls) -> Answer:
    """Return ``answer`` as it counts for ``order``, which ``host`` was given, and of which ``calls`` are known. Figures
    that can be worked out again are. Raises Unfit where it does not fit."""
    asked, result = order.asked, answer.result
    if answer.failure is not None:
        if result is not None:
            raise Unfit("it is a failure and a result")
        return answer
    wanted = _RESULTS[type(asked)]
    if type(result) is not wanted:
        raise Unfit(f"it is a {type(result).__name__}, and a {wanted.__name__} was asked for")
    if order.model_digest is not None:
        same("model", answer.model_digest, order.model_digest)
    if isinstance(asked, Load) and isinstance(result, Trial):
        result = checked_load(asked, result, answer.recorded, host.host, calls)
    elif isinstance(asked, TimeCalls) and isinstance(result, ServiceTimes):
        _check_service_times(asked, result, calls)
    elif isinstance(asked, LoadClient) and isinstance(result, LoadPart):
        _check_part(asked, result)
    elif isinstance(asked, LoadPair) and isinstance(result, PairLoaded):
        check_pair(asked, result, host.host)
    else:
        _check_rest(order, result)
    return replace(answer, result=result, recorded=None)


_RESULTS: Mapping[type, type] = {
    Calibrate: HostTiming,
    Compile: Compiled,
    Load: Trial,
    LoadClient: LoadPart,
    LoadPair: PairLoaded,
    SurveyEndpoint: EndpointCosts,
    TimeCalls: ServiceTimes,
}


def _check_rest(order: Order, result: Result | None) -> None:
    asked = order.asked
    if isinstance(asked, Calibrate) and isinstance(result, HostTiming) and asked.subject is not None:
        same("subject", result.subject, asked.subject)
        same("sizes of calls", tuple(call.requests for call in result.calls), BATCH_SIZES)
    elif isinstance(asked, SurveyEndpoint) and isinstance(result, EndpointCosts):
        if result.joined > max(1, asked.max_batch):
            raise Unfit(f"its calls joined {result.joined} requests, and {asked.max_batch} were asked for at most")
    elif isinstance(result, Compiled) and order.model_digest is not None:
        for choice in result.choices:
            same("artifact", choice.model_digest, order.model_digest)


def _check_service_times(asked: TimeCalls, service: ServiceTimes, calls: TimedCalls) -> None:
    same("workers", service.workers, asked.subject.workers)
    if not {batch.requests for batch in service.batches} <= set(asked.sizes):
        raise Unfit("its calls have sizes that were not asked for")
    check_timed(asked.subject, service, calls.timing)


def _check_part(asked: LoadClient, part: LoadPart) -> None:
    """Raise Unfit where a client did not send what the seed of its order says, in each second."""
    if part.backlog:
        return  # it was ended before its time, and does not count
    traffic = OpenLoop(rate_per_s=asked.rate_per_s, duration_s=asked.duration_s, seed=asked.seed)
    due = np.bincount(traffic.arrivals_ns() // NS_PER_S, minlength=len(part.seconds.due))
    if list(part.seconds.due) != due.tolist():
        raise Unfit(
            f"it sent {sum(part.seconds.due):,} requests, and {asked.rate_per_s:g} requests/s for "
            f"{asked.duration_s:g} s are {int(due.sum()):,} by its seed"
        )


def check_pair(asked: LoadPair, result: PairLoaded, host: Host) -> None:
    """Raise Unfit where ``result``, of ``host``, does not fit ``asked``, or its verdicts do not fit its figures."""
    has = {cpu.cpu for cpu in host.cpus}
    if not 1 <= result.rounds <= asked.rounds:
        raise Unfit(f"it has {result.rounds} rounds, and {asked.rounds} were asked for")
    first, second = (set(side.cpus) for side in result.sides)
    if first & second or not first | second <= has:
        raise Unfit("its models were not on CPUs of their own that its host has")
    for side, wanted in zip(result.sides, asked.sides, strict=True):
        same("rate", side.rate_per_s, wanted.rate_per_s)
        same("number of CPUs", len(side.cpus), wanted.configuration.vcpus)
        most = wanted.rate_per_s * asked.turn_s * result.rounds
        for loaded in (side.alone, side.beside):
            if loaded.verdict != "PASS":
                continue
            summary = loaded.summary
            if summary.saturated or summary.samples > MAX_TIMES_RATE * most:
                raise Unfit(
                    f"it has {summary.samples:,} samples, and {wanted.rate_per_s:g} requests/s for "
                    f"{asked.turn_s:g} s in {result.rounds} rounds are {most:,.0f}"
                )
