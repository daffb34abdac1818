"""The ``ssh`` command that starts an agent on a host, with a tunnel from there to the database.

The options below come before what the person has in ~/.ssh/config, so keys alone are taken, host keys are checked, and
nothing asks a question or runs in the background.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from servefit.search.fleet.launching import tether
from servefit.search.fleet.launching.tunnel import LOOPBACK

if TYPE_CHECKING:
    from servefit.search.fleet.launching.inventory import InventoryHost
    from servefit.search.fleet.launching.tunnel import TunnelledDatabase

ALLOCATED_PORT = r"Allocated port (\d+) for remote forward to "
"""Ssh's words, at the log level INFO, on a port that the server chose."""

OWN_STATUS = 255
"""The exit status of ssh where the connection failed or was lost, in place of that of the command."""

_OPTIONS: Mapping[str, str] = {
    "BatchMode": "yes",
    "PreferredAuthentications": "publickey",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "StrictHostKeyChecking": "yes",
    "ExitOnForwardFailure": "yes",
    # A cable that is out is noticed after 15 s, on either side of the handshake
    "ConnectTimeout": "15",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    # A connection of its own: ended, it takes the agent along
    "ControlMaster": "no",
    "ControlPath": "none",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "EscapeChar": "none",
    # The port of the tunnel is read from what ssh says
    "LogLevel": "INFO",
}


def ssh_command(host: InventoryHost, database: TunnelledDatabase, *, program: str = "ssh") -> list[str]:
    """Return the command that starts the agent of ``host``, for a stdin that ``tether`` reads.

    The port of the tunnel is one that is free there, so a connection that the host still holds for alive is in nobody's
    way.
    """
    # The key that is named, and not those of an ssh-agent before it, of which a server takes only a few
    named = {} if host.identity is None else {"IdentitiesOnly": "yes"}
    options = {**_OPTIONS, **named, **host.options}
    words = [program, *(word for name, value in options.items() for word in ("-o", f"{name}={_quoted(value)}"))]
    if host.port is not None:
        words += ["-p", str(host.port)]
    if host.identity is not None:
        words += ["-i", str(host.identity)]
    return [*words, "-R", f"{LOOPBACK}:0:{database.target}", "--", host.destination, remote_command(host)]


def remote_command(host: InventoryHost) -> str:
    """Return what the shell of the remote user is to run."""
    agent = [host.python, "-m", "servefit", "agent", *host.agent.arguments()]
    return shlex.join([host.python, "-m", tether.__name__, *agent])


def _quoted(value: str) -> str:
    """Return a value as a word of ssh_config(5), in which quotes stand around spaces."""
    return f'"{value}"' if " " in value else value
