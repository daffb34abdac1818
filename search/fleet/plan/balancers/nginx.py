"""nginx: a whole configuration file, for ``nginx -c`` or to be taken apart.

The servers are in a shared memory ``zone``: without one each worker process of nginx counts for itself, and few
requests reach the servers in proportion. Its method is smooth weighted round robin, which keeps to the weights exactly.

A request goes to another host only within the first second: an open connection that breaks does so earlier, and an
answer that does not come is waited for longer. nginx sets neither TCP_USER_TIMEOUT nor the times of TCP's probes, so
what it sent over an open connection to a host that fell silent waits as long as the kernel says; docs/fleet.md names
the settings.
"""

from __future__ import annotations

from collections.abc import Sequence

from servefit.search.fleet.plan.balancers import patience
from servefit.search.fleet.plan.balancers.servers import Server, check_name, check_port, check_servers

MAX_WEIGHT = 100_000
"""nginx names no largest weight; it counts in whole numbers as long as a pointer. With this, the weights of twenty
thousand servers add up to less than 2**31, and a share is exact to 0.001 % of the largest."""

_ZONE_KIB = 128
_ZONE_KIB_PER_SERVER = 2
"""nginx 1.26 takes 0.8 KiB for a server, and refuses to start where a zone is too small."""

_CONNECTIONS = 4096
"""Connections of each worker process at least, those to servers included. Its own default, 512, is for web pages."""

_CONNECTIONS_PER_SERVER = 4
"""Twice as many as are kept open idle."""

_FILE = """\
# {name}: {hosts}, weights in proportion to the rates that were confirmed. Start it with: nginx -c FILE
worker_processes auto;
worker_rlimit_nofile {files};

events {{
    worker_connections {connections};
}}

http {{
    access_log off;

    upstream {name} {{
        zone {name} {zone_kib}k;
{servers}
        keepalive {keepalive};
    }}

    server {{
        listen {port};

        # The longest body that an endpoint takes; those above a megabyte pass through a file
        client_max_body_size {body_bytes};
        client_body_buffer_size 1m;

        location / {{
            proxy_pass http://{name};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;

            # A dead host is not waited for, a slow one is
            proxy_connect_timeout {connect_ms}ms;
            proxy_read_timeout {answer_s}s;
            proxy_send_timeout {answer_s}s;
            proxy_socket_keepalive on;

            # Predictions are idempotent: a broken connection sends a request elsewhere. A late answer does not
            proxy_next_upstream error timeout non_idempotent;
            proxy_next_upstream_tries {tries};
            proxy_next_upstream_timeout {retry_s}s;
        }}
    }}
}}
"""

_SERVER = "        server {address} weight={weight} max_fails={failures} fail_timeout={check_s}s; # {name}"

_LEFT_OUT_S = 5
"""A host that fails is left out for so long; then one request tries it, and waits ``CONNECT_MS`` if it is still dead.
Chosen, not measured."""


def nginx_configuration(name: str, servers: Sequence[Server], *, port: int, answer_s: int) -> str:
    """Return the text of a configuration that listens on ``port``, and waits for an answer as long as ``answer_s``.
    ``name`` is that of the upstream.

    Raises SpecError for names, ports, addresses and weights that nginx would not take.
    """
    check_name("name", name)
    check_port(port)
    check_servers(servers, most_weight=MAX_WEIGHT, balancer="nginx")
    connections = max(_CONNECTIONS, _CONNECTIONS_PER_SERVER * len(servers))
    return _FILE.format(
        name=name,
        files=2 * connections,
        hosts="1 host" if len(servers) == 1 else f"{len(servers)} hosts",
        connections=connections,
        zone_kib=_ZONE_KIB + _ZONE_KIB_PER_SERVER * len(servers),
        servers="\n".join(
            _SERVER.format(
                address=server.address,
                weight=server.weight,
                failures=patience.MAX_FAILURES,
                check_s=_LEFT_OUT_S,
                name=server.name,
            )
            for server in servers
        ),
        # Connections that are kept open while idle, by each worker process: one for each server at least.
        keepalive=max(32, 2 * len(servers)),
        port=port,
        body_bytes=patience.MAX_BODY_BYTES,
        connect_ms=patience.CONNECT_MS,
        answer_s=answer_s,
        tries=patience.MAX_TRIES,
        retry_s=answer_s - 1,
    )
