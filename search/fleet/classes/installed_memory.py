"""The installed memory of a machine: the same for twins, which have not quite the same left for programs."""

from __future__ import annotations

from pathlib import Path

_MEMORY_STEPS = 8
"""Where the kernel does not say what is installed: a step is an eighth of the largest power of two below, which is 6 to
12 % of the memory. Firmware and kernel take 2 to 4 % of it, and some megabytes more from one machine than from its
twin, so a step hardly ever lies between twins. A module of 16 or more may be missing and not be noticed."""

_MIN_USABLE_PART = 0.75
"""Of what is installed, programs have more than that; a container may have less. Chosen, not measured."""


def installed_bytes(usable_bytes: int, *, sys: Path = Path("/sys")) -> int:
    """Return how much memory is installed where a kernel has ``usable_bytes`` left of it for programs.

    Twins differ by some megabytes in what they have left, so it is counted in the blocks by which the kernel manages
    physical memory, 128 MiB to 2 GiB each, which include what it and the firmware keep. Where it shows none, or those
    of a machine of which a container has a part, ``usable_bytes`` are rounded up.
    """
    folder = sys / "devices/system/memory"
    blocks = sum(1 for _ in folder.glob("memory[0-9]*"))
    in_blocks = blocks * _block_bytes(folder)
    if _MIN_USABLE_PART * in_blocks <= usable_bytes <= in_blocks:
        return in_blocks
    step = max(1, (1 << usable_bytes.bit_length() - 1) // _MEMORY_STEPS)
    return -(-usable_bytes // step) * step


def _block_bytes(folder: Path) -> int:
    """Return the size of a block, which the kernel writes as "8000000", without a prefix; 0 where it says none."""
    try:
        return int((folder / "block_size_bytes").read_text(), 16)
    except (OSError, ValueError):
        return 0
