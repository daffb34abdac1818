"""Jobs on fleets, as they are read: of each class of hosts a job that was told as a story."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.report.jobs import HOSTILE
from tests.report.story import Story, configuration, simulated_host

from servefit.search.fleet.fleet_job import ClassJob, FleetJob
from servefit.search.jobs.lifecycle import load_job
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.storage.header import JobHost, JobState, PlanRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.report.conftest import Reports

    from servefit.search.jobs.job import RecommendationJob

LARGE, SMALL, FAILING = "large", "small", "slow <b>one</b>"
"""Classes of hosts: two of which one carries more than the other, and one that does not hold the SLA."""

_HOSTS = {LARGE: (3, 1000.0, 1.0), SMALL: (4, 300.0, 0.4), FAILING: (2, 300.0, 0.1)}
"""How many there are of a class, the rate that each was confirmed to carry, and what each costs an hour."""


def fleet_job(
    reports: Reports,
    *,
    rate_per_s: float | None = 2200.0,
    plan: PlanRequest | None = None,
    classes: Sequence[str] = (LARGE, SMALL, FAILING),
) -> FleetJob:
    """A job on hosts of some ``classes`` that was asked for ``rate_per_s``. Without a class, they are not timed yet."""
    sla = Sla(thresholds=parse_sla("p95=20ms"), rate_per_s=rate_per_s)
    found = {name: _class_job(reports, name) for name in _HOSTS}
    hosts = [
        JobHost(
            name=f"{name}-{nth}",
            host=simulated_host(),
            profiles=(),
            host_class=name if name in classes else "",
            labels=(("rack", HOSTILE),),
            cost=(("per_hour", _HOSTS[name][2]),),
        )
        for name in _HOSTS
        for nth in range(_HOSTS[name][0])
    ]
    header = replace(
        found[LARGE].job.header,
        request=JobRequest(name="farm", sla=sla, deploy="endpoint"),
        hosts=tuple(hosts),
        plan=plan or PlanRequest(),
    )
    return FleetJob(
        header=header,
        state=JobState(status="COMPLETED", elapsed_s=60.0),
        classes=tuple(found[name] for name in classes),
    )


def _class_job(reports: Reports, name: str) -> ClassJob:
    count, rate_per_s, _ = _HOSTS[name]
    return ClassJob(
        host_class=name,
        hosts=tuple(f"{name}-{nth}" for nth in range(count)),
        job=_found(reports, f"on-a-fleet-{round(rate_per_s)}-{name == FAILING}", rate_per_s, fails=name == FAILING),
    )


def _found(reports: Reports, name: str, rate_per_s: float, *, fails: bool) -> RecommendationJob:
    """A job that is confirmed to hold the SLA at a rate, or not to."""
    with reports.at_home():
        if not (reports.state / "jobs" / name).exists():
            sla = Sla(thresholds=parse_sla("p95=0.05ms" if fails else "p95=20ms"), rate_per_s=rate_per_s)
            story = Story.of(JobRequest(name=name, sla=sla, deploy="endpoint"))
            story.compiles("forest")
            for kind in ("load_test", "confirmation"):
                story.tests(configuration("forest"), kind=kind, http_us=120.0)
            story.keep()
        return load_job(name)
