"""The server that a program uses: the one that has the state folder, or one that is started for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from servefit.aws.environment import client_variables
from servefit.aws.programs.use import looking, using
from servefit.aws.state.claim import FOLDER, holder_of
from servefit.errors import SpecError
from servefit.state import state_folder

_ANSWERS_S = 60.0
"""A server that runs answers within it, also while it measures. Chosen, not measured."""

_FOR_BOTH = ("--log-level", "--secret-env")
"""Options that have a meaning for a server that runs already, too."""

_FIRST = "export AWS_ENDPOINT_URL="
"""Begins the first line that a server prints, once it answers."""


class NotStarted(Exception):
    """There is no server: the one that was to be started ended with ``status``, and has said why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """A program's use of a server: the ``variables`` that point clients at it, and a ``handle`` to inherit, for as long
    as which is open the server goes on."""

    variables: Mapping[str, str]
    handle: int


@contextmanager
def server_for_programs(options: Mapping[str, Sequence[str]], *, secret: str | None) -> Iterator[ServerUse]:
    """Give the use of the server of the state folder, while the block lasts: one that runs, or one that is started and
    ends with the last program that uses it.

    Args:
        options: The options of ``servefit api`` for a server that is started, each with its words.
        secret: The secret that requests are signed with, if any.

    Raises SpecError for a server that runs and is to have ``options``, that takes signed requests alone and there is no
    secret, or that does not answer; NotStarted; and StateError.
    """
    folder = state_folder(FOLDER)
    with using(folder) as use:
        with looking(folder):
            holder = holder_of(folder)
            begun = _begin(options) if holder is None else None
        address = _running(holder, options) if begun is None else begun[1]
        try:
            if secret is None and _is_signed(address):
                raise SpecError(
                    "secret_env",
                    None,
                    f"is not given, and the server at {address} takes signed requests alone",
                    remedy="name the variable with its secret: servefit api --secret-env NAME run",
                )
            yield ServerUse(variables=client_variables(address, folder=folder, secret=secret), handle=use.handle)
        finally:
            if begun is not None and use.is_last():
                with begun[0] as server:
                    server.terminate()


def _running(holder: str | None, options: Mapping[str, Sequence[str]]) -> str:
    """Return the address of a server that runs. Raises SpecError."""
    if holder is None or not holder.startswith("http"):
        raise SpecError(
            "api",
            str(state_folder(FOLDER)),
            f"is in use by {holder or 'a server that is starting'}",
            remedy="wait for that, end it, or set SERVEFIT_HOME to another folder",
        )
    for option in options:
        if option in _FOR_BOTH:
            continue
        raise SpecError(
            option.lstrip("-"),
            " ".join(options[option]),
            f"is for a server that is started, and one runs already at {holder}",
            remedy="leave it out, or end that server",
        )
    return holder


def _begin(options: Mapping[str, Sequence[str]]) -> tuple[subprocess.Popen[str], str]:
    """Start a server, and return it with its address once it answers. It is in a session of its own: Ctrl-C is for the
    program. Raises NotStarted."""
    words = [word for option_words in ({"--port": ["--port=0"]} | dict(options)).values() for word in option_words]
    server = subprocess.Popen(
        [sys.executable, "-P", "-m", "servefit", "api", *words, "--until-unused"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # What else it prints fits into the pipe.
    line = server.stdout.readline() if server.stdout is not None else ""
    if not line.startswith(_FIRST):
        server.terminate()
        raise NotStarted(max(1, server.wait()))
    return server, line.removeprefix(_FIRST).strip()


def _is_signed(address: str) -> bool:
    """Return whether a server refuses unsigned requests. Raises SpecError where it does not answer."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=_ANSWERS_S)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 403
    except (OSError, HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise SpecError("api", address, f"does not answer: {reason}", remedy="end that server") from error
    finally:
        connection.close()
