"""Splits hosts off the class that they were taken for, once a test has told them from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.search.storage.class_log import ClassLog
from servefit.search.storage.header import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.search.storage.log import JobLog


def split_off(job: JobLog, unlike: Mapping[str, str]) -> tuple[str, ...]:
    """Make the hosts of ``job`` that are ``unlike`` their class, each for the reason given, classes of their own, of
    which nothing more is known, and return a remark on each. The job must be owned; raises StorageError and
    JobInUse."""
    if not unlike:
        return ()
    hosts = job.header.hosts
    taken = {host.host_class for host in hosts}
    names = {host.name: _free(f"{host.host_class}-{host.name}", taken) for host in hosts if host.name in unlike}
    job.classify(tuple(replace(host, host_class=names.get(host.name, host.host_class)) for host in hosts))
    for name in names:
        ClassLog(job, name).set_state(JobState(status="COMPLETED", remarks=(f"{name} {unlike[name]}",)))
    return tuple(f"{name} {unlike[name]}: it is a class of its own, of which no more was measured" for name in names)


def _free(name: str, taken: set[str]) -> str:
    """Return ``name``, or that with a number, so that it is not among those ``taken``, and take it."""
    nth, candidate = 2, name
    while candidate in taken:
        candidate, nth = f"{name}-{nth}", nth + 1
    taken.add(candidate)
    return candidate
