"""Whole objects: files that appear as a whole, with the facts and the metadata that S3 tells of them."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from servefit.aws.s3.arrivals import arriving, copy_bytes
from servefit.aws.s3.metadata import MetadataFiles, type_by_name
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.s3.places import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of an object without its content. ``metadata`` are headers that its client put it with."""

    size: int
    modified: datetime
    etag: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def anything(_: Facts | None) -> None:
    """Allow whatever is there to be overwritten."""


class Objects:
    """The objects of all buckets. Threads may share it.

    Links are followed, and nothing but files is an object: a pipe would be waited for.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._metadata = MetadataFiles(places)
        # An object and its metadata are two files: one thread at a time looks at both, or changes them.
        self._lock = threading.Lock()

    def facts(self, file: Path) -> Facts | None:
        """Return the facts of an object without its metadata, None where there is none."""
        try:
            status = file.stat()
        except OSError:
            return None
        return facts_of(status) if stat.S_ISREG(status.st_mode) else None

    def open(self, file: Path) -> tuple[BinaryIO, Facts]:
        """Open an object, and return it with the facts of just this version. Raises ApiError, NoSuchKey."""
        with self._lock:
            try:
                handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                raise _no_key(file) from error
            try:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise _no_key(file)
                kept = self._metadata.of(file, etag(status))
                reader = os.fdopen(handle, "rb")
            except BaseException:
                os.close(handle)
                raise
        return reader, facts_of(status, {"content-type": type_by_name(file), **kept})

    def put(
        self,
        path: Path,
        target: Path,
        metadata: Mapping[str, str],
        *,
        allow: Callable[[Facts | None], None] = anything,
    ) -> Facts:
        """Make a complete file the object at ``target``, if ``allow`` does not raise for the one that is there.

        Raises ApiError where an object would have to be a folder too, and what ``allow`` raises.
        """
        with self._metadata.arriving(target, metadata) as arrived, self._lock:
            before, facts = self.facts(target), stamped(path)
            allow(before)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                if arrived is not None:
                    self._metadata.put(arrived, target, facts.etag)
                path.replace(target)
            except OSError as error:
                self._metadata.remove(target, facts.etag)
                if not isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
                    raise
                text = f"{target.name} cannot be both an object and the folder of others: objects are files here"
                raise ApiError("InvalidRequest", text) from error
            if before is not None:
                self._metadata.remove(target, before.etag)
        return facts

    def copy(
        self,
        source: Path,
        target: Path,
        metadata: Callable[[Facts], Mapping[str, str]],
        *,
        allow: Callable[[Facts | None], None] = anything,
    ) -> Facts:
        """Make ``target`` an object of the same content, with the metadata that is given for the facts of the source.
        Raises ApiError as :func:`put`."""
        reader, facts = self.open(source)
        with reader:
            kept = metadata(facts)
            with arriving(self._places) as (file, path):
                copy_bytes(reader, file, start=0, length=facts.size)
                os.fsync(file.fileno())
                return self.put(path, target, kept, allow=allow)

    def remove(self, bucket: str, file: Path, *, allow: Callable[[Facts | None], None] = anything) -> None:
        """Remove an object, if there is one, and the folders that are empty then."""
        with self._lock:
            before = self.facts(file)
            allow(before)
            with suppress(FileNotFoundError, NotADirectoryError):
                if before is not None or file.is_symlink():
                    file.unlink()
            if before is not None:
                self._metadata.remove(file, before.etag)
            for folder in file.relative_to(self._places.root / bucket).parents[:-1]:
                try:
                    (self._places.root / bucket / folder).rmdir()
                except OSError:
                    return

    def remove_bucket(self, bucket: str) -> None:
        """Remove a bucket. Raises ApiError: NoSuchBucket, BucketNotEmpty."""
        folder = self._places.bucket(bucket)
        with self._lock:
            try:
                folder.rmdir()
            except OSError as error:
                raise ApiError("BucketNotEmpty", "The bucket you tried to delete is not empty", status=409) from error
            self._metadata.remove_bucket(bucket)


def facts_of(status: os.stat_result, metadata: Mapping[str, str] | None = None) -> Facts:
    """Return the facts of a file. Its tag changes with it, and is no digest."""
    return Facts(
        size=status.st_size,
        modified=datetime.fromtimestamp(status.st_mtime, UTC),
        etag=etag(status),
        metadata=metadata or {},
    )


def etag(status: os.stat_result) -> str:
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


def stamped(path: Path) -> Facts:
    """Give a file the time of now, and return its facts: the kernel's own times are the same for some milliseconds,
    and so tags would be."""
    now_ns = time.time_ns()
    os.utime(path, ns=(now_ns, now_ns))
    return facts_of(path.stat())


def time_of_folder(folder: Path) -> datetime:
    """Return when a folder was last changed, which stands for when the bucket was made: that is not kept."""
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC)


def _no_key(file: Path) -> ApiError:
    return ApiError("NoSuchKey", f"The specified key does not exist: {file.name}", status=404)
