"""Small files of the kernel's that are read again and again."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

_MAX_BYTES = 1 << 17
"""The longest of them is /proc/stat, with about 100 bytes a CPU at its beginning: enough for a thousand CPUs."""


class CounterFile:
    """A file of counters that stays open, since opening costs more than reading. ``stack`` closes it."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        """Open the file at ``path``. Raises OSError where it is not there or not readable."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, self._descriptor)

    def text(self) -> str | None:
        """Return what it holds now (128 KiB of it at most); None where the kernel does not say after all."""
        try:
            return os.pread(self._descriptor, _MAX_BYTES, 0).decode(errors="replace")
        except OSError:
            return None

    def number(self) -> int | None:
        """Return the only number that it holds; None where it does not."""
        text = (self.text() or "").strip()
        return int(text) if text.isdigit() else None


def counter_file(path: Path, stack: ExitStack) -> CounterFile | None:
    """Open the file at ``path``; None where there is none that can be read."""
    try:
        return CounterFile(path, stack)
    except OSError:
        return None


def counter_files(paths: list[Path], stack: ExitStack) -> tuple[CounterFile, ...]:
    """Open those of ``paths`` that can be read."""
    return tuple(opened for path in paths if (opened := counter_file(path, stack)) is not None)


def total(files: tuple[CounterFile, ...]) -> int | None:
    """Return the sum of the numbers in ``files``; None where none of them holds one."""
    numbers = [number for opened in files if (number := opened.number()) is not None]
    return sum(numbers) if numbers else None
