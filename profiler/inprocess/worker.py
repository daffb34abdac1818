"""The first statements of a measurement worker: take the CPUs, and only then import anything.

A library that starts threads while it is imported starts them on the CPUs that the process has by then. Environment
variables are set by the parent, before this process began. What a worker does is in ``serving``.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Arguments: the CPUs, comma-separated; file descriptors of the socket and of the queue; the worker's number."""
    cpus, connection, queue, number = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})

    from servefit.profiler.inprocess.serving import serve

    serve(int(connection), int(queue), int(number))


if __name__ == "__main__":
    main()
