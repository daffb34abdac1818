"""An envelope made of one control group of version 2."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servefit.errors import MeasurementError
from servefit.profiler.machine.cgroups import existing_group, own_groups
from servefit.profiler.machine.envelope.groups import (
    CGROUPS,
    CONTROLLERS,
    PROC,
    GroupEnvelope,
    check_enforced,
    cpu_list,
    end_groups,
    make_groups,
    members,
    read_setting,
    remove_group,
    sweep_groups,
    whole_pages,
    write_setting,
)
from servefit.profiler.machine.envelope.owners import is_own
from servefit.profiler.machine.topology import read_cpu_list


@contextmanager
def open_version_2(
    cpus: tuple[int, ...], memory_bytes: int | None, *, cgroups: Path = CGROUPS, proc: Path = PROC
) -> Iterator[GroupEnvelope]:
    """Make a group under this process's own.

    Raises MeasurementError where it cannot be made, or does not enforce what it was told.
    """
    own = _own_group(cgroups, proc)
    with ExitStack() as stack:
        with _locked(own):
            stack.callback(_give_room_back, own)
            _make_room(own)
            sweep_groups([own])
            (folder,) = make_groups([own])
            stack.callback(end_groups, [folder])
        write_setting(folder / "cpuset.cpus", cpu_list(cpus))
        if memory_bytes is not None:
            write_setting(folder / "memory.max", str(memory_bytes))
            if (folder / "memory.swap.max").exists():
                write_setting(folder / "memory.swap.max", "0")
        # The kernel is to kill the one process that is too big, and the others are to tell of it.
        write_setting(folder / "memory.oom.group", "0")
        limit_bytes = verify(folder, cpus, memory_bytes, proc=proc)
        yield GroupEnvelope(
            method="cgroup-v2",
            cpus=cpus,
            memory_limit_bytes=limit_bytes,
            folders=(folder,),
            counts=folder / "memory.events",
        )


def verify(folder: Path, cpus: tuple[int, ...], memory_bytes: int | None, *, proc: Path = PROC) -> int | None:
    """Return the memory limit that a group enforces. Raises MeasurementError if it or the CPUs are not as asked for."""
    check_enforced("CPUs", wanted=cpus, got=read_cpu_list(folder / "cpuset.cpus.effective"))
    if memory_bytes is None:
        return None
    limit = read_setting(folder / "memory.max")
    check_enforced("memory limit", wanted=str(whole_pages(memory_bytes)), got=limit)
    for outer in folder.parents:
        # The root of the hierarchy has no limit, and above it there are no groups.
        if not (outer / "memory.max").exists():
            break
        if (around := read_setting(outer / "memory.max")) != "max" and int(around) < int(limit):
            raise MeasurementError(f"the group {outer} allows only {around} bytes of memory, {limit} were asked for")
    if (folder / "memory.swap.max").exists():
        check_enforced("limit of swap", wanted="0", got=read_setting(folder / "memory.swap.max"))
    elif len((proc / "swaps").read_text().splitlines()) > 1:
        raise MeasurementError("this kernel cannot keep a group out of swap", remedy="turn swap off")
    return int(limit)


def _own_group(cgroups: Path, proc: Path) -> Path:
    """Return the group of this process, the one that it steps aside from where it has; it must have the controllers."""
    mount = cgroups if (cgroups / "cgroup.controllers").exists() else cgroups / "unified"
    if not (mount / "cgroup.controllers").exists():
        raise MeasurementError(f"no version 2 control groups are mounted at {cgroups}")
    group = Path(own_groups(proc).get("", "/"))
    own = existing_group(mount, str(group.parent if is_own(group.name) else group))
    offered = read_setting(own / "cgroup.controllers").split()
    if missing := [controller for controller in CONTROLLERS if controller not in offered]:
        raise MeasurementError(
            f"the version 2 group {own} lacks the controllers {' and '.join(missing)} "
            f"(it has {', '.join(offered) or 'none'})",
            remedy="delegate them to it, or mount version 1 without them",
        )
    return own


@contextmanager
def _locked(own: Path) -> Iterator[None]:
    """Keep other threads, and other processes, from making or giving back room in ``own`` meanwhile."""
    descriptor = os.open(own, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_room(own: Path) -> None:
    """Let groups under ``own`` have the controllers.

    Version 2 forbids that to a group with processes in it, unless it is the root of the hierarchy. Where servefit is
    alone in its group it moves to a leaf, until its last envelope is closed; processes of others it leaves alone.
    """
    enabled = read_setting(own / "cgroup.subtree_control").split()
    missing = [controller for controller in CONTROLLERS if controller not in enabled]
    if not missing or _leaf(own) is not None:
        return
    if (own / "cgroup.events").exists():
        _step_aside(own)
    # The root stays as it is then: another servefit may be using it by the time this one ends.
    write_setting(own / "cgroup.subtree_control", " ".join(f"+{controller}" for controller in missing))


def _step_aside(own: Path) -> None:
    if others := len(set(read_setting(own / "cgroup.procs").split()) - {str(os.getpid())}):
        raise MeasurementError(
            f"version 2 gives no limits to groups under one with processes in it, "
            f"and {others} others share {own} with servefit",
            remedy="start servefit in a group of its own: systemd-run --user --scope -p Delegate=yes servefit ...",
        )
    (leaf,) = make_groups([own])
    try:
        write_setting(leaf / "cgroup.procs", str(os.getpid()))
    except MeasurementError:
        remove_group(leaf)
        raise


def _give_room_back(own: Path) -> None:
    """Move this process back where it stepped aside, unless another of its envelopes is still open."""
    with _locked(own):
        leaf = _leaf(own)
        if leaf is None or len(_own_folders(own)) > 1:
            return
        write_setting(own / "cgroup.subtree_control", " ".join(f"-{controller}" for controller in CONTROLLERS))
        for pid in members(leaf):
            write_setting(own / "cgroup.procs", str(pid))
        remove_group(leaf)


def _leaf(own: Path) -> Path | None:
    """Return the group that this process stepped aside into, if it has."""
    inside = (folder for folder in _own_folders(own) if os.getpid() in members(folder))
    return next(inside, None)


def _own_folders(own: Path) -> list[Path]:
    return [folder for folder in own.glob("servefit-*") if is_own(folder.name)]
