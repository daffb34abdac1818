"""The files of objects. Nothing outside the root is reached: not by dots, absolute paths, escapes or links."""

from __future__ import annotations

import re
from pathlib import Path

from servefit.aws.wire.errors import ApiError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
MAX_KEY_BYTES, _MAX_PART_BYTES = 1024, 255
"""Of S3, and of a name in a folder on Linux."""

OWN_FOLDER = ".servefit"
"""The folder of the root for objects that are on their way; no bucket can have its name."""

FOLDER_MARK = ".servefit-folder"
"""The file in a folder that is the object whose key is the folder's, with a slash at its end: clients put such objects,
mostly empty ones, so that a folder is listed before something is in it."""


class Places:
    """The files below ``root``, which exists.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     places = Places(pathlib.Path(folder))
        ...     (places.root / "bucket").mkdir()
        ...     places.file("bucket", "models/fraud.tar.gz").relative_to(places.root).as_posix()
        'bucket/models/fraud.tar.gz'
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def bucket(self, name: str) -> Path:
        """Return the folder of a bucket. Raises ApiError, NoSuchBucket."""
        folder = self.bucket_to_be(name)
        if not folder.is_dir():
            raise ApiError("NoSuchBucket", f"The specified bucket does not exist: {name}", status=404)
        self._check_inside(folder)
        return folder

    def bucket_to_be(self, name: str) -> Path:
        """Return the folder that a bucket has, or would have. Raises ApiError, InvalidBucketName."""
        if _BUCKET.fullmatch(name) is None or ".." in name:
            raise ApiError("InvalidBucketName", f"The specified bucket is not valid: {name[:80]!r}")
        return self.root / name

    def file(self, bucket: str, key: str) -> Path:
        """Return the file of an object, whether there is one or not.

        Raises ApiError: NoSuchBucket, InvalidArgument for a key that is no path below the bucket, KeyTooLongError.
        """
        self.bucket(bucket)
        if not key.endswith("/"):
            return self.file_to_be(bucket, key)
        _check_length(key)
        mark = self.file_to_be(bucket, key.removesuffix("/")) / FOLDER_MARK
        self._check_inside(mark)
        return mark

    def file_to_be(self, bucket: str, key: str) -> Path:
        """Return the same where the bucket need not be there yet, and the key is not that of a folder."""
        folder = self.bucket_to_be(bucket)
        parts = key.split("/")
        if "\0" in key or not key or any(part in ("", ".", "..", FOLDER_MARK) for part in parts):
            raise ApiError("InvalidArgument", f"the key {key[:80]!r} is no path in a folder: objects are files here")
        _check_length(key)
        file = folder.joinpath(*parts)
        self._check_inside(file)
        return file

    def is_inside(self, path: Path) -> bool:
        """Return whether a path is below the root once its links are followed; a link to itself leads nowhere."""
        try:
            return path.resolve().is_relative_to(self.root)
        except RuntimeError:  # of Python before 3.13, for such a link
            return False

    def incoming(self) -> Path:
        """Return the folder for what is on its way, on the same disk as all buckets."""
        folder = self.root / OWN_FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _check_inside(self, path: Path) -> None:
        if not self.is_inside(path):
            raise ApiError(
                "InvalidArgument", f"{path.name} is a link that leads out of the folder of the objects, or nowhere"
            )


def _check_length(key: str) -> None:
    parts = key.split("/")
    if len(key.encode()) > MAX_KEY_BYTES or any(len(part.encode()) > _MAX_PART_BYTES for part in parts):
        raise ApiError("KeyTooLongError", "Your key is too long")
