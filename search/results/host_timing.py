"""The times that a host took for work that is the same on every host: what twins are compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Self

from servefit.checks import check_above_zero, check_at_least, check_whole
from servefit.errors import SpecError
from servefit.showing import shown
from servefit.stored import Stored

ROUNDS = 13
"""Of so many values the fourth is the lower quartile, and the first and the seventh hold it between them 95 times in
100 (by the binomial distribution)."""

_QUARTILE, _LOW, _HIGH = 3, 0, 6

_SDS_95 = 1.96
"""Standard deviations on each side of the 95 % interval of a normal distribution."""


@shown("time_ns", "low_ns", "high_ns")
class WorkTime(Stored, frozen=True, kw_only=True):
    """The time of a piece of work, in nanoseconds, with a 95 % interval. Raises SpecError.

    It is the lower quartile of the means of several rounds: what disturbs a round makes it longer and never shorter,
    so the quicker half says more about the host than the slower one. What takes away the CPU in every round is in it.
    """

    time_ns: float
    low_ns: float
    high_ns: float

    def __post_init__(self) -> None:
        fields = ("low_ns", "time_ns", "high_ns")
        for field in fields:
            check_above_zero(field, getattr(self, field))
        for lower, field in pairwise(fields):
            if getattr(self, field) < getattr(self, lower):
                raise SpecError(field, getattr(self, field), f"is below {lower}")

    @classmethod
    def of(cls, rounds_ns: Sequence[float]) -> Self:
        """Return the time that thirteen rounds came to; the interval is by order statistics [David and Nagaraja 2003,
        Order Statistics, 7.1]. Raises SpecError."""
        if len(rounds_ns) != ROUNDS:
            raise SpecError("rounds_ns", len(rounds_ns), f"are not the {ROUNDS} rounds that an interval takes")
        for value in rounds_ns:
            check_above_zero("rounds_ns", value)
        ordered = sorted(rounds_ns)
        return cls(time_ns=ordered[_QUARTILE], low_ns=ordered[_LOW], high_ns=ordered[_HIGH])

    @property
    def error(self) -> float:
        """The standard error, as a part of the time: that of a normal distribution with this interval."""
        return (self.high_ns - self.low_ns) / (2 * _SDS_95 * self.time_ns)


@shown()
class CallsTime(Stored, frozen=True, kw_only=True):
    """The time of a call of a model that joins ``requests`` requests. Raises SpecError."""

    requests: int
    time: WorkTime

    def __post_init__(self) -> None:
        check_whole("requests", self.requests, least=1)


@shown("arithmetic", "memory", "calls")
class HostTiming(Stored, frozen=True, kw_only=True):
    """The times of a host for the fixed work of ``calibration``, and for calls of a model by one worker of one thread.

    ``arithmetic`` is a pass of numbers in a core, ``memory`` one of copying more than its own caches hold. ``calls``,
    by ascending numbers of requests, are of ``subject``, which names the model and the backend; where no model was
    given there are none. ``cpu_taken`` is the part of the time for which something else had the CPU. Raises SpecError.
    """

    arithmetic: WorkTime
    memory: WorkTime
    cpu_taken: float
    calls: tuple[CallsTime, ...] = ()
    subject: str | None = None

    def __post_init__(self) -> None:
        check_at_least("cpu_taken", self.cpu_taken, 0, most=1)
        if bool(self.subject) != bool(self.calls):
            raise SpecError("subject", self.subject, "does not go with the calls", remedy="name what they are of")
        if not all(few.requests < more.requests for few, more in pairwise(self.calls)):
            raise SpecError("calls", [call.requests for call in self.calls], "is not ascending")

    def works(self) -> Mapping[str, WorkTime]:
        """Return the time of each piece of work by its name in sentences."""
        return {
            "arithmetic": self.arithmetic,
            "memory": self.memory,
            **{f"calls of {call.requests}": call.time for call in self.calls},
        }

    def or_quicker(self, again: HostTiming) -> HostTiming:
        """Return what two timings of one host say together: of each piece of work the quicker, as the slower may have
        been disturbed. Where both agree the narrower interval counts; else it reaches to that of the slower one, as
        neither shows by itself what lies between. Raises SpecError for timings of different work."""
        if (self.subject, self.works().keys()) != (again.subject, again.works().keys()):
            raise SpecError("subject", again.subject, f"is not what was timed before, {self.subject!r}")
        return HostTiming(
            arithmetic=_quicker(self.arithmetic, again.arithmetic),
            memory=_quicker(self.memory, again.memory),
            cpu_taken=min(self.cpu_taken, again.cpu_taken),
            calls=tuple(
                CallsTime(requests=one.requests, time=_quicker(one.time, other.time))
                for one, other in zip(self.calls, again.calls, strict=True)
            ),
            subject=self.subject,
        )


def _quicker(one: WorkTime, other: WorkTime) -> WorkTime:
    quicker, slower = sorted((one, other), key=lambda work: (work.time_ns, work.low_ns, work.high_ns))
    agree = slower.low_ns <= quicker.high_ns
    high_ns = min(quicker.high_ns, slower.high_ns) if agree else slower.low_ns
    return WorkTime(time_ns=quicker.time_ns, low_ns=quicker.low_ns, high_ns=high_ns)
