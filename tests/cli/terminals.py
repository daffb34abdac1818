"""Commands in terminals of a given width, and what they write there."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

from rich.cells import cell_len
from tests.cli.conftest import COMMAND, Finished

_ROWS = 50
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Terminal:
    """A terminal of so many columns. ``name`` is the file that a command writes to; ``text`` what was written."""

    def __init__(self, columns: int) -> None:
        self._master, self.slave = os.openpty()
        ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
        self.name = os.ttyname(self.slave)
        self._parts: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._master, 65536)
            except OSError:  # nobody has it open any more
                return
            if not part:
                return
            self._parts.append(part)

    def ended(self) -> str:
        """Close the terminal, and return what was written to it."""
        os.close(self.slave)
        self._reader.join(timeout=10)
        os.close(self._master)
        return b"".join(self._parts).decode(errors="strict").replace("\r\n", "\n")


def in_terminal(forks: Path, columns: int, arguments: Sequence[str], variables: Mapping[str, str]) -> Finished:
    """Carry a command out whose stdout and stderr are terminals of ``columns``."""
    with _terminals(columns, variables) as (terminals, environment):
        command = {"arguments": arguments, "environment": environment, "folder": str(Path.cwd())}
        files = {name: terminal.name for name, terminal in terminals.items()}
        with socket.socket(socket.AF_UNIX) as connection, connection.makefile("r") as lines:
            connection.connect(str(forks))
            connection.sendall(f"{json.dumps(command | files)}\n".encode())
            status = int(lines.readline())
        return Finished(status=status, **{name: terminal.ended() for name, terminal in terminals.items()})


def in_terminal_of_its_own(columns: int, arguments: Sequence[str], variables: Mapping[str, str]) -> Finished:
    """The same, in a new process: for variables that Python reads when it begins."""
    with _terminals(columns, variables) as (terminals, environment):
        ended = subprocess.run(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=terminals["stdout"].slave,
            stderr=terminals["stderr"].slave,
            timeout=120,
            check=False,
            env=environment,
        )
        return Finished(status=ended.returncode, **{name: terminal.ended() for name, terminal in terminals.items()})


@contextmanager
def _terminals(columns: int, variables: Mapping[str, str]) -> Iterator[tuple[dict[str, Terminal], dict[str, str]]]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    yield (
        {name: Terminal(columns) for name in ("stdout", "stderr")},
        inherited | {"TERM": "xterm-256color"} | dict(variables),
    )


def plain(text: str) -> str:
    """Return ``text`` without the sequences that change how it looks."""
    return _ESCAPES.sub("", text)


def too_long(text: str, columns: int, *, width: Callable[[str], int] = cell_len) -> list[str]:
    """Return the lines that do not fit ``columns``, but for single words that are longer than a line."""
    return [line for line in plain(text).splitlines() if width(line) > columns and len(line.split()) > 1]


def words(text: str) -> set[str]:
    """Return the words of ``text``; numbers alone may change from one run to the next."""
    return {word for word in plain(text).split() if re.search(r"[^\W\d_]{2}", word)}
