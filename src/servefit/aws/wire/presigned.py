"""Presigned URLs of S3: requests whose query has what signs them, in version 4 or 2 of the signatures.

boto3 still writes version 2 for us-east-1 unless it is told otherwise. The forms are those of the S3 API Reference,
"Authenticating Requests: Using Query Parameters", and of the S3 User Guide, "Signing and authenticating REST requests".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from servefit.aws.wire.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.aws.wire.messages import HttpRequest

MAX_SKEW = timedelta(minutes=15)
"""A clock may be ahead of this one by so much, as for AWS."""

_MAX_EXPIRES_S = 7 * 24 * 3600
"""Of S3, in version 4."""

_OF_VERSION_4 = frozenset(
    {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"}
)
_OF_VERSION_2 = frozenset({"AWSAccessKeyId", "Signature", "Expires"})
_TOKEN = "X-Amz-Security-Token"  # noqa: S105 - the name of a parameter, whose value is not needed here

_HEADERS = ("x-amz-", "content-md5", "content-type")
"""Begin the names of headers that clients put into the query as well."""

_SIGNED_QUERY = frozenset(
    {
        "acl", "delete", "location", "partNumber", "tagging", "uploadId", "uploads", "versionId",
        "response-cache-control", "response-content-disposition", "response-content-encoding",
        "response-content-language", "response-content-type", "response-expires",
    }
)  # fmt: skip
"""Of the query, what version 2 signs. What is not here is not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presigned:
    """The content of a presigned URL. ``request`` is the request without what signs it, and with the headers that its
    query has; ``begin`` and ``end`` are when it is good, ``begin`` None for any time before.

    Of version 4: ``stamp`` and ``scope`` are of its signature, ``signed`` are the headers that it covers, and ``query``
    what of the query it covers. They are empty for version 2.
    """

    key: str
    signature: str
    request: HttpRequest
    end: datetime
    begin: datetime | None = None
    stamp: str = ""
    scope: str = ""
    signed: tuple[str, ...] = ()
    query: str = ""

    def check_time(self, now: datetime) -> None:
        """Raise ApiError, 403, where the URL is not good at ``now``."""
        if now > self.end:
            raise ApiError("AccessDenied", f"Request has expired: it was good until {self.end:%FT%TZ}", status=403)
        if self.begin is not None and self.begin > now + MAX_SKEW:
            raise ApiError("AccessDenied", "Request is not valid yet", status=403)

    @property
    def text_of_version_2(self) -> str:
        """The text that version 2 signs."""
        headers = self.request.headers
        own = sorted((name, " ".join(value.split())) for name, value in headers.items() if name.startswith("x-amz-"))
        query = sorted(
            (name, value)
            for name, value in parse_qsl(self.request.query, keep_blank_values=True)
            if name in _SIGNED_QUERY
        )
        path = self.request.path
        if path.rfind("/") == 0 and path != "/":
            path += "/"  # S3 signs the path of a bucket with a slash, whether it was sent with one or not
        resource = "&".join(f"{name}={value}" if value else name for name, value in query)
        return "\n".join(
            (
                self.request.method,
                headers.get("content-md5", ""),
                headers.get("content-type", ""),
                str(int(self.end.timestamp())),
                *(f"{name}:{value}" for name, value in own),
                f"{path}?{resource}" if resource else path,
            )
        )


def is_presigned(query: str) -> bool:
    """Return whether a query has a signature."""
    return _names(dict(parse_qsl(query, keep_blank_values=True))) is not None


def presigned(request: HttpRequest) -> Presigned | None:
    """Return what a presigned URL says, None for another one. Raises ApiError for one that is not as it should be."""
    pairs = parse_qsl(request.query, keep_blank_values=True)
    query = dict(pairs)
    if (names := _names(query)) is None:
        return None
    if "authorization" in request.headers:
        raise ApiError("InvalidArgument", "Only one auth mechanism allowed: the query or the Authorization header")
    if missing := sorted(names - set(query)):
        raise _wrong(f"{missing[0]} is missing")
    if len(query) != len(pairs):
        raise _wrong("a parameter is there twice")
    rest = {name: value for name, value in query.items() if name not in names and name != _TOKEN}
    headers = {name.lower(): value for name, value in rest.items() if name.lower().startswith(_HEADERS)}
    plain = replace(
        request,
        query=urlencode({name: value for name, value in rest.items() if name.lower() not in headers}),
        headers={**request.headers, **headers},
    )
    return _version_4(query, plain) if names is _OF_VERSION_4 else _version_2(query, plain)


def _names(query: Mapping[str, str]) -> frozenset[str] | None:
    """Return the names of the parameters that sign a request, None where its query does not."""
    if "X-Amz-Signature" in query:
        return _OF_VERSION_4
    return _OF_VERSION_2 if set(query) >= _OF_VERSION_2 else None


def _version_2(query: Mapping[str, str], plain: HttpRequest) -> Presigned:
    expires = query["Expires"]
    if not re.fullmatch(r"\d{1,11}", expires, re.ASCII):
        raise ApiError("AccessDenied", "Invalid date (should be seconds since epoch)", status=403)
    return Presigned(
        key=query["AWSAccessKeyId"],
        signature=query["Signature"],
        request=plain,
        end=datetime.fromtimestamp(int(expires), UTC),
    )


def _version_4(query: Mapping[str, str], plain: HttpRequest) -> Presigned:
    if query["X-Amz-Algorithm"] != "AWS4-HMAC-SHA256":
        raise _wrong("X-Amz-Algorithm only supports AWS4-HMAC-SHA256")
    stamp, expires = query["X-Amz-Date"], query["X-Amz-Expires"]
    key, _, scope = query["X-Amz-Credential"].partition("/")
    if not re.fullmatch(r"\d{8}/[^/]+/s3/aws4_request", scope) or not stamp.startswith(scope[:8]):
        raise _wrong("X-Amz-Credential should be KEY/DATE/REGION/s3/aws4_request, with the date of X-Amz-Date")
    if not re.fullmatch(r"\d{1,6}", expires, re.ASCII) or not 0 < int(expires) <= _MAX_EXPIRES_S:
        raise _wrong(f"X-Amz-Expires must be between 1 and {_MAX_EXPIRES_S} seconds")
    try:
        begin = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise _wrong("X-Amz-Date must be in the ISO8601 form %Y%m%dT%H%M%SZ") from error
    return Presigned(
        key=key,
        signature=query["X-Amz-Signature"],
        request=plain,
        begin=begin,
        end=begin + timedelta(seconds=int(expires)),
        stamp=stamp,
        scope=scope,
        signed=tuple(query["X-Amz-SignedHeaders"].split(";")),
        query=urlencode({name: value for name, value in query.items() if name != "X-Amz-Signature"}),
    )


def _wrong(text: str) -> ApiError:
    return ApiError("AuthorizationQueryParametersError", text)
