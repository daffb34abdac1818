"""Endpoints as processes: begun, watched, found again by the next server, and ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.aws.endpoints.commands import serving_command
from servefit.aws.state.resources import Missing
from servefit.errors import ServefitError
from servefit.processes import living, mark_of

if TYPE_CHECKING:
    from servefit.aws.endpoints.commands import Serving
    from servefit.aws.state.resources import Resources

KIND = "endpoint"

Status: TypeAlias = Literal["Creating", "InService", "Failed"]

_LOOK_S = 0.1
_GRACE_S = 30.0
"""An endpoint that was told to end is killed after this."""

_MAX_REASON_CHARACTERS = 1024
"""Of a FailureReason."""

_SERVED = re.compile(r"is served at http://[^ ]*:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state of an endpoint: ``port`` where it listens, ``reason`` why it Failed."""

    status: Status
    port: int | None = None
    reason: str | None = None


class EndpointHosts:
    """The processes of endpoints, whose messages are in folders below ``folder``, each under its name."""

    def __init__(
        self,
        resources: Resources,
        folder: Path,
        *,
        trust_pickle: bool = False,
        trust_code: bool = False,
        allowed: Collection[str] = (),
    ) -> None:
        self._resources = resources
        self._folder = folder
        self._trust_pickle = trust_pickle
        self._trust_code = trust_code
        self._allowed = allowed
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._to_begin: SimpleQueue[tuple[str, _Host] | None] = SimpleQueue()

    def start(self) -> None:
        """Take up the endpoints that there are: those whose processes live as they are, the others begun again. The
        processes of all endpoints, also of those to come, have the CPUs of the calling thread."""
        threading.Thread(target=self._begin_all, name="endpoints", daemon=True).start()
        for endpoint in self._resources.all(KIND):
            self.begin(endpoint.name)

    def close(self) -> None:
        """End all processes; the next server begins them again."""
        self._to_begin.put(None)
        with self._lock:
            hosts = list(self._hosts.values())
        for host in hosts:
            host.signal(signal.SIGTERM)
        for host in hosts:
            host.end()

    def begin(self, name: str) -> None:
        """Begin to serve an endpoint, or take up the process that does; whether that succeeds, its state will say."""
        host = _Host(self._folder / name)
        with self._lock:
            self._hosts[name] = host
        self._to_begin.put((name, host))

    def state(self, name: str) -> State:
        """Return the state of an endpoint: that of its process."""
        with self._lock:
            host = self._hosts.get(name)
        return State(status="Creating") if host is None else host.state

    def end(self, name: str) -> None:
        """End the process of an endpoint."""
        with self._lock:
            host = self._hosts.pop(name, None)
        if host is not None:
            host.end()

    def _begin_all(self) -> None:
        """Begin each endpoint in a thread of its own, which has the CPUs of this one and not of a request."""
        while (begun := self._to_begin.get()) is not None:
            threading.Thread(target=self._serve, args=begun, name=f"endpoint {begun[0]}", daemon=True).start()

    def _serve(self, name: str, host: _Host) -> None:
        """Serve an endpoint until its process ends."""
        try:
            document = self._resources.get(KIND, name).document
            mark = document.get("Process")
            if mark is None or living(mark) is None:
                served = document["Served"]
                serving = serving_command(
                    served["model"],
                    served["profile"],
                    served["environment"],
                    name=name,
                    trust_pickle=self._trust_pickle,
                    trust_code=self._trust_code,
                    allowed=self._allowed,
                )
                mark = host.begin(serving)
                if mark is None:
                    return
                facts = {"Process": mark}
                self._resources.change(KIND, name, lambda before: {**before, **facts})
            host.watch(mark)
        except (Missing, OSError, ValueError, ServefitError) as error:
            host.failed(str(error) or type(error).__name__)


class _Host:
    """One process of an endpoint. Its headline, which says where it listens, is in a file, from which
    a later server reads it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._begun: subprocess.Popen[bytes] | None = None
        self._mark: str | None = None
        self._ended = False
        self.state = State(status="Creating")

    def begin(self, serving: Serving) -> str | None:
        """Begin the process, and return its mark; None where it was ended before it was begun."""
        with self._lock:
            if self._ended:
                return None
            self._folder.mkdir(parents=True, exist_ok=True)
            output, errors = self._folder / "stdout.txt", self._folder / "stderr.txt"
            output.unlink(missing_ok=True)
            with output.open("wb") as to_output, errors.open("wb") as to_errors:
                self._begun = subprocess.Popen(
                    serving.arguments,
                    env={**os.environ, **serving.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=to_output,
                    stderr=to_errors,
                    start_new_session=True,
                )
            self._mark = mark_of(self._begun.pid)
            return self._mark

    def watch(self, mark: str) -> None:
        """Follow a process until it ends."""
        with self._lock:
            self._mark = mark
            ended = self._ended
        if ended:
            self.end()
        while self._lives:
            if self.state.status == "Creating" and (match := _SERVED.search(self._read("stdout.txt"))):
                self.state = State(status="InService", port=int(match[1]))
            time.sleep(_LOOK_S)
        self.failed((self._read("stderr.txt").strip().splitlines() or ["its process ended"])[-1])

    def failed(self, reason: str) -> None:
        self.state = State(status="Failed", reason=reason[:_MAX_REASON_CHARACTERS])

    def end(self) -> None:
        """End the process; one that has not been begun never is."""
        with self._lock:
            self._ended = True
        self.signal(signal.SIGTERM)
        until = time.monotonic() + _GRACE_S
        while self._lives and time.monotonic() < until:
            time.sleep(_LOOK_S)
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        if self._mark is not None and (pid := living(self._mark)) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    @property
    def _lives(self) -> bool:
        if self._begun is not None:
            return self._begun.poll() is None
        return self._mark is not None and living(self._mark) is not None

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""
