"""The folder in which servefit keeps what outlives a command: models it normalised, compiled artifacts, jobs, demo
data.

Only the folder, safe writing and temporary files are known here; what is stored, and when, belongs to the callers. A
temporary file or folder bears the mark of the process that made it (``processes``). What a killed process left is
removed by the next one that makes such files in the same place.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from servefit.errors import StateError
from servefit.processes import MARK, is_abandoned, own_mark

_TEMPORARY = re.compile(rf"(?:servefit-\w+|\..+)\.({MARK})\.\w+")


def state_folder(*parts: str) -> Path:
    """Make a folder under ``$SERVEFIT_HOME``, else ``$XDG_DATA_HOME/servefit``, else ``~/.local/share/servefit``.

    It is absolute, exists and is writable on return. Raises StateError otherwise.
    """
    if home := os.environ.get("SERVEFIT_HOME"):
        base = Path(home)
    elif data_home := os.environ.get("XDG_DATA_HOME"):
        base = Path(data_home) / "servefit"
    else:
        base = Path("~/.local/share/servefit")
        try:
            base = base.expanduser()
        except RuntimeError as error:
            raise StateError(base, "this user has no home folder") from error
    folder = base.absolute().joinpath(*parts)
    with writing(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StateError(folder, "a file is in the way") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StateError(folder, "permission denied")
    return folder


@contextmanager
def writing(path: Path, *, variable: str | None = "SERVEFIT_HOME") -> Iterator[None]:
    """Turn an OSError raised while writing ``path`` into a StateError, with the reason the system gave.

    ``variable`` names the environment variable that a person would set to have such files elsewhere,
    None where the user named ``path``.
    """
    try:
        yield
    except OSError as error:
        raise StateError(path, error.strerror or str(error), variable=variable) from error


def write_atomically(path: Path, content: bytes, *, variable: str | None = "SERVEFIT_HOME") -> None:
    """Write ``path`` so that a reader sees the old content or the new, never half of it.

    ``variable`` is as for :func:`writing`. What the user named gets the permissions that the user's files have, all
    else is for the user alone. Raises StateError.
    """
    with writing(path, variable=variable):
        if variable is not None:
            sweep(path.parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{own_mark()}.")
        try:
            if variable is None:
                os.fchmod(handle, 0o666 & ~_umask())
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_sealed(path: Path, content: bytes, *, about: str) -> None:
    """Write ``path`` atomically, with a digest before ``content``, for :func:`read_sealed`. ``about`` names what it is
    known of, and is part of the digest. Raises StateError."""
    write_atomically(path, seal(content, about=about).encode() + b"\n" + content)


def read_sealed(path: Path, *, about: str) -> bytes | None:
    """Return the content that :func:`write_sealed` wrote. None if there is no file, if it was changed, or if it was
    written about something else."""
    try:
        stored_seal, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return content if seal(content, about=about).encode() == stored_seal else None


def seal(content: bytes, *, about: str) -> str:
    """Return the SHA-256, in hexadecimal, of ``content`` together with what it is about, which has no line ends."""
    return sha256(about.encode() + b"\n" + content).hexdigest()


def _umask() -> int:
    """Return the permissions that this process takes away from new files. It can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``folder`` when the block succeeds, and is removed when it does not.

    Two processes may fill the same folder at once; the first to finish wins and the other's work is dropped, so the
    content must depend on the folder's name alone (a content hash). Raises StateError.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.{own_mark()}."))
    try:
        yield temporary
        with writing(folder):
            try:
                temporary.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def temporary_folder(purpose: str, parent: Path | None = None) -> Iterator[Path]:
    """Give a folder whose name says what it is for, and remove it afterwards. It is in TMPDIR unless ``parent``, a
    folder of the state folder, is named. Raises StateError."""
    variable = "TMPDIR" if parent is None else "SERVEFIT_HOME"
    parent = parent or Path(tempfile.gettempdir())
    prefix = f"servefit-{purpose}."
    with writing(parent / prefix, variable=variable):
        sweep(parent)
        folder = tempfile.TemporaryDirectory(dir=parent, prefix=f"{prefix}{own_mark()}.", ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)


def left_behind(parent: Path) -> list[Path]:
    """Return this user's temporary files and folders in ``parent`` whose processes have ended; none if ``parent``
    cannot be read."""
    paths = []
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None or not is_abandoned(match[1]):
                continue
            with suppress(FileNotFoundError):  # another process sweeps too
                if entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                    paths.append(Path(entry.path))
    return paths


def sweep(parent: Path) -> None:
    """Remove what was left behind in ``parent``, as far as that is possible."""
    for path in left_behind(parent):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
