"""Times the hosts of a job, all at the same time, and groups those that are alike."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.errors import AgentLost, ServefitError
from servefit.search.fleet.classes.grouping import FURTHER_TIMINGS, host_classes
from servefit.search.fleet.dispatcher import REFUSED
from servefit.search.fleet.orders import Calibrate, Order
from servefit.search.results.host_timing import HostTiming

if TYPE_CHECKING:
    from servefit.search.fleet.classes.grouping import HostClasses
    from servefit.search.fleet.classes.host_facts import HostFacts
    from servefit.search.fleet.dispatcher import Dispatcher
    from servefit.search.optimizer.clock import Clock
    from servefit.search.storage.header import JobHeader, JobHost

LIMIT_S = 60.0
"""Timing a host takes three or four seconds, and as long again for the reference to be compiled. Chosen, not
measured."""


def classify(
    hosts: Iterable[JobHost], facts: Mapping[str, HostFacts], header: JobHeader, dispatcher: Dispatcher, clock: Clock
) -> tuple[tuple[JobHost, ...], HostClasses]:
    """Time ``hosts`` for the job of ``header``, and return those that could be timed with their classes, each after the
    host that stands for its class, and what there is to say of them. ``facts`` are those of the hosts by name.

    Hosts that are in doubt are timed again, since a disturbance is seldom there twice, while no more than a part of the
    time of the job, by ``clock``, is over. Raises StorageError, and what the first host says where none can be timed.
    """
    hosts_by_name = {host.name: host for host in hosts}
    timings: dict[str, HostTiming | None] = dict.fromkeys(hosts_by_name)
    failures: dict[str, ServefitError] = {}
    again: tuple[str, ...] = tuple(hosts_by_name)
    until_s = clock.elapsed_s + clock.share_s(0.0)
    over_s = clock.elapsed_s + clock.share_s(LIMIT_S)
    for _ in range(1 + FURTHER_TIMINGS):
        began_s = clock.elapsed_s
        for name, timing in _timed(again, header, dispatcher, lambda: over_s - clock.elapsed_s).items():
            earlier = timings[name]
            if isinstance(timing, ServefitError):
                failures.setdefault(name, timing)
            elif timing is not None:
                timings[name] = timing if earlier is None else earlier.or_quicker(timing)
        classes = host_classes({name: (facts[name], timings[name]) for name in hosts_by_name})
        again = classes.doubtful()
        if not again or 2 * clock.elapsed_s - began_s > until_s:
            break
    ordered = []
    for host_class in classes.classes:
        twins = [name for name in host_class.hosts if name != host_class.representative]
        ordered += [
            replace(hosts_by_name[name], host_class=host_class.name, timing=timings[name])
            for name in (host_class.representative, *twins)
        ]
    if not ordered and failures:
        raise next(iter(failures.values()))
    untimed = tuple(f"{name} could not be timed: {error.message}" for name, error in failures.items())
    return tuple(ordered), replace(classes, remarks=(*classes.remarks, *untimed))


def _timed(
    names: Iterable[str], header: JobHeader, dispatcher: Dispatcher, left_s: Callable[[], float]
) -> dict[str, HostTiming | ServefitError | None]:
    """Return the timings of hosts; None of those whose agents are lost, and why others could not be timed. ``left_s``
    gives the time that there is for it."""

    def time(name: str) -> HostTiming | ServefitError | None:
        order = Order(
            token=secrets.token_hex(16),
            host=name,
            job=header.request.name,
            asked=Calibrate(subject=f"{header.model.digest}/{header.model.reference}"),
            limit_s=LIMIT_S,
            elapsed_s=0.0,
            model_digest=header.model.digest,
        )
        try:
            answer = dispatcher.ask(order, left_s=left_s)
        except AgentLost as error:
            return error if error.reason.startswith(REFUSED) else None
        if answer.failure is not None:
            return answer.failure.as_error()
        return answer.result if isinstance(answer.result, HostTiming) else None

    names = tuple(names)
    # All at the same time: a thread that waits for a host costs little.
    with ThreadPoolExecutor(len(names), "servefit timing") as pool:
        try:
            return dict(zip(names, pool.map(time, names), strict=True))
        except BaseException:
            # What others are at is not waited for.
            dispatcher.close()
            raise
