"""A private copy of an artifact: what happens to its files afterwards changes nothing for who serves it.

Every file is read once, compared with what the artifact's manifest says of it where there is one, and copied. Backends
that use a file in place, as memory or as machine code, get it in memory that is sealed: nobody can change or shorten
it, and all workers share it. They inherit its descriptors, and find them behind links in a private folder under the
names that the files have. The others read a file when a worker starts, and get a private one: it costs no memory that
the system cannot have back, and some libraries follow links to where sealed memory has no path. What is in the files is
the business of backends.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

import msgspec

from servefit.backends.artifacts.cache import MANIFEST
from servefit.errors import BackendError
from servefit.serving.event_log import log_event
from servefit.serving.private_folders import own_folder
from servefit.state import writing

if TYPE_CHECKING:
    from servefit.serving.config import ArtifactFacts

IN_PLACE = frozenset({"forest", "tl2cgen"})
"""The backends that use their file in place."""

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_CHUNK_BYTES = 2**20
"""Read at once: large enough that reading costs no more calls than copying. Chosen, not measured."""

_LIBRARY = b"\x7fELF"

_LARGE_PAGE_BYTES = 2 * 2**20
"""Of x86-64, and of ARM with small pages of 4 KiB."""

_MAP_FIXED = 0x10
_MADV_COLLAPSE = 25
"""As <sys/mman.h> has them; Python's mmap does not."""


class _File(msgspec.Struct):
    sha256: str


class _Manifest(msgspec.Struct):
    """The part that is read here of the manifest that ``backends.artifacts.cache`` writes."""

    files: dict[str, _File]


class PrivateCopy:
    """The files of ``artifact``, below ``folder``, until :meth:`close`. ``descriptors`` are those of sealed memory,
    which whoever opens the files has to inherit.

    Where memory cannot be sealed, or libraries in it not be run, files are used in its place, and that is said. Raises
    BackendError for an artifact that cannot be read, or is not what its manifest says; StateError without room for
    temporary files.
    """

    def __init__(self, artifact: ArtifactFacts) -> None:
        self._source = Path(artifact.folder)
        self._backend = artifact.backend
        self._memory: list[int] = []
        self._in_memory = artifact.backend in IN_PLACE
        self.folder, self._lock = own_folder()
        try:
            manifest = self._manifest()
            for name in self._names() if manifest is None else manifest:
                expected = None if manifest is None else manifest[name]
                if self._copy(name) != expected and expected is not None:
                    raise self._damaged(f"{name} is not what was compiled")
        except BaseException:
            self.close()
            raise

    @property
    def descriptors(self) -> tuple[int, ...]:
        return tuple(self._memory)

    def close(self) -> None:
        """Remove the folder, and give the memory back once no worker has it open."""
        for memory in self._memory:
            os.close(memory)
        self._memory.clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def _manifest(self) -> Mapping[str, str] | None:
        """Return the SHA-256 of every file, or None for an artifact that says nothing of them."""
        try:
            content = (self._source / MANIFEST).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(MANIFEST, error) from error
        try:
            files = msgspec.json.decode(content, type=_Manifest).files
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._damaged(f"{MANIFEST} does not list its files: {error}") from error
        for name in files:
            parts = PurePosixPath(name).parts
            if not parts or parts[0] == "/" or ".." in parts:
                raise self._damaged(f"{name!r:.80} is no file in it")
        return {name: file.sha256 for name, file in files.items()}

    def _names(self) -> list[str]:
        if not self._source.is_dir():
            raise BackendError(self._backend, f"its artifact {self._source} is not there")
        try:
            files = [path for path in self._source.rglob("*") if path.is_file()]
        except OSError as error:
            raise self._unreadable(self._source.name, error) from error
        return sorted(path.relative_to(self._source).as_posix() for path in files)

    def _copy(self, name: str) -> str:
        """Keep the file ``name``; return the SHA-256 of what is kept."""
        kept = self.folder / name
        with writing(kept, variable="TMPDIR"):
            kept.parent.mkdir(parents=True, exist_ok=True)
        if self._in_memory:
            try:
                memory, digest = _sealed(kept.name, self._chunks(name))
            except OSError as error:
                self._in_memory = False
                log_event(f"no sealed memory can be had ({error.strerror}): private copies in {self.folder} are served")
            else:
                self._memory.append(memory)
                kept.symlink_to(f"/proc/self/fd/{memory}")
                return digest
        with writing(kept, variable="TMPDIR"), kept.open("xb") as copy:
            os.fchmod(copy.fileno(), stat.S_IRUSR)
            return _written(copy, self._chunks(name))

    def _chunks(self, name: str) -> Iterator[bytes]:
        try:
            with (self._source / name).open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError) -> BackendError:
        return BackendError(
            self._backend, f"{name} of its artifact {self._source} cannot be read: {error.strerror or error}"
        )

    def _damaged(self, how: str) -> BackendError:
        return BackendError(
            self._backend,
            f"its artifact {self._source} is damaged: {how}",
            remedy="compile it again, or copy it again from where it is whole",
        )


def _sealed(name: str, chunks: Iterator[bytes]) -> tuple[int, str]:
    """Return memory that holds ``chunks`` for good, and their SHA-256. Raises OSError where that cannot be had."""
    memory = os.memfd_create(f"servefit-{name}"[:200], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(memory, "wb", closefd=False) as copy:
            digest = _written(copy, chunks)
        _use_large_pages(memory, os.fstat(memory).st_size)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        if os.pread(memory, len(_LIBRARY), 0) == _LIBRARY:
            # What the dynamic linker will do with it, and some systems do not allow
            mmap.mmap(memory, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
    except BaseException:
        os.close(memory)
        raise
    return memory, digest


def _written(copy: IO[bytes], chunks: Iterator[bytes]) -> str:
    digest = sha256()
    for chunk in chunks:
        digest.update(chunk)
        copy.write(chunk)
    return digest.hexdigest()


def _use_large_pages(memory: int, size_bytes: int) -> None:
    """Move the memory behind the descriptor ``memory``, but for its end, to large pages if the kernel can (Linux 6.1)
    and has some to spare. Nothing else changes, and nothing fails.

    A walk through a model touches many places, and finding a small page for each takes longer than reading it. The
    kernel gives a file small pages unless it is asked for large ones.
    """
    whole_bytes = size_bytes // _LARGE_PAGE_BYTES * _LARGE_PAGE_BYTES
    if not whole_bytes:
        return
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (*(ctypes.c_void_p, ctypes.c_size_t), *(ctypes.c_int,) * 3, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    # The mapping must be aligned to a large page: reserve a larger space, and map where a page begins in it.
    space = libc.mmap(None, whole_bytes + _LARGE_PAGE_BYTES, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if space in (None, ctypes.c_void_p(-1).value):
        return
    begin = -(-space // _LARGE_PAGE_BYTES) * _LARGE_PAGE_BYTES
    if libc.mmap(begin, whole_bytes, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, memory, 0) == begin:
        libc.madvise(begin, whole_bytes, _MADV_COLLAPSE)
    libc.munmap(space, whole_bytes + _LARGE_PAGE_BYTES)
