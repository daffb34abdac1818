"""A job that measures on a fleet, as it is read: what it found on each class of hosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.search.jobs.lifecycle import read_job

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.storage.header import JobHeader, JobState, JobStatus
    from servefit.search.storage.jobs import JobStore


BROKE_OFF = "nothing more was measured on "
"""Begins the remark on a class that was not measured to its end."""

LEFT_ALONE = "not tested under load: whatever it carries, the plan does without it"
"""The remark on a class of which calls were timed, and no more."""

NOT_PLANNED = "the winner was not measured again: the plan does without hosts like this"
"""The remark on a class that was tested, and is not in the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassJob:
    """The part of a job on one class of hosts, whose names are ``hosts``, the ``representative`` first."""

    host_class: str
    hosts: tuple[str, ...]
    job: RecommendationJob

    @property
    def representative(self) -> str:
        """The host that is measured, unless its agent is lost."""
        return self.hosts[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetJob:
    """A job on several hosts. ``classes`` are in the order of its hosts; ``warnings`` are about the job as a whole."""

    header: JobHeader
    state: JobState
    classes: tuple[ClassJob, ...]

    @property
    def name(self) -> str:
        """The name of the job."""
        return self.header.request.name

    @property
    def status(self) -> JobStatus:
        """The status of the job: whether it is over, and how it ended."""
        return self.state.status

    @property
    def broke_off(self) -> bool:
        """Whether a class was not measured to its end, though the job was not stopped."""
        return any(remark.startswith(BROKE_OFF) for remark in self.state.remarks)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Remarks that a reader of the job needs beside its classes."""
        return self.state.remarks

    def of(self, host: str) -> ClassJob:
        """Return what the job does on hosts like that. Raises SpecError for one that it does not measure on."""
        representative = self.header.representative_of(host)
        return next(class_job for class_job in self.classes if class_job.host_class == representative.host_class)


def read_fleet_job(store: JobStore, name: str) -> FleetJob:
    """Read the job of that name, which measures on a fleet, as far as it is. Raises SpecError for an unknown one,
    StorageError."""
    log = store.job(name)
    header = log.header
    return FleetJob(
        header=header,
        state=log.state_now(),
        classes=tuple(
            ClassJob(
                host_class=first.host_class,
                hosts=tuple(host.name for host in header.hosts if host.host_class == first.host_class),
                job=read_job(store, name, host=first.name),
            )
            for first in header.representatives.values()
        ),
    )
