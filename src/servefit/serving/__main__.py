"""``python -P -m servefit.serving endpoint.json [--host H] [--port P] [--ready-fd N]``: the endpoint that the file
describes, until SIGTERM, SIGINT or SIGHUP.

Exit status: 0 after a stop that answered all that was accepted, 1 after one that cut some off (a second signal, time
that was up, a worker that died), 2 for a file or an address that cannot be used, 4 if a worker does not start.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from servefit.serving.stopping import Signals

_LAST_PORT = 65_535
"""Ports have 16 bits."""


def main() -> int:
    # Before what takes a moment to load
    signals = Signals()

    from servefit.backends.variables.allowed_variables import own_or_listed
    from servefit.errors import ServefitError, SpecError
    from servefit.serving.config import EndpointConfig
    from servefit.serving.event_log import log_event
    from servefit.serving.supervisor import supervise

    parser = argparse.ArgumentParser(prog="python -m servefit.serving", description="Serve one artifact over HTTP.")
    parser.add_argument("config", type=Path, help="the description of the endpoint, a JSON file")
    parser.add_argument(
        "--ready-fd", type=int, metavar="N", help='write {"port": ..., "pids": [...]} there once it serves'
    )
    parser.add_argument("--host", help="listen there, and not where the file says")
    parser.add_argument("--port", type=_port, help="the same for the port; 0 is any that is free")
    arguments = parser.parse_args()
    try:
        config = EndpointConfig.read(arguments.config)
        return supervise(
            replace(
                config,
                host=config.host if arguments.host is None else arguments.host,
                port=config.port if arguments.port is None else arguments.port,
                environment=own_or_listed(config.environment, os.environ),
            ),
            signals,
            ready_fd=arguments.ready_fd,
        )
    except ServefitError as error:
        log_event(str(error))
        return 2 if isinstance(error, SpecError) else 4


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
