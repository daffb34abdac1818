"""The rules that a head must meet for a request to mean one thing to everyone (RFC 9112), beyond its grammar, which the
parser sees to: where two readers may take different bytes for the end of a request, somebody's request can hide in
another's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from servefit.serving.messages import Refused

_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[\w.~!$&'()*+;=%-]*)(?::\d*)?", re.ASCII)
"""RFC 3986, 3.2.2. It may be empty."""

_OF_CONNECTION = frozenset({b"connection", b"content-length", b"host", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Fields that say where a request ends or goes, or what becomes of its connection: they have to stand before the body:
RFC 9110, 6.5.1. Parsers act upon some of it wherever it stands."""


def refuse_trailer(name: bytes) -> None:
    """Raise Refused for a field that must not follow a body of chunks. Any other says nothing here."""
    if name.lower() in _OF_CONNECTION:
        raise Refused(400, f"trailers: {name.decode(errors='replace')} belongs before the body")


def refuse_improper(version: str, headers: Mapping[bytes, bytes]) -> None:
    """Raise Refused unless ``version`` is HTTP/1.1 or 1.0, there is one Host (HTTP/1.0 may have none), and a body is
    bounded in one way that is understood here. Of a header that was repeated the values are joined by commas."""
    if version not in ("1.1", "1.0"):
        raise Refused(505, f"version: HTTP/1.1 and HTTP/1.0 are spoken here, not HTTP/{version}")
    host = headers.get(b"host")
    if host is None and version == "1.1":
        raise Refused(400, "host: expected one, got none")
    if host is not None and not _HOST.fullmatch(host):
        raise Refused(400, f"host: expected one host, got {host.decode(errors='replace')!r:.80}")
    coding = headers.get(b"transfer-encoding")
    if coding is None:
        return
    if version == "1.0" or b"content-length" in headers:
        raise Refused(400, "transfer-encoding: it is not for HTTP/1.0, nor beside content-length")
    if coding.strip().lower() != b"chunked":
        raise Refused(501, f"transfer-encoding: chunked is read here, not {coding.decode(errors='replace')!r:.80}")
