"""Where servefit keeps what outlives a command: models it normalised, compiled artifacts, jobs, demo data.

Only the folder and safe writing are known here; what is stored, and when, belongs to the callers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from servefit.errors import StateError


def state_folder(*parts: str) -> Path:
    """A folder under ``$SERVEFIT_HOME``, else ``$XDG_DATA_HOME/servefit``, else ``~/.local/share/servefit``.

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
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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


def write_sealed(path: Path, content: bytes) -> None:
    """Write ``path`` atomically, with a digest of ``content`` before it, for :func:`read_sealed`. Raises StateError."""
    write_atomically(path, sha256(content).hexdigest().encode() + b"\n" + content)


def read_sealed(path: Path) -> bytes | None:
    """What :func:`write_sealed` wrote. None where there is nothing, or something else than was written."""
    try:
        seal, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return content if sha256(content).hexdigest().encode() == seal else None


def _umask() -> int:
    """What this process takes away from the permissions of new files. It can only be read by setting it."""
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
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
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
