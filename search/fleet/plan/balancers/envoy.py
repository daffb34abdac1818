"""Envoy: a whole static configuration, for ``envoy -c``, in the third version of its API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from servefit.search.fleet.plan.balancers.servers import Server, check_name, check_port, check_servers

MOST_WEIGHT = 100_000
"""Envoy's API has a weight of one at least, and weights that add up to less than 2**32 (``LbEndpoint``, API v3); up
to 1.7 its limit was 128. With this the weights of forty thousand hosts do."""

_HTTP_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


EVERYWHERE = "0.0.0.0"  # noqa: S104 - a balancer is there to be reached
"""The address that is listened on."""

_OUTLIERS = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 2,
    "enforcing_consecutive_5xx": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "max_ejection_percent": 100,
}
"""A host whose connections fail is left out until they do not, and its share goes to the others. Hosts whose answers
are errors stay: that they are overloaded is no reason to overload the rest."""


def envoy_configuration(name: str, servers: Sequence[Server], *, port: int) -> str:
    """Return the text of a configuration that listens on ``port``. ``name`` is that of the cluster. Its policy is round
    robin, which keeps to the weights; RANDOM does not know them.

    Raises SpecError for names, ports, addresses and weights that Envoy would not take.
    """
    import yaml

    check_name("name", name)
    check_port(port)
    check_servers(servers, most_weight=MOST_WEIGHT, balancer="envoy")
    document = {"static_resources": {"listeners": [_listener(name, port)], "clusters": [_cluster(name, servers)]}}
    hosts = "1 host" if len(servers) == 1 else f"{len(servers)} hosts"
    head = f"# {name}: {hosts}, weights in proportion to the rates that were confirmed. Start it with: envoy -c FILE\n"
    return head + yaml.safe_dump(document, sort_keys=False)


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _listener(name: str, port: int) -> dict[str, Any]:
    route = {"cluster": name, "retry_policy": {"retry_on": "connect-failure,refused-stream"}}
    hosts = {"name": name, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
    manager = {
        "@type": _HTTP_MANAGER,
        "stat_prefix": name,
        "route_config": {"name": name, "virtual_hosts": [hosts]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    connections = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {"name": name, "address": _socket(EVERYWHERE, port), "filter_chains": [{"filters": [connections]}]}


def _cluster(name: str, servers: Sequence[Server]) -> dict[str, Any]:
    endpoints = [
        {"endpoint": {"address": _socket(each.host, each.port)}, "load_balancing_weight": each.weight}
        for each in servers
    ]
    return {
        "name": name,
        # Names are looked up again and again; addresses are not.
        "type": "STATIC" if all(each.is_numeric for each in servers) else "STRICT_DNS",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "outlier_detection": _OUTLIERS,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }
