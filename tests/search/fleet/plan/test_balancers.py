"""Configurations of balancers, read by the balancers themselves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.search.fleet.plan.balancer_programs import NAMES, command

from servefit.errors import SpecError
from servefit.search.fleet.plan.balancers.kinds import BALANCERS, BalancerName, parse_balancer
from servefit.search.fleet.plan.balancers.servers import Server


def servers(count: int = 3) -> list[Server]:
    return [
        Server(name=f"rack3-{index:02}", address=f"10.0.{index // 250}.{index % 250 + 1}:8000", weight=index % 100 + 1)
        for index in range(count)
    ]


def text(balancer: BalancerName, chosen: list[Server], **options: Any) -> str:
    options = {"port": 8080, "answer_s": 60, **options}
    return BALANCERS[balancer].configure(options.pop("name", "fraud"), chosen, **options)


Check = Callable[[BalancerName, str], None]


@pytest.fixture
def balancer_programs(tmp_path: Path) -> Check:
    """Has the balancer itself read a configuration."""
    return lambda balancer, configuration: checked(balancer, configuration, tmp_path)


def checked(balancer: BalancerName, configuration: str, folder: Path) -> None:
    file = folder / BALANCERS[balancer].file_name
    file.write_text(configuration)
    done = subprocess.run(command(balancer, file, check=True), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warn" not in (done.stdout + done.stderr).lower()


@pytest.mark.integration
@pytest.mark.parametrize("balancer", NAMES)
@pytest.mark.parametrize("count", [1, 3, 1000])
def test_the_balancer_takes_its_configuration(balancer: BalancerName, count: int, balancer_programs: Check) -> None:
    balancer_programs(balancer, text(balancer, servers(count)))


@pytest.mark.integration
@pytest.mark.parametrize("balancer", NAMES)
def test_it_takes_the_largest_weight_and_any_kind_of_address(balancer: BalancerName, balancer_programs: Check) -> None:
    chosen = [
        Server(name="six", address="[fd00::7]:8000", weight=BALANCERS[balancer].most_weight),
        Server(name="named.lan_1", address="localhost:65535", weight=1),
        Server(name="4", address="127.0.0.1:1", weight=2),
    ]
    balancer_programs(balancer, text(balancer, chosen))


@pytest.mark.integration
def test_nginx_has_room_in_its_zone_for_ten_thousand_hosts(balancer_programs: Check) -> None:
    configuration = text("nginx", servers(10_000))
    assert "zone fraud" in configuration
    balancer_programs("nginx", configuration)


def test_each_server_is_there_with_its_weight() -> None:
    chosen = servers(2)
    assert "server 10.0.0.2:8000 weight=2 max_fails=2 fail_timeout=5s; # rack3-01" in text("nginx", chosen)
    assert "server rack3-01 10.0.0.2:8000 weight 2 check" in text("haproxy", chosen)


def test_envoy_gets_weighted_endpoints_behind_a_listener() -> None:
    chosen = [Server(name="six", address="[fd00::7]:8000", weight=7), *servers(2)]
    found = yaml.safe_load(text("envoy", chosen))["static_resources"]
    (listener,), (cluster,) = found["listeners"], found["clusters"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 8080}
    (manager,) = [each["typed_config"] for each in listener["filter_chains"][0]["filters"]]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert route["route"]["cluster"] == cluster["name"] == cluster["load_assignment"]["cluster_name"] == "fraud"
    assert (cluster["type"], cluster["lb_policy"]) == ("STATIC", "ROUND_ROBIN")
    (locality,) = cluster["load_assignment"]["endpoints"]
    addresses = [each["endpoint"]["address"]["socket_address"] for each in locality["lb_endpoints"]]
    assert [str(ip_address(each["address"])) for each in addresses] == ["fd00::7", "10.0.0.1", "10.0.0.2"]
    assert [each["load_balancing_weight"] for each in locality["lb_endpoints"]] == [7, 1, 2]


def test_envoy_looks_up_names() -> None:
    found = yaml.safe_load(text("envoy", [Server(name="a", address="a.lan:80", weight=1)]))
    assert found["static_resources"]["clusters"][0]["type"] == "STRICT_DNS"


BAD_ADDRESSES = [
    *("", ":80", "10.0.0.7", "10.0.0.7:", "10.0.0.7:0", "10.0.0.7:65536", "10.0.0.7:80:80", "10.0.0.300:80"),
    *("fd00::7:80", "[fd00::7]", "[10.0.0.7]:80", "[fd00::7%eth0]:80", "a b:80", "a;b:80", "a\n:80", "-a:80", "a{:80"),
    *("http://a:80", "unix:/run/a:80", "a:80 backup", "a:80\n", "ä:80", "a" * 254 + ":80", "a..b:80"),
]


@pytest.mark.parametrize("address", [*BAD_ADDRESSES, None, 80])
def test_what_is_no_address_is_refused(address: Any) -> None:
    with pytest.raises(SpecError, match="address"):
        Server(name="a", address=address, weight=1)


@pytest.mark.parametrize("name", ["", "a b", "a;", "a\nserver b 10.0.0.9:1", "#", "-a", "ä", "a" * 64, None])
@pytest.mark.parametrize("balancer", NAMES)
def test_a_name_that_could_say_something_else_is_refused(balancer: BalancerName, name: Any) -> None:
    with pytest.raises(SpecError):
        Server(name=name, address="10.0.0.7:80", weight=1)
    with pytest.raises(SpecError, match="name"):
        text(balancer, servers(), name=name)


@given(words=st.text(max_size=30))
def test_no_text_gets_into_a_configuration_but_as_a_name_or_an_address(words: str) -> None:
    for address, name in ((words, "a"), (f"{words}:80", "a"), ("10.0.0.7:80", words)):
        try:
            server = Server(name=name, address=address, weight=1)
        except SpecError:
            continue
        plain = text("nginx", [Server(name="a", address="10.0.0.7:80", weight=1)])
        assert len(text("nginx", [server]).splitlines()) == len(plain.splitlines())
        assert not set(server.name + server.address) & set(" ;{}#\"'\\$\n\r\t")


@pytest.mark.parametrize("balancer", NAMES)
def test_servers_that_do_not_go_together_are_refused(balancer: BalancerName) -> None:
    one = Server(name="a", address="10.0.0.7:80", weight=1)
    with pytest.raises(SpecError, match="are none"):
        text(balancer, [])
    with pytest.raises(SpecError, match="'a' is there twice"):
        text(balancer, [one, Server(name="a", address="10.0.0.8:80", weight=1)])
    with pytest.raises(SpecError, match="is of two hosts"):
        text(balancer, [one, Server(name="b", address="10.0.0.7:80", weight=1)])
    heavy = Server(name="b", address="10.0.0.8:80", weight=BALANCERS[balancer].most_weight + 1)
    with pytest.raises(SpecError, match=f"weight of b for {balancer}"):
        text(balancer, [one, heavy])
    for port in (0, 65536, -1, 80.5, "80"):
        with pytest.raises(SpecError, match="port"):
            text(balancer, [one], port=port)


@pytest.mark.parametrize("weight", [0, -1, 1.5, True, "2"])
def test_a_weight_that_is_none_is_refused(weight: Any) -> None:
    with pytest.raises(SpecError, match="weight of a"):
        Server(name="a", address="10.0.0.7:80", weight=weight)


@pytest.mark.integration
def test_haproxy_is_not_given_more_servers_than_take_turns() -> None:
    with pytest.raises(SpecError, match="more than the 4095"):
        text("haproxy", servers(4096))


def test_an_unknown_balancer_is_refused_with_the_nearest() -> None:
    assert parse_balancer("envoy") == "envoy"
    with pytest.raises(SpecError, match="did you mean 'nginx'"):
        parse_balancer("ngin")
