"""The inventory: the hosts that agents are started on over SSH, how each is reached, and what its agent is told.

What comes from a file is read in ``inventory_file``. Nothing here can become another option of ssh than the one that it
is meant for: destinations, ports and options are checked, and options are those of ``SSH_OPTIONS``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from servefit.checks import check_whole
from servefit.errors import SpecError
from servefit.search.fleet.launching.agent_options import AgentOptions, check_agent_name
from servefit.search.fleet.plan.balancers.servers import is_host_name

DEFAULT_PYTHON = "python3"

SSH_OPTIONS = (
    "AddressFamily",
    "BindAddress",
    "CertificateFile",
    "Ciphers",
    "Compression",
    "ConnectTimeout",
    "GlobalKnownHostsFile",
    "HostKeyAlgorithms",
    "HostKeyAlias",
    "IPQoS",
    "IdentitiesOnly",
    "KexAlgorithms",
    "MACs",
    "ProxyJump",
    "PubkeyAcceptedAlgorithms",
    "RekeyLimit",
    "UserKnownHostsFile",
)
"""Options of ssh_config(5) that an inventory may set. They say how a host is reached. None runs a command, weakens the
check of host keys, allows passwords, or opens another forwarding; who needs that says so in ~/.ssh/config."""

_DESTINATION = re.compile(
    r"(?:[A-Za-z0-9._][A-Za-z0-9._-]*@)?(?:[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?:%\w+)?)"
)
"""A user and a host, or an alias of ~/.ssh/config: nothing that ssh takes for an option, or that a shell would read in
a ProxyCommand."""

_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryHost:
    """A host, and the agent that is to run on it.

    Args:
        name: The name of the host and of its agent.
        destination: What ssh is to connect to, such as "root@10.0.3.7".
        python: The Python there that has servefit: a path, from the home folder or absolute, or a name in the path.
        port: The port of the SSH server; None is what ssh takes by itself.
        identity: The file of a private key; None is what ssh takes by itself.
        options: More options of ssh, by name, of ``SSH_OPTIONS``.
        agent: What the agent is told.

    Raises SpecError for what cannot be reached like that.
    """

    name: str
    destination: str
    python: str = DEFAULT_PYTHON
    port: int | None = None
    identity: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    agent: AgentOptions = field(default_factory=AgentOptions)

    def __post_init__(self) -> None:
        check_agent_name("name", self.name)
        check_destination("ssh", self.destination)
        check_python("python", self.python)
        if self.port is not None:
            check_port("port", self.port)
        if self.identity is not None:
            check_line("identity", str(self.identity))
        check_ssh_options("options", self.options)


def address_of(destination: str) -> str | None:
    """Return the address that endpoints of a host are reached at, as far as a destination of ssh says it. None for one
    word, which may be an alias of ~/.ssh/config, and for this machine, from where a port may be forwarded."""
    host = destination.rpartition("@")[2]
    try:
        address = ip_address(host)
    except ValueError:
        return host if is_host_name(host) and "." in host else None
    return None if address.is_loopback or address.is_link_local or "%" in host else host


def check_destination(field: str, text: str) -> None:
    """Raise SpecError for what is no user and host of ssh."""
    if not _DESTINATION.fullmatch(text):
        remedy = "write user@address, and the port as port = 22"
        raise SpecError(field, text, "is not a destination of ssh", remedy=remedy)


def check_python(field: str, text: str) -> None:
    """Raise SpecError for what cannot be the Python of another host."""
    check_line(field, text)
    if text.startswith("~"):
        raise SpecError(field, text, "begins with ~", remedy="leave ~/ out: paths are from the home folder")


def check_port(field: str, port: int) -> None:
    check_whole(field, port, least=1, most=_MAX_PORT)


def check_ssh_options(field: str, options: Mapping[str, str]) -> None:
    """Raise SpecError for an option that an inventory may not set, and for a value that would be several."""
    for name, value in options.items():
        if name not in SSH_OPTIONS:
            raise SpecError.unknown(field, name, SSH_OPTIONS)
        check_line(f"{field}.{name}", value)


def check_line(field: str, text: str) -> None:
    """Raise SpecError for a text that is not one line, that would be taken for an option, or that ends a quotation of
    ssh."""
    if not text.strip():
        raise SpecError(field, text, "is empty")
    if text.startswith("-"):
        raise SpecError(field, text, "begins with a dash, as options do")
    if not text.isprintable() or '"' in text:
        raise SpecError(field, text, "has characters that do not belong there")
