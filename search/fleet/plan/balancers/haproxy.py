"""HAProxy: a whole configuration file, for ``haproxy -f``."""

from __future__ import annotations

from collections.abc import Sequence

from servefit.errors import SpecError
from servefit.search.fleet.plan.balancers.servers import Server, check_name, check_port, check_servers

MOST_WEIGHT = 256
"""The largest weight that HAProxy takes."""

MOST_SERVERS = 4095
"""As many servers take turns by ``roundrobin`` at most, says its manual. With ``static-rr`` it has no limit, and took
seven minutes to start with ten thousand."""

_FILE = """\
# {name}: {hosts}, weights in proportion to the rates that were confirmed. Start it with: haproxy -f FILE
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    option redispatch

frontend {name}-clients
    bind :{port}
    default_backend {name}

backend {name}
    balance roundrobin
{servers}
"""


def haproxy_configuration(name: str, servers: Sequence[Server], *, port: int) -> str:
    """Return the text of a configuration that listens on ``port``. ``name`` is that of the backend. A server that
    cannot be connected to is left out until it can be again.

    Raises SpecError for names, ports, addresses and weights that HAProxy would not take.
    """
    check_name("name", name)
    check_port(port)
    check_servers(servers, most_weight=MOST_WEIGHT, balancer="haproxy")
    if len(servers) > MOST_SERVERS:
        raise SpecError(
            "servers",
            len(servers),
            f"are more than the {MOST_SERVERS} that HAProxy gives turns to",
            remedy="take nginx or envoy, or put several HAProxy side by side",
        )
    return _FILE.format(
        name=name,
        hosts="1 host" if len(servers) == 1 else f"{len(servers)} hosts",
        port=port,
        servers="\n".join(f"    server {each.name} {each.address} weight {each.weight} check" for each in servers),
    )
