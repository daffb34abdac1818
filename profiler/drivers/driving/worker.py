"""The main program of a child: enters its envelope, imports what it is to do, and serves its parent until that ends.

Environment variables are set by the parent, before this process began. What a child does is in the function that it is
told: ``serve`` of ``inprocess.serving`` or of ``http.client``.
"""

from __future__ import annotations

import sys

from servefit.profiler.drivers.driving.entering import enter


def main() -> None:
    """Take arguments, and serve: the function ("package.module:function"); the CPUs, comma-separated; file descriptors
    of the socket, of the shared memory and of the setup; the child's number; the process id of the parent; the files
    that take a process into the envelope.

    The function is called with the connection and the numbers after it up to the child's own; a ServefitError that it
    raises goes to the parent, anything else ends the process.
    """
    function, cpus, connection, memory, setup, number, parent_pid, *join_files = sys.argv[1:]
    enter(cpus, join_files)

    from importlib import import_module
    from multiprocessing.connection import Connection

    from servefit.errors import ServefitError
    from servefit.processes import die_with_parent

    die_with_parent(int(parent_pid))
    module, _, name = function.partition(":")
    serve = getattr(import_module(module), name)
    with Connection(int(connection)) as parent:
        try:
            serve(parent, int(memory), int(setup), int(number))
        except ServefitError as error:
            parent.send(error)
        except EOFError:
            pass  # the parent has hung up


if __name__ == "__main__":
    main()
