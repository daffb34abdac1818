"""Health checks that the supervisor answers in place of the workers: while all of them are in a call of the predictor,
and while none is ready.

A worker answers nothing during a call, and whoever asks whether the endpoint lives would end it. So new connections
wait here meanwhile: what comes first on them is looked at, answered if it is a whole check and nothing else, and left
unread for a worker otherwise.
"""

from __future__ import annotations

import re
import selectors
import socket
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from servefit.serving.messages import Refused, Reply
from servefit.serving.replying import RETRY_AFTER, ReplyWriter, refusal
from servefit.serving.routing import Action, route

if TYPE_CHECKING:
    from servefit.serving.process import WorkerProcess

_MAX_PROBE_BYTES = 2048
"""Those of kubelets and balancers have 200. A longer head is for a worker."""

MAX_WAITING = 1024
"""Connections that wait to say something while no worker reads, and others that wait for a worker while none is ready.
Chosen, not measured."""

_HEAD = re.compile(rb"(GET|HEAD) ([^ \r\n?]+)(?:\?[^ \r\n]*)? HTTP/1\.[01]\r\n((?:[!-9;-~]+:[^\r\n]*\r\n)+)\r\n")
_HOST = re.compile(rb"^host:", re.IGNORECASE | re.MULTILINE)
_FOR_A_WORKER = re.compile(rb"^(?:content-length|transfer-encoding|expect|upgrade):", re.IGNORECASE | re.MULTILINE)
_CHECKS = frozenset({Action.PING, Action.LIVE, Action.READY, Action.MODEL_READY})
_PING, _LIVE, _READY = Reply(200, b"", b"text/plain"), Reply(200, b'{"live":true}'), Reply(200, b'{"ready":true}')


def check_reply(action: Action, name: str) -> Reply:
    """Return the reply to a health check of an endpoint whose model is called ``name``, where all is well."""
    match action:
        case Action.PING:
            return _PING
        case Action.LIVE:
            return _LIVE
        case Action.READY:
            return _READY
    return Reply(200, msgspec.json.encode({"name": name, "ready": True}))


def check_in(head: bytes, name: str) -> tuple[Action, bool] | None:
    """Return the check that ``head`` asks for, and whether it is a HEAD request; None for any other request, or if
    there is more than a head."""
    match = _HEAD.fullmatch(head)
    if match is None or len(_HOST.findall(match[3])) != 1 or _FOR_A_WORKER.search(match[3]):
        return None
    try:
        action = route(match[1], match[2], name)
    except Refused:
        return None
    return (action, match[1] == b"HEAD") if action in _CHECKS else None


class ProbeAnswerer:
    """Watches connections that ``selector`` tells of, while ``workers`` cannot read them. Those that are not answered
    go to ``hand_over``."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        workers: Collection[WorkerProcess],
        name: str,
        hand_over: Callable[[socket.socket], None],
    ) -> None:
        self._selector = selector
        self._workers = workers
        self._name = name
        self._hand_over = hand_over
        self._waiting: dict[socket.socket, None] = {}
        self._writer = ReplyWriter()

    def __len__(self) -> int:
        return len(self._waiting)

    def takes_more(self) -> bool:
        """Return whether a new connection is to wait here."""
        return len(self._waiting) < MAX_WAITING and not any(
            worker.ready and not worker.is_in_long_call for worker in self._workers
        )

    def watch(self, connection: socket.socket) -> None:
        """Have ``connection`` wait until something comes on it, or a worker is free."""
        connection.setblocking(False)
        self._waiting[connection] = None
        self._selector.register(connection, selectors.EVENT_READ, partial(self._look, connection))

    def hand_over_all(self, *, anyway: bool = False) -> None:
        """Hand over what waits if a worker is free, or ``anyway``."""
        if self._waiting and (anyway or any(worker.ready and not worker.is_calling for worker in self._workers)):
            for connection in tuple(self._waiting):
                self._leave(connection)
                self._hand_over(connection)

    def close(self) -> None:
        for connection in tuple(self._waiting):
            self._leave(connection)
            connection.close()

    def _leave(self, connection: socket.socket) -> None:
        del self._waiting[connection]
        self._selector.unregister(connection)

    def _look(self, connection: socket.socket) -> None:
        """Answer the check on ``connection``, or hand the connection over."""
        self._leave(connection)
        try:
            head = connection.recv(_MAX_PROBE_BYTES, socket.MSG_PEEK)
        except OSError:
            head = b""
        ready = [worker for worker in self._workers if worker.ready]
        check = check_in(head, self._name)
        if not head:
            connection.close()
        elif check is None or not all(worker.is_calling for worker in ready):
            self._hand_over(connection)
        else:
            self._answer(connection, len(head), *check, ready=bool(ready))

    def _answer(self, connection: socket.socket, size: int, action: Action, head_only: bool, *, ready: bool) -> None:
        if ready or action is Action.LIVE:
            reply = check_reply(action, self._name)
        else:
            reply = refusal(Refused(503, "no worker is ready, try again later", headers=RETRY_AFTER))
        self._writer.renew_date()
        content = self._writer.encode(reply, b"", last=True, has_connection_header=False, head_only=head_only)
        with connection:
            try:
                connection.recv(size)  # closed with unread bytes, it would take back what was sent
                connection.send(content)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                return  # the client is gone
