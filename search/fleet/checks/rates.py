"""The rate that a host may be believed to have answered: by calls that were timed there, with room for what they miss.

The limits are wide. They are no second measurement: what lies above them was not measured at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from servefit.backends.types import Target
from servefit.quantities import number_text
from servefit.search.fleet.checks.unfit import Unfit

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.host_timing import HostTiming

_NS_PER_S = 1e9

MAX_TIMES_TIMED = 4.0
"""Times the rate by calls of the same backend that a load may answer: calls that are timed beside a neighbour take
two or three times as long. Chosen, not measured."""

MAX_TIMES_REFERENCE = 100.0
"""Times the rate by calls of the model's own library that another backend may answer: compiled trees take a hundredth
of the time that calls of one row take there. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCalls:
    """The calls that are known of a host: those of ``timing`` when it was compared with its twins, and those of the
    configurations that were ``timed`` since on hosts like it."""

    timing: HostTiming | None = None
    timed: Sequence[tuple[Configuration, ServiceTimes]] = ()


def check_rate(configuration: Configuration, rate_per_s: float, calls: TimedCalls) -> None:
    """Raise Unfit where ``configuration`` cannot have answered ``rate_per_s``, as far as that is known."""
    most_per_s = _most_per_s(configuration, calls)
    if most_per_s is not None and not rate_per_s <= most_per_s:
        raise Unfit(
            f"{number_text(rate_per_s)} requests/s are more than its timed calls allow, which is "
            f"{number_text(most_per_s)}"
        )


def check_timed(configuration: Configuration, service: ServiceTimes, timing: HostTiming | None) -> None:
    """Raise Unfit where calls of ``configuration`` cannot have been as short as ``service`` says, by ``timing``."""
    one_per_s = max(each.requests * _NS_PER_S / each.mean_ns for each in service.batches)
    check_rate(replace(configuration, workers=1), one_per_s, TimedCalls(timing=timing))


def _most_per_s(configuration: Configuration, calls: TimedCalls) -> float | None:
    alike = [
        _by_calls_per_s(configuration, subject, service)
        for subject, service in calls.timed
        if (subject.backend, subject.target) == (configuration.backend, configuration.target)
    ]
    if alike:
        return MAX_TIMES_TIMED * max(alike)
    # Calls of one thread of a CPU say nothing of a GPU.
    if calls.timing is None or not calls.timing.calls or configuration.target is not Target.CPU:
        return None
    one_per_s = max(each.requests * _NS_PER_S / each.time.low_ns for each in calls.timing.calls)
    of_it = (calls.timing.subject or "").endswith(f"/{configuration.backend}")
    return (MAX_TIMES_TIMED if of_it else MAX_TIMES_REFERENCE) * one_per_s * _threads(configuration)


def _by_calls_per_s(configuration: Configuration, subject: Configuration, service: ServiceTimes) -> float:
    """Return what ``configuration`` answers at most where calls take as long as those of ``subject`` and more threads
    are as many times faster."""
    sizes = {configuration.max_batch, *(each.requests for each in service.batches)}
    request_ns = min(service.mean_ns(size) / size for size in sizes if size <= configuration.max_batch)
    return _threads(configuration) / subject.settings.threads * _NS_PER_S / request_ns


def _threads(configuration: Configuration) -> int:
    return configuration.workers * configuration.settings.threads
