"""Bodies in the coding aws-chunked: chunks with their lengths, then trailers, which may be checksums of the content.

The form is that of the S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in
Multiple Chunks". Signatures of chunks are left out: where signatures are checked such a body is refused.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from servefit.aws.wire.errors import ApiError

_MAX_LINE_BYTES = 4096
_MAX_TRAILERS = 16
"""Far above what clients send: a signature, and the checksum with another one. Chosen, not measured."""

_MAX_SHORT_CHUNKS, _MIN_CHUNK_BYTES = 256, 256
"""Chunks beyond the first have so many bytes on average: each takes some 5 us in which no other client is answered. S3
wants 8 KiB in each but the last. Chosen, not measured."""

_SIZE = re.compile(r"([0-9a-fA-F]{1,8})(;.*)?")


async def decoded(chunks: AsyncIterator[bytes], trailers: dict[str, str]) -> AsyncIterator[bytes]:
    """Yield the content of a body, and put what comes behind it into ``trailers``, with names in lower case. Raises
    ApiError for a body of another form, or one that ends before its end."""
    reader = _Reader(chunks)
    count = content_bytes = 0
    while size := _size(await reader.line()):
        count += 1
        content_bytes += size
        if count > _MAX_SHORT_CHUNKS + content_bytes // _MIN_CHUNK_BYTES:
            raise ApiError("InvalidChunkSizeError", "The chunks are too short: send 8192 bytes in each.")
        async for content in reader.content(size):
            yield content
        if await reader.line():
            raise _malformed()
    while line := await reader.line():
        name, colon, value = line.partition(":")
        if not colon or len(trailers) >= _MAX_TRAILERS:
            raise _malformed()
        trailers[name.strip().lower()] = value.strip()


class _Reader:
    """Lines and content by turns, of chunks that come as they like."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = bytearray()

    async def line(self) -> str:
        """Return the next line without its end."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                raise _malformed()
            await self._fill()
        line = self._buffer[:end].decode("latin-1")
        del self._buffer[: end + 2]
        return line

    async def content(self, size: int) -> AsyncIterator[bytes]:
        """Yield the next ``size`` bytes."""
        while size:
            if not self._buffer:
                await self._fill()
            content = bytes(self._buffer[:size])
            del self._buffer[:size]
            size -= len(content)
            yield content

    async def _fill(self) -> None:
        chunk = await anext(self._chunks, None)
        if chunk is None:
            raise ApiError("IncompleteBody", "The body ends before its last chunk.")
        self._buffer += chunk


def _size(line: str) -> int:
    match = _SIZE.fullmatch(line)
    if match is None:
        raise _malformed()
    return int(match[1], 16)


def _malformed() -> ApiError:
    return ApiError("InvalidRequest", "The body is not in the coding aws-chunked.")
