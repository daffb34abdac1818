"""The result of a load from several clients, and its JSON form, whose names are a contract: ``schema`` rises when one
changes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.search.jobs.document import sla_document
from servefit.showing import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.profiler.evidence.limits import Verdict
    from servefit.profiler.evidence.summary import Summary
    from servefit.search.fleet.load.clients_together import ClientProblem
    from servefit.search.fleet.load_orders import LoadPart
    from servefit.search.request.load_request import LoadRequest

SCHEMA = 1
"""The first form: no name has changed yet."""


@shown("host", "rate_per_s", "lost")
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadClientResult:
    """The client on ``host``, which was to send at ``rate_per_s``: its ``part`` of the load, or, in words, why there is
    none."""

    host: str
    rate_per_s: float
    part: LoadPart | None
    lost: str | None = None

    @property
    def answered(self) -> int:
        """The number of its requests that the endpoint answered while they were due."""
        return 0 if self.part is None else sum(self.part.seconds.answered)


@shown("url", "verdict", "reason", "summary")
@dataclass(frozen=True, slots=True, kw_only=True)
class ClientsLoadTest:
    """An endpoint, loaded by several clients. Response times are those at the clients.

    ``summary`` has the figures of all ``clients`` that answered, merged; None where none did, or nothing was sent.
    ``verdict`` INVALID says that ``problems`` spoilt the measurement; PASS without limits that the endpoint kept the
    rate.
    """

    url: str
    request: LoadRequest
    clients: tuple[LoadClientResult, ...]
    summary: Summary | None
    overlap: float | None
    verdict: Verdict
    reason: str | None
    problems: tuple[ClientProblem, ...]
    warnings: tuple[str, ...]
    elapsed_s: float

    @property
    def latency_ms(self) -> Mapping[str, float | None]:
        """Percentiles of the response time, of all clients together; empty where there are no figures."""
        return {} if self.summary is None else self.summary.latency_ms

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document that ``servefit load --from --format json`` prints."""
        summary, request = self.summary, self.request
        return {
            "schema": SCHEMA,
            "endpoint": self.url,
            "sla": None if request.sla.asks_nothing else sla_document(request.sla),
            "verdict": self.verdict,
            "reason": self.reason,
            "throughput_per_s": None if summary is None else summary.throughput_per_s,
            "offered_per_s": None if summary is None else summary.offered_per_s,
            "samples": None if summary is None else summary.samples,
            "failed": None if summary is None else summary.failed,
            "errors": {} if summary is None else dict(summary.errors),
            "latency_ms": dict(self.latency_ms),
            "latency_ms_ci95": {}
            if summary is None
            else {name: list(interval) for name, interval in summary.latency_ms_ci95.items()},
            "overlap": self.overlap,
            "clients": [_client_document(client) for client in self.clients],
            "problems": [dataclasses.asdict(problem) for problem in self.problems],
            "elapsed_s": round(self.elapsed_s, 3),
            "warnings": list(self.warnings),
        }


def _client_document(client: LoadClientResult) -> dict[str, Any]:
    """Return the JSON form of a client: all of its part but the histograms."""
    document: dict[str, Any] = {"host": client.host, "rate_per_s": client.rate_per_s, "lost": client.lost}
    part = client.part
    if part is None:
        return document
    return {
        **document,
        "endpoint": part.endpoint,
        "protocol": part.protocol,
        "model": part.model,
        "payload": {"source": part.payload, "synthetic": part.synthetic},
        "is_on_the_endpoints_machine": part.is_here,
        "began_at": part.began_s,
        "ended_at": part.ended_s,
        "clock_within_s": part.clock_within_s,
        "late_s": part.late_s,
        "gave_up": part.backlog,
        "cpus": list(part.cpus),
        "summary": dataclasses.asdict(part.summary),
        "seconds": dataclasses.asdict(part.seconds),
        "problems": [dataclasses.asdict(problem) for problem in part.problems],
    }
