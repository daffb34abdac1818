"""The balancers that a plan can be written for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from servefit.errors import SpecError
from servefit.search.fleet.plan.balancers import envoy, haproxy, nginx

if TYPE_CHECKING:
    from servefit.search.fleet.plan.balancers.servers import Server

BalancerName: TypeAlias = Literal["nginx", "haproxy", "envoy"]


class Configure(Protocol):
    """Writes a configuration that listens on a port, and waits so long for an answer."""

    def __call__(self, name: str, servers: Sequence[Server], *, port: int, answer_s: int) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Balancer:
    """A kind of balancer: the name of its file, the largest weight that it takes, and what writes the file."""

    file_name: str
    most_weight: int
    configure: Configure


BALANCERS: Mapping[BalancerName, Balancer] = {
    "nginx": Balancer(file_name="nginx.conf", most_weight=nginx.MAX_WEIGHT, configure=nginx.nginx_configuration),
    "haproxy": Balancer(
        file_name="haproxy.cfg", most_weight=haproxy.MAX_WEIGHT, configure=haproxy.haproxy_configuration
    ),
    "envoy": Balancer(file_name="envoy.yaml", most_weight=envoy.MAX_WEIGHT, configure=envoy.envoy_configuration),
}


def parse_balancer(text: str) -> BalancerName:
    """Parse "nginx", "haproxy" or "envoy". Raises SpecError."""
    for name in BALANCERS:
        if text == name:
            return name
    raise SpecError.unknown("balancer", text, list(BALANCERS))
