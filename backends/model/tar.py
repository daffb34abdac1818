"""Reads gzipped tar archives from one end to the other, in little memory whatever they hold.

Python's tarfile takes names and headers of any length into memory, spends quadratic time on some, and ends at a broken
header as if that were the archive's end. This reads what tar programs write for files and folders (ustar, GNU's long
names, pax), and takes nothing that is longer than it needs to be. Format: https://pubs.opengroup.org/onlinepubs/9699919799
(pax) and https://www.gnu.org/software/tar/manual/html_node/Standard.html.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_HEADERS = 30_000
"""In one archive. A member has three at most: for a long name, for what pax adds, and its own."""
MAX_EXTRA_BYTES = 16 * 2**10
"""In one header that adds to the next: a path has 4,096 bytes at most on Linux."""
MAX_ALL_EXTRA_BYTES = 8 * 2**20
"""In one archive: some hundred bytes for each of as many members as an archive may have."""
MAX_GZIP_FILES = 100_000
"""One after another, as programs write them that compress several parts at once, of 64 KiB and more."""

_BLOCK = 512
"""Bytes, as tar has it."""

_CHUNK_BYTES = 2**14
"""Unzipped at once. It may become a thousand times as much. Chosen, not measured."""

_PIECE_BYTES = 2**16
"""Written at once. Chosen, not measured."""

_GZIP_MAGIC = b"\x1f\x8b"
_FILES, _FOLDER = b"07\0", b"5"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_PAX, _PAX_GLOBAL = b"xX", b"g"
_OCTAL = b"01234567"
_PAX_RECORD = re.compile(rb"(?P<length>[0-9]{1,5}) ")


class BrokenArchive(Exception):
    """The text is a sentence that says what is wrong with an archive."""


class NoArchive(BrokenArchive):
    """An error: what was compressed is something else."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder in an archive, or neither: a link, a device, or what tar programs keep for themselves."""

    name: str
    size: int
    is_file: bool
    is_folder: bool


class TarReader:
    """An archive open for reading; iterating gives its members, and ``content`` that of the one given last.

    ``budget`` is how many bytes it may unpack to, headers and padding included. Both raise BrokenArchive, and OSError
    where the file cannot be read.
    """

    def __init__(self, stream: BinaryIO, budget: int) -> None:
        self._unzipped = _Unzipped(stream, budget)
        self._headers = self._extra_bytes = 0
        self._left = self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        name: str | None = None
        size: int | None = None
        while (header := self._header()) is not None:
            kind, header_name, header_size = header
            if kind in (_LONG_NAME, _LONG_LINK):
                text = self._extra(header_size).rstrip(b"\0")
                name = _text(text) if kind == _LONG_NAME else name
            elif kind in _PAX:
                fields = _pax_fields(self._extra(header_size))
                name = _text(fields[b"path"]) if b"path" in fields else name
                size = _decimal(fields[b"size"]) if b"size" in fields else size
            elif kind in _PAX_GLOBAL:
                self._extra(header_size)
            else:
                member = _member(kind, header_name if name is None else name, header_size if size is None else size)
                self._unzipped.allow(member.size)
                self._left, self._padding = member.size, -member.size % _BLOCK
                yield member
                self._skip()
                name = size = None

    def content(self) -> Iterator[bytes]:
        """Yield the content of the member, piece by piece."""
        while self._left:
            piece = self._unzipped.read(min(self._left, _PIECE_BYTES))
            if not piece:
                raise _incomplete("it ends in the middle of a file")
            self._left -= len(piece)
            yield piece

    def _skip(self) -> None:
        for _ in self.content():
            pass
        self._unzipped.exactly(self._padding)
        self._padding = 0

    def _header(self) -> tuple[bytes, str, int] | None:
        """Return kind, name and size of the next header; None at the end."""
        block = self._unzipped.block(_BLOCK)
        if block == bytes(_BLOCK) or (not block and self._headers):
            return None
        if len(block) < _BLOCK or not _checks(block):
            raise (
                _incomplete("it is damaged") if self._headers else NoArchive("it is a gzip file that holds no archive")
            )
        self._headers += 1
        if self._headers > MAX_HEADERS:
            raise BrokenArchive(f"the archive has more than {MAX_HEADERS} headers")
        kind, name = block[156:157], block[:100].partition(b"\0")[0]
        if block[257:263] == b"ustar\0" and block[345]:
            name = block[345:500].partition(b"\0")[0] + b"/" + name
        return kind, _text(name), _number(block[124:136])

    def _extra(self, size: int) -> bytes:
        """Return the content of a header that says something of the next member."""
        self._extra_bytes += size
        if size > MAX_EXTRA_BYTES or self._extra_bytes > MAX_ALL_EXTRA_BYTES:
            raise BrokenArchive(f"the archive has {self._extra_bytes:,} bytes of headers, far more than names take")
        return self._unzipped.exactly(size + -size % _BLOCK)[:size]


def _member(kind: bytes, name: str, size: int) -> Member:
    # Before there was a kind of folders, their names ended in a slash.
    is_folder = kind == _FOLDER or (kind == b"\0" and name.endswith("/"))
    is_file = kind in _FILES and not is_folder
    return Member(name, size if is_file else 0, is_file, is_folder)


def _checks(block: bytes) -> bool:
    """Return whether the header's sum is right. Some programs added up signed bytes."""
    said = block[148:156].strip(b" \0")
    if not said or said.strip(_OCTAL):
        return False
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if int(said, 8) == unsigned:
        return True
    return int(said, 8) == unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])


def _number(field: bytes) -> int:
    """Return a size: octal digits, or where it is too large for those, the bytes of a number after a mark."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(_OCTAL):
        raise _incomplete("a size is no number")
    return int(digits or b"0", 8)


def _decimal(field: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,19}", field):
        raise _incomplete("a size is no number")
    return int(field)


def _pax_fields(content: bytes) -> dict[bytes, bytes]:
    """Return the records of a pax header: the length of each, a space, a name, "=", a value and a newline."""
    fields: dict[bytes, bytes] = {}
    begin = 0
    while begin < len(content):
        record = _PAX_RECORD.match(content, begin)
        end = begin + int(record["length"]) if record is not None else 0
        if record is None or not record.end() < end <= len(content):
            raise _incomplete("a pax header is broken")
        name, _, value = content[record.end() : end].removesuffix(b"\n").partition(b"=")
        if name.startswith(b"GNU.sparse."):
            raise BrokenArchive("the archive holds a sparse file")
        fields[name] = value
        begin = end
    return fields


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _incomplete(reason: str) -> BrokenArchive:
    return BrokenArchive(f"it is no complete .tar.gz archive: {reason}")


class _Unzipped:
    """The content of a gzip file, and no more of it than ``budget`` bytes."""

    def __init__(self, stream: BinaryIO, budget: int) -> None:
        self._stream, self._left = stream, budget
        self._zlib = zlib.decompressobj(wbits=31)
        self._compressed, self._files = b"", 1

    def read(self, most: int) -> bytes:
        """Read some bytes, ``most`` at most; none at the end."""
        unzipped = b""
        while not unzipped:
            if self._zlib.eof:
                # Gzip files may follow each other; whatever else follows is padding.
                self._compressed = self._zlib.unused_data
                if len(self._compressed) < len(_GZIP_MAGIC):
                    self._compressed += self._stream.read(_CHUNK_BYTES)
                if not self._compressed.startswith(_GZIP_MAGIC):
                    return b""
                self._files += 1
                if self._files > MAX_GZIP_FILES:
                    raise BrokenArchive(f"the archive is more than {MAX_GZIP_FILES} gzip files")
                self._zlib = zlib.decompressobj(wbits=31)
            compressed = self._compressed or self._stream.read(_CHUNK_BYTES)
            try:
                unzipped = self._zlib.decompress(compressed, most)
            except zlib.error as error:
                raise _incomplete("it is damaged") from error
            if not compressed and not unzipped and not self._zlib.eof:
                raise _incomplete("it is cut off")
            self._compressed = self._zlib.unconsumed_tail
        self.allow(len(unzipped))
        self._left -= len(unzipped)
        return unzipped

    def allow(self, size: int) -> None:
        """Raise BrokenArchive unless so many bytes more may be read."""
        if size > self._left:
            raise BrokenArchive("the archive unpacks to far more than a model would")

    def block(self, size: int) -> bytes:
        """Read so many bytes, or what there is of them at the end."""
        parts, wanted = [], size
        while wanted and (part := self.read(wanted)):
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def exactly(self, size: int) -> bytes:
        content = self.block(size)
        if len(content) < size:
            raise _incomplete("it is cut off")
        return content
