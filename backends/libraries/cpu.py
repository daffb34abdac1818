"""The features of this CPU: one by one, and as a short string for cache keys, since machine code compiled for one CPU
may not run on another."""

from __future__ import annotations

import platform
from functools import cache
from hashlib import sha256
from pathlib import Path


@cache
def cpu_features() -> str:
    """Return the architecture and a digest of the instruction-set flags, such as "x86_64-1f3c9a0be2d4".

    The flags are those that the kernel lists for the first CPU; where it lists none, the architecture stands alone.
    """
    flags = _flags(Path("/proc/cpuinfo"))
    architecture = platform.machine() or "unknown"
    return f"{architecture}-{sha256(' '.join(flags).encode()).hexdigest()[:12]}" if flags else architecture


def has_instructions(*flags: str) -> bool:
    """Return whether the first CPU has any of these instruction sets, by the kernel's names."""
    return not set(flags).isdisjoint(_flags(Path("/proc/cpuinfo")))


def _flags(cpuinfo: Path) -> list[str]:
    if not cpuinfo.is_file():
        return []
    for line in cpuinfo.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return sorted(value.split())
    return []
