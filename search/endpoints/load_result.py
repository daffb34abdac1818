"""The result of a load on an endpoint, and its JSON form, whose names are a contract: ``schema`` rises when one
changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from servefit.search.jobs.document import sla_document
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.profiler.evidence.limits import Verdict
    from servefit.profiler.evidence.plateaus import UserStep
    from servefit.profiler.evidence.problem import Problem
    from servefit.profiler.evidence.sequential_test import Evidence
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.machine.host import Host
    from servefit.profiler.procedures.decided_runs import Decision
    from servefit.profiler.procedures.tried_rates import HighestRate
    from servefit.profiler.record.endpoint_runs import EndpointRuns
    from servefit.profiler.record.types import Run
    from servefit.search.request.load_request import LoadRequest


SCHEMA = 1
"""The first form: no name has changed yet."""


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

    Example:
        ::

            with job.best.serve() as endpoint:
                found = sf.load_endpoint(endpoint.url, payload="payload.csv", users=1, duration_s=1)
            print(found.summary.throughput_per_s, found.problems)
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
    steps: tuple[UserStep, ...]
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
        """Return everything that was recorded, as ``save_measurement`` keeps it."""
        from servefit.profiler.record.endpoint_runs import EndpointRuns

        return EndpointRuns(
            url=self.endpoint, form=self.protocol, host_fingerprint=self.host.fingerprint, runs=self.runs
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document that ``servefit load --format json`` prints."""
        return load_document(self)


def load_document(test: LoadTest) -> dict[str, Any]:
    """Return the JSON form of a load test: all of it but its samples."""
    summary, run, request = test.summary, test.run, test.request
    return {
        "schema": SCHEMA,
        "endpoint": test.endpoint,
        "protocol": test.protocol,
        "model": test.model,
        "payload": {
            "source": test.payload,
            "rows_per_request": request.rows_per_request,
            "synthetic": test.synthetic,
        },
        "driver": run.driver,
        "host": dataclasses.asdict(test.host),
        "is_this_machine": test.is_here,
        "server": None if test.server is None else dataclasses.asdict(test.server),
        "sla": None if request.sla.asks_nothing else sla_document(request.sla),
        "verdict": test.verdict,
        "reason": test.reason,
        "max_invocations": test.max_invocations,
        "users": test.users,
        "throughput_per_s": summary.throughput_per_s,
        "samples": summary.samples,
        "failed": summary.failed,
        "errors": dict(summary.errors),
        "latency_ms": dict(summary.latency_ms),
        "latency_ms_ci95": {name: list(interval) for name, interval in summary.latency_ms_ci95.items()},
        "model_latency_ms": _plain(summary.model_latency_ms),
        "overhead_latency_ms": _plain(summary.overhead_ms),
        "traffic": dataclasses.asdict(run.traffic),
        "summary": dataclasses.asdict(summary),
        "capacity": None if test.capacity is None else dataclasses.asdict(test.capacity),
        "steps": [dataclasses.asdict(step) for step in test.steps],
        "stopped": test.stopped,
        "search_ended": test.ended,
        "decision": decision_document(test.decision),
        "highest_rate": None if test.highest is None else dataclasses.asdict(test.highest),
        "client": None if run.client is None else dataclasses.asdict(run.client),
        "problems": [dataclasses.asdict(problem) for problem in test.problems],
        "telemetry": [dataclasses.asdict(point) for point in run.telemetry],
        "elapsed_s": round(test.elapsed_s, 3),
        "warnings": list(test.warnings),
    }


def decision_document(decision: Decision | None) -> dict[str, Any] | None:
    """Return the JSON form of a verdict at a rate, with its evidence."""
    if decision is None:
        return None
    return {
        "verdict": decision.verdict,
        "reason": decision.reason,
        "evidence": [_evidence_document(evidence) for evidence in decision.evidence],
    }


def _evidence_document(evidence: Evidence) -> dict[str, Any]:
    """Return the JSON form of ``evidence``, without the infinity that JSON has none of."""
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in dataclasses.asdict(evidence).items()
    }


def _plain(percentiles: Any) -> dict[str, float | None] | None:
    return None if percentiles is None else dict(percentiles)
