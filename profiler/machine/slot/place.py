"""The file that the slot is, and how it is opened: where every user of a host may write, anything may bear its name."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from errno import ELOOP, ENOENT, EROFS
from pathlib import Path
from typing import Literal, TypeAlias

from servefit.errors import MeasurementError, StateError
from servefit.processes import boot_id
from servefit.state import state_folder

Scope: TypeAlias = Literal["host", "user"]
"""Whom the slot keeps apart: all of this host, or this user's processes alone."""

VARIABLE = "SERVEFIT_SLOT"
"""Names another folder, such as one that several containers share."""

HOST_FOLDER = Path("/run/lock")

_NAME = "servefit-measuring"
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_FOR_EVERYBODY = 0o666
"""Every user of the host takes turns, and a user who has it open for reading and writing may take the lock."""

_PATIENCE_S = 0.2
"""The time for which a file may be there that cannot be opened: another user has just made it, and not yet for
everybody."""

_PAUSE_S = 0.01
"""Twenty tries within the patience. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFile:
    """``path``, opened as ``descriptor``."""

    path: Path
    scope: Scope
    descriptor: int


def open_slot_file(*, host_folder: Path = HOST_FOLDER) -> SlotFile:
    """Open the file in $SERVEFIT_SLOT, else in /run/lock, else, where this user may not write there, in the state
    folder. It is made where it does not exist.

    Raises StateError where it cannot be made, MeasurementError for something else that bears its name.
    """
    if folder := os.environ.get(VARIABLE):
        return _file(Path(folder).absolute() / _NAME, "host", variable=VARIABLE)
    try:
        path = host_folder / _NAME
        return SlotFile(path=path, scope="host", descriptor=_opened(path))
    except OSError as error:
        if not isinstance(error, PermissionError) and error.errno not in (ENOENT, EROFS):
            raise StateError(path, error.strerror or str(error), variable=VARIABLE) from error
    # Several hosts may share a state folder. Each has a boot of its own.
    return _file(state_folder("slot") / f"{_NAME}-{boot_id()}", "user", variable="SERVEFIT_HOME")


def _file(path: Path, scope: Scope, *, variable: str) -> SlotFile:
    try:
        return SlotFile(path=path, scope=scope, descriptor=_opened(path))
    except OSError as error:
        raise StateError(path, error.strerror or str(error), variable=variable) from error


def _opened(path: Path) -> int:
    """Open the file, or make it. Raises OSError where there is none and this user may not make one, MeasurementError
    for what is none of ours."""
    until_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _existing(path)
        except FileNotFoundError:
            try:
                return _made(path)
            except FileExistsError:
                continue
        except PermissionError as error:
            if not os.access(path.parent, os.X_OK):
                raise
            if time.monotonic() > until_s:
                raise _unusable(path, "this user may not open it") from error
            time.sleep(_PAUSE_S)


def _existing(path: Path) -> int:
    # Not with O_CREAT: the kernel may refuse that for a file of another user in such a folder (fs.protected_regular).
    try:
        descriptor = os.open(path, _FLAGS)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise _unusable(path, "it is a link" if error.errno == ELOOP else error.strerror or str(error)) from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise _unusable(path, "it has another name too" if stat.S_ISREG(status.st_mode) else "it is no regular file")


def _made(path: Path) -> int:
    descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _FOR_EVERYBODY)
    os.fchmod(descriptor, _FOR_EVERYBODY)  # whatever the umask says
    return descriptor


def _unusable(path: Path, reason: str) -> MeasurementError:
    return MeasurementError(
        f"{path}, which keeps measurements apart, cannot be used: {reason}",
        remedy=f"remove it, or name another folder in {VARIABLE}",
    )
