"""HAProxy: a whole configuration file, for ``haproxy -f``."""

from __future__ import annotations

from collections.abc import Sequence

from servefit.errors import SpecError
from servefit.search.fleet.plan.balancers import patience
from servefit.search.fleet.plan.balancers.servers import Server, check_name, check_port, check_servers

MAX_WEIGHT = 256
"""The largest weight that HAProxy takes."""

MAX_SERVERS = 4095
"""As many servers take turns by ``roundrobin`` at most, says its manual. With ``static-rr`` it has no limit, and took
seven minutes to start with ten thousand."""

_FILE = """\
# {name}: {hosts}, weights in proportion to the rates that were confirmed. Start it with: haproxy -f FILE
defaults
    mode http
    # A dead host is not waited for, a slow one is
    timeout connect {connect_ms}ms
    timeout client {answer_s}s
    timeout server {answer_s}s
    timeout check {answer_s}s
    # Predictions are idempotent: a broken connection sends a request elsewhere. A late answer does not
    retries {retries}
    option redispatch 1
    retry-on conn-failure empty-response
    # Hosts that fall silent while connections are open
    option srvtcpka
    srvtcpka-idle {probe_s}s
    srvtcpka-intvl {probe_s}s
    srvtcpka-cnt 1

frontend {name}-clients
    bind :{port}
    default_backend {name}

backend {name}
    balance roundrobin
    option httpchk GET {ready}
    default-server inter {check_s}s fastinter {connect_ms}ms fall {failures} rise {failures}
    default-server tcp-ut {unacknowledged_ms}ms
{servers}
"""


def haproxy_configuration(name: str, servers: Sequence[Server], *, port: int, answer_s: int) -> str:
    """Return the text of a configuration that listens on ``port``, and waits for an answer as long as ``answer_s``.
    ``name`` is that of the backend. A server that cannot be connected to, or is not ready, is left out until it is
    again. A body above 16 KB is gone once it was sent: its request gets 502 where its connection then breaks.

    Raises SpecError for names, ports, addresses and weights that HAProxy would not take.
    """
    check_name("name", name)
    check_port(port)
    check_servers(servers, most_weight=MAX_WEIGHT, balancer="haproxy")
    if len(servers) > MAX_SERVERS:
        raise SpecError(
            "servers",
            len(servers),
            f"are more than the {MAX_SERVERS} that HAProxy gives turns to",
            remedy="take nginx or envoy, or put several HAProxy side by side",
        )
    return _FILE.format(
        name=name,
        hosts="1 host" if len(servers) == 1 else f"{len(servers)} hosts",
        port=port,
        connect_ms=patience.CONNECT_MS,
        answer_s=answer_s,
        retries=patience.MAX_TRIES - 1,
        probe_s=patience.PROBE_S,
        ready=patience.READY_PATH,
        check_s=patience.CHECK_S,
        failures=patience.MAX_FAILURES,
        unacknowledged_ms=patience.UNACKNOWLEDGED_MS,
        servers="\n".join(
            f"    server {server.name} {server.address} weight {server.weight} check" for server in servers
        ),
    )
