"""Files of this machine by URL: an object's, or one that is named itself. Nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from servefit.aws.wire.errors import ApiError, invalid

if TYPE_CHECKING:
    from servefit.aws.s3.places import Places


def file_of(url: str, places: Places) -> Path:
    """Return the file of an s3:// or file:// URL, whether it is there or not. Raises ApiError."""
    if (place := split_url(url)) is not None:
        bucket, key = place
        try:
            return places.file_to_be(bucket, key)
        except ApiError as error:
            raise invalid(f"{url}: {error.message}") from error
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    raise invalid(f"{url} is neither in S3 nor a file of this machine: nothing is fetched from elsewhere.")


def missing_bucket(url: str, file: Path) -> str | None:
    """Return the bucket of the object at an s3:// URL, whose file that is, where there is no bucket of that name; None
    where there is one, and for another URL."""
    if (place := split_url(url)) is None:
        return None
    bucket, key = place
    return None if file.parents[key.count("/")].is_dir() else bucket


def split_url(url: str) -> tuple[str, str] | None:
    """Return bucket and key of "s3://bucket/key", None where it is another URL."""
    if not url.startswith("s3://"):
        return None
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key
