"""Results of earlier jobs that a new job may begin with: service times, and capacities to predict with.

Only jobs on the same model, payload and host count, by the same servefit, and of each only the backends whose version
is still the same. What was timed for fewer batch sizes than this job may try is left alone: a backend that was timed
with single requests would be taken for one that gains nothing from batches. So would an endpoint, unless its costs are
enough for the rate of this job. Left alone is also what was not timed in traffic where this job does that, and what was
measured with a secret in the environment: whether it was the same one is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from servefit.backends.variables.secret import is_hidden
from servefit.errors import SpecError, StorageError
from servefit.profiler.queueing.service import ServiceTimes
from servefit.search.optimizer.call_timing import rate_in_process
from servefit.search.optimizer.endpoint_survey import MAX_JOINED, rate_of_survey
from servefit.search.optimizer.service_time_survey import service_times_of
from servefit.search.results.recommendation import CompilationReport, Trial
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.search.storage.steps import TESTS

if TYPE_CHECKING:
    from servefit.backends.types import Artifact
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.pace import Activity
    from servefit.search.request.job_request import JobRequest
    from servefit.search.storage.header import JobHeader
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.steps import Step

MAX_JOBS = 3
"""So many jobs with service times are made use of, the newest. Chosen, not measured."""

_MAX_JOBS_READ = 50
"""Jobs of any model, the newest first, that are looked at for those: each takes a moment to read. Chosen, not
measured."""


@dataclass(slots=True, kw_only=True)
class EarlierResults:
    """The results of earlier jobs that are over: ``service_times`` by what was timed, ``costs`` of endpoints by what
    was served, and the valid ``trials`` of the same deployment; and how many seconds tests and rounds took in the last
    that put the same load on each."""

    service_times: dict[Configuration, ServiceTimes] = field(default_factory=dict)
    costs: dict[Configuration, EndpointCosts] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    usual_s: dict[Activity, float] = field(default_factory=dict)


def results_of_earlier_jobs(
    store: JobStore,
    header: JobHeader,
    artifacts: Sequence[Artifact],
    grid: Iterable[Configuration],
    *,
    disturbed: bool = False,
) -> EarlierResults:
    """Return what the last jobs in ``store`` knew of the ``artifacts`` of the job with ``header`` and of its
    ``grid``. Costs of endpoints that were measured while the machine got in the way are left out, unless ``disturbed``
    ones do where there are no others."""
    grid = set(grid)
    largest = max((configuration.max_batch for configuration in grid), default=1)
    versions = {(artifact.backend, artifact.target): artifact.backend_version for artifact in artifacts}
    results = EarlierResults()
    disturbed_costs: dict[Configuration, EndpointCosts] = {}
    jobs = 0
    for past, steps in _similar_jobs(store, header):
        usable = {
            (report.backend, report.target)
            for report in (step.result for step in steps)
            if isinstance(report, CompilationReport)
            and report.version is not None
            and report.version == versions.get((report.backend, report.target))
        }
        usable_steps = [
            step
            for step in steps
            if step.configuration
            and (step.backend, step.configuration.target) in usable
            and not any(is_hidden(value) for _, value in step.configuration.environment)
        ]
        in_traffic = rate_in_process(header.request) is not None
        times = _service_times(usable_steps, largest, in_traffic=in_traffic)
        # The newest come first, and count.
        results.service_times = {**times, **results.service_times}
        costs = _costs(usable_steps, min(MAX_JOINED, largest), rate_of_survey(header.request))
        results.costs = results.costs or {subject: one for subject, one in costs.items() if not one.problems}
        disturbed_costs = disturbed_costs or costs
        same_deployment = past.request.deployment == header.request.deployment
        if past.request.phases is None and header.request.phases is None and same_deployment:
            results.trials.extend(
                step.result
                for step in usable_steps
                if step.kind in TESTS
                and isinstance(step.result, Trial)
                and step.result.verdict != "INVALID"
                and step.configuration in grid
            )
        if _same_load(past.request, header.request):
            results.usual_s = {**_usual_s(steps), **results.usual_s}
        jobs += bool(times)
        if jobs == MAX_JOBS:
            break
    if disturbed and not results.costs:
        results.costs = disturbed_costs
    return results


def _service_times(steps: Sequence[Step], largest: int, *, in_traffic: bool) -> Mapping[Configuration, ServiceTimes]:
    """Return the service times of backends whose single-threaded worker was timed with batches of ``largest``, and, if
    asked, ``in_traffic`` too."""
    timed = [step for step in steps if isinstance(step.result, ServiceTimes) and step.configuration is not None]
    whole = {
        step.backend
        for step in timed
        if step.configuration is not None
        and isinstance(step.result, ServiceTimes)
        and (step.configuration.workers, step.configuration.settings.threads) == (1, 1)
        and step.configuration.max_batch >= largest
        and (step.result.after_idle or not in_traffic)
    }
    return service_times_of(step for step in timed if step.backend in whole)


def _costs(steps: Sequence[Step], joined: int, rate_per_s: float | None) -> dict[Configuration, EndpointCosts]:
    """Return the costs of endpoints that joined so many requests or more, or are enough for the rate, by what was
    served."""
    return {
        step.configuration: step.result
        for step in steps
        if step.configuration is not None
        and isinstance(step.result, EndpointCosts)
        and (step.result.joined >= joined or (rate_per_s is not None and rate_per_s <= step.result.enough_for_per_s))
    }


def _similar_jobs(store: JobStore, header: JobHeader) -> Iterator[tuple[JobHeader, tuple[Step, ...]]]:
    """Yield the jobs that are over and share their subject with ``header``, the newest first. A job that cannot be
    read is left out."""
    for entry in store.overview()[:_MAX_JOBS_READ]:
        past = entry.header
        if past is None or entry.state is None or entry.name == header.request.name:
            continue
        if entry.state.status == "IN_PROGRESS":
            continue
        alike = [past_subject for past_subject in _by_host(past) if _subject(past_subject[1]) == _subject(header)]
        try:
            for host, there in alike:
                steps = store.job(entry.name).steps()
                yield there, tuple(step for step in steps if (step.attempt and step.attempt.host) == host)
        except (SpecError, StorageError):
            continue


def _by_host(header: JobHeader) -> Iterator[tuple[str | None, JobHeader]]:
    """Yield what a job does on each host of a fleet that it measures on, with its name; else the job, and None."""
    if not header.hosts:
        yield None, header
    for host in header.hosts:
        yield host.name, header.on(host.name)


def _same_load(first: JobRequest, second: JobRequest) -> bool:
    """Return whether tests of both requests put the same kinds of load on a configuration."""
    same = (first.sla.rate_per_s is None) == (second.sla.rate_per_s is None)
    same = same and first.deployment == second.deployment
    return same and first.phases == second.phases and first.goal == second.goal


def _usual_s(steps: Iterable[Step]) -> dict[Activity, float]:
    """Return the median seconds of tests, and of parts in rounds, disturbed ones included: the machine may be as busy
    now."""
    seen: dict[Activity, list[float]] = {}
    for step in steps:
        result = step.result
        if isinstance(result, Trial) and step.ended_at is not None:
            if step.kind == "load_test":
                seen.setdefault("test", []).append(step.ended_at - step.began_at)
            elif result.round is not None:
                seen.setdefault("round", []).append(step.ended_at - step.began_at)
    return {kind: median(seconds) for kind, seconds in seen.items()}


def _subject(header: JobHeader) -> tuple[str, str, str, int, str]:
    """Return what jobs have to share for the results of one to count in the other."""
    return (
        header.model.digest,
        header.payload.digest,
        header.host.fingerprint,
        header.request.rows_per_request,
        header.servefit,
    )
