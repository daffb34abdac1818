"""Bodies of requests as they come: into files, so that memory stays small, or as a whole where they are short.

Each is held against what the client says of it. Writing and computing is done in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from servefit.aws.s3 import chunked
from servefit.aws.s3.arrivals import Arrival
from servefit.aws.s3.checksums import SIGNED_CHUNKS, UNSIGNED_CHUNKS, Checksums
from servefit.aws.s3.queries import number
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.s3.places import Places

_WRITE_BYTES = 2**20
"""So much is gathered before a thread writes it."""

_MAX_XML_BYTES = 2 * 2**20

_T = TypeVar("_T")


class RequestBodies:
    """Reads bodies into files of ``places``. With ``checks_signatures`` a signature in the headers of a request has to
    cover its body."""

    def __init__(self, places: Places, *, checks_signatures: bool) -> None:
        self._places = places
        self._checks_signatures = checks_signatures

    async def receive(
        self,
        headers: Mapping[str, str],
        chunks: AsyncIterator[bytes],
        keep: Callable[[Path], _T],
        *,
        outlives_crash: bool = True,
    ) -> tuple[_T, dict[str, str]]:
        """Write a body into a file, and have ``keep`` put that where it belongs if it is what the client says. Return
        what ``keep`` does, and the checksums as headers of the answer. Raises ApiError."""
        checksums, trailers = self._checksums(headers), dict[str, str]()
        is_chunked = _is_chunked(headers)
        length = headers.get("x-amz-decoded-content-length" if is_chunked else "content-length")
        arrival = Arrival(
            self._places,
            length=None if length is None else number("the length of the content", length, digits=15),
            checksums=checksums,
        )
        try:
            async for block in _gathered(chunked.decoded(chunks, trailers) if is_chunked else chunks):
                await asyncio.to_thread(arrival.write, block)
            checksums.take_trailers(trailers)
            return await asyncio.to_thread(arrival.finish, keep, outlives_crash=outlives_crash), checksums.told
        except BaseException:
            await asyncio.to_thread(arrival.discard)
            raise

    async def whole(
        self, headers: Mapping[str, str], chunks: AsyncIterator[bytes], *, has_checksums_of_object: bool = False
    ) -> bytes:
        """Return a short body. Raises ApiError for a long one, and for another one than the client says."""
        checksums = self._checksums(headers, are_of_body=not has_checksums_of_object)
        body = bytearray()
        async for chunk in chunks:
            body += chunk
            if len(body) > _MAX_XML_BYTES:
                raise ApiError("MalformedXML", f"the body has more than {_MAX_XML_BYTES} bytes")
        whole = bytes(body)
        await asyncio.to_thread(checksums.update, whole)
        checksums.check()
        return whole

    def _checksums(self, headers: Mapping[str, str], *, are_of_body: bool = True) -> Checksums:
        if self._checks_signatures and "authorization" in headers:
            signed = headers.get("x-amz-content-sha256")
            if signed is None:
                raise ApiError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
            if signed in SIGNED_CHUNKS:
                text = f"x-amz-content-sha256 is {signed}: signatures of chunks are not checked here"
                raise ApiError("NotImplemented", text)
        return Checksums(headers, are_of_body=are_of_body)


def _is_chunked(headers: Mapping[str, str]) -> bool:
    signed = headers.get("x-amz-content-sha256", "")
    return signed == UNSIGNED_CHUNKS or signed in SIGNED_CHUNKS or "aws-chunked" in headers.get("content-encoding", "")


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    block = bytearray()
    async for chunk in chunks:
        block += chunk
        if len(block) >= _WRITE_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
