"""The holder of the slot, as far as it is known: what they wrote into its file, and what /proc tells of who keeps it.

Anybody may write to the file, and who wrote it may be dead while what it started goes on. So it is read with bounds,
and decides nothing but what a person is told.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.processes import all_processes, is_abandoned, own_mark

if TYPE_CHECKING:
    from servefit.profiler.machine.slot.place import SlotFile

_BYTES = 512
"""A record is always padded to this, and written and read in one call. The longest one fits (see below)."""

_BEGINS = b'{"servefit": '
_SCHEMA = 1
"""The form of the record. There has been no other, so nothing asks for it yet."""

_MAX_OF_JOB, _MAX_OF_HOST = 100, 40
"""Characters; with both in full, and all of them escaped, a record still fits."""

_MAX_TIME_S = 2**33
"""The year 2242: a later time is none of ours, and a date far beyond cannot be printed."""

_MAX_PID = 2**22
"""PID_MAX_LIMIT of 64-bit Linux [include/linux/threads.h]."""

_MAX_NAMED = 4
"""Process ids in a sentence; more of them help nobody. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that has the slot. ``job`` is what it does, ``pid`` its id on ``host``, where that is another one,
    and ``since`` in seconds since 1970; all of them None where nothing is known. One that ``is_dead`` left processes
    that keep the slot: ``remaining`` are those of them that can be seen from here."""

    job: str | None = None
    pid: int | None = None
    host: str | None = None
    since: float | None = None
    is_dead: bool = False
    remaining: tuple[int, ...] = ()

    @property
    def lives(self) -> bool:
        """True where it is known, and not known to be dead."""
        return self.job is not None and not self.is_dead

    def __str__(self) -> str:
        named = ", ".join(map(str, self.remaining[:_MAX_NAMED]))
        more = f" and {len(self.remaining) - _MAX_NAMED} more" if len(self.remaining) > _MAX_NAMED else ""
        goes_on = f": process {named}{more}" if self.remaining else ""
        if self.job is None or self.since is None:
            return f"a measurement of which nothing is known{goes_on}"
        if self.is_dead:
            return f"what {self.job} has left (its process {self.pid} is dead){goes_on}"
        where = "" if self.host is None else f" on {self.host}"
        begin = datetime.fromtimestamp(self.since).astimezone().isoformat(sep=" ", timespec="seconds")
        return f"{self.job} (process {self.pid}{where}, since {begin})"


def write_holder(descriptor: int, job: str) -> None:
    """Write that this process has the slot. What somebody else keeps in the file stays, and then nothing is known."""
    record = {"job": _plain(job, _MAX_OF_JOB), "pid": os.getpid(), "mark": own_mark(), "since": time.time()}
    _write(descriptor, record | {"host": _plain(socket.gethostname(), _MAX_OF_HOST)})


def write_nobody(descriptor: int) -> None:
    _write(descriptor, {})


def read_holder(file: SlotFile) -> Holder:
    """Return who has the slot, which is taken."""
    content = b""
    with suppress(OSError):
        content = os.pread(file.descriptor, _BYTES, 0)
    holder = parse_holder(content)
    return holder if holder.lives else replace(holder, remaining=_keeping(file.path))


def parse_holder(content: bytes) -> Holder:
    """Return the holder in the record ``content``, without ``remaining``; an empty Holder if it is no record."""
    record = _fields(content)
    job, pid, mark, since, host = (record.get(name) for name in ("job", "pid", "mark", "since", "host"))
    if not (isinstance(job, str) and isinstance(mark, str) and isinstance(host, str)):
        return Holder()
    if not (isinstance(pid, int) and 0 < pid <= _MAX_PID and isinstance(since, float) and 0 < since < _MAX_TIME_S):
        return Holder()
    here = _plain(socket.gethostname(), _MAX_OF_HOST)
    return Holder(
        job=_plain(job, _MAX_OF_JOB),
        pid=pid,
        host=None if host == here else _plain(host, _MAX_OF_HOST),
        since=since,
        is_dead=is_abandoned(mark),
    )


def _write(descriptor: int, record: dict[str, Any]) -> None:
    # A file system that is full is no reason not to measure.
    with suppress(OSError):
        before = os.pread(descriptor, _BYTES, 0)
        if not before or before.startswith(_BEGINS):
            # In one piece, and always as long: it is never half of one record and half of another.
            text = json.dumps({"servefit": _SCHEMA, **record}).encode()
            os.pwrite(descriptor, text.ljust(_BYTES - 1) + b"\n", 0)


def _fields(content: bytes) -> dict[str, Any]:
    if content.startswith(_BEGINS):
        with suppress(ValueError, RecursionError):
            record: dict[str, Any] = json.loads(content)
            return record
    return {}


def _plain(text: str, most: int) -> str:
    """Return ``text`` as it may go to a terminal, whoever wrote it: ``most`` printable ASCII characters."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text[:most])


def _keeping(path: Path) -> tuple[int, ...]:
    """Return the processes with a lock on the file at ``path``, among those that this user may inspect."""
    pids, real = set(), path.resolve()
    for pid in all_processes():
        with suppress(OSError):
            for opened in Path(f"/proc/{pid}/fd").iterdir():
                # A waiting process has the file open too, without a lock.
                if opened.readlink() == real and "FLOCK" in Path(f"/proc/{pid}/fdinfo/{opened.name}").read_text():
                    pids.add(pid)
    return tuple(sorted(pids))
