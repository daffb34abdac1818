"""A program that is run to its end, as if it had been started without anything in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit statuses of shells, env and nice for a program that is not there, and for one that cannot be started."""

_PASSED_ON = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})

_OF_OTHER_KEYS = ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
"""Variables that a program must not have beside those that point it here: tokens belong to other keys, and the last has
botocore leave AWS_ENDPOINT_URL unread."""


class NotRun(Exception):
    """A program was not started: ``status`` is what a shell would end with."""

    def __init__(self, program: str, reason: str, status: int) -> None:
        super().__init__(f"{program}: {reason}")
        self.status = status


def program_environment(variables: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` for a program that has the ``variables`` of a client, sends what is for their address to
    no proxy, and whose Pythons first run what is in ``startup``."""
    kept = {name: value for name, value in environment.items() if name not in _OF_OTHER_KEYS}
    folders = [str(Path(__file__).with_name("startup")), *filter(None, [environment.get("PYTHONPATH")])]
    direct = _no_proxy(urlsplit(variables["AWS_ENDPOINT_URL"]).netloc.rpartition(":")[0], environment)
    return {**kept, **variables, **direct, "PYTHONPATH": os.pathsep.join(folders)}


def _no_proxy(host: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of ``environment`` that say what no proxy is for, with this machine among it. Programs read
    the one or the other first, so both say it."""
    here = dict.fromkeys((host, "127.0.0.1", "localhost"))
    variables = {}
    for name, other in (("NO_PROXY", "no_proxy"), ("no_proxy", "NO_PROXY")):
        before = environment.get(name, environment.get(other, "")).strip()
        # A star means all hosts where it stands alone, and none beside others.
        variables[name] = before if before == "*" else ",".join(dict.fromkeys(filter(None, (before, *here))))
    return variables


def check_program(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raise NotRun for a program that is not there, or that is not executable."""
    name = command[0]
    if shutil.which(name, path=environment.get("PATH", os.defpath)) is None:
        is_there = os.sep in name and Path(name).exists()
        raise NotRun(name, *((_NO_PROGRAM, NOT_EXECUTABLE) if is_there else ("not found", NOT_FOUND)))


def run_program(command: Sequence[str], environment: Mapping[str, str], *, handle: int) -> int:
    """Run a program to its end, and return its exit status: 128 + N where signal N ended it. Signals that somebody
    sends to this process are passed on; those of the terminal reach the program by themselves. The program inherits
    ``handle``.

    Raises NotRun. This process must have one thread, and must not ignore SIGCHLD.
    """
    waited_for = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    try:
        program = subprocess.Popen(
            command,
            env=environment,
            pass_fds=(handle,),
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),
        )
        while (status := program.poll()) is None:
            received = signal.sigwaitinfo(waited_for)
            # The kernel's own signals have a code above zero.
            if received.si_signo in _PASSED_ON and received.si_code <= 0:
                program.send_signal(received.si_signo)
        while signal.sigtimedwait(waited_for, 0) is not None:
            pass  # what came too late for the program is not for this process either
    except FileNotFoundError as error:
        raise NotRun(command[0], "not found", NOT_FOUND) from error
    except OSError as error:
        raise NotRun(command[0], str(error), NOT_EXECUTABLE) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 128 - status if status < 0 else status


_NO_PROGRAM = "cannot be executed"
