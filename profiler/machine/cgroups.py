"""The control groups of this machine: whether this process may make its own, and what they allow it.

Groups are made in ``envelope``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from pathlib import Path

_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes "no limit" as a number close to 2**63."""


@shown()
class ControlGroups(Stored, frozen=True, kw_only=True):
    """``kind`` is "v2", "v1", "hybrid" (v1 controllers beside a v2 mount), or None where none are mounted.

    ``writable`` says whether this process can make groups with a cpuset and a memory limit under its own.
    ``cpu_quota`` is the number of CPUs' worth of time that it is allowed, None without a quota.
    """

    kind: Literal["v1", "v2", "hybrid"] | None
    writable: bool
    memory_limit_bytes: int | None
    cpu_quota: float | None


def describe_cgroups(*, proc: Path, sys: Path) -> ControlGroups:
    """Read /proc/self/cgroup and the mounts under /sys/fs/cgroup, whose usual places are relied upon."""
    root = sys / "fs/cgroup"
    own = own_groups(proc)
    if (root / "cgroup.controllers").exists():
        folder = existing_group(root, own.get("", "/"))
        controllers = _words(folder / "cgroup.controllers")
        return ControlGroups(
            kind="v2",
            writable={"cpuset", "memory"} <= controllers
            and os.access(folder / "cgroup.procs", os.W_OK)
            and os.access(folder, os.W_OK),
            memory_limit_bytes=_lowest_limit(root, folder, "memory.max"),
            cpu_quota=_quota_v2(root, folder),
        )
    version_1 = [name for name in ("cpuset", "memory") if (root / name).is_dir()]
    if not version_1:
        return ControlGroups(kind=None, writable=False, memory_limit_bytes=None, cpu_quota=None)
    folders = {name: existing_group(root / name, own.get(name, "/")) for name in version_1}
    cpu = existing_group(root / "cpu", own.get("cpu", "/"))
    return ControlGroups(
        kind="hybrid" if (root / "unified").is_dir() else "v1",
        writable=len(version_1) == 2 and all(os.access(folder, os.W_OK) for folder in folders.values()),
        memory_limit_bytes=_lowest_limit(root / "memory", folders.get("memory", root), "memory.limit_in_bytes"),
        cpu_quota=_quota_v1(cpu),
    )


def own_groups(proc: Path) -> dict[str, str]:
    """Return this process's group by version 1 controller, and under "" that of version 2; empty without groups."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    groups: dict[str, str] = {}
    for line in lines:
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = group
    return groups


def existing_group(mount: Path, group: str) -> Path:
    """Return the folder of ``group``, or the mount itself: inside a container the path is often that of the host."""
    folder = mount / group.lstrip("/")
    return folder if folder.is_dir() else mount


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()


def _lowest_limit(mount: Path, folder: Path, name: str) -> int | None:
    """Return the lowest memory limit from ``folder`` up to ``mount``."""
    limits = [
        int(word)
        for group in _upwards(mount, folder)
        for word in _words(group / name)
        if word.isdigit() and int(word) < _NO_LIMIT_BYTES
    ]
    return min(limits, default=None)


def _upwards(mount: Path, folder: Path) -> list[Path]:
    return [group for group in (folder, *folder.parents) if group.is_relative_to(mount)]


def _quota_v2(mount: Path, folder: Path) -> float | None:
    quotas = []
    for group in _upwards(mount, folder):
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except (OSError, ValueError):
            continue
        if quota != "max":
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None
