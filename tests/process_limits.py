"""What a process runs into on other machines: it is no root there, or the disk is full."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


@contextmanager
def as_user(number: int = NOBODY) -> Iterator[None]:
    """Root may write anywhere, so tests of permissions become another user for a while. Others stay who they are."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(number, number, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def no_room_beyond(size_bytes: int) -> Iterator[None]:
    """Writing a file beyond ``size_bytes`` fails, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
