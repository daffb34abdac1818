"""The metrics of the load tests of recommendation jobs, under the endpoints that steps and recommendations name.

All that was recorded counts, also what led up to the plateau that figures are taken from.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.aws.endpoints.invocations import Variant
from servefit.aws.jobs.queue import ENDED, KIND
from servefit.aws.services.cloudwatch.metrics import (
    OF_CLIENTS,
    OF_INSTANCES,
    OF_INVOCATIONS,
    UNITS,
    CloudWatchMetric,
)
from servefit.aws.services.cloudwatch.series import SampleSeries
from servefit.aws.services.sagemaker.recommendations import endpoint_of
from servefit.search.capacity.latency_curve import kept_runs
from servefit.search.jobs.job import space_of
from servefit.search.results.recommendation import Trial
from servefit.search.storage.job_folder import job_folder
from servefit.search.storage.steps import TESTS

if TYPE_CHECKING:
    from servefit.aws.jobs.own_job import OwnJobs
    from servefit.aws.jobs.plan import Plan
    from servefit.aws.jobs.queue import JobQueue
    from servefit.aws.services.cloudwatch.recorded import Recorded, Recordings
    from servefit.aws.state.resources import Resource, Resources
    from servefit.search.jobs.job import RecommendationJob

_MAX_JOBS = 256
"""Jobs whose tests are remembered: some kilobytes each. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedLoadTest:
    """A load test that is over, under the name of an endpoint of an instance with so much memory. Times are in seconds
    since 1970."""

    job: str
    endpoint: str
    memory_bytes: int
    trial: Trial
    began_s: float
    ended_s: float


class LoadTestMetrics:
    """Those of the jobs of ``queue``, which are kept in ``resources``; ``own_jobs`` load what was carried out. Threads
    may share it."""

    def __init__(self, resources: Resources, queue: JobQueue, recordings: Recordings, own_jobs: OwnJobs) -> None:
        self._resources = resources
        self._queue = queue
        self._recordings = recordings
        self._own_jobs = own_jobs
        self._over: OrderedDict[str, tuple[EndedLoadTest, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def metrics(self) -> Iterator[tuple[CloudWatchMetric, float]]:
        newest: dict[CloudWatchMetric, float] = {}
        for job in self._resources.all(KIND):
            for test in self._tests_of(job):
                for metric in _metrics_of(test):
                    newest[metric] = max(test.ended_s, newest.get(metric, 0.0))
        yield from newest.items()

    def series(self, metric: CloudWatchMetric, begin_s: float, end_s: float) -> SampleSeries:
        if metric.unit is None:
            return SampleSeries.joined([])
        tests = [
            test
            for job in self._resources.all(KIND)
            if job.created < end_s and (job.document.get("CompletionTime") or end_s) >= begin_s
            for test in self._tests_of(job)
            if metric in _metrics_of(test)
        ]
        series = [self._recorded(test).series(metric.name, memory_bytes=test.memory_bytes) for test in tests]
        return SampleSeries.joined([part.between(begin_s, end_s) for part in series])

    def _recorded(self, test: EndedLoadTest) -> Recorded:
        folder, trial = job_folder(test.job), test.trial
        return self._recordings.of(
            folder / (trial.kept_in or ""),
            lambda: kept_runs(trial, folder),
            first_s=test.began_s + trial.measurement.load_s,
            ended_s=test.ended_s,
        )

    def _tests_of(self, job: Resource) -> tuple[EndedLoadTest, ...]:
        """Return the load tests of a job that are over. Those of a job that is over do not change any more."""
        with self._lock:
            if job.name in self._over:
                self._over.move_to_end(job.name)
                return self._over[job.name]
        files = self._queue.files(job.name)
        recommendation_job = self._own_jobs.of(files)
        tests = () if recommendation_job is None else tuple(_load_tests(recommendation_job, files.plan()))
        if job.document["Status"] in ENDED:
            with self._lock:
                self._over[job.name] = tests
                while len(self._over) > _MAX_JOBS:
                    self._over.popitem(last=False)
        return tests


def _load_tests(job: RecommendationJob, plan: Plan) -> Iterator[EndedLoadTest]:
    """Yield the load tests of a job that are over, under each instance type that they stand for."""
    for step in job.steps:
        trial, ended_s = step.result, step.ended_at
        if step.kind not in TESTS or not isinstance(trial, Trial) or trial.kept_in is None or ended_s is None:
            continue
        for profile, points in space_of(job.header, job.trials).profiles:
            if trial.configuration not in points:
                continue
            for instance_type in (measured.instance_type for measured in plan.types_of(profile.name)):
                yield EndedLoadTest(
                    job=job.name,
                    endpoint=endpoint_of(job.name, instance_type, trial.configuration),
                    memory_bytes=profile.memory_bytes,
                    trial=trial,
                    began_s=step.began_at,
                    ended_s=ended_s,
                )


def _metrics_of(test: EndedLoadTest) -> Iterator[CloudWatchMetric]:
    """Yield the metrics that a test has samples of. Where an endpoint was predicted there are those of the model in
    process, beside which there is no overhead."""
    variant = Variant(test.endpoint, test.endpoint)
    over_http = (test.trial.driver, test.trial.basis) == ("http", "measured")
    for name in UNITS[OF_INVOCATIONS]:
        if name != "OverheadLatency" or over_http:
            yield CloudWatchMetric.of_variant(OF_INVOCATIONS, name, variant)
    for name in UNITS[OF_INSTANCES]:
        yield CloudWatchMetric.of_variant(OF_INSTANCES, name, variant)
    for name in UNITS[OF_CLIENTS]:
        yield CloudWatchMetric.of_clients(name, job=test.job, endpoint=test.endpoint)
