"""The checksums that a client sends with a body: each is computed, and held against what came.

Beside Content-MD5 and the SHA-256 that is signed, S3 has ``x-amz-checksum-*`` in headers, or in the trailers of a body
of chunks. One that cannot be computed here is refused: nothing is kept unchecked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from servefit.aws.s3.crc import Crc, crc32c, crc64nvme
from servefit.aws.wire.errors import ApiError

PREFIX = "x-amz-checksum-"
"""Begins the names of headers with a checksum of the content."""

UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED_CHUNKS = frozenset({"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"})
"""Values of x-amz-content-sha256 that are no digest."""

_NOT_CHECKSUMS = frozenset({"mode", "type", "algorithm"})
"""Endings of other headers with that prefix."""

_READ_BYTES = 2**20


class Hasher(Protocol):
    """Computes a checksum, as those of hashlib do."""

    @property
    def digest_size(self) -> int: ...

    def update(self, content: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    digest_size = 4

    def __init__(self) -> None:
        self._state = 0

    def update(self, content: bytes, /) -> None:
        self._state = zlib.crc32(content, self._state)

    def digest(self) -> bytes:
        return self._state.to_bytes(4, "big")


class _OtherCrc:
    def __init__(self, crc: Crc) -> None:
        self._crc, self._state = crc, crc.start

    @property
    def digest_size(self) -> int:
        return self._crc.digest_size

    def update(self, content: bytes, /) -> None:
        self._state = self._crc.extended(self._state, content)

    def digest(self) -> bytes:
        return self._crc.digest(self._state)


def _md5() -> Hasher:
    return hashlib.md5(usedforsecurity=False)


_HASHERS: Mapping[str, Callable[[], Hasher]] = {
    "crc32": _Crc32,
    "crc32c": lambda: _OtherCrc(crc32c()),
    "crc64nvme": lambda: _OtherCrc(crc64nvme()),
    "md5": _md5,
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}
"""By what the names of headers end in."""


class Checksums:
    """The checksums of a body, by the headers that it comes with.

    Raises ApiError for headers that are no checksums, or checksums that are not computed here. ``are_of_body`` is false
    where those with the prefix are about something else, as those of CompleteMultipartUpload are.
    """

    def __init__(self, headers: Mapping[str, str], *, are_of_body: bool = True) -> None:
        self._hashers: dict[str, Hasher] = {}
        self._wanted: dict[str, bytes] = {}
        if (text := headers.get("content-md5")) is not None:
            if (wanted := _decoded(text, 16)) is None:
                raise ApiError("InvalidDigest", "The Content-MD5 you specified was invalid.")
            self._hashers["content-md5"], self._wanted["content-md5"] = _md5(), wanted
        self._take_signed(headers.get("x-amz-content-sha256", UNSIGNED))
        if not are_of_body:
            return
        for name in declared(headers):
            self._hashers[name] = hasher_of(name)
            self._want(name, headers[name])
        for name in filter(None, (trailer.strip().lower() for trailer in headers.get("x-amz-trailer", "").split(","))):
            self._hashers[name] = hasher_of(name)
        if "x-amz-sdk-checksum-algorithm" in headers and not any(name.startswith(PREFIX) for name in self._hashers):
            text = (
                "x-amz-sdk-checksum-algorithm specified, but no x-amz-checksum-* or x-amz-trailer headers were found."
            )
            raise ApiError("InvalidRequest", text)

    def update(self, content: bytes) -> None:
        """Take what comes next."""
        for hasher in self._hashers.values():
            hasher.update(content)

    def take_trailers(self, trailers: Mapping[str, str]) -> None:
        """Take what came behind a body of chunks. Raises ApiError for a checksum that was not announced."""
        for name, text in trailers.items():
            if name.startswith(PREFIX):
                if name not in self._hashers:
                    raise ApiError("MalformedTrailerError", f"{name} is not in x-amz-trailer")
                self._want(name, text)

    def check(self) -> None:
        """Raise ApiError where a checksum is not that of what came."""
        for name, hasher in self._hashers.items():
            if name not in self._wanted:
                raise ApiError("MalformedTrailerError", f"{name} is in x-amz-trailer, and did not come")
            if hasher.digest() == self._wanted[name]:
                continue
            if name == "x-amz-content-sha256":
                text = "The provided 'x-amz-content-sha256' header does not match what was computed."
                raise ApiError("XAmzContentSHA256Mismatch", text)
            shown = "Content-MD5" if name == "content-md5" else name.removeprefix(PREFIX).upper()
            raise ApiError("BadDigest", f"The {shown} you specified did not match the calculated checksum.")

    @property
    def told(self) -> dict[str, str]:
        """Those of the content, as an answer has them in its headers."""
        return {
            name: base64.b64encode(wanted).decode() for name, wanted in self._wanted.items() if name.startswith(PREFIX)
        }

    def _take_signed(self, text: str) -> None:
        if text in {UNSIGNED, UNSIGNED_CHUNKS, *SIGNED_CHUNKS}:
            return
        if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
            raise ApiError(
                "InvalidArgument",
                f"x-amz-content-sha256 must be {UNSIGNED}, {UNSIGNED_CHUNKS}, {', '.join(sorted(SIGNED_CHUNKS))}, or a"
                " valid sha256 value.",
            )
        self._hashers["x-amz-content-sha256"] = hashlib.sha256()
        self._wanted["x-amz-content-sha256"] = bytes.fromhex(text)

    def _want(self, name: str, text: str) -> None:
        wanted = _decoded(text, self._hashers[name].digest_size)
        if wanted is None:
            raise ApiError("InvalidRequest", f"Value for {name} header is invalid.")
        self._wanted[name] = wanted


def declared(headers: Mapping[str, str]) -> list[str]:
    """Return the names of the headers that are checksums of the content."""
    return [name for name in headers if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in _NOT_CHECKSUMS]


def hasher_of(name: str) -> Hasher:
    """Return what computes the checksum of a header or a trailer. Raises ApiError, NotImplemented."""
    make = _HASHERS.get(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
    if make is None:
        names = ", ".join(sorted(hasher.upper() for hasher in _HASHERS))
        raise ApiError("NotImplemented", f"{name[:80]} cannot be checked here; send one of {names}")
    return make()


def digest_of_file(name: str, path: Path) -> bytes:
    """Return the checksum of a file by the name of the header that it would be in. Raises ApiError, NotImplemented."""
    hasher = hasher_of(name)
    with path.open("rb") as file:
        while content := file.read(_READ_BYTES):
            hasher.update(content)
    return hasher.digest()


def _decoded(text: str, size: int) -> bytes | None:
    """Return what a text in base64 stands for, None where that has not as many bytes."""
    try:
        digest = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == size else None
