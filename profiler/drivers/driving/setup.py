"""The setup of a child, handed to it before its first run: too big for a socket, it lies in memory that all inherit."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any


def write_setup(setup: Any, memory: int) -> None:
    """Leave ``setup`` in the memory behind ``memory``. A child that hangs before it reads is nobody's problem then."""
    with open(memory, "wb", closefd=False) as stream:
        pickle.dump(setup, stream, protocol=pickle.HIGHEST_PROTOCOL)


def read_setup(memory: int) -> Any:
    """Read what :func:`write_setup` left. Every child does, and inherited descriptors share their place in the file."""
    with Path(f"/proc/self/fd/{memory}").open("rb") as stream:
        setup = pickle.load(stream)
    os.close(memory)
    return setup
