"""What earlier jobs knew that a new one may begin with: service times, and capacities to predict with.

Only jobs on the same model, payload and host count, by the same servefit, and of each only the backends whose version
is still the same. What was timed for fewer batch sizes than this job may try is left alone: a backend that was timed
with single requests would be taken for one that gains nothing from batches. So is what was measured with a secret in
the environment: whether it was the same one is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

from servefit.backends.secret import is_hidden
from servefit.errors import SpecError, StorageError
from servefit.search.queueing.service import ServiceTimes
from servefit.search.results.recommendation import CompilationReport, Trial
from servefit.search.storage.steps import TESTS

if TYPE_CHECKING:
    from servefit.backends.types import Artifact
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.pace import Kind
    from servefit.search.request.job_request import JobRequest
    from servefit.search.storage.header import JobHeader
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.steps import Step

MAX_JOBS = 3
"""So many jobs with service times are remembered."""

_MAX_JOBS_READ = 50


@dataclass(slots=True, kw_only=True)
class EarlierResults:
    """``service_times`` by what was timed, and the valid ``trials``, of jobs that are over; and how many seconds tests
    and rounds took in the last that put the same load on each."""

    service_times: dict[Configuration, ServiceTimes] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    usual_s: dict[Kind, float] = field(default_factory=dict)


def results_of_earlier_jobs(
    store: JobStore, header: JobHeader, artifacts: Sequence[Artifact], grid: Iterable[Configuration]
) -> EarlierResults:
    """What the last jobs in ``store`` knew of the ``artifacts`` of the job with ``header`` and of its ``grid``."""
    grid = set(grid)
    largest = max((one.max_batch for one in grid), default=1)
    versions = {(one.backend, one.target): one.backend_version for one in artifacts}
    found = EarlierResults()
    jobs = 0
    for past, steps in _similar_jobs(store, header):
        usable = {
            (report.backend, report.target)
            for report in (one.result for one in steps)
            if isinstance(report, CompilationReport)
            and report.version is not None
            and report.version == versions.get((report.backend, report.target))
        }
        mine = [
            one
            for one in steps
            if one.configuration
            and (one.backend, one.configuration.target) in usable
            and not any(is_hidden(value) for _, value in one.configuration.environment)
        ]
        times = _service_times(mine, largest)
        # The newest come first, and count.
        found.service_times = {**times, **found.service_times}
        if past.request.phases is None and header.request.phases is None:
            found.trials.extend(
                one.result
                for one in mine
                if one.kind in TESTS
                and isinstance(one.result, Trial)
                and one.result.verdict != "INVALID"
                and one.configuration in grid
            )
        if _same_load(past.request, header.request):
            found.usual_s = {**_usual_s(steps), **found.usual_s}
        jobs += bool(times)
        if jobs == MAX_JOBS:
            break
    return found


def service_times_of(steps: Iterable[Step]) -> dict[Configuration, ServiceTimes]:
    """What the microbenchmarks among ``steps`` found, by what was timed."""
    return {
        replace(one.configuration, max_batch=1): one.result
        for one in steps
        if isinstance(one.result, ServiceTimes) and one.configuration is not None
    }


def _service_times(steps: Sequence[Step], largest: int) -> Mapping[Configuration, ServiceTimes]:
    """Those of backends whose single-threaded worker was timed with batches of ``largest``."""
    timed = [one for one in steps if isinstance(one.result, ServiceTimes) and one.configuration is not None]
    whole = {
        one.backend
        for one in timed
        if one.configuration is not None
        and (one.configuration.workers, one.configuration.settings.threads) == (1, 1)
        and one.configuration.max_batch >= largest
    }
    return service_times_of(one for one in timed if one.backend in whole)


def _similar_jobs(store: JobStore, header: JobHeader) -> Iterator[tuple[JobHeader, tuple[Step, ...]]]:
    """The jobs that are over and share their subject with ``header``, the newest first. What cannot be read is no
    reason for a new job to fail."""
    for one in store.overview()[:_MAX_JOBS_READ]:
        past = one.header
        if past is None or one.state is None or one.name == header.request.name:
            continue
        if one.state.status != "IN_PROGRESS" and _subject(past) == _subject(header):
            try:
                yield past, store.job(one.name).steps()
            except (SpecError, StorageError):
                continue


def _same_load(one: JobRequest, other: JobRequest) -> bool:
    same = (one.sla.rate_per_s is None) == (other.sla.rate_per_s is None)
    return same and one.phases == other.phases and one.goal == other.goal


def _usual_s(steps: Iterable[Step]) -> dict[Kind, float]:
    """The medians of what tests and parts in rounds took, disturbed ones included: the machine may be as busy now."""
    seen: dict[Kind, list[float]] = {}
    for one in steps:
        result = one.result
        if isinstance(result, Trial) and one.ended_at is not None:
            if one.kind == "load_test":
                seen.setdefault("test", []).append(one.ended_at - one.began_at)
            elif result.round is not None:
                seen.setdefault("round", []).append(one.ended_at - one.began_at)
    return {kind: median(seconds) for kind, seconds in seen.items()}


def _subject(header: JobHeader) -> tuple[str, str, str, int, str]:
    return (
        header.model.digest,
        header.payload.digest,
        header.host.fingerprint,
        header.request.rows_per_request,
        header.servefit,
    )
