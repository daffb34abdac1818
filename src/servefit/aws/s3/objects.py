"""Whole objects: files that appear as a whole, with the facts that S3 tells of them."""

from __future__ import annotations

import mimetypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from servefit.aws.s3.arrivals import arriving
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.s3.places import Places

_ATTEMPTS = 10
"""At putting an object into a folder that others make and remove. Chosen, not measured."""

_OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is told of an object without its content."""

    size: int
    modified: datetime
    etag: str
    content_type: str


def facts(file: Path) -> Facts:
    """Return the facts of an object. Raises ApiError, NoSuchKey. Its tag changes with its file, and is no digest."""
    with opened(file) as (_, found):
        return found


@contextmanager
def opened(file: Path) -> Iterator[tuple[BinaryIO, Facts]]:
    """Open an object, and give it with the facts of just this version. Raises ApiError, NoSuchKey."""
    reader, found = open_object(file)
    with reader:
        yield reader, found


def open_object(file: Path) -> tuple[BinaryIO, Facts]:
    """Do the same for a caller who closes it."""
    try:
        reader = file.open("rb")
    except OSError as error:
        raise ApiError("NoSuchKey", f"The specified key does not exist: {file.name}", status=404) from error
    found = os.fstat(reader.fileno())
    return reader, Facts(
        size=found.st_size,
        modified=datetime.fromtimestamp(found.st_mtime, UTC),
        etag=etag(found),
        content_type=mimetypes.guess_type(file.name)[0] or _OCTETS,
    )


def time_of_folder(folder: Path) -> datetime:
    """Return when a folder was last changed, which stands for when the bucket was made: that is not kept."""
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC)


def etag(found: os.stat_result) -> str:
    return f'"{found.st_mtime_ns:x}-{found.st_size:x}"'


def put_in_place(path: Path, target: Path) -> Facts:
    """Make a complete file the object at ``target``. Raises ApiError where one would have to be a folder too."""
    for attempt in range(_ATTEMPTS):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        except FileNotFoundError:
            # Somebody removed the last other object of the folder, and so the folder, in between.
            if attempt == _ATTEMPTS - 1:
                raise
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            text = f"{target.name} cannot be both an object and the folder of others: objects are files here"
            raise ApiError("InvalidRequest", text) from error
        else:
            break
    return facts(target)


def copy(places: Places, source: Path, target: Path) -> Facts:
    """Make ``target`` an object of the same content."""
    with opened(source) as (reader, _), arriving(places) as (file, path):
        shutil.copyfileobj(reader, file, 2**20)
        file.flush()
        os.fsync(file.fileno())
        return put_in_place(path, target)


def remove(places: Places, bucket: str, file: Path) -> None:
    """Remove an object, if there is one, and the folders that are empty then."""
    with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        file.unlink()
    folder = file.parent
    while folder != places.bucket(bucket) and folder.is_relative_to(places.root):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
