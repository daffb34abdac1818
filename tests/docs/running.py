"""Runs the blocks of a page one after the other, as a reader does at a terminal.

Every block of commands gets a bash of its own, in one folder a page; Python runs in one process a page. What a page
leaves running is ended with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.docs.pages import Block

PORT = "8080"
"""The port that pages name; another one, which is free, takes its place."""

_COMMAND_S = 60.0
"""The seconds that each command of a block has: a job takes 45 of them, where it uses its whole budget."""

_END_S = 10.0

# Whether a machine is quiet, and keeps a limit, is no property of the documentation: statuses 3 and 5 say that the
# command did what it was told. Nor is how much it tests. On a single CPU there is none for the client of an endpoint.
_SERVEFIT = """#!/bin/bash
case "$1" in
    recommend)
        set -- "$@" --allow-noise --max-tests 2 --budget 45s
        [[ $(nproc) -gt 1 || $* == *--deploy* ]] || set -- "$@" --deploy library
        ;;
    profile) set -- "$@" --allow-noise --duration 2s ;;
    load | demo) set -- "$@" --allow-noise ;;
esac
"{python}" -m servefit "$@"
status=$?
case $status in
    3 | 5) echo "servefit ended with $status" ;;
    *) exit $status ;;
esac
"""

_PYTHON = """
import os, sys, traceback
from pathlib import Path

answers, names = int(sys.argv[1]), {"__name__": "__main__"}
for script, log in map(str.split, sys.stdin):
    file = os.open(log, os.O_WRONLY)
    os.dup2(file, 1), os.dup2(file, 2), os.close(file)
    try:
        exec(compile(Path(script).read_text(), script, "exec"), names)
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    os.write(answers, b"%d" % status)
"""


@dataclass(kw_only=True)
class Reader:
    """Somebody who does what one page says, in ``folder``."""

    folder: Path
    environment: Mapping[str, str]
    port: int
    python: subprocess.Popen[bytes] | None = None
    answers: int = -1
    shells: list[subprocess.Popen[bytes]] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)

    def do(self, block: Block) -> None:
        """Run ``block``, and fail with what it said unless it succeeds."""
        output = self.folder.parent / f"block-{block.line}.log"
        self.logs.append(output)
        script = self.folder.parent / f"block-{block.line}"
        script.write_text(block.text.replace(PORT, str(self.port)), encoding="utf-8")
        output.touch()
        status = (self._bash if block.language == "bash" else self._in_python)(script, output)
        assert status == 0, f"{block} ended with {status}:\n{block.text}\n{output.read_text(errors='replace')}"

    @property
    def said(self) -> str:
        """What was printed so far, also by what still runs."""
        return "\n".join(log.read_text(encoding="utf-8", errors="replace") for log in self.logs)

    def _bash(self, script: Path, output: Path) -> int:
        with output.open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", script],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.shells.append(process)
        commands = script.read_text(encoding="utf-8").count("servefit ")
        return process.wait(_COMMAND_S * max(commands, 1))

    def _in_python(self, script: Path, output: Path) -> int:
        if self.python is None:
            self.answers, theirs = os.pipe()
            self.python = subprocess.Popen(
                [sys.executable, "-c", _PYTHON, str(theirs)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                pass_fds=[theirs],
                start_new_session=True,
            )
            os.close(theirs)
            self.shells.append(self.python)
        assert self.python.stdin is not None
        self.python.stdin.write(f"{script} {output}\n".encode())
        self.python.stdin.flush()
        return int(os.read(self.answers, 1) or b"-1")

    def leave(self) -> None:
        """End what still runs, as closing the terminal would, and make sure of it."""
        if self.python is not None and self.python.stdin is not None:
            self.python.stdin.close()
            self.python.wait(_END_S)
            os.close(self.answers)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for shell in self.shells:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, number)
            until = time.monotonic() + _END_S
            while self._something_runs() and time.monotonic() < until:
                time.sleep(0.05)
        for shell in self.shells:
            shell.wait(_END_S)

    def _something_runs(self) -> bool:
        groups = {shell.pid for shell in self.shells}
        for process in psutil.process_iter(["status"]):
            # Orphans that have ended stay until somebody asks after them, which need not happen in a container.
            with suppress(ProcessLookupError):
                if os.getpgid(process.pid) in groups and process.info["status"] != psutil.STATUS_ZOMBIE:
                    return True
        return False


@contextmanager
def reading(folder: Path, state: Path, *, storage: str | None = None) -> Iterator[Reader]:
    """A reader in ``folder``, with ``servefit`` on the path, a home of their own and the state folder ``state``. Jobs
    are kept in the database ``storage``, where that is given."""
    programs, home = folder.parent / "bin", folder.parent / "home"
    programs.mkdir()
    home.mkdir()
    (programs / "servefit").write_text(_SERVEFIT.format(python=sys.executable), encoding="utf-8")
    (programs / "servefit").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    reader = Reader(
        folder=folder,
        environment={
            # Without the slot of this process of the suite, pages that others read would be waited for.
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith("SERVEFIT_") or name == "SERVEFIT_SLOT"
            },
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "SERVEFIT_HOME": str(state),
            "SHELL": "/bin/bash",
            **({} if storage is None else {"SERVEFIT_STORAGE": storage}),
        },
        port=port,
    )
    try:
        yield reader
    finally:
        reader.leave()
