"""Endpoints as processes: begun, watched, found again by the next server, and ended."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from servefit.aws.endpoints.commands import serving_command
from servefit.aws.state.resources import Missing

if TYPE_CHECKING:
    import psutil

    from servefit.aws.state.resources import Resources

KIND = "endpoint"

Status: TypeAlias = Literal["Creating", "InService", "Failed"]

_LOOK_S = 0.1
_GRACE_S = 30.0
"""An endpoint that was told to end is killed after this."""

_SERVED = re.compile(r"is served at http://[^ ]*:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state of an endpoint: ``port`` where it listens, ``reason`` why it Failed."""

    status: Status
    port: int | None = None
    reason: str | None = None


class EndpointHosts:
    """The processes of endpoints, whose messages are in folders below ``folder``, each under its name."""

    def __init__(self, resources: Resources, folder: Path, *, trust_pickle: bool = False) -> None:
        self._resources = resources
        self._folder = folder
        self._trust_pickle = trust_pickle
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}
        self._processes: dict[str, psutil.Process] = {}

    def start(self) -> None:
        """Take up the endpoints that there are: those whose processes live as they are, the others begun again."""
        for each in self._resources.all(KIND):
            if not self._found(each.name, each.document):
                self.begin(each.name)

    def close(self) -> None:
        """End all processes; the next server begins them again."""
        import psutil

        with self._lock:
            processes = list(self._processes.values())
            self._processes.clear()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        for process in psutil.wait_procs(processes, timeout=_GRACE_S)[1]:
            process.kill()

    def begin(self, name: str) -> None:
        """Begin to serve an endpoint; whether that succeeds, its state will say."""
        with self._lock:
            self._states[name] = State(status="Creating")
        threading.Thread(target=self._serve, args=(name,), name=f"endpoint {name}", daemon=True).start()

    def state(self, name: str) -> State:
        """Return the state of an endpoint: that of its process."""
        with self._lock:
            known = self._states.get(name, State(status="Creating"))
            process = self._processes.get(name)
        if known.status == "InService" and (process is None or not _lives(process)):
            return State(status="Failed", reason=self._last_words(name))
        return known

    def end(self, name: str) -> None:
        """End the process of an endpoint that is no more."""
        import psutil

        with self._lock:
            process = self._processes.pop(name, None)
            self._states.pop(name, None)
        if process is None:
            return
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_GRACE_S)
            except psutil.TimeoutExpired:
                process.kill()

    def _serve(self, name: str) -> None:
        """Serve an endpoint until its process ends."""
        import psutil

        served: Mapping[str, Any] = self._resources.get(KIND, name).document["Served"]
        command = serving_command(
            served["model"],
            served["profile"],
            served["environment"],
            name=name,
            trust_pickle=self._trust_pickle,
        )
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "stdout.txt").open("wb") as output, (folder / "stderr.txt").open("wb") as errors:
            begun = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )
        process = psutil.Process(begun.pid)
        with self._lock:
            if name not in self._states:  # deleted meanwhile
                begun.terminate()
                return
            self._processes[name] = process
        while begun.poll() is None:
            if found := _SERVED.search((folder / "stdout.txt").read_text()):
                self._set(name, process, int(found[1]))
                break
            time.sleep(_LOOK_S)
        else:
            with self._lock:
                if name in self._states:
                    self._states[name] = State(status="Failed", reason=self._last_words(name))
            return
        begun.wait()  # so that it is no zombie

    def _set(self, name: str, process: psutil.Process, port: int) -> None:
        facts = {"Process": [process.pid, process.create_time()], "Port": port}
        with suppress(Missing):
            self._resources.change(KIND, name, lambda before: {**before, **facts})
        with self._lock:
            self._states[name] = State(status="InService", port=port)

    def _found(self, name: str, document: Mapping[str, Any]) -> bool:
        """Return whether the process of an endpoint, as it was kept, lives; it is then that of this server."""
        import psutil

        if (mark := document.get("Process")) is None:
            return False
        try:
            process = psutil.Process(int(mark[0]))
            if process.create_time() != mark[1] or not _lives(process):
                return False
        except psutil.NoSuchProcess:
            return False
        with self._lock:
            self._processes[name] = process
            self._states[name] = State(status="InService", port=document["Port"])
        return True

    def _last_words(self, name: str) -> str:
        """Return the last line that the process of an endpoint wrote to stderr."""
        try:
            lines = (self._folder / name / "stderr.txt").read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            lines = []
        return (lines[-1] if lines else "its process ended")[:1024]


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != "zombie"
