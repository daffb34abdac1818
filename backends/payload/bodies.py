"""Payloads of opaque requests: files as they are, or the lines of a text, with a content type each.

A folder, or an archive, holds a request a file. Nothing of them is read but their bytes: what they mean is known to the
script that answers. The rows that they become are packed by ``model.opaque``.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.archive import MAX_MEMBERS
from servefit.backends.model.finding import unpack_bounded
from servefit.backends.model.media_types import content_type_of
from servefit.backends.model.opaque import MAX_BODY_BYTES, OpaqueRequest, request_row
from servefit.backends.payload.table import MAX_ROWS
from servefit.backends.payload.types import Payload, used_sizes
from servefit.backends.payload.zip_files import files_in_zip
from servefit.errors import CorruptModel, PayloadMismatch
from servefit.field_types import check_types
from servefit.showing import shown
from servefit.state import temporary_folder

if TYPE_CHECKING:
    from servefit.backends.model import Signature

MAX_PAYLOAD_BYTES = 2**28
"""Of all requests of a payload as rows, each as wide as the widest: 64 MiB of bodies. More is left out, and said."""

_OTHERWISE = "say what they are with --content-type (sf.Bodies(..., content_type=...))"
_ARCHIVES = (".tar.gz", ".tgz", ".zip")
_LINES = {"application/jsonlines": "application/json", "application/x-ndjson": "application/json"}
"""The content type of one line of such a file."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """A payload for a model that is a script: requests that are bytes.

    ``source`` is a file, a folder or an archive (.tar.gz or .zip) of files, or a list of bytes. ``content_type`` is
    that of all of them; None where their extensions tell. ``accept`` is what the client says that it takes; None where
    it says nothing. With ``each_line`` a file is one request a line, and empty lines are none.

    Example:
        ::

            lines = sf.Bodies(source=[b"1.5,2", b"0.5,7"], content_type="text/csv")
            print(lines.content_type)

    It goes where a payload does: ``sf.profile("model.tar.gz", payload=lines, trust_code=True)``.
    """

    source: object
    content_type: str | None = None
    accept: str | None = None
    each_line: bool = False

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, slots=True)
class _Body:
    """Bytes, and the name of the file that they are of, where there is one."""

    name: str
    content: bytes
    is_file: bool = True


def bodies_payload(payload: Any, signature: Signature) -> Payload:
    """Return the payload of a script from Bodies, or from a ``source`` of these. Raises PayloadMismatch."""
    if payload is None:
        raise PayloadMismatch(
            "for a script",
            expected="some: a file, a folder or an archive of requests",
            got="none, and nobody but the script knows what it takes",
            remedy="give one with --payload",
        )
    bodies = payload if isinstance(payload, Bodies) else Bodies(source=payload)
    source = Path(bodies.source).name if isinstance(bodies.source, str | Path) else "bytes"
    with temporary_folder("payload") as folder:
        contents = _bodies(bodies.source, source, folder)
        requests = _requests(contents, bodies)
        rows, total = _packed(requests, source)
    return Payload(
        rows=rows,
        source=source,
        truncated_from=total if total > len(rows) else None,
        sizes=used_sizes(rows, signature),
        content_type=bodies.content_type,
        accept=bodies.accept,
        each_line=bodies.each_line,
    )


def no_requests(signature: Signature) -> Payload:
    """Return the payload of a script that is served, and not measured: nothing."""
    return Payload(rows=np.empty((0, signature.features), np.float32), source="no payload")


def _bodies(source: Any, name: str, folder: Path) -> Iterator[_Body]:
    if isinstance(source, bytes | bytearray | memoryview):
        source = [source]
    if isinstance(source, str | Path):
        yield from _bodies_in(Path(source), name, folder)
        return
    if not isinstance(source, Sequence) or not all(isinstance(one, bytes | bytearray | memoryview) for one in source):
        raise PayloadMismatch(
            "for a script",
            expected="bytes, a list of them, or a path",
            got=f"a {type(source).__name__}",
            remedy="encode rows as the script reads them, or save them to a file",
        )
    for nth, body in enumerate(source, start=1):
        yield _Body(f"request {nth}", bytes(body), is_file=False)


def _bodies_in(path: Path, name: str, folder: Path) -> Iterator[_Body]:
    try:
        if path.is_dir():
            yield from _files_in(path, name)
        elif not path.is_file():
            got = "a pipe or a device" if path.exists() else "no such file or directory"
            raise PayloadMismatch(name, expected="a file or a folder", got=got)
        elif path.name.lower().endswith(".zip"):
            for member, content in files_in_zip(path, name):
                yield _Body(member, content)
        elif path.name.lower().endswith(_ARCHIVES):
            try:
                unpack_bounded(path, folder)
            except CorruptModel as error:
                raise PayloadMismatch(
                    name, expected="a .tar.gz of files", got=error.reason, remedy=error.remedy
                ) from error
            yield from _files_in(folder, name)
        else:
            yield _Body(name, _read(path, name))
    except OSError as error:
        raise PayloadMismatch(name, expected="a readable file", got=(error.strerror or str(error)).lower()) from error


def _files_in(folder: Path, name: str) -> Iterator[_Body]:
    """Yield the files in a folder, by name, without hidden ones and what lies in hidden folders."""
    root = folder.resolve()
    paths = sorted(path for path in folder.rglob("*") if not _is_hidden(path.relative_to(folder)))
    if len(paths) > MAX_MEMBERS:
        raise PayloadMismatch(name, expected=f"at most {MAX_MEMBERS:,} files", got=f"{len(paths):,}")
    for path in paths:
        said = f"{name}/{path.relative_to(folder)}"
        if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
            raise PayloadMismatch(said, expected="a file in the folder", got="a link that leads out of it, or nowhere")
        if path.is_file():
            yield _Body(said, _read(path, said))
        elif not path.is_dir():
            raise PayloadMismatch(said, expected="a regular file", got="a pipe or a device")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read(path: Path, name: str) -> bytes:
    """Return the content of a file of which one request is made, or several."""
    size = path.stat().st_size
    if size > MAX_PAYLOAD_BYTES:
        raise PayloadMismatch(name, expected=f"at most {MAX_PAYLOAD_BYTES:,} bytes", got=f"{size:,}")
    return path.read_bytes()


def _requests(contents: Iterable[_Body], bodies: Bodies) -> Iterator[tuple[str, OpaqueRequest]]:
    """Yield the requests, each after its name in messages."""
    for body in contents:
        content_type = bodies.content_type or content_type_of(PurePosixPath(body.name))
        if content_type is None:
            got = f"{PurePosixPath(body.name).suffix or 'no extension'!r}" if body.is_file else "bytes"
            expected = "an extension that tells the content type" if body.is_file else "a content type"
            raise PayloadMismatch(body.name, expected=expected, got=got, remedy=_OTHERWISE)
        request = OpaqueRequest(body=body.content, content_type=content_type, accept=bodies.accept or "")
        if not bodies.each_line:
            yield body.name, request
            continue
        of_line = bodies.content_type or _LINES.get(content_type, content_type)
        text = body.content.removeprefix(codecs.BOM_UTF8)  # it belongs to the file, not to its first line
        for number, line in enumerate(io.BytesIO(text), start=1):
            if b"\0" in line:
                raise PayloadMismatch(
                    f"{body.name}, line {number}",
                    expected="text, of which each line is a request",
                    got="bytes that no line of UTF-8 has",
                    remedy="leave --each-line (each_line=) out, or save it as UTF-8",
                )
            if line.strip():
                yield f"{body.name}, line {number}", replace(request, body=line.rstrip(b"\r\n"), content_type=of_line)


def _packed(requests: Iterable[tuple[str, OpaqueRequest]], source: str) -> tuple[np.ndarray, int]:
    """Return the rows of as many requests as may be kept, from the first on, and how many there are."""
    kept: list[np.ndarray] = []
    widest = total = 0
    full = False
    for name, request in requests:
        total += 1
        if full or total > MAX_ROWS:
            continue
        try:
            row = request_row(request)
        except ValueError as error:
            expected = f"a request of at most {MAX_BODY_BYTES:,} bytes, with a content type"
            raise PayloadMismatch(name, expected=expected, got=str(error)) from error
        width = max(widest, len(row))
        if kept and 4 * width * (len(kept) + 1) > MAX_PAYLOAD_BYTES:
            full = True
            continue
        kept.append(row)
        widest = width
    if not kept:
        raise PayloadMismatch(source, expected="at least one request", got="none")
    rows = np.zeros((len(kept), widest), np.float32)
    for nth, row in enumerate(kept):
        rows[nth, : len(row)] = row
    return rows, total
