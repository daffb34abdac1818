"""Objects that come in parts. Each part is a file until all are there; then they are joined, and appear as one."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from servefit.aws.s3.arrivals import arriving
from servefit.aws.s3.objects import Facts, etag, facts, put_in_place
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.s3.places import Places

MOST_PARTS = 10_000
"""Of S3."""

_COPY_BYTES = 16 * 2**20

_IDENTIFIER = re.compile(r"[0-9a-f]{32}")

_ABOUT = "object.json"
"""The file in the folder of an upload that says what it is of."""

_TAKEN = ".taken"
"""Ends the name of the folder of an upload that is being completed."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that was begun: its folder has a file for each part."""

    folder: Path
    bucket: str
    key: str
    began: datetime

    @property
    def identifier(self) -> str:
        return self.folder.name

    def part(self, number: int) -> Path:
        """Return the file of a part. Raises ApiError, InvalidArgument."""
        if not 1 <= number <= MOST_PARTS:
            raise ApiError("InvalidArgument", f"Part number must be an integer between 1 and {MOST_PARTS}, inclusive")
        return self.folder / f"{number:05d}"


class Uploads:
    """The uploads of a root. They outlive the server, as those of S3 do: clients end or abort them."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def begin(self, bucket: str, key: str) -> str:
        """Return the identifier of a new upload."""
        self._places.file(bucket, key)
        identifier = secrets.token_hex(16)
        folder = self._folder() / identifier
        folder.mkdir()
        try:
            (folder / _ABOUT).write_text(json.dumps({"bucket": bucket, "key": key}))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return identifier

    def find(self, identifier: str, bucket: str, key: str) -> Upload:
        """Return an upload. Raises ApiError, NoSuchUpload."""
        found = self._opened(self._folder() / identifier) if _IDENTIFIER.fullmatch(identifier) else None
        if found is None or (found.bucket, found.key) != (bucket, key):
            raise _no_upload()
        return found

    def of_bucket(self, bucket: str) -> Iterator[Upload]:
        """Yield the uploads to a bucket. Raises ApiError, NoSuchBucket."""
        self._places.bucket(bucket)
        for folder in self._folder().iterdir():
            found = self._opened(folder) if _IDENTIFIER.fullmatch(folder.name) else None
            if found is not None and found.bucket == bucket:
                yield found

    def parts(self, upload: Upload) -> Iterator[tuple[int, Facts]]:
        """Yield number and facts of the parts that are there, by number. Raises ApiError, 404, where the upload was
        ended meanwhile."""
        try:
            files = sorted(upload.folder.iterdir())
        except FileNotFoundError as error:
            raise _no_upload() from error
        for file in files:
            if file.name.isdecimal():
                yield int(file.name), facts(file)

    def _opened(self, folder: Path) -> Upload | None:
        """Return the upload in a folder, None where it was ended, or never quite begun."""
        try:
            with (folder / _ABOUT).open() as file:
                about, began_s = json.load(file), os.fstat(file.fileno()).st_mtime
        except (FileNotFoundError, ValueError):
            return None
        return Upload(folder, about["bucket"], about["key"], datetime.fromtimestamp(began_s, UTC))

    def abort(self, upload: Upload) -> None:
        shutil.rmtree(upload.folder, ignore_errors=True)

    def complete(self, upload: Upload, parts: list[tuple[int, str]]) -> Facts:
        """Join the parts that the client names, by number and tag, and put the object in its place.

        Raises ApiError: InvalidPart, InvalidPartOrder, MalformedXML without a part.
        """
        if not parts:
            raise ApiError("MalformedXML", "an upload is completed with one part at least")
        numbers = [number for number, _ in parts]
        if numbers != sorted(set(numbers)):
            raise ApiError("InvalidPartOrder", "The list of parts was not in ascending order.")
        files = [upload.part(number) for number in numbers]
        for file, (number, tag) in zip(files, parts, strict=True):
            if not file.is_file() or etag(file.stat()).strip('"') != tag.strip('"'):
                raise ApiError("InvalidPart", f"part {number} is not there, or is another one")
        target = self._places.file(upload.bucket, upload.key)
        # Whoever takes the folder joins its parts: a client that asks twice finds no upload.
        taken = upload.folder.with_name(f"{upload.folder.name}{_TAKEN}")
        try:
            upload.folder.rename(taken)
        except FileNotFoundError as error:
            raise _no_upload() from error
        try:
            with arriving(self._places) as (whole, path):
                _join([taken / file.name for file in files], whole)
                found = put_in_place(path, target)
        except BaseException:
            taken.rename(upload.folder)
            raise
        shutil.rmtree(taken, ignore_errors=True)
        return found

    def keep_part(self, upload: Upload, path: Path, number: int) -> Facts:
        """Make a complete file a part of an upload. Raises ApiError, NoSuchUpload, where that was ended meanwhile."""
        part = upload.part(number)
        try:
            path.replace(part)
        except FileNotFoundError as error:
            raise _no_upload() from error
        return facts(part)

    def put_back(self) -> None:
        """Take up the uploads that a server was completing when it was killed: their clients complete or abort them."""
        for taken in self._folder().glob(f"*{_TAKEN}"):
            taken.rename(taken.with_suffix(""))

    def _folder(self) -> Path:
        folder = self._places.incoming() / "uploads"
        folder.mkdir(exist_ok=True)
        return folder


def _join(files: list[Path], whole: BinaryIO) -> None:
    """Write all files one after the other, in the kernel."""
    for file in files:
        with file.open("rb") as source:
            left = os.fstat(source.fileno()).st_size
            while left:
                copied = os.sendfile(whole.fileno(), source.fileno(), None, min(left, _COPY_BYTES))
                if not copied:
                    raise ApiError("InvalidPart", f"part {file.name} ends before its end")
                left -= copied
    os.fsync(whole.fileno())


def _no_upload() -> ApiError:
    return ApiError("NoSuchUpload", "The specified upload does not exist.", status=404)
