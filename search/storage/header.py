"""The subject of a job, written down before anything is measured: enough to take it up again."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from servefit.backends.model import Model
from servefit.backends.payload.types import UsedSizes
from servefit.backends.types import Target
from servefit.checks import check_whole
from servefit.errors import SpecError
from servefit.field_types import check_types
from servefit.profiler.machine.host import Host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import JobRequest
from servefit.search.results.host_timing import HostTiming
from servefit.search.results.recommendation import Skipped
from servefit.showing import shown
from servefit.stored import Stored

JobStatus: TypeAlias = Literal["IN_PROGRESS", "COMPLETED", "FAILED", "STOPPED"]
"""COMPLETED: there is an answer, even "nothing meets the SLA". FAILED: nothing could be measured. STOPPED: somebody
stopped it, and it can be resumed. IN_PROGRESS: it runs, or was killed; who owns it tells which."""


@shown()
class PayloadFacts(Stored, frozen=True, kw_only=True):
    """The sample payload without its rows. ``digest`` is the SHA-256 of them, ``unused_columns`` are those that the
    model does not have, ``sizes`` those that the rows have for themselves. ``content_type``, ``accept`` and
    ``each_line`` are what was said of requests that are bytes."""

    source: str
    rows: int
    digest: str
    synthetic: bool
    truncated_from: int | None
    unused_columns: tuple[str, ...] = ()
    sizes: tuple[UsedSizes, ...] = ()
    content_type: str | None = None
    accept: str | None = None
    each_line: bool = False


PlanGoal: TypeAlias = Literal["cost", "watts", "hosts"]
"""The goal that the plan of a fleet minimizes: what its hosts cost an hour, the watts that they draw, or their
number."""


@shown()
class PlanRequest(Stored, frozen=True, kw_only=True):
    """The request for a plan of a fleet: any ``spare`` hosts may be lost, no more than ``most_hosts`` serve, and what
    is ``least`` is minimized; None leaves it to what is known of the hosts. With ``every_class``, classes that the plan
    does without are tested and confirmed too, each at the highest rate that it carries. Raises SpecError."""

    spare: int = 0
    most_hosts: int | None = None
    least: PlanGoal | None = None
    every_class: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        check_whole("spare", self.spare, least=0)
        if self.most_hosts is not None:
            check_whole("most_hosts", self.most_hosts, least=1)
            if self.spare >= self.most_hosts:
                raise SpecError("spare", self.spare, f"is not less than the {self.most_hosts} hosts that may serve")


@shown("name", "host_class", "labels")
class JobHost(Stored, frozen=True, kw_only=True):
    """A host of a fleet on which a job measures, under the ``name`` of its agent. ``profiles`` are those asked for that
    it can be. Hosts of one ``host_class`` are as fast as each other; what is measured on the first holds for all. It is
    empty until the hosts have been timed; ``timing`` is what came of that. ``cost`` is what its owner pays, by key."""

    name: str
    host: Host
    profiles: tuple[InstanceProfile, ...]
    host_class: str
    labels: tuple[tuple[str, str], ...] = ()
    timing: HostTiming | None = None
    cost: tuple[tuple[str, float | str], ...] = ()


@shown()
class JobHeader(Stored, frozen=True, kw_only=True):
    """``profiles`` are those asked for that ``host`` can be. ``created_at`` is in seconds since 1970, ``servefit`` the
    version that began the job. ``hosts`` are those of a fleet on which it measures, in the place of ``host``, which is
    then the one that it was begun on; empty where it measures on ``host`` itself. ``plan`` says how these are planned.
    """

    request: JobRequest
    model: Model
    payload: PayloadFacts
    host: Host
    profiles: tuple[InstanceProfile, ...]
    servefit: str
    created_at: float
    hosts: tuple[JobHost, ...] = ()
    plan: PlanRequest | None = None

    def on(self, name: str) -> JobHeader:
        """Return the header of what the job does on the host of that ``name``, as if it were all of the job. Raises
        SpecError for a host that the job does not measure on."""
        for host in self.hosts:
            if host.name == name:
                return replace(self, host=host.host, profiles=host.profiles, hosts=())
        raise self._unknown(name)

    @property
    def representatives(self) -> dict[int, JobHost]:
        """The first host of each class, with its place among the hosts, in their order. Empty until they have been
        timed."""
        first: dict[str, tuple[int, JobHost]] = {}
        for nth, host in enumerate(self.hosts):
            if host.host_class:
                first.setdefault(host.host_class, (nth, host))
        return dict(first.values())

    def representative_of(self, name: str) -> JobHost:
        """Return the representative of the class that the host of that ``name`` belongs to. Raises SpecError for a host
        that the job does not measure on."""
        classes = {host.name: host.host_class for host in self.hosts}
        if name not in classes:
            raise self._unknown(name)
        return next(host for host in self.representatives.values() if host.host_class == classes[name])

    def _unknown(self, host: str) -> SpecError:
        if not self.hosts:
            return SpecError("host", host, "is not one of the job's: it measures on the host that it was begun on")
        return SpecError.unknown("host", host, [member.name for member in self.hosts])


@shown()
class JobState(Stored, frozen=True, kw_only=True):
    """The state of a job. ``elapsed_s`` counts the time that it ran, breaks between a stop and a resumption left out.
    What is kept of a job IN_PROGRESS ends when its owner took it up; ``JobLog.state_now`` counts on from there.

    ``skipped`` are profiles and backends that were left out, ``remarks`` what else there is to say of the search.
    ``importance`` is the part of the differences between configurations that each parameter explains by itself.
    ``speedups`` are how many times faster than the model's own library each backend, on each target, answers one
    request on one thread, by the microbenchmark. ``naive`` is what one would deploy without measuring, if the space has
    it. ``changes`` say what would have to change where nothing meets the SLA.
    """

    status: JobStatus
    elapsed_s: float = 0.0
    skipped: tuple[Skipped, ...] = ()
    remarks: tuple[str, ...] = ()
    importance: tuple[tuple[str, float], ...] = ()
    speedups: tuple[tuple[str, Target, float], ...] = ()
    naive: Configuration | None = None
    changes: tuple[str, ...] = ()
