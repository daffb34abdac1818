"""S3 over HTTP: which operation a method, a path and a query are, and what it answers.

Bodies go to files as they come, so that memory stays small. Reading and writing is done in threads.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncIterator, Callable
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qs, unquote

from servefit.aws.s3 import documents, listing, objects, unfinished
from servefit.aws.s3.arrivals import Arrival, sweep
from servefit.aws.s3.places import OWN_FOLDER, Places
from servefit.aws.s3.queries import number
from servefit.aws.s3.uploads import Uploads
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import FileAnswer, HttpAnswer

if TYPE_CHECKING:
    from servefit.aws.wire.messages import HttpRequest

Answer: TypeAlias = HttpAnswer | FileAnswer

_WRITE_BYTES = 2**20
"""So much is gathered before a thread writes it."""

_MOST_XML_BYTES = 2 * 2**20

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class S3:
    """The buckets and objects below a folder. With ``checks_digests`` bodies are held against the SHA-256 that was
    signed."""

    def __init__(self, root: Path, *, checks_digests: bool = False) -> None:
        self._places = Places(root)
        self._uploads = Uploads(self._places)
        self._checks_digests = checks_digests
        sweep(self._places)
        self._uploads.put_back()

    @property
    def places(self) -> Places:
        """Where objects lie."""
        return self._places

    async def answer(self, request: HttpRequest, chunks: AsyncIterator[bytes]) -> Answer:
        """Carry out a request whose body comes in ``chunks``. Raises ApiError, 507 where the disk is full: clients do
        not try that again."""
        try:
            return await self._carried_out(request, chunks)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ApiError("InsufficientStorage", "the disk of the objects is full", status=507) from error
            raise

    async def _carried_out(self, request: HttpRequest, chunks: AsyncIterator[bytes]) -> Answer:
        try:
            path = unquote(request.path, errors="strict").removeprefix("/")
        except UnicodeDecodeError as error:
            raise ApiError("InvalidURI", "Couldn't parse the specified URI.") from error
        bucket, _, key = path.partition("/")
        query = {name: values[0] for name, values in parse_qs(request.query, keep_blank_values=True).items()}
        if not bucket:
            return await asyncio.to_thread(self._buckets) if request.method == "GET" else _refuse(request)
        if not key:
            return await self._of_bucket(request, bucket, query, chunks)
        return await self._of_object(request, bucket, key, query, chunks)

    async def _of_bucket(
        self, request: HttpRequest, bucket: str, query: dict[str, str], chunks: AsyncIterator[bytes]
    ) -> Answer:
        if request.method == "PUT" and not query:
            await self._whole(request, chunks)
            return await asyncio.to_thread(self._create_bucket, bucket)
        if request.method == "POST" and "delete" in query:
            return await asyncio.to_thread(self._delete_objects, bucket, await self._whole(request, chunks))
        known: dict[str, Callable[[], Answer]] = {}
        if not set(query) - _LISTING:
            known["GET"] = lambda: self._list(bucket, query)
        if not query:
            known |= {"HEAD": lambda: self._head_bucket(bucket), "DELETE": lambda: self._delete_bucket(bucket)}
        if "location" in query:
            known["GET"] = lambda: self._location(bucket)
        if "uploads" in query and not set(query) - unfinished.UPLOADS_QUERY:
            known["GET"] = lambda: unfinished.list_uploads(self._uploads, bucket, query)
        return await asyncio.to_thread(known.get(request.method, lambda: _refuse(request)))

    async def _of_object(
        self, request: HttpRequest, bucket: str, key: str, query: dict[str, str], chunks: AsyncIterator[bytes]
    ) -> Answer:
        source, upload = request.headers.get("x-amz-copy-source"), query.get("uploadId")
        if request.method == "PUT" and source is None:
            if upload is not None:
                return await self._upload_part(request, bucket, key, query, chunks)
            if not set(query) - _IGNORED:
                return await self._put(request, bucket, key, chunks)
        if request.method == "POST" and upload is not None:
            body = await self._whole(request, chunks)
            return await asyncio.to_thread(self._complete, bucket, key, upload, body)
        known: dict[str, Callable[[], Answer]] = {}
        if upload is not None:
            known["DELETE"] = lambda: self._abort(bucket, key, upload)
            if not set(query) - unfinished.PARTS_QUERY:
                known["GET"] = lambda: self._list_parts(bucket, key, upload, query)
        elif "uploads" in query:
            known["POST"] = lambda: self._begin(bucket, key)
        elif not set(query) - _IGNORED:
            known |= {
                "GET": lambda: self._get(request, bucket, key),
                "HEAD": lambda: self._head(bucket, key),
                "DELETE": lambda: self._delete(bucket, key),
            }
            if source is not None:
                known["PUT"] = lambda: self._copy(source, bucket, key)
        return await asyncio.to_thread(known.get(request.method, lambda: _refuse(request)))

    def _buckets(self) -> Answer:
        found = sorted(each for each in self._places.root.iterdir() if each.is_dir() and each.name != OWN_FOLDER)
        buckets = "".join(
            "<Bucket>"
            + documents.element("Name", each.name)
            + documents.element("CreationDate", documents.time_of(objects.time_of_folder(each)))
            + "</Bucket>"
            for each in found
        )
        owner = "<Owner><ID>servefit</ID><DisplayName>servefit</DisplayName></Owner>"
        return documents.document("ListAllMyBucketsResult", f"{owner}<Buckets>{buckets}</Buckets>")

    def _create_bucket(self, bucket: str) -> Answer:
        folder = self._places.bucket_to_be(bucket)
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise ApiError("InvalidBucketName", f"{bucket} is a file in the folder of the buckets") from error
        return HttpAnswer(headers={"location": f"/{bucket}"})

    def _head_bucket(self, bucket: str) -> Answer:
        self._places.bucket(bucket)
        return HttpAnswer()

    def _location(self, bucket: str) -> Answer:
        self._places.bucket(bucket)
        return documents.document("LocationConstraint", "")

    def _delete_bucket(self, bucket: str) -> Answer:
        try:
            self._places.bucket(bucket).rmdir()
        except OSError as error:
            raise ApiError("BucketNotEmpty", "The bucket you tried to delete is not empty", status=409) from error
        return HttpAnswer(status=204)

    def _list(self, bucket: str, query: dict[str, str]) -> Answer:
        second = query.get("list-type") == "2"
        token = query.get("continuation-token")
        after = listing.after_token(token) if token else query.get("start-after" if second else "marker", "")
        most = number("max-keys", query.get("max-keys", str(listing.MOST_KEYS)))
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        found = listing.page(self._places, bucket, prefix=prefix, delimiter=delimiter, after=after, most=most)
        known = [(key, fact) for key in found.keys if (fact := self._facts_or_none(bucket, key)) is not None]
        url_encoded = query.get("encoding-type") == "url"
        shown = documents.url_encoded if url_encoded else str
        about: list[tuple[str, object]] = [("Name", bucket), ("Prefix", shown(prefix)), ("MaxKeys", most)]
        about.append(("IsTruncated", "true" if found.after is not None else "false"))
        if delimiter:
            about.append(("Delimiter", shown(delimiter)))
        if url_encoded:
            about.append(("EncodingType", "url"))
        if second:
            about.append(("KeyCount", len(known) + len(found.prefixes)))
            if found.after is not None:
                about.append(("NextContinuationToken", listing.token_of(found.after)))
        elif found.after is not None:
            about.append(("NextMarker", shown(found.after)))
        return documents.listing_document(found, known, about=about, is_url_encoded=url_encoded)

    def _facts_or_none(self, bucket: str, key: str) -> objects.Facts | None:
        """Return the facts of an object of a listing, None where it has gone meanwhile or its name is none here."""
        try:
            return objects.facts(self._places.file(bucket, key))
        except ApiError:
            return None

    def _get(self, request: HttpRequest, bucket: str, key: str) -> Answer:
        reader, found = objects.open_object(self._places.file(bucket, key))
        try:
            _check_match(request, found.etag)
            headers = _headers_of(found)
            start, end = _range(request.headers.get("range"), found.size)
            reader.seek(start)
        except BaseException:
            reader.close()
            raise
        if end - start == found.size:
            return FileAnswer(headers=headers, file=reader, length=found.size)
        headers["content-range"] = f"bytes {start}-{end - 1}/{found.size}"
        return FileAnswer(status=206, headers=headers, file=reader, start=start, length=end - start)

    def _head(self, bucket: str, key: str) -> Answer:
        found = objects.facts(self._places.file(bucket, key))
        return HttpAnswer(headers={**_headers_of(found), "content-length": str(found.size)})

    def _delete(self, bucket: str, key: str) -> Answer:
        objects.remove(self._places, bucket, self._places.file(bucket, key))
        return HttpAnswer(status=204)

    def _delete_objects(self, bucket: str, body: bytes) -> Answer:
        self._places.bucket(bucket)
        told, quiet = [], documents.is_quiet(body)
        for key in documents.keys_to_delete(body):
            try:
                self._delete(bucket, key)
            except ApiError as error:
                facts = (("Key", key), ("Code", error.code), ("Message", error.message))
                told.append(f"<Error>{''.join(documents.element(*each) for each in facts)}</Error>")
            else:
                if not quiet:
                    told.append(f"<Deleted>{documents.element('Key', key)}</Deleted>")
        return documents.document("DeleteResult", "".join(told))

    def _copy(self, source: str, bucket: str, key: str) -> Answer:
        path = unquote(source.partition("?")[0]).removeprefix("/")
        from_bucket, _, from_key = path.partition("/")
        found = objects.copy(self._places, self._places.file(from_bucket, from_key), self._places.file(bucket, key))
        content = documents.element("LastModified", documents.time_of(found.modified))
        return documents.document("CopyObjectResult", content + documents.element("ETag", found.etag))

    async def _put(self, request: HttpRequest, bucket: str, key: str, chunks: AsyncIterator[bytes]) -> Answer:
        target = await asyncio.to_thread(self._target, bucket, key, new=request.headers.get("if-none-match") == "*")
        found = await self._receive(request, chunks, lambda path: objects.put_in_place(path, target))
        return HttpAnswer(headers={"etag": found.etag})

    def _target(self, bucket: str, key: str, *, new: bool) -> Path:
        """Return the file of an object that is to be put. Raises ApiError where it is to be ``new`` and is there."""
        target = self._places.file(bucket, key)
        if new and target.exists():
            raise _precondition()
        return target

    async def _upload_part(
        self, request: HttpRequest, bucket: str, key: str, query: dict[str, str], chunks: AsyncIterator[bytes]
    ) -> Answer:
        part = number("partNumber", query.get("partNumber", ""))
        upload = await asyncio.to_thread(self._uploads.find, query["uploadId"], bucket, key)
        upload.part(part)
        # The object is on the disk once it is joined: a part that also was would be written twice.
        found = await self._receive(
            request, chunks, lambda path: self._uploads.keep_part(upload, path, part), outlives_crash=False
        )
        return HttpAnswer(headers={"etag": found.etag})

    async def _receive(
        self,
        request: HttpRequest,
        chunks: AsyncIterator[bytes],
        keep: Callable[[Path], objects.Facts],
        *,
        outlives_crash: bool = True,
    ) -> objects.Facts:
        """Write a body into a file as it comes, and keep that where it is whole."""
        headers = request.headers
        if "aws-chunked" in headers.get("content-encoding", ""):
            raise ApiError("NotImplemented", "aws-chunked bodies are not read here: send the length of the content")
        length, digest = headers.get("content-length"), headers.get("x-amz-content-sha256", "")
        arrival = Arrival(
            self._places,
            length=None if length is None else number("content-length", length, digits=15),
            crc32=headers.get("x-amz-checksum-crc32"),
            digest=digest if self._checks_digests and digest != "UNSIGNED-PAYLOAD" else None,
        )
        try:
            async for block in _gathered(chunks):
                await asyncio.to_thread(arrival.write, block)
            return await asyncio.to_thread(arrival.finish, keep, outlives_crash=outlives_crash)
        except BaseException:
            await asyncio.to_thread(arrival.discard)
            raise

    async def _whole(self, request: HttpRequest, chunks: AsyncIterator[bytes]) -> bytes:
        """Return a short body as a whole. Raises ApiError for a long one, and for another than was signed."""
        body = bytearray()
        async for chunk in chunks:
            body += chunk
            if len(body) > _MOST_XML_BYTES:
                raise ApiError("MalformedXML", f"the body has more than {_MOST_XML_BYTES} bytes")
        signed = request.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        if self._checks_digests and signed not in ("UNSIGNED-PAYLOAD", sha256(body).hexdigest()):
            raise ApiError("XAmzContentSHA256Mismatch", "The provided SHA-256 does not match what was computed.")
        return bytes(body)

    def _begin(self, bucket: str, key: str) -> Answer:
        identifier = self._uploads.begin(bucket, key)
        facts = (("Bucket", bucket), ("Key", key), ("UploadId", identifier))
        return documents.document("InitiateMultipartUploadResult", "".join(documents.element(*each) for each in facts))

    def _complete(self, bucket: str, key: str, identifier: str, body: bytes) -> Answer:
        upload = self._uploads.find(identifier, bucket, key)
        found = self._uploads.complete(upload, documents.parts_of(body))
        facts = (("Location", f"/{bucket}/{key}"), ("Bucket", bucket), ("Key", key), ("ETag", found.etag))
        return documents.document("CompleteMultipartUploadResult", "".join(documents.element(*each) for each in facts))

    def _list_parts(self, bucket: str, key: str, identifier: str, query: dict[str, str]) -> Answer:
        return unfinished.list_parts(self._uploads, self._uploads.find(identifier, bucket, key), query)

    def _abort(self, bucket: str, key: str, identifier: str) -> Answer:
        self._uploads.abort(self._uploads.find(identifier, bucket, key))
        return HttpAnswer(status=204)


_LISTING = frozenset(
    {
        "list-type", "prefix", "delimiter", "start-after", "marker", "continuation-token", "max-keys", "encoding-type",
        "fetch-owner",
    }
)  # fmt: skip
"""What may be in the query of a listing."""

_IGNORED = frozenset({"x-id", "partNumber", "versionId"})
"""What clients add to the query of an object, which changes nothing here."""


def _refuse(request: HttpRequest) -> Answer:
    raise ApiError(
        "NotImplemented", f"{request.method} {request.path}?{request.query} is not answered here", status=400
    )


def _check_match(request: HttpRequest, tag: str) -> None:
    """Raise ApiError where a client wants another version of an object than there is."""
    wanted = request.headers.get("if-match")
    if wanted is not None and wanted.strip() not in ("*", tag):
        raise _precondition()


def _precondition() -> ApiError:
    return ApiError("PreconditionFailed", "At least one of the preconditions you specified did not hold.", status=412)


def _headers_of(found: objects.Facts) -> dict[str, str]:
    return {
        "etag": found.etag,
        "last-modified": format_datetime(found.modified, usegmt=True),
        "accept-ranges": "bytes",
        "content-type": found.content_type,
    }


def _range(text: str | None, size: int) -> tuple[int, int]:
    """Return begin and end of the bytes that a request is for: all, where it does not say. Raises ApiError."""
    found = None if text is None else _RANGE.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
    if start >= end:
        raise ApiError("InvalidRange", "The requested range is not satisfiable", status=416)
    return start, end


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    block = bytearray()
    async for chunk in chunks:
        block += chunk
        if len(block) >= _WRITE_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
