"""The first statements of every process that lives in an envelope: enter it, and only then import, or become, anything.

A library that starts threads while it is imported starts them on the CPUs that the process has by then. So this module
imports nothing but the system. Run as a program it enters and becomes the command that follows:
``python -m servefit.profiler.drivers.driving.entering PARENT CPUS FILE... -- COMMAND...``
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

_MODULE = "servefit.profiler.drivers.driving.entering"


def enter(cpus: str, join_files: Iterable[str]) -> None:
    """Take this process into the envelope of ``cpus`` (numbers, comma-separated) through its ``join_files``."""
    for name in join_files:
        descriptor = os.open(name, os.O_WRONLY)
        os.write(descriptor, str(os.getpid()).encode())
        os.close(descriptor)
    os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})


def entering_command(cpus: Iterable[int], join_files: Iterable[str], argv: Sequence[str]) -> list[str]:
    """Return the command that starts ``argv`` inside the envelope."""
    # -P: the user's folder may hold a signal.py
    return [sys.executable, "-P", "-m", _MODULE, str(os.getpid()), ",".join(map(str, cpus)), *join_files, "--", *argv]


def main() -> None:
    parent, cpus, *rest = sys.argv[1:]
    separator = rest.index("--")
    enter(cpus, rest[:separator])

    from servefit.processes import die_with_parent

    die_with_parent(int(parent))
    command = rest[separator + 1 :]
    os.execvp(command[0], command)  # noqa: S606 - a shell would stand between


if __name__ == "__main__":
    main()
