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
    from servefit.backends.types import Settings
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.host_timing import HostTiming

_NS_PER_S = 1e9

MAX_TIMES_TIMED = 4.0
"""Times the rate by calls of the same settings that a load may answer: calls that follow each other are quicker
than those that were timed, and by far not as much. Chosen, not measured."""

MAX_TIMES_OTHER = 100.0
"""Times the rate by calls of other settings or of the model's own library: compiled trees take a hundredth of the time
that calls of one row take there, and threads that wait for each other a tenth. Chosen, not measured."""


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
    one_per_s = max(batch.requests * _NS_PER_S / batch.mean_ns for batch in service.batches)
    check_rate(replace(configuration, workers=1), one_per_s, TimedCalls(timing=timing))


def _most_per_s(configuration: Configuration, calls: TimedCalls) -> float | None:
    timed_rates = [
        (_setting(subject) == _setting(configuration), _by_calls_per_s(configuration, service))
        for subject, service in calls.timed
        if (subject.backend, subject.target) == (configuration.backend, configuration.target)
    ]
    if own := [rate_per_s for is_own, rate_per_s in timed_rates if is_own]:
        return MAX_TIMES_TIMED * max(own)
    if timed_rates:
        return MAX_TIMES_OTHER * configuration.settings.threads * max(rate_per_s for _, rate_per_s in timed_rates)
    # Calls of one thread of a CPU say nothing of a GPU.
    if calls.timing is None or not calls.timing.calls or configuration.target is not Target.CPU:
        return None
    one_per_s = max(call.requests * _NS_PER_S / call.time.low_ns for call in calls.timing.calls)
    return MAX_TIMES_OTHER * configuration.workers * configuration.settings.threads * one_per_s


def _by_calls_per_s(configuration: Configuration, service: ServiceTimes) -> float:
    """Return what ``configuration`` answers where all calls take as long as the quickest of ``service``: those that
    nothing disturbed."""
    sizes = {configuration.max_batch, *(batch.requests for batch in service.batches)}
    request_ns = min(float(service.strata_ns(size)[0]) / size for size in sizes if size <= configuration.max_batch)
    return configuration.workers * _NS_PER_S / request_ns


def _setting(configuration: Configuration) -> tuple[Settings, tuple[tuple[str, str], ...]]:
    return configuration.settings, configuration.environment
