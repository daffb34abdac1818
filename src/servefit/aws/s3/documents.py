"""S3's answers and errors in XML, and what it reads of XML."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from servefit.aws.s3.checksums import PREFIX
from servefit.aws.s3.uploads import UploadPart
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import HttpAnswer

if TYPE_CHECKING:
    from servefit.aws.s3.listing import Page
    from servefit.aws.s3.objects import Facts

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

_CHECKSUM = "Checksum"
"""Begins the names of elements with a checksum of a part."""


def document(name: str, content: str) -> HttpAnswer:
    """Return an answer whose body is the element ``name`` with this content, which is XML."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{_NAMESPACE}">{content}</{name}>'
    return HttpAnswer(headers={"content-type": "application/xml"}, body=text.encode())


def element(name: str, value: object) -> str:
    return f"<{name}>{escape(str(value))}</{name}>"


def error_document(error: ApiError, *, resource: str, request_id: str) -> HttpAnswer:
    """Return an error as S3 answers it, whose root has no namespace."""
    content = "".join(
        element(name, value)
        for name, value in (
            ("Code", error.code),
            ("Message", error.message),
            ("Resource", resource),
            ("RequestId", request_id),
        )
    )
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{content}</Error>'
    return HttpAnswer(status=error.status, headers={"content-type": "application/xml"}, body=text.encode())


def time_of(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def url_encoded(key: str) -> str:
    """Return a key as clients ask for it, since XML cannot have every character."""
    return quote(key, safe="/-_.~")


def listing_document(
    page: Page, facts: Iterable[tuple[str, Facts]], *, about: Iterable[tuple[str, object]], is_url_encoded: bool
) -> HttpAnswer:
    """Return a page of a listing. ``about`` has the elements that tell what was asked."""
    shown = url_encoded if is_url_encoded else str
    objects = "".join(
        "<Contents>"
        + element("Key", shown(key))
        + element("LastModified", time_of(fact.modified))
        + element("ETag", fact.etag)
        + element("Size", fact.size)
        + element("StorageClass", "STANDARD")
        + "</Contents>"
        for key, fact in facts
    )
    prefixes = "".join(
        f"<CommonPrefixes>{element('Prefix', shown(prefix))}</CommonPrefixes>" for prefix in page.prefixes
    )
    return document("ListBucketResult", "".join(element(name, value) for name, value in about) + objects + prefixes)


def parts_of(body: bytes) -> list[UploadPart]:
    """Return the parts in the body of CompleteMultipartUpload. Raises ApiError, MalformedXML."""
    try:
        return [
            UploadPart(
                number=int(_text(part, "PartNumber")),
                tag=_text(part, "ETag"),
                checksums={
                    f"{PREFIX}{name.removeprefix(_CHECKSUM).lower()}": child.text or ""
                    for child in part
                    if (name := child.tag.rpartition("}")[2]).startswith(_CHECKSUM)
                },
            )
            for part in _children(body, "Part")
        ]
    except ValueError as error:
        raise _malformed() from error


def keys_to_delete(body: bytes) -> list[str]:
    """Return the keys in the body of DeleteObjects. Raises ApiError, MalformedXML."""
    keys = [_text(child, "Key") for child in _children(body, "Object")]
    if not 0 < len(keys) <= 1000:
        raise _malformed()
    return keys


def is_quiet(body: bytes) -> bool:
    """Return whether the body of DeleteObjects asks for errors alone."""
    return any(child.text == "true" for child in _children(body, "Quiet"))


def _children(body: bytes, name: str) -> list[ElementTree.Element]:
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - expat bounds what entities may become since 2.4.1
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise _malformed() from error
    return [child for child in root if child.tag.rpartition("}")[2] == name]


def _text(parent: ElementTree.Element, name: str) -> str:
    for child in parent:
        if child.tag.rpartition("}")[2] == name:
            return child.text or ""
    raise _malformed()


def _malformed() -> ApiError:
    return ApiError("MalformedXML", "The XML you provided was not well-formed or did not validate.")
