"""Where balancers reach the hosts of a plan."""

from __future__ import annotations

from typing import Any

import pytest

from servefit.errors import SpecError
from servefit.search.fleet.launching.agent_options import AgentOptions
from servefit.search.fleet.launching.inventory import address_of
from servefit.search.fleet.plan.balancers.addresses import parse_addresses, server_addresses
from servefit.search.fleet.plan.balancers.patience import answer_s
from servefit.search.request.sla import Sla, parse_sla

HOSTS = ("rack3-07", "rack3-08", "rack3-09")


def addresses(hosts: tuple[str, ...] = HOSTS, **options: Any) -> dict[str, str]:
    usual = {"given": {}, "of_agents": {}, "port": 8080, "is_known": lambda _: False}
    return server_addresses(hosts, **{**usual, **options})


def test_what_an_export_is_given_comes_before_what_an_agent_says_and_that_before_its_name() -> None:
    found = addresses(
        given={"rack3-07": "10.0.0.7:9000"},
        of_agents={"rack3-07": "10.1.1.1", "rack3-08": "10.0.0.8", "another": "10.0.0.1"},
        is_known=lambda name: name == "rack3-09",
    )
    assert found == {"rack3-07": "10.0.0.7:9000", "rack3-08": "10.0.0.8:8080", "rack3-09": "rack3-09:8080"}


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        ("10.0.0.7", "10.0.0.7:8080"),
        ("fd00::7", "[fd00::7]:8080"),
        ("[fd00::7]", "[fd00::7]:8080"),
        ("[fd00::7]:9000", "[fd00::7]:9000"),
        ("rack3-07.lan", "rack3-07.lan:8080"),
    ],
)
def test_an_address_without_a_port_has_that_of_the_balancer(address: str, whole: str) -> None:
    assert addresses(("a",), of_agents={"a": address}) == {"a": whole}


def test_a_host_without_an_address_is_named_with_what_to_say() -> None:
    with pytest.raises(SpecError) as raised:
        addresses(of_agents={"rack3-07": "10.0.0.7"})
    assert "address: 'rack3-08' is the name of an agent, like 1 other host, that was given no address" in str(
        raised.value
    )
    assert "say --address rack3-08=10.0.3.7" in str(raised.value)


def test_an_address_for_a_host_that_is_not_in_the_plan_is_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'rack3-07'"):
        addresses(given={"rack3-7": "10.0.0.7"}, is_known=lambda _: True)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["10.0.0.7"], "does not look like rack3-07=10.0.3.7:8000"),
        (["=10.0.0.7"], "does not look like"),
        (["a="], "is not an address"),
        (["a=10.0.0.7:8000 backup"], "is not an address"),
        (["a=http://10.0.0.7"], "is not an address"),
        (["a=10.0.0.7:0"], "is not an address"),
        (["a=10.0.0.7", "a=10.0.0.8"], "is given twice"),
    ],
)
def test_what_is_no_address_of_a_host_is_refused(texts: list[str], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        parse_addresses(texts)


def test_an_agent_is_told_its_address_and_nothing_that_is_none() -> None:
    assert AgentOptions(address="10.0.0.7:8000").arguments() == ["--address", "10.0.0.7:8000"]
    with pytest.raises(SpecError, match="is not an address such as"):
        AgentOptions(address="10.0.0.7 --trust-code")


@pytest.mark.parametrize(
    ("destination", "address"),
    [
        ("root@10.0.3.7", "10.0.3.7"),
        ("fd00::7", "fd00::7"),
        ("me@node.lan", "node.lan"),
        # An alias of ~/.ssh/config, a port that is forwarded, and a card of this machine
        ("rack3-07", None),
        ("root@127.0.0.1", None),
        ("fe80::1%eth0", None),
        ("fd00::1%eth0", None),
    ],
)
def test_a_destination_of_ssh_says_the_address_where_it_is_one(destination: str, address: str | None) -> None:
    assert address_of(destination) == address


def test_an_answer_is_waited_for_longer_than_the_sla_allows() -> None:
    assert answer_s(Sla()) == 60
    assert answer_s(Sla(thresholds=parse_sla("p95=50ms,p99=100ms"))) == 60
    assert answer_s(Sla(thresholds=parse_sla("p50=1s,p99=45s"))) == 91
