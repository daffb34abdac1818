"""A client's statements on an object beside its content: headers, and metadata of the client's own.

They lie in a file of their own, outside of the buckets, so that folders have nothing but objects. The file is of one
version of the object, and is written before that is: if the server is killed in between, the earlier version keeps its
own. An object that was put or changed by hand has none, and gets its content type by its name.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.aws.s3.arrivals import arriving
from servefit.aws.s3.places import OWN_FOLDER
from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from servefit.aws.s3.places import Places

TAGGING = "x-amz-tagging"
"""The header with the tags of an object, which is kept and not answered with it."""

ANSWERED = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")
"""The headers of S3 that an object is answered with as it came."""

_OWN = "x-amz-meta-"
_MAX_OWN_BYTES = 2048
"""Of S3: names and values together."""

_CODING = "aws-chunked"
"""Is of a request, and not of the object in it."""


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what of the headers of a request is kept with its object. Raises ApiError, MetadataTooLarge."""
    kept = {name: value for name, value in headers.items() if name in (*ANSWERED, TAGGING) or name.startswith(_OWN)}
    own = sum(len(name) - len(_OWN) + len(value) for name, value in kept.items() if name.startswith(_OWN))
    if own > _MAX_OWN_BYTES:
        raise ApiError("MetadataTooLarge", f"Your metadata headers have {own} bytes: {_MAX_OWN_BYTES} are allowed")
    codings = [name.strip() for name in kept.pop("content-encoding", "").split(",")]
    if coding := ", ".join(name for name in codings if name not in ("", _CODING)):
        kept["content-encoding"] = coding
    return kept


def type_by_name(file: Path) -> str:
    """Return the content type of an object that was put without one."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


class MetadataFiles:
    """The files with the metadata of objects. ``file`` is that of an object, ``etag`` the tag of a version of it."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def of(self, file: Path, etag: str) -> dict[str, str]:
        """Return the metadata of a version, without any where none is kept."""
        try:
            kept: dict[str, str] = json.loads(self._path(file, etag).read_text())["headers"]
        except FileNotFoundError:
            return {}
        return kept

    @contextmanager
    def arriving(self, file: Path, metadata: Mapping[str, str]) -> Iterator[Path | None]:
        """Give a file with the metadata of a version that is on its way, None where there is nothing to keep. It is
        removed unless it was moved away within the block."""
        kept = dict(metadata)
        if kept.get("content-type") == type_by_name(file):
            del kept["content-type"]
        if not kept:
            yield None
            return
        with arriving(self._places) as (opened, path):
            opened.write(json.dumps({"key": self._key(file), "headers": kept}).encode())
            opened.flush()
            os.fsync(opened.fileno())
            yield path

    def put(self, path: Path, file: Path, etag: str) -> None:
        """Make a file that has arrived the one of a version."""
        target = self._path(file, etag)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)

    def remove(self, file: Path, etag: str) -> None:
        """Remove what is kept of a version."""
        self._path(file, etag).unlink(missing_ok=True)

    def remove_bucket(self, bucket: str) -> None:
        """Remove what is kept of a bucket, in which no objects are."""
        shutil.rmtree(self._folder() / bucket, ignore_errors=True)

    def _path(self, file: Path, etag: str) -> Path:
        """Return the file of a version, whose name any length of a key fits into."""
        bucket, version = file.relative_to(self._places.root).parts[0], etag.strip('"')
        digest = hashlib.sha256(self._key(file).encode()).hexdigest()
        return self._folder() / bucket / f"{digest[:40]}-{version}"

    def _key(self, file: Path) -> str:
        return file.relative_to(self._places.root).as_posix()

    def _folder(self) -> Path:
        return self._places.root / OWN_FOLDER / "metadata"
