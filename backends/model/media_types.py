"""Content types of files by their extensions, and of HTTP without their parameters."""

from __future__ import annotations

from pathlib import PurePath

_BY_EXTENSION = {
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".ndjson": "application/x-ndjson",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".libsvm": "text/libsvm",
    ".xml": "application/xml",
    ".html": "text/html",
    ".pdf": "application/pdf",
    ".parquet": "application/x-parquet",
    ".recordio": "application/x-recordio-protobuf",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
}
"""Registered ones (https://www.iana.org/assignments/media-types), and SageMaker's own beginning with x-. Not those of
the machine (``mimetypes``): an extension has the same type everywhere."""


def content_type_of(path: PurePath) -> str | None:
    """Return the content type that the extension of ``path`` stands for; None where it stands for none."""
    return _BY_EXTENSION.get(path.suffix.lower())


def media_type(content_type: str) -> str:
    """Return the type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()
