"""Keeps servefit itself off the CPUs of a measurement."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def pinned_to(cpus: tuple[int, ...]) -> Iterator[None]:
    """Keep this thread on ``cpus``, if there are any, so that it does not take those of the workers."""
    before = os.sched_getaffinity(0)
    if cpus:
        os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
