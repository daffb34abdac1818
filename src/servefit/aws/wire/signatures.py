"""Signatures of requests (SigV4), which are held against a secret where the server has one.

They are computed from the request as it came: what a client signed is what it sent. The algorithm is that of the AWS
IAM User Guide, "Create a signed AWS API request". Presigned URLs are taken for S3 alone.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.presigned import MAX_SKEW, Presigned, presigned

if TYPE_CHECKING:
    from servefit.aws.wire.messages import HttpRequest

_NO_MATCH = "The request signature we calculated does not match the signature you provided."

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request"
    r",\s*SignedHeaders=(?P<signed>[^,]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """The key that clients have to name, and the secret that they have to sign with."""

    key: str
    secret: str

    def check(
        self, request: HttpRequest, service: str, *, now: datetime | None = None, head_alone: bool = False
    ) -> None:
        """Raise ApiError, 403, for a request that is not signed with the secret, for ``service``, with all headers that
        AWS reads.

        For S3, whose bodies are long, the digest of the body is the one that the client sent: the reader of the body
        compares it with that. With ``head_alone`` the signature itself is not looked at, which for other services needs
        the digest of a body that has not come yet.
        """
        if service == "s3" and (url := presigned(request)) is not None:
            self._check_presigned(request, url, now or datetime.now(UTC))
            return
        header = request.headers.get("authorization")
        if header is None:
            raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token", status=403)
        match = _HEADER.fullmatch(header)
        if match is None:
            raise _wrong("the Authorization header is not one of AWS4-HMAC-SHA256")
        if match["key"] != self.key:
            raise ApiError("UnrecognizedClientException", "The security token is invalid.", status=403)
        stamp = request.headers.get("x-amz-date", "")
        self._check_time(stamp, match["date"], now or datetime.now(UTC))
        signed = match["signed"].split(";")
        if not _read(request) <= set(signed):
            raise _wrong("host and all headers that begin with x-amz- have to be signed")
        if match["service"] != service:
            raise _wrong(f"Credential should be scoped to correct service: '{service}'.")
        if head_alone:
            return
        scope = f"{match['date']}/{match['region']}/{match['service']}/aws4_request"
        canonical = _canonical(request, signed, s3=match["service"] == "s3")
        if not hmac.compare_digest(self._signature(stamp, scope, canonical), match["signature"]):
            raise _wrong(_NO_MATCH)

    def _check_presigned(self, request: HttpRequest, url: Presigned, now: datetime) -> None:
        if url.key != self.key:
            text = "The AWS Access Key Id you provided does not exist in our records."
            raise ApiError("InvalidAccessKeyId", text, status=403)
        url.check_time(now)
        if url.scope:
            if not _read(request) <= set(url.signed):
                raise ApiError("AccessDenied", "There were headers present which were not signed", status=403)
            digest = url.request.headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
            headers = {**request.headers, "x-amz-content-sha256": digest}
            canonical = _canonical(replace(request, query=url.query, headers=headers), list(url.signed), s3=True)
            wanted = self._signature(url.stamp, url.scope, canonical)
        else:
            signature = hmac.digest(self.secret.encode(), url.text_of_version_2.encode(), "sha1")
            wanted = base64.b64encode(signature).decode()
        if not hmac.compare_digest(wanted.encode(), url.signature.encode()):
            raise ApiError("SignatureDoesNotMatch", _NO_MATCH, status=403)

    def _signature(self, stamp: str, scope: str, canonical: str) -> str:
        text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, _digest(canonical.encode())))
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, text.encode(), "sha256").hex()

    def _check_time(self, stamp: str, date: str, now: datetime) -> None:
        try:
            at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise _wrong("x-amz-date is not a time") from error
        if abs(at - now) > MAX_SKEW or not stamp.startswith(date):
            raise _wrong(f"Signature expired: {stamp} is not within 15 minutes of {now:%Y%m%dT%H%M%SZ}")


def _read(request: HttpRequest) -> set[str]:
    """Return the names of the headers that have to be signed: those that AWS reads."""
    return {"host", *(name for name in request.headers if name.startswith("x-amz-"))}


def _canonical(request: HttpRequest, signed: list[str], *, s3: bool) -> str:
    """Return the request in the form that is signed. Paths of all services but S3 are escaped twice. Raises ApiError
    where a header is to be in it twice: a head has room to name one with a long value thousands of times."""
    if len(signed) > len(set(signed)):
        raise _wrong("a header is named twice in SignedHeaders")
    path = quote(unquote(request.path), safe="/-_.~")
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(request.query, keep_blank_values=True)
    )
    return "\n".join(
        (
            request.method,
            path if s3 else quote(path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signed),
            "",
            ";".join(signed),
            (request.headers.get("x-amz-content-sha256") if s3 else None) or _digest(request.body),
        )
    )


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _wrong(message: str) -> ApiError:
    return ApiError("InvalidSignatureException", message, status=403)
