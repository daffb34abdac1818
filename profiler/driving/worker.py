"""The first statements of a measurement worker: enter the envelope, and only then import anything.

A library that starts threads while it is imported starts them on the CPUs that the process has by then. Environment
variables are set by the parent, before this process began. What a worker does is in ``serving``.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Arguments: the CPUs, comma-separated; file descriptors of the socket, of the shared memory and of the setup;
    the worker's number; the files that take a process into the envelope."""
    cpus, connection, memory, setup, number, *join_files = sys.argv[1:]
    for name in join_files:
        descriptor = os.open(name, os.O_WRONLY)
        os.write(descriptor, str(os.getpid()).encode())
        os.close(descriptor)
    os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})

    from servefit.profiler.inprocess.serving import serve

    serve(int(connection), int(memory), int(setup), int(number))


if __name__ == "__main__":
    main()
