"""Reads the files in a ZIP archive of requests, none of which is written anywhere.

What one of them is, is for ``bodies`` to say.
"""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from servefit.backends.model.archive import MAX_MEMBERS, MAX_UNPACKED_BYTES
from servefit.backends.model.opaque import MAX_BODY_BYTES
from servefit.errors import PayloadMismatch

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
)
"""Errors of an archive that is damaged, has a password, or is compressed in a way that Python does not know."""

_UNIX_MODE = 16
"""Where the mode of a file begins in the attributes that an archive has of it, in bits."""


def files_in_zip(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the archive ``path`` (``name`` in messages) in the order of their names: the name in messages
    and the content, cut one byte after the largest request. Leaves out hidden files. Raises PayloadMismatch,
    OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(
                (entry for entry in archive.infolist() if not entry.is_dir()), key=lambda entry: entry.filename
            )
            if len(members) > MAX_MEMBERS or sum(entry.file_size for entry in members) > MAX_UNPACKED_BYTES:
                raise PayloadMismatch(
                    name, expected=f"at most {MAX_MEMBERS:,} files that fit into memory", got="a larger archive"
                )
            for member in members:
                inner = PurePosixPath(member.filename)
                _check(member, inner, name)
                if inner.parts[0] == "__MACOSX" or any(part.startswith(".") for part in inner.parts):
                    continue
                with archive.open(member) as stream:
                    content = stream.read(MAX_BODY_BYTES + 1)  # the archive's own count is not trusted
                yield f"{name}:{member.filename}", content
    except _BROKEN as error:
        reason = " ".join(str(error).split())[:100] or "a broken one"
        raise PayloadMismatch(name, expected="a ZIP archive of files", got=reason) from error


def _check(member: zipfile.ZipInfo, inner: PurePosixPath, name: str) -> None:
    """Refuse what a .tar.gz may not hold either: names that lead out of it, and links."""
    if inner.is_absolute() or ".." in inner.parts or not inner.name:
        got = f"a name that leads out of it: {member.filename!r:.80}"
        raise PayloadMismatch(name, expected="a ZIP archive of files", got=got)
    if stat.S_ISLNK(member.external_attr >> _UNIX_MODE):
        got = "a link, whose content is elsewhere"
        raise PayloadMismatch(f"{name}:{member.filename}", expected="a file", got=got)
