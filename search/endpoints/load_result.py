"""What loading an endpoint gives. The JSON form of it is in ``load_document``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.profiler.evidence.plateaus import Step
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.evidence.validity import Problem
    from servefit.profiler.machine.host import Host
    from servefit.profiler.procedures.decided_runs import Decision
    from servefit.profiler.procedures.highest_rate import HighestRate
    from servefit.profiler.record.endpoint_runs import EndpointRuns
    from servefit.profiler.record.types import Run
    from servefit.search.request.load_request import LoadRequest
    from servefit.search.results.recommendation import Verdict


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class SeenServer:
    """A server on this machine: the process that listens, what it is called, and the CPUs that it may use."""

    name: str
    pid: int
    cpus: tuple[int, ...]


@shown("endpoint", "verdict", "reason", "max_invocations", "users", "summary")
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTest:
    """An endpoint, loaded. Response times are those at the client: what limits are held against.

    Requests in the form ``protocol`` went to ``endpoint``, with ``payload`` in them, random rows where that is
    ``synthetic``. ``server`` is None for what runs elsewhere, or cannot be seen. ``summary`` is of the traffic that was
    asked for: at a rate, at the highest rate within limits, of the plateau of phases with the most answers within
    limits, or of ``users``. Where the most requests were looked for ``capacity`` has the figures of the ``users`` who
    got them, and ``ended`` says why no more were tried. ``steps`` are the numbers of users that were tried, or the
    plateaus of traffic in phases, ``stopped`` what ended that before its time. ``decision`` and ``highest`` are as in
    ``Profiled``, ``runs`` those that figures are of, and ``run`` is the last of them.

    ``max_invocations`` is a minute: within the limits where there are any; None where only one load was asked for, or
    nothing holds. ``verdict`` is None where nothing was asked; INVALID says that ``problems`` spoilt the measurement.
    """

    endpoint: str
    protocol: str
    model: str | None
    payload: str
    synthetic: bool
    request: LoadRequest
    host: Host
    is_here: bool
    server: SeenServer | None
    runs: tuple[Run, ...]
    summary: Summary
    capacity: Summary | None
    users: int | None
    steps: tuple[Step, ...]
    stopped: str | None
    ended: str | None
    decision: Decision | None
    highest: HighestRate | None
    max_invocations: int | None
    verdict: Verdict | None
    reason: str | None
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    elapsed_s: float

    @property
    def run(self) -> Run:
        return self.runs[-1]

    @property
    def latency_ms(self) -> Mapping[str, float | None]:
        """Percentiles of the response time, as the client saw it."""
        return self.summary.latency_ms

    @property
    def model_latency_ms(self) -> Mapping[str, float | None] | None:
        """Percentiles of the time that requests waited for the predictor and were predicted; None where the endpoint
        does not say."""
        return self.summary.model_latency_ms

    @property
    def overhead_ms(self) -> Mapping[str, float | None] | None:
        """Percentiles of the rest of the response time; None where the endpoint does not say."""
        return self.summary.overhead_ms

    def recorded(self) -> EndpointRuns:
        """Everything that was recorded, as ``save_measurement`` keeps it."""
        from servefit.profiler.record.endpoint_runs import EndpointRuns

        return EndpointRuns(
            url=self.endpoint, form=self.protocol, host_fingerprint=self.host.fingerprint, runs=self.runs
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON document that ``servefit load --format json`` prints."""
        from servefit.search.endpoints.document import load_document

        return load_document(self)
