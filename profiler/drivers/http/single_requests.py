"""Single requests, before anything is measured: what a server says of a model, and what it says to a request.

Nothing is followed elsewhere: no redirects, and no proxies.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from servefit.errors import MeasurementError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from servefit.profiler.drivers.http.address import Address

_MAX_ANSWER_BYTES = 1 << 24
"""Metadata of a model have a few kilobytes, or megabytes where they name 100,000 columns, and what is wrong with a
request has a line. Chosen, not measured."""

_MAX_SENTENCE = 200
"""Characters: two lines of a terminal."""

_WHERE_ERRORS_ARE = ("error", "message", "detail")
_SUCCESSES = range(200, 300)
_REDIRECTS = range(300, 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleAnswer:
    """A server's answer to a single request. ``location`` is where a redirect leads."""

    status: int
    body: bytes
    location: str | None = None

    @property
    def is_success(self) -> bool:
        return self.status in _SUCCESSES

    def value(self) -> Any:
        """Return what the body is in JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def described(self) -> str:
        """Return the status, and what the server says to it, in one line of text that may be printed."""
        if self.status in _REDIRECTS and self.location is not None:
            return f"status {self.status}, a redirect to {_printable(self.location)} that is not followed"
        said = _printable(_said(self.value()) or self.body.decode(errors="replace"))
        return f"status {self.status}" + (f", {said!r}" if said else "")


def send_request(address: Address, request: bytes, *, timeout_s: float) -> SingleAnswer:
    """Send ``request``, a whole one, to the server at ``address``, and give its answer.

    Raises MeasurementError where there is none, or not all of it is there after ``timeout_s``.
    """
    until_s = time.monotonic() + timeout_s
    with ExitStack() as stack:
        try:
            connection: socket.socket = stack.enter_context(
                socket.create_connection(address.connects_to, timeout=timeout_s)
            )
            if address.scheme == "https":
                context = ssl.create_default_context()
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname=address.host))
            connection.sendall(request)
            method = request.partition(b" ")[0].decode()
            answer = http.client.HTTPResponse(cast("socket.socket", _Until(connection, until_s)), method=method)
            stack.callback(answer.close)
            answer.begin()
            body = answer.read(_MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise MeasurementError(
                f"{address.url} does not answer: {_reason(error)}", remedy="start the server, or correct the URL"
            ) from error
        return SingleAnswer(status=answer.status, body=body, location=answer.getheader("location"))


class _Until(io.RawIOBase):
    """The bytes that ``connection`` receives until ``until_s`` of the monotonic clock. A limit on each read bounds
    nothing: a server may send a byte now and then, or announce its answer again and again."""

    def __init__(self, connection: socket.socket, until_s: float) -> None:
        self._connection = connection
        self._until_s = until_s

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left_s)
        return self._connection.recv_into(buffer)


def get(address: Address, *, timeout_s: float) -> SingleAnswer:
    """Get what the server has at ``address``. Raises MeasurementError where it does not answer."""
    return send_request(address, _head("GET", address).encode() + b"\r\n", timeout_s=timeout_s)


def post(address: Address, document: bytes, *, timeout_s: float) -> SingleAnswer:
    """Post a JSON ``document``. Raises MeasurementError where it does not answer."""
    head = f"{_head('POST', address)}content-type: application/json\r\ncontent-length: {len(document)}\r\n\r\n"
    return send_request(address, head.encode() + document, timeout_s=timeout_s)


def _head(method: str, address: Address) -> str:
    return f"{method} {address.path} HTTP/1.1\r\nhost: {address.authority}\r\nconnection: close\r\n"


def _reason(error: OSError | http.client.HTTPException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _said(value: Any) -> str | None:
    """Return the sentence in a JSON answer, in the forms in which servers put it there."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return None
    for key in _WHERE_ERRORS_ARE:
        if key in value:
            return value[key] if isinstance(value[key], str) else json.dumps(value[key])
    return None


def _printable(text: str) -> str:
    """Return one line, not too long, and without what a terminal would take for an order."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 10 * _MAX_SENTENCE]).split())
    return line if len(line) <= _MAX_SENTENCE else f"{line[:_MAX_SENTENCE]}..."
