"""The metrics of endpoints that were there already while recommendation jobs loaded them.

Load goes to them directly, and so is not among the invocations that the server passes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.aws.endpoints.invocations import Variant
from servefit.aws.jobs.endpoint_load import KeptLoad
from servefit.aws.jobs.queue import KIND
from servefit.aws.services.cloudwatch.metrics import (
    OF_CLIENTS,
    OF_INSTANCES,
    OF_INVOCATIONS,
    UNITS,
    CloudWatchMetric,
)
from servefit.aws.services.cloudwatch.series import SampleSeries
from servefit.errors import UnreadableMeasurement

if TYPE_CHECKING:
    from servefit.aws.jobs.queue import JobQueue
    from servefit.aws.services.cloudwatch.recorded import Recorded, Recordings
    from servefit.aws.state.resources import Resources
    from servefit.profiler.record.types import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """A load that is over, of a variant of an endpoint. Times are in seconds since 1970."""

    job: str
    variant: Variant
    samples: Path
    knows_cpu: bool
    began_s: float
    ended_s: float


class EndpointLoadMetrics:
    """Those of the jobs of ``queue``, which are kept in ``resources``."""

    def __init__(self, resources: Resources, queue: JobQueue, recordings: Recordings) -> None:
        self._resources = resources
        self._queue = queue
        self._recordings = recordings

    def metrics(self) -> Iterator[tuple[CloudWatchMetric, float]]:
        for load in self._loads():
            for metric in _metrics_of(load):
                yield metric, load.ended_s

    def series(self, metric: CloudWatchMetric, begin_s: float, end_s: float) -> SampleSeries:
        return SampleSeries.joined(
            [
                self._recorded(load).series(metric.name).between(begin_s, end_s)
                for load in self._loads()
                if load.began_s < end_s and load.ended_s >= begin_s and metric in _metrics_of(load)
            ]
        )

    def _recorded(self, load: _Load) -> Recorded:
        return self._recordings.of(
            load.samples, lambda: _runs_in(load.samples), first_s=load.began_s, ended_s=load.ended_s
        )

    def _loads(self) -> Iterator[_Load]:
        for job in self._resources.all(KIND):
            if not job.document["InputConfig"].get("Endpoints"):
                continue
            files = self._queue.files(job.name)
            endpoint, kept = files.plan().endpoint, KeptLoad(files.folder)
            load = kept.read()
            if endpoint is None or load is None or load.began_at is None or load.ended_at is None:
                continue
            yield _Load(
                job=job.name,
                variant=Variant(endpoint.name, endpoint.variant or endpoint.name),
                samples=kept.samples,
                knows_cpu=load.cpu_percent is not None,
                began_s=load.began_at,
                ended_s=load.ended_at,
            )


def _runs_in(file: Path) -> Sequence[Run]:
    """Return the runs in a file, none where they were not kept."""
    from servefit.profiler.record.storage.measurements import load_endpoint_runs

    try:
        return load_endpoint_runs(file).runs
    except UnreadableMeasurement:
        return ()


def _metrics_of(load: _Load) -> Iterator[CloudWatchMetric]:
    for name in UNITS[OF_INVOCATIONS]:
        yield CloudWatchMetric.of_variant(OF_INVOCATIONS, name, load.variant)
    if load.knows_cpu:
        yield CloudWatchMetric.of_variant(OF_INSTANCES, "CPUUtilization", load.variant)
    for name in UNITS[OF_CLIENTS]:
        yield CloudWatchMetric.of_clients(name, job=load.job, endpoint=load.variant.endpoint)
