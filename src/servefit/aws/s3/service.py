"""S3 over HTTP: which operation a method, a path and a query are, and what it answers. Reading and writing is done in
threads."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qs, parse_qsl, unquote

from servefit.aws.s3 import documents, unfinished
from servefit.aws.s3.arrivals import arriving, copy_bytes, sweep
from servefit.aws.s3.bodies import RequestBodies
from servefit.aws.s3.buckets import LISTING_QUERY, Buckets
from servefit.aws.s3.checksums import declared
from servefit.aws.s3.conditions import Preconditions
from servefit.aws.s3.documents import document, element, time_of
from servefit.aws.s3.metadata import TAGGING, metadata_of
from servefit.aws.s3.objects import Facts, Objects
from servefit.aws.s3.places import Places
from servefit.aws.s3.queries import number
from servefit.aws.s3.reading import READING_QUERY, range_to_copy, read_object
from servefit.aws.s3.uploads import Completion, Uploads
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import FileAnswer, HttpAnswer
from servefit.aws.wire.presigned import presigned

if TYPE_CHECKING:
    from servefit.aws.wire.messages import HttpRequest

Answer: TypeAlias = HttpAnswer | FileAnswer

_IGNORED = frozenset({"x-id", "partNumber", "versionId"})
"""Members that clients add to the query of an object, which change nothing here."""

_SOURCE = "x-amz-copy-source"


class S3:
    """The buckets and objects below a folder. ``checks_signatures`` says that signatures were checked before: then a
    body has to be covered by them."""

    def __init__(self, root: Path, *, checks_signatures: bool = False) -> None:
        self._places = Places(root)
        self._objects = Objects(self._places)
        self._buckets = Buckets(self._places, self._objects)
        self._uploads = Uploads(self._places, self._objects)
        self._bodies = RequestBodies(self._places, checks_signatures=checks_signatures)
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
        if (signed := presigned(request)) is not None:
            signed.check_time(datetime.now(UTC))
            request = signed.request
        try:
            path = unquote(request.path, errors="strict").removeprefix("/")
        except UnicodeDecodeError as error:
            raise ApiError("InvalidURI", "Couldn't parse the specified URI.") from error
        bucket, _, key = path.partition("/")
        query = {name: values[0] for name, values in parse_qs(request.query, keep_blank_values=True).items()}
        if not bucket:
            return await asyncio.to_thread(self._buckets.listed) if request.method == "GET" else _refuse(request)
        if not key:
            return await self._of_bucket(request, bucket, query, chunks)
        return await self._of_object(request, bucket, key, query, chunks)

    async def _of_bucket(
        self, request: HttpRequest, bucket: str, query: dict[str, str], chunks: AsyncIterator[bytes]
    ) -> Answer:
        buckets = self._buckets
        if request.method == "PUT" and not query:
            await self._bodies.whole(request.headers, chunks)
            return await asyncio.to_thread(buckets.create, bucket)
        if request.method == "POST" and "delete" in query:
            body = await self._bodies.whole(request.headers, chunks)
            return await asyncio.to_thread(buckets.delete_objects, bucket, body)
        answers: dict[str, Callable[[], Answer]] = {}
        if not set(query) - LISTING_QUERY:
            answers["GET"] = lambda: buckets.page(bucket, query)
        if not query:
            answers |= {"HEAD": lambda: buckets.head(bucket), "DELETE": lambda: buckets.delete(bucket)}
        for name in ("location", "versioning"):
            if name in query:
                answers["GET"] = partial(buckets.settings, bucket, name)
        if "uploads" in query and not set(query) - unfinished.UPLOADS_QUERY:
            answers["GET"] = lambda: unfinished.list_uploads(self._uploads, bucket, query)
        return await asyncio.to_thread(answers.get(request.method, lambda: _refuse(request)))

    async def _of_object(
        self, request: HttpRequest, bucket: str, key: str, query: dict[str, str], chunks: AsyncIterator[bytes]
    ) -> Answer:
        if "uploadId" in query or "uploads" in query:
            return await self._of_upload(request, bucket, key, query, chunks)
        headers, is_copy = request.headers, _SOURCE in request.headers
        if request.method == "PUT" and not is_copy and not set(query) - _IGNORED:
            return await self._put(request, bucket, key, chunks)
        answers: dict[str, Callable[[], Answer]] = {}
        if set(query) == {"tagging"}:
            answers["GET"] = lambda: self._tags(bucket, key)
        elif not set(query) - _IGNORED - READING_QUERY:
            read = partial(self._read, bucket, key, headers, query)
            answers |= {"GET": lambda: read(whole=True), "HEAD": lambda: read(whole=False)}
            answers["DELETE"] = lambda: self._delete(bucket, key, headers)
            if is_copy:
                answers["PUT"] = lambda: self._copy(headers, bucket, key)
        return await asyncio.to_thread(answers.get(request.method, lambda: _refuse(request)))

    async def _of_upload(
        self, request: HttpRequest, bucket: str, key: str, query: dict[str, str], chunks: AsyncIterator[bytes]
    ) -> Answer:
        headers, is_copy, upload = request.headers, _SOURCE in request.headers, query.get("uploadId")
        answers: dict[str, Callable[[], Answer]] = {}
        if upload is None:
            answers["POST"] = lambda: self._begin(bucket, key, headers)
        elif request.method == "PUT" and not is_copy:
            return await self._upload_part(request, bucket, key, query, chunks)
        elif request.method == "POST":
            body = await self._bodies.whole(headers, chunks, has_checksums_of_object=True)
            answers["POST"] = lambda: self._complete(bucket, key, upload, headers, body)
        else:
            answers["PUT"] = lambda: self._copy_part(headers, bucket, key, query)
            answers["DELETE"] = lambda: self._abort(bucket, key, upload)
            if not set(query) - unfinished.PARTS_QUERY:
                answers["GET"] = lambda: self._list_parts(bucket, key, upload, query)
        return await asyncio.to_thread(answers.get(request.method, lambda: _refuse(request)))

    def _read(
        self, bucket: str, key: str, headers: Mapping[str, str], query: Mapping[str, str], *, whole: bool
    ) -> Answer:
        return read_object(self._objects, self._places.file(bucket, key), headers, query, whole=whole)

    def _tags(self, bucket: str, key: str) -> Answer:
        reader, facts = self._objects.open(self._places.file(bucket, key))
        reader.close()
        tags = "".join(
            f"<Tag>{element('Key', name)}{element('Value', value)}</Tag>"
            for name, value in parse_qsl(facts.metadata.get(TAGGING, ""), keep_blank_values=True)
        )
        return document("Tagging", f"<TagSet>{tags}</TagSet>")

    def _delete(self, bucket: str, key: str, headers: Mapping[str, str]) -> Answer:
        allow = Preconditions(match=headers.get("if-match")).check_write
        self._objects.remove(bucket, self._places.file(bucket, key), allow=allow)
        return HttpAnswer(status=204)

    def _copy(self, headers: Mapping[str, str], bucket: str, key: str) -> Answer:
        source, target = self._source(headers), self._places.file(bucket, key)
        is_new = {kind: _is_new(headers, kind) for kind in ("metadata", "tagging")}

        def metadata(facts: Facts) -> Mapping[str, str]:
            Preconditions.of(headers, prefix=f"{_SOURCE}-").check_copy(facts)
            own = metadata_of(headers)
            kept = dict(own if is_new["metadata"] else facts.metadata)
            kept[TAGGING] = (own if is_new["tagging"] else facts.metadata).get(TAGGING, "")
            return {name: value for name, value in kept.items() if value}

        if source == target and not any(is_new.values()):
            text = "This copy request is illegal because it is trying to copy an object to itself without changing it."
            raise ApiError("InvalidRequest", text)
        copied = self._objects.copy(source, target, metadata, allow=_write_conditions(headers).check_write)
        content = element("LastModified", time_of(copied.modified)) + element("ETag", copied.etag)
        return document("CopyObjectResult", content)

    def _copy_part(self, headers: Mapping[str, str], bucket: str, key: str, query: Mapping[str, str]) -> Answer:
        part = number("partNumber", query.get("partNumber", ""))
        upload = self._uploads.find(query["uploadId"], bucket, key)
        reader, whole = self._objects.open(self._source(headers))
        with reader:
            Preconditions.of(headers, prefix=f"{_SOURCE}-").check_copy(whole)
            start, end = range_to_copy(headers.get(f"{_SOURCE}-range"), whole.size)
            with arriving(self._places) as (file, path):
                copy_bytes(reader, file, start=start, length=end - start)
                facts = self._uploads.keep_part(upload, path, part)
        content = element("LastModified", time_of(facts.modified)) + element("ETag", facts.etag)
        return document("CopyPartResult", content)

    def _source(self, headers: Mapping[str, str]) -> Path:
        """Return the file of the object that is to be copied. Raises ApiError."""
        bucket, _, key = unquote(headers[_SOURCE].partition("?")[0]).removeprefix("/").partition("/")
        return self._places.file(bucket, key)

    async def _put(self, request: HttpRequest, bucket: str, key: str, chunks: AsyncIterator[bytes]) -> Answer:
        metadata, allow = metadata_of(request.headers), _write_conditions(request.headers).check_write

        def target() -> Path:
            file = self._places.file(bucket, key)
            allow(self._objects.facts(file))  # once more when it is put: what fails now need not be sent
            return file

        file = await asyncio.to_thread(target)
        keep = partial(self._objects.put, target=file, metadata=metadata, allow=allow)
        facts, checksums = await self._bodies.receive(request.headers, chunks, keep)
        return HttpAnswer(headers={"etag": facts.etag, **checksums})

    async def _upload_part(
        self, request: HttpRequest, bucket: str, key: str, query: dict[str, str], chunks: AsyncIterator[bytes]
    ) -> Answer:
        part = number("partNumber", query.get("partNumber", ""))
        upload = await asyncio.to_thread(self._uploads.find, query["uploadId"], bucket, key)
        upload.part(part)
        keep = partial(self._uploads.keep_part, upload, number=part)
        # The object is on the disk once it is joined: a part that also was would be written twice.
        facts, checksums = await self._bodies.receive(request.headers, chunks, keep, outlives_crash=False)
        return HttpAnswer(headers={"etag": facts.etag, **checksums})

    def _begin(self, bucket: str, key: str, headers: Mapping[str, str]) -> Answer:
        identifier = self._uploads.begin(bucket, key, metadata_of(headers))
        facts = (("Bucket", bucket), ("Key", key), ("UploadId", identifier))
        return document("InitiateMultipartUploadResult", "".join(element(*fact) for fact in facts))

    def _complete(self, bucket: str, key: str, identifier: str, headers: Mapping[str, str], body: bytes) -> Answer:
        size = headers.get("x-amz-mp-object-size")
        completion = Completion(
            parts=documents.parts_of(body),
            checksums={name: headers[name] for name in declared(headers)},
            size=None if size is None else number("x-amz-mp-object-size", size, digits=15),
        )
        allow = _write_conditions(headers).check_write
        etag = self._uploads.complete(identifier, bucket, key, completion, allow=allow)
        facts = (("Location", f"/{bucket}/{key}"), ("Bucket", bucket), ("Key", key), ("ETag", etag))
        return document("CompleteMultipartUploadResult", "".join(element(*fact) for fact in facts))

    def _list_parts(self, bucket: str, key: str, identifier: str, query: dict[str, str]) -> Answer:
        return unfinished.list_parts(self._uploads, self._uploads.find(identifier, bucket, key), query)

    def _abort(self, bucket: str, key: str, identifier: str) -> Answer:
        self._uploads.abort(self._uploads.find(identifier, bucket, key))
        return HttpAnswer(status=204)


def _write_conditions(headers: Mapping[str, str]) -> Preconditions:
    return Preconditions(match=headers.get("if-match"), none_match=headers.get("if-none-match"))


def _is_new(headers: Mapping[str, str], kind: str) -> bool:
    """Return whether a copy gets its own metadata or tags, and not those of its source. Raises ApiError."""
    directive = headers.get(f"x-amz-{kind}-directive", "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise ApiError("InvalidArgument", f"x-amz-{kind}-directive is COPY or REPLACE")
    return directive == "REPLACE"


def _refuse(request: HttpRequest) -> Answer:
    raise ApiError(
        "NotImplemented", f"{request.method} {request.path}?{request.query} is not answered here", status=400
    )
