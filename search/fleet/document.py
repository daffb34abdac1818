"""The JSON form of a job on a fleet: its plan, its hosts, and for every class of them what a job on one host has."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from servefit.search.fleet.answer import left_out
from servefit.search.jobs.document import job_document

if TYPE_CHECKING:
    from servefit.search.fleet.fleet_job import FleetJob
    from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried
    from servefit.search.storage.header import JobHost, PlanGoal


def fleet_document(job: FleetJob, plan: FleetPlan | NotCarried | None, least: PlanGoal) -> dict[str, Any]:
    """Return the whole job, with ``plan``, of which what is ``least`` is minimized."""
    return {
        "name": job.name,
        "status": job.status,
        "elapsed_s": job.state.elapsed_s,
        "plan": None if plan is None else {"goal": least, **asdict(plan), "left_out": dict(left_out(job, plan))},
        "hosts": [
            {
                "name": host.name,
                "class": host.host_class,
                "fingerprint": host.host.fingerprint,
                "labels": dict(host.labels),
                "timing": _timing(host),
            }
            for host in job.header.hosts
        ],
        "classes": [
            {"name": class_job.host_class, "hosts": list(class_job.hosts), "job": job_document(class_job.job)}
            for class_job in job.classes
        ],
        "warnings": list(job.warnings),
    }


def _timing(host: JobHost) -> dict[str, Any] | None:
    """Return how long fixed work, and calls by the number of requests, took on a host; None where it was not timed."""
    if host.timing is None:
        return None
    return {
        "arithmetic_ns": host.timing.arithmetic.time_ns,
        "memory_ns": host.timing.memory.time_ns,
        "calls_ns": {str(call.requests): call.time.time_ns for call in host.timing.calls},
    }
