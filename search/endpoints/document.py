"""The JSON form of a load test, as programs read it. Its names are a contract; ``schema`` rises when one changes."""

from __future__ import annotations

import dataclasses
from math import isfinite
from typing import TYPE_CHECKING, Any

from servefit.search.jobs.document import sla_document

if TYPE_CHECKING:
    from servefit.profiler.evidence.sequential_test import Evidence
    from servefit.search.endpoints.load_result import LoadTest

SCHEMA = 1


def load_document(test: LoadTest) -> dict[str, Any]:
    """All of a load test but its samples."""
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
        "decision": decision_document(test),
        "highest_rate": None if test.highest is None else dataclasses.asdict(test.highest),
        "client": None if run.client is None else dataclasses.asdict(run.client),
        "problems": [dataclasses.asdict(problem) for problem in test.problems],
        "telemetry": [dataclasses.asdict(point) for point in run.telemetry],
        "elapsed_s": round(test.elapsed_s, 3),
        "warnings": list(test.warnings),
    }


def decision_document(test: LoadTest) -> dict[str, Any] | None:
    if test.decision is None:
        return None
    return {
        "verdict": test.decision.verdict,
        "reason": test.decision.reason,
        "evidence": [_evidence_document(one) for one in test.decision.evidence],
    }


def _evidence_document(one: Evidence) -> dict[str, Any]:
    """JSON has no infinity, which is the autocorrelation time of a run that is too short to tell."""
    known = one.autocorrelation_time is not None and isfinite(one.autocorrelation_time)
    return {**dataclasses.asdict(one), "autocorrelation_time": one.autocorrelation_time if known else None}


def _plain(percentiles: Any) -> dict[str, float | None] | None:
    return None if percentiles is None else dict(percentiles)
