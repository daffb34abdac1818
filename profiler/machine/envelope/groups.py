"""Control groups as folders: made, written, read back, emptied and removed.

What is written into them is for ``version_1`` and ``version_2`` to say.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from errno import EBUSY, ENODEV
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from servefit.errors import MeasurementError
from servefit.processes import PAUSE_S, WAIT_S, end_processes
from servefit.profiler.machine.envelope.owners import envelope_name, is_abandoned

if TYPE_CHECKING:
    from servefit.profiler.machine.envelope.types import Containment, EnvelopeMethod

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")
CONTROLLERS = ("cpuset", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEnvelope:
    """An envelope of one or more control groups, ``folders``. The kernel says in ``counts`` how often it killed for
    memory. ``prefix`` is the command that starts another one inside; without it a process enters by itself."""

    method: EnvelopeMethod
    containment: ClassVar[Containment] = "cgroup"
    cpus: tuple[int, ...]
    memory_limit_bytes: int | None
    folders: tuple[Path, ...]
    counts: Path
    prefix: tuple[str, ...] = ()

    @property
    def join_files(self) -> tuple[str, ...]:
        return () if self.prefix else tuple(str(folder / "cgroup.procs") for folder in self.folders)

    def command(self, argv: Sequence[str]) -> list[str]:
        return [*self.prefix, *argv]

    def oom_kills(self) -> int:
        return read_number(self.counts, "oom_kill")

    def kill(self) -> None:
        kill(self.folders)


def make_groups(parents: Sequence[Path]) -> tuple[Path, ...]:
    """Make one new group of the same name in each of ``parents``. Raises MeasurementError where that is not allowed."""
    name = envelope_name()
    folders = tuple(parent / name for parent in parents)
    made: list[Path] = []
    try:
        for folder in folders:
            folder.mkdir()
            made.append(folder)
    except OSError as error:
        for folder in made:
            remove_group(folder)
        raise MeasurementError(
            f"no group can be made in {Path(error.filename).parent}: {error.strerror}",
            remedy="run as root, or as a user to whom the group was delegated",
        ) from error
    return folders


def sweep_groups(parents: Iterable[Path]) -> None:
    """End and remove the groups in ``parents`` that were left by a servefit that is dead."""
    for parent in parents:
        end_groups([folder for folder in parent.glob("servefit-*") if is_abandoned(folder.name)])


def end_groups(folders: Sequence[Path]) -> None:
    """Kill whatever is in these groups and remove them. Raises MeasurementError if that fails."""
    kill(folders)
    for folder in folders:
        remove_group(folder)


def kill(folders: Sequence[Path]) -> None:
    """Kill whatever is in these groups; it is gone on return. Raises MeasurementError if it is not."""
    for folder in folders:
        # All at once, where the kernel can (version 2, Linux 5.14): nothing can fork itself out of it.
        if (folder / "cgroup.kill").exists():
            try:
                write_setting(folder / "cgroup.kill", "1")
            except MeasurementError:
                # Another servefit may have swept it in between.
                if folder.exists():
                    raise
    end_processes(lambda: {pid for folder in folders for pid in members(folder)})


def members(folder: Path) -> set[int]:
    """Return the processes in a group and in the groups under it; none once it is gone."""
    pids: set[int] = set()
    for group, _, _ in os.walk(folder):
        try:
            pids.update(map(int, Path(group, "cgroup.procs").read_text().split()))
        except OSError as error:
            if error.errno != ENODEV and not isinstance(error, FileNotFoundError):
                raise
    # 0 stands for a process of another namespace, and kill(0) would end this process.
    return pids - {0}


def remove_group(folder: Path) -> None:
    """Remove an empty group and the groups under it. Raises MeasurementError if something stays in it."""
    deadline = time.monotonic() + WAIT_S
    for group, _, _ in os.walk(folder, topdown=False):
        while True:
            try:
                Path(group).rmdir()
            except FileNotFoundError:
                break
            except OSError as error:
                # A killed process is off the list a moment before it is out of the group.
                if error.errno != EBUSY or time.monotonic() > deadline:
                    raise MeasurementError(f"cannot remove the group {group}: {error.strerror}") from error
                time.sleep(PAUSE_S)
            else:
                break


def write_setting(path: Path, value: str) -> None:
    """Write one setting. Raises MeasurementError with the kernel's reason."""
    try:
        path.write_text(value)
    except OSError as error:
        raise MeasurementError(f"{path} does not take {value!r}: {error.strerror}") from error


def read_setting(path: Path) -> str:
    """Read one setting. Raises MeasurementError with the kernel's reason."""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise MeasurementError(f"{path} cannot be read: {error.strerror}") from error


def read_number(path: Path, name: str) -> int:
    """Return the number behind ``name`` in a file of names and numbers. Raises MeasurementError if it is not there."""
    for line in read_setting(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    raise MeasurementError(f"{path} does not say {name}")


def check_enforced(what: str, *, wanted: object, got: object) -> None:
    """Raise MeasurementError unless the kernel enforces what was written."""
    if wanted != got:
        raise MeasurementError(f"the kernel enforces {got} instead of {wanted} as {what}")


def whole_pages(memory_bytes: int) -> int:
    """Return the limit that the kernel makes of ``memory_bytes``: whole pages."""
    page = os.sysconf("SC_PAGE_SIZE")
    return memory_bytes // page * page


def cpu_list(cpus: Iterable[int]) -> str:
    """Return CPUs (or nodes) as the kernel takes them: ``0,1,8``."""
    return ",".join(map(str, cpus))
