"""Objects that come in parts. Each part is a file until all are there; then they are joined, and appear as one.

What an upload was completed with is kept for a day: a client that did not get the answer asks again, and gets the same.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from servefit.aws.s3.arrivals import arriving, copy_bytes
from servefit.aws.s3.checksums import PREFIX, digest_of_file, hasher_of
from servefit.aws.s3.objects import Facts, anything, etag, facts_of, stamped
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.s3.objects import Objects
    from servefit.aws.s3.places import Places

MAX_PARTS = 10_000
"""Of S3."""

_IDENTIFIER = re.compile(r"[0-9a-f]{32}")

_ABOUT = "object.json"
"""The file in the folder of an upload that says what it is of."""

_TAKEN = ".taken"
"""Ends the name of the folder of an upload that is being completed."""

_KEPT_S = 24 * 3600
"""The parts that an upload was completed with are kept for so long. Clients try again within minutes. Chosen, not
measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPart:
    """A part as the client names it that completes an upload, with its checksums by the names of headers."""

    number: int
    tag: str
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A client's completion of an upload: the parts, and, where it says so, what the whole object is."""

    parts: Sequence[UploadPart]
    checksums: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that was begun: its folder has a file for each part."""

    folder: Path
    bucket: str
    key: str
    began: datetime
    metadata: Mapping[str, str]

    @property
    def identifier(self) -> str:
        return self.folder.name

    def part(self, number: int) -> Path:
        """Return the file of a part. Raises ApiError, InvalidArgument."""
        if not 1 <= number <= MAX_PARTS:
            raise ApiError("InvalidArgument", f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive")
        return self.folder / f"{number:05d}"


class Uploads:
    """The uploads of a root. They outlive the server, as those of S3 do: clients complete or abort them."""

    def __init__(self, places: Places, objects: Objects) -> None:
        self._places = places
        self._objects = objects
        self._completing: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._guard = threading.Lock()

    def begin(self, bucket: str, key: str, metadata: Mapping[str, str]) -> str:
        """Return the identifier of a new upload."""
        self._places.file(bucket, key)
        identifier = secrets.token_hex(16)
        folder = self._folder() / identifier
        folder.mkdir()
        try:
            about = {"bucket": bucket, "key": key, "metadata": dict(metadata)}
            (folder / _ABOUT).write_text(json.dumps(about))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return identifier

    def find(self, identifier: str, bucket: str, key: str) -> Upload:
        """Return an upload. Raises ApiError, NoSuchUpload."""
        upload = self._opened(self._folder() / identifier) if _IDENTIFIER.fullmatch(identifier) else None
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            raise _no_upload()
        return upload

    def of_bucket(self, bucket: str) -> Iterator[Upload]:
        """Yield the uploads to a bucket. Raises ApiError, NoSuchBucket."""
        self._places.bucket(bucket)
        for folder in self._folder().iterdir():
            upload = self._opened(folder) if _IDENTIFIER.fullmatch(folder.name) else None
            if upload is not None and upload.bucket == bucket:
                yield upload

    def parts(self, upload: Upload) -> Iterator[tuple[int, Facts]]:
        """Yield number and facts of the parts that are there, by number. Raises ApiError, 404, where the upload was
        ended meanwhile."""
        try:
            files = sorted(upload.folder.iterdir())
        except FileNotFoundError as error:
            raise _no_upload() from error
        for file in files:
            if file.name.isdecimal():
                yield int(file.name), facts_of(file.stat())

    def _opened(self, folder: Path) -> Upload | None:
        """Return the upload in a folder, None where it was ended, or never quite begun."""
        try:
            with (folder / _ABOUT).open() as file:
                about, began_s = json.load(file), os.fstat(file.fileno()).st_mtime
        except (FileNotFoundError, ValueError):
            return None
        began = datetime.fromtimestamp(began_s, UTC)
        return Upload(folder, about["bucket"], about["key"], began, about.get("metadata", {}))

    def abort(self, upload: Upload) -> None:
        shutil.rmtree(upload.folder, ignore_errors=True)

    def complete(
        self,
        identifier: str,
        bucket: str,
        key: str,
        completion: Completion,
        *,
        allow: Callable[[Facts | None], None] = anything,
    ) -> str:
        """Join the parts that the client names, put the object in its place, and return its tag. For an upload that was
        completed with the same before, return the tag of then.

        Raises ApiError: NoSuchUpload, InvalidPart, InvalidPartOrder, MalformedXML without a part, BadDigest, and what
        ``allow`` raises for the object that is there.
        """
        if not completion.parts:
            raise ApiError("MalformedXML", "an upload is completed with one part at least")
        numbers = [part.number for part in completion.parts]
        if numbers != sorted(set(numbers)):
            raise ApiError("InvalidPartOrder", "The list of parts was not in ascending order.")
        with self._guard:
            turn = self._completing.setdefault(identifier, threading.Lock())
        with turn:  # who asks again while the parts are joined waits for the same answer
            asked = json.dumps([bucket, key, asdict(completion)], sort_keys=True)
            if (completed := self._answered(identifier)) is None:
                return self._join(self.find(identifier, bucket, key), completion, asked, allow)
            if completed["asked"] != asked:
                raise _no_upload()
            return completed["etag"]

    def _join(self, upload: Upload, completion: Completion, asked: str, allow: Callable[[Facts | None], None]) -> str:
        target = self._places.file(upload.bucket, upload.key)
        names = [upload.part(part.number).name for part in completion.parts]
        # The thread that takes the folder joins its parts: no part comes or goes meanwhile.
        taken = upload.folder.with_name(f"{upload.identifier}{_TAKEN}")
        try:
            upload.folder.rename(taken)
        except FileNotFoundError as error:
            raise _no_upload() from error
        try:
            files = [taken / name for name in names]
            for file, part in zip(files, completion.parts, strict=True):
                _check_part(file, part)
            with arriving(self._places) as (whole, path):
                for file in files:
                    with file.open("rb") as source:
                        copy_bytes(source, whole, start=0, length=os.fstat(source.fileno()).st_size)
                os.fsync(whole.fileno())
                _check_whole(path, files, completion)
                facts = self._objects.put(path, target, upload.metadata, allow=allow)
            self._remember(upload.identifier, {"asked": asked, "etag": facts.etag})
        except BaseException:
            taken.rename(upload.folder)
            raise
        shutil.rmtree(taken, ignore_errors=True)
        return facts.etag

    def keep_part(self, upload: Upload, path: Path, number: int) -> Facts:
        """Make a complete file a part of an upload. Raises ApiError, NoSuchUpload, where that was ended meanwhile."""
        part = upload.part(number)
        facts = stamped(path)
        try:
            path.replace(part)
        except FileNotFoundError as error:
            raise _no_upload() from error
        return facts

    def put_back(self) -> None:
        """Take up the uploads that a server was completing when it was killed: their clients complete or abort them.
        Those whose objects are in their places are removed."""
        for taken in self._folder().glob(f"*{_TAKEN}"):
            if self._answered(taken.stem) is None:
                taken.rename(taken.with_suffix(""))
            else:
                shutil.rmtree(taken, ignore_errors=True)

    def _answered(self, identifier: str) -> dict[str, str] | None:
        """Return what an upload was completed with, and the tag of its object; None where it was not completed."""
        if not _IDENTIFIER.fullmatch(identifier):
            return None
        try:
            completed: dict[str, str] = json.loads((self._completed() / identifier).read_text())
        except FileNotFoundError:
            return None
        return completed

    def _remember(self, identifier: str, answered: Mapping[str, str]) -> None:
        """Keep what an upload was completed with, and forget what was kept for long enough."""
        before_s = time.time() - _KEPT_S
        with os.scandir(self._completed()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another thread forgets too
                    if entry.stat().st_mtime < before_s:
                        Path(entry.path).unlink()
        with arriving(self._places) as (file, path):
            file.write(json.dumps(answered).encode())
            file.flush()
            os.fsync(file.fileno())
            path.replace(self._completed() / identifier)

    def _folder(self) -> Path:
        folder = self._places.incoming() / "uploads"
        folder.mkdir(exist_ok=True)
        return folder

    def _completed(self) -> Path:
        folder = self._places.incoming() / "completed"
        folder.mkdir(exist_ok=True)
        return folder


def _check_part(file: Path, part: UploadPart) -> None:
    """Raise ApiError where a part is not there, or is another one."""
    if file.is_file() and etag(file.stat()).strip('"') == part.tag.strip('"'):
        digests = {name: base64.b64encode(digest_of_file(name, file)).decode() for name in part.checksums}
        if digests == part.checksums:
            return
    raise ApiError("InvalidPart", f"part {part.number} is not there, or is another one")


def _check_whole(whole: Path, parts: Sequence[Path], completion: Completion) -> None:
    """Raise ApiError where the object is not what the client says of it. A checksum of the checksums of its parts ends
    in their number."""
    if completion.size is not None and completion.size != whole.stat().st_size:
        raise ApiError("InvalidRequest", "The provided 'x-amz-mp-object-size' is not the size of the object.")
    for name, text in completion.checksums.items():
        if "-" in text:
            hasher = hasher_of(name)
            for part in parts:
                hasher.update(digest_of_file(name, part))
            checksum = f"{base64.b64encode(hasher.digest()).decode()}-{len(parts)}"
        else:
            checksum = base64.b64encode(digest_of_file(name, whole)).decode()
        if checksum != text:
            shown = name.removeprefix(PREFIX).upper()
            raise ApiError("BadDigest", f"The {shown} you specified did not match the calculated checksum.")


def _no_upload() -> ApiError:
    return ApiError("NoSuchUpload", "The specified upload does not exist.", status=404)
