"""Envoy: a whole static configuration, for ``envoy -c``, in the third version of its API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from servefit.search.fleet.plan.balancers import patience
from servefit.search.fleet.plan.balancers.servers import Server, check_name, check_port, check_servers

MAX_WEIGHT = 100_000
"""Envoy's API has a weight of one at least, and weights that add up to less than 2**32 (``LbEndpoint``, API v3); up
to 1.7 its limit was 128. With this the weights of forty thousand hosts do."""

_HTTP_MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_PREVIOUS_HOSTS = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


EVERYWHERE = "0.0.0.0"  # noqa: S104 - a balancer is there to be reached
"""The address that is listened on."""

_OUTLIERS = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": patience.MAX_FAILURES,
    "base_ejection_time": "5s",
    "enforcing_consecutive_5xx": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "max_ejection_percent": 100,
}
"""A host whose connections fail is left out until they do not, and its share goes to the others. Hosts whose answers
are errors stay: that they are overloaded is no reason to overload the rest."""


_CHECKS = {
    "interval": f"{patience.CHECK_S}s",
    "no_traffic_interval": f"{patience.CHECK_S}s",
    "unhealthy_threshold": patience.MAX_FAILURES,
    "healthy_threshold": patience.MAX_FAILURES,
    "http_health_check": {"path": patience.READY_PATH},
}

_RETRIES = {
    "retry_on": "connect-failure,refused-stream,reset",
    "num_retries": patience.MAX_TRIES - 1,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": _PREVIOUS_HOSTS},
        }
    ],
    "host_selection_retry_max_attempts": 8,
}
"""Predictions are idempotent: a broken connection sends a request to another host. A late answer does not."""

_NO_LIMIT = 1_000_000
"""Endpoints say themselves when they have too much (503). Envoy's own limits are 1024 requests of a whole cluster, and
three that are sent again at the same time."""

_LIMITED = ("max_connections", "max_pending_requests", "max_requests", "max_retries")

_IPPROTO_TCP, _TCP_USER_TIMEOUT = 6, 18
"""Of Linux: netinet/tcp.h."""

_DEAD_CONNECTIONS = {
    "upstream_bind_config": {
        "socket_options": [
            {
                "level": _IPPROTO_TCP,
                "name": _TCP_USER_TIMEOUT,
                "int_value": patience.UNACKNOWLEDGED_MS,
                "state": "STATE_PREBIND",
            }
        ]
    },
    "upstream_connection_options": {
        "tcp_keepalive": {
            "keepalive_time": patience.PROBE_S,
            "keepalive_interval": patience.PROBE_S,
            "keepalive_probes": 1,
        }
    },
}
"""Hosts that fall silent while connections are open."""


def envoy_configuration(name: str, servers: Sequence[Server], *, port: int, answer_s: int) -> str:
    """Return the text of a configuration that listens on ``port``, and waits for an answer as long as ``answer_s``.
    ``name`` is that of the cluster. Its policy is round robin, which keeps to the weights; RANDOM does not know them.

    Raises SpecError for names, ports, addresses and weights that Envoy would not take.
    """
    import yaml

    check_name("name", name)
    check_port(port)
    check_servers(servers, most_weight=MAX_WEIGHT, balancer="envoy")
    document = {
        "static_resources": {
            "listeners": [_listener(name, port, answer_s)],
            "clusters": [_cluster(name, servers, answer_s)],
        }
    }
    hosts = "1 host" if len(servers) == 1 else f"{len(servers)} hosts"
    head = f"# {name}: {hosts}, weights in proportion to the rates that were confirmed. Start it with: envoy -c FILE\n"
    return head + yaml.safe_dump(document, sort_keys=False)


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _listener(name: str, port: int, answer_s: int) -> dict[str, Any]:
    route = {"cluster": name, "timeout": f"{answer_s}s", "retry_policy": _RETRIES}
    hosts = {
        "name": name,
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": route}],
    }
    manager = {
        "@type": _HTTP_MANAGER,
        "stat_prefix": name,
        "route_config": {"name": name, "virtual_hosts": [hosts]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    connections = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": name,
        "address": _socket(EVERYWHERE, port),
        # A body that may have to be sent again is kept until its answer begins.
        "per_connection_buffer_limit_bytes": patience.MAX_BODY_BYTES,
        "filter_chains": [{"filters": [connections]}],
    }


def _cluster(name: str, servers: Sequence[Server], answer_s: int) -> dict[str, Any]:
    endpoints = [
        {"endpoint": {"address": _socket(server.host, server.port)}, "load_balancing_weight": server.weight}
        for server in servers
    ]
    return {
        "name": name,
        # Names are looked up again and again; addresses are not.
        "type": "STATIC" if all(server.is_numeric for server in servers) else "STRICT_DNS",
        "connect_timeout": f"{patience.CONNECT_MS / 1000}s",
        "lb_policy": "ROUND_ROBIN",
        # Hosts that are left out get nothing, however many they are
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [dict.fromkeys(_LIMITED, _NO_LIMIT)]},
        "health_checks": [{**_CHECKS, "timeout": f"{answer_s}s"}],
        "outlier_detection": _OUTLIERS,
        **_DEAD_CONNECTIONS,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }
