"""The listings of what is not finished: the uploads of a bucket, and the parts of one, in pages as S3 has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from servefit.aws.s3.documents import document, element, time_of, url_encoded
from servefit.aws.s3.queries import number

if TYPE_CHECKING:
    from servefit.aws.s3.uploads import Upload, Uploads
    from servefit.aws.wire.messages import HttpAnswer

_MAX_LISTED = 1000
"""Of S3, in a page."""

UPLOADS_QUERY = frozenset({"uploads", "prefix", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"})
PARTS_QUERY = frozenset({"uploadId", "part-number-marker", "max-parts", "x-id"})
"""Members of the queries of the two."""

_T = TypeVar("_T")


def list_uploads(uploads: Uploads, bucket: str, query: Mapping[str, str]) -> HttpAnswer:
    """Return a page of the uploads to a bucket that were begun and neither completed nor aborted, by key and
    identifier. Raises ApiError."""
    shown = url_encoded if query.get("encoding-type") == "url" else str
    most = min(_MAX_LISTED, number("max-uploads", query.get("max-uploads", str(_MAX_LISTED))))
    prefix, key_marker, marker = (query.get(name, "") for name in ("prefix", "key-marker", "upload-id-marker"))
    # Without an identifier the marker is behind all uploads of its key.
    after = (key_marker, marker or "\U0010ffff")
    listed = [
        upload
        for upload in sorted(uploads.of_bucket(bucket), key=lambda upload: (upload.key, upload.identifier))
        if upload.key.startswith(prefix) and (not key_marker or (upload.key, upload.identifier) > after)
    ]
    page, is_truncated = _page(listed, most)
    content = element("Bucket", bucket) + element("Prefix", shown(prefix)) + element("MaxUploads", most)
    content += element("KeyMarker", shown(key_marker)) + element("UploadIdMarker", marker)
    content += element("IsTruncated", str(is_truncated).lower())
    if is_truncated:
        content += element("NextKeyMarker", shown(page[-1].key)) + element("NextUploadIdMarker", page[-1].identifier)
    for upload in page:
        about = element("Key", shown(upload.key)) + element("UploadId", upload.identifier)
        about += element("StorageClass", "STANDARD") + element("Initiated", time_of(upload.began))
        content += f"<Upload>{about}</Upload>"
    return document("ListMultipartUploadsResult", content)


def list_parts(uploads: Uploads, upload: Upload, query: Mapping[str, str]) -> HttpAnswer:
    """Return a page of the parts of an upload that are there, by number. Raises ApiError."""
    most = min(_MAX_LISTED, number("max-parts", query.get("max-parts", str(_MAX_LISTED))))
    marker = number("part-number-marker", query.get("part-number-marker", "0"))
    listed = [(part, facts) for part, facts in uploads.parts(upload) if part > marker]
    page, is_truncated = _page(listed, most)
    content = element("Bucket", upload.bucket) + element("Key", upload.key) + element("UploadId", upload.identifier)
    content += element("PartNumberMarker", marker) + element("MaxParts", most) + element("StorageClass", "STANDARD")
    content += element("IsTruncated", str(is_truncated).lower())
    if is_truncated:
        content += element("NextPartNumberMarker", page[-1][0])
    for part, facts in page:
        about = element("PartNumber", part) + element("LastModified", time_of(facts.modified))
        content += f"<Part>{about}{element('ETag', facts.etag)}{element('Size', facts.size)}</Part>"
    return document("ListPartsResult", content)


def _page(listed: Sequence[_T], most: int) -> tuple[Sequence[_T], bool]:
    """Return the first ``most``, and whether a client that asks on finds more: after none it could not."""
    page = listed[:most]
    return page, bool(page) and len(page) < len(listed)
