"""The interface of a driver, which carries out runs: all that deciding, searching and comparing need to know of it.

``inprocess.workers`` and ``http.clients`` make them. What a run is, and what it recorded, is the same for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servefit.profiler.drivers.driving.ending import Enough
    from servefit.profiler.evidence.stopping import StoppingConditions
    from servefit.profiler.machine.envelope.types import Envelope
    from servefit.profiler.record.types import Configuration, Run, Traffic


class Driver(Protocol):
    """A driver carries out runs. ``configuration`` and ``envelope`` are None where what is measured is not ours: an
    endpoint somewhere. ``usual_users`` is how many users at once keep it busy."""

    @property
    def configuration(self) -> Configuration | None: ...

    @property
    def envelope(self) -> Envelope | None: ...

    @property
    def usual_users(self) -> int: ...

    def run(self, traffic: Traffic, *, enough: Enough | None = None, stopping: StoppingConditions | None = None) -> Run:
        """Warm up, carry out ``traffic`` once, and give what was recorded. Raises MeasurementError.

        While an open loop goes on, ``enough`` is called now and then with the response times so far (int64 ns, in order
        of arrival, up to the first request without an answer; FAILED_NS for those that failed) and how busy the server
        was at most (1: all of the time), and ends it by giving True. A closed loop ends when one of the conditions of
        ``stopping`` is reached; requests that were due by then still get their answer.
        """
        ...


class MeasuredDriver(Driver, Protocol):
    """A driver of something that was started for it, in an envelope. ``load_s`` is how long that took."""

    @property
    def configuration(self) -> Configuration: ...

    @property
    def envelope(self) -> Envelope: ...

    @property
    def load_s(self) -> float: ...
