"""Tells files of PyTorch's torch.save apart without unpickling them: weights alone, or a module with its class."""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path

_MAX_BYTES = 2**22
"""Of a pickle, which has a hundred bytes a tensor, whose values lie beside it. A longer one counts as weights."""

_OF_WEIGHTS = re.compile(
    r"(collections|builtins|__builtin__|_codecs) \w+|torch\._utils _\w+|torch(\.\w+)? \w+|numpy\S* \w+"
)
"""The names that a state_dict refers to, and what training keeps beside one."""


def holds_module(path: Path) -> bool:
    """Return whether the archive of torch.save at ``path`` refers to classes of modules. Raises OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(member for member in archive.namelist() if member.endswith("/data.pkl"))
            with archive.open(name) as stream:
                content = stream.read(_MAX_BYTES)
        globals_of = {
            argument for opcode, argument, _ in pickletools.genops(content) if opcode.name == "GLOBAL" and argument
        }
    except (ValueError, StopIteration, zipfile.BadZipFile, NotImplementedError, EOFError):
        return False
    return any(not _OF_WEIGHTS.fullmatch(str(name_of_global)) for name_of_global in globals_of)
