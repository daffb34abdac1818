"""An envelope made by systemd: a slice that carries the limits, and a scope in it for every process that is started.

That is how a user without privileges gets control groups: systemd moves processes that their own user may not move.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from servefit.errors import MeasurementError
from servefit.profiler.machine.envelope.groups import CGROUPS, GroupEnvelope, kill
from servefit.profiler.machine.envelope.owners import envelope_name, is_abandoned
from servefit.profiler.machine.envelope.version_2 import verify

_TIMEOUT_S = 10.0
"""systemd answers within milliseconds; a busy host is given as long as killed processes are (``processes.WAIT_S``)."""

# A transient unit: set-property would leave a file, and to take that back reloads all of systemd.
_MAKE_UNIT = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
    "StartTransientUnit",
    "ssa(sv)a(sa(sv))",
)


@contextmanager
def open_scope(
    cpus: tuple[int, ...],
    memory_bytes: int | None,
    *,
    cgroups: Path = CGROUPS,
    running: Path = Path("/run/systemd/system"),
) -> Iterator[GroupEnvelope]:
    """Have systemd (root's, or this user's own) make a slice with the limits.

    Raises MeasurementError where systemd does not run, refuses, or does not enforce what it was told.
    """
    if not running.is_dir():
        raise MeasurementError("systemd is not running here", remedy="run as root to use control groups without it")
    whose = "--system" if os.geteuid() == 0 else "--user"
    _sweep(whose, cgroups)
    # A dash in the name of a slice means that it lies in another slice.
    name = f"{envelope_name().replace('-', '_')}.slice"
    _ask("busctl", whose, "call", *_MAKE_UNIT, name, "fail", *_properties(cpus, memory_bytes), "0")
    try:
        _ask("systemctl", whose, "start", name)  # waits until it has started
        folder = _folder(whose, name, cgroups)
        if folder is None or not (folder / "cpuset.cpus.effective").exists():
            raise MeasurementError(
                f"systemd ({whose.lstrip('-')}) has no cpuset controller to give",
                remedy="delegate it: a drop-in for user@.service that says Delegate=cpu cpuset io memory pids",
            )
        limit_bytes = verify(folder, cpus, memory_bytes)
        yield GroupEnvelope(
            method="systemd-scope",
            cpus=cpus,
            memory_limit_bytes=limit_bytes,
            folders=(folder,),
            counts=folder / "memory.events",
            prefix=("systemd-run", whose, "--scope", "--quiet", "--collect", f"--slice={name}", "--"),
        )
    finally:
        _end(whose, name, cgroups)


def _properties(cpus: Sequence[int], memory_bytes: int | None) -> list[str]:
    """Return the limits as D-Bus takes them: how many properties there are, then name, type and value of each.

    CPUs are a bit mask, lowest byte first. Memory is accounted for even without a limit, so that kills are counted.
    """
    mask = sum(1 << cpu for cpu in cpus).to_bytes(max(cpus) // 8 + 1, "little")
    properties = [["AllowedCPUs", "ay", str(len(mask)), *map(str, mask)], ["MemoryAccounting", "b", "true"]]
    if memory_bytes is not None:
        properties += [["MemoryMax", "t", str(memory_bytes)], ["MemorySwapMax", "t", "0"]]
    return [str(len(properties)), *(word for words in properties for word in words)]


def _sweep(whose: str, cgroups: Path) -> None:
    """End the slices that were left by a servefit that is dead."""
    for name in _slices(whose):
        if is_abandoned(name.removesuffix(".slice").replace("_", "-")):
            _end(whose, name, cgroups)


def _slices(whose: str) -> list[str]:
    listed = _ask("systemctl", whose, "list-units", "--all", "--plain", "--no-legend", "servefit_*.slice")
    return [line.split()[0] for line in listed.splitlines() if line]


def _folder(whose: str, name: str, cgroups: Path) -> Path | None:
    """Return the version 2 group of a slice; None if it has none."""
    group = _ask("systemctl", whose, "show", "--property=ControlGroup", "--value", name).strip()
    folder = cgroups / group.lstrip("/")
    return folder if group and folder.is_dir() else None


def _end(whose: str, name: str, cgroups: Path) -> None:
    """Kill what runs in a slice, and have systemd forget it. A stopped slice takes its group along."""
    folder = _folder(whose, name, cgroups)
    if folder is not None:
        kill([folder])
    _ask("systemctl", whose, "stop", name)


def _ask(program: str, whose: str, *arguments: str) -> str:
    """Return what ``systemctl`` or ``busctl`` prints. Raises MeasurementError with what it complains about."""
    path = which(program)
    if path is None:
        raise MeasurementError(f"{program} is not installed")
    try:
        done = subprocess.run([path, whose, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(f"{program} {arguments[0]} hangs") from error
    if done.returncode:
        raise MeasurementError(f"{program} {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout
