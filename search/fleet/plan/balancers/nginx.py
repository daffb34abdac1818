"""nginx: a whole configuration file, for ``nginx -c`` or to be taken apart.

The servers are in a shared memory ``zone``: without one each worker process of nginx counts for itself, and few
requests reach the servers in proportion. Its method is smooth weighted round robin, which keeps to the weights exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

from servefit.search.fleet.plan.balancers.servers import Server, check_name, check_port, check_servers

MOST_WEIGHT = 100_000
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

        location / {{
            proxy_pass http://{name};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }}
    }}
}}
"""


def nginx_configuration(name: str, servers: Sequence[Server], *, port: int) -> str:
    """Return the text of a configuration that listens on ``port``. ``name`` is that of the upstream.

    Raises SpecError for names, ports, addresses and weights that nginx would not take.
    """
    check_name("name", name)
    check_port(port)
    check_servers(servers, most_weight=MOST_WEIGHT, balancer="nginx")
    connections = max(_CONNECTIONS, _CONNECTIONS_PER_SERVER * len(servers))
    return _FILE.format(
        name=name,
        files=2 * connections,
        hosts="1 host" if len(servers) == 1 else f"{len(servers)} hosts",
        connections=connections,
        zone_kib=_ZONE_KIB + _ZONE_KIB_PER_SERVER * len(servers),
        servers="\n".join(f"        server {each.address} weight={each.weight}; # {each.name}" for each in servers),
        # Connections that are kept open while idle, by each worker process: one for each server at least.
        keepalive=max(32, 2 * len(servers)),
        port=port,
    )
