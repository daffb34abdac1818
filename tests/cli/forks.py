"""Carries out commands in forks of one process that has imported what they need: importing takes longer than most
commands do. In every other way each is ``python -m servefit``, a process with arguments, environment, folder and output
of its own. ``python forks.py SOCKET`` stays until the first connection is closed; on every other one it is sent a
command, and sends its status.
"""

from __future__ import annotations

import atexit
import gc
import importlib.util
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
from tempfile import TemporaryDirectory
from typing import Any

import servefit
from servefit.search.storage.jobs import JobStore

LONGEST_S = 240


def import_all() -> None:
    """All of servefit, which leaves native libraries to child processes, and what opening a database imports."""
    for module in pkgutil.walk_packages(servefit.__path__, "servefit."):
        if not module.name.endswith(("__main__", "_kernel")):
            importlib.import_module(module.name)
    for name in ("jinja2", "psutil", "pydantic.type_adapter", "pydantic.types", "pynvml", "rich.console", "rich.table"):
        # The lowest typer does without pydantic.
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    with TemporaryDirectory() as folder, JobStore.open(f"sqlite:///{folder}/jobs.db"):
        gc.collect()
    gc.freeze()  # or every fork would copy it all in the end


def next_command(listener: socket.socket) -> dict[str, Any]:
    """Returns in the fork that is to carry it out."""
    lifeline, _ = listener.accept()
    while True:
        if lifeline in select.select([listener, lifeline], [], [])[0]:
            sys.exit()
        connection, _ = listener.accept()
        with connection, connection.makefile("r") as lines:
            command: dict[str, Any] = json.loads(lines.readline())
            child = os.fork()
            if child == 0:
                return command
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            connection.sendall(f"{status}\n".encode())


def become(command: dict[str, Any]) -> None:
    files = [os.open(os.devnull, os.O_RDONLY), *(os.open(command[name], os.O_WRONLY) for name in ("stdout", "stderr"))]
    for descriptor, file in enumerate(files):
        os.dup2(file, descriptor)
    os.closerange(3, max(files) + 1)
    signal.alarm(LONGEST_S)
    os.environ.clear()
    os.environ.update(command["environment"])
    os.chdir(command["folder"])
    sys.argv = ["servefit", *command["arguments"]]


def carry_out() -> None:
    """Run the command, and end as Python does, but for freeing what was imported: that takes longer than most commands
    do."""
    try:
        runpy.run_module("servefit", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code)


if __name__ == "__main__":
    sys.path[0] = ""  # as -m has it
    import_all()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        if os.fork():  # it is nobody's child, so that tests may look for those that are left
            os._exit(0)
        os.setsid()
        command = next_command(listener)
    become(command)
    carry_out()
