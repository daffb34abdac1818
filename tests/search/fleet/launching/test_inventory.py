"""Inventory files: what they say, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.errors import SpecError
from servefit.search.fleet.launching.inventory import InventoryHost
from servefit.search.fleet.launching.inventory_file import MAX_BYTES, parse_inventory, read_inventory
from servefit.search.fleet.launching.ssh import ssh_command
from servefit.search.fleet.launching.tunnel import tunnelled

WHOLE = """
[defaults]
python = "/opt/sf/bin/python"
labels = {site = "north", rack = "0"}
options = {ProxyJump = "bastion"}
idle_exit = "2m"

[host.rack3-07]
ssh = "root@10.0.3.7"
port = 2222
identity = "keys/fleet"
labels = {rack = "3"}
cost = {per_hour = 0.21}

[host."node.lan"]
ssh = "node"
address = "10.0.3.9:9000"
python = "python3.12"
cost = {capex = 4200, years = 4, watts = "auto"}
allow_env = ["MODEL_MODE"]
trust_pickle = true
trust_code = true
"""

ONE = '[host.a]\nssh = "a"\n'


def parse(text: str) -> tuple[InventoryHost, ...]:
    return parse_inventory(text.encode(), "hosts.toml")


def test_a_host_says_how_it_is_reached_and_what_its_agent_is_told_and_the_defaults_say_the_rest(tmp_path: Path) -> None:
    (tmp_path / "hosts.toml").write_text(WHOLE)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/fleet").touch()
    first, second = read_inventory(tmp_path / "hosts.toml")
    assert (first.name, first.destination, first.port, first.python) == (
        *("rack3-07", "root@10.0.3.7", 2222, "/opt/sf/bin/python"),
    )
    assert first.identity == tmp_path / "keys/fleet"
    assert first.options == {"ProxyJump": "bastion"}
    assert first.agent.arguments() == [
        *("--name", "rack3-07", "--address", "10.0.3.7", "--label", "site=north", "--label", "rack=3"),
        *("--cost", "per_hour=0.21", "--idle-exit", "120s"),
    ]
    assert (second.destination, second.python, second.port) == ("node", "python3.12", None)
    assert second.agent.arguments() == [
        *("--name", "node.lan", "--address", "10.0.3.9:9000", "--label", "site=north", "--label", "rack=0"),
        *("--cost", "capex=4200,years=4,watts=auto", "--idle-exit", "120s", "--allow-env", "MODEL_MODE"),
        "--trust-pickle",
        "--trust-code",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no host"),
        ("[host]", "names no host"),
        ("[host.a", "cannot be read as TOML"),
        ("[hosts.a]", "hosts.toml: 'hosts' is not known; did you mean 'host'?"),
        ("[host]\na = 3", "hosts.toml: host.a: 3 is no table"),
        ("[host.a]", "hosts.toml: host.a has no ssh"),
        (f"{ONE}pyhton = 'x'", "hosts.toml: host.a: 'pyhton' is not known; did you mean 'python'?"),
        (f"{ONE}address = '10.0.3'", "hosts.toml: host.a.address: '10.0.3' is not an address such as 10.0.0.7"),
        (f"[defaults]\naddress = '10.0.0.7'\n{ONE}", "hosts.toml: defaults.address: '10.0.0.7' is not one for all"),
        (f"{ONE}port = '22'", "hosts.toml: host.a.port: '22' is not a whole number"),
        (f"{ONE}port = 0", "hosts.toml: host.a.port: 0 is not above zero"),
        (f"{ONE}port = 70000", "hosts.toml: host.a.port: 70000 is above 65535"),
        (f"{ONE}python = ''", "hosts.toml: host.a.python: '' is empty"),
        (f"{ONE}python = '~/python'", "hosts.toml: host.a.python: '~/python' begins with ~"),
        (f"{ONE}identity = '-F/tmp/x'", "hosts.toml: host.a.identity: '-F/tmp/x' begins with a dash"),
        (f"{ONE}identity = 'no-such-key'", "hosts.toml: host.a.identity: 'no-such-key' is no file"),
        (f"{ONE}labels = {{rack = 3}}", "hosts.toml: host.a.labels.rack: 3 is not text"),
        (f"{ONE}labels = {{rack = 'a,b=c'}}", "hosts.toml: host.a.labels rack: 'a,b=c' is not"),
        (f"{ONE}labels = {{'a b' = 'c'}}", "hosts.toml: host.a.labels 'a b' is not"),
        (f"{ONE}labels = 'rack=3'", "hosts.toml: host.a.labels: 'rack=3' is no table"),
        (f"{ONE}cost = {{perhour = 1}}", "did you mean 'per_hour'?"),
        (f"{ONE}cost = {{per_hour = nan}}", "hosts.toml: host.a.cost per_hour: nan is not finite"),
        (f"{ONE}cost = {{per_hour = -1}}", "hosts.toml: host.a.cost per_hour: -1 is not above zero"),
        (f"{ONE}cost = {{per_hour = true}}", "hosts.toml: host.a.cost per_hour: True is not a number"),
        (f"{ONE}cost = {{per_hour = 1, watts = 200}}", "host.a.cost has per_hour and what an owner pays"),
        (f"{ONE}cost = {{capex = 4200}}", "host.a.cost has one of capex and years"),
        (f"{ONE}cost = {{watts = 'some'}}", "host.a.cost watts: 'some' is not a number"),
        (f"{ONE}idle_exit = '120'", "hosts.toml: host.a.idle_exit: '120' has no unit"),
        (f"{ONE}idle_exit = '0s'", "hosts.toml: host.a.idle_exit: '0s' is not above zero"),
        (f"{ONE}allow_env = 'A'", "hosts.toml: host.a.allow_env: 'A' is no list"),
        (f"{ONE}allow_env = ['A=B']", "hosts.toml: host.a.allow_env[0]: 'A=B'"),
        (f"{ONE}allow_env = [1]", "hosts.toml: host.a.allow_env[0]: 1 is not text"),
        (f"{ONE}trust_pickle = 1", "hosts.toml: host.a.trust_pickle: 1 is not true or false"),
        (f"{ONE}options = {{ProxyCommand = 'rm x'}}", "hosts.toml: host.a.options: 'ProxyCommand' is not known"),
        (f"{ONE}options = {{StrictHostKeyChecking = 'no'}}", "'StrictHostKeyChecking' is not known"),
        (f"{ONE}options = {{ProxyJump = 5}}", "hosts.toml: host.a.options.ProxyJump: 5 is not text"),
        (f'{ONE}options = {{ProxyJump = "a\\nProxyCommand b"}}', "options.ProxyJump: "),
        ("[host.'-x']\nssh = 'a'", "hosts.toml: host.-x: '-x' is not 1 to 63 letters"),
        ("[host.'$(reboot)']\nssh = 'a'", "is not 1 to 63 letters"),
        (f"[host.{'a' * 64}]\nssh = 'a'", "is not 1 to 63 letters"),
        (f"[defaults]\nssh = 'a'\n{ONE}", "hosts.toml: defaults.ssh: 'a' is not one for all"),
        (f"[defaults]\nlabels = {{a = 1}}\n{ONE}", "hosts.toml: defaults.labels.a: 1 is not text"),
        (f"defaults = 3\n{ONE}", "hosts.toml: defaults: 3 is no table"),
        (f"{ONE}{ONE}", "cannot be read as TOML"),
    ],
)
def test_a_mistake_is_named_with_its_table_and_key(text: str, said: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse(text)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "destination",
    [
        "-oProxyCommand=reboot",
        "root@-oProxyCommand=reboot",
        "",
        "a b",
        "a;reboot",
        "$(reboot)",
        "a\nb",
        "ssh://a",
        "root@",
    ],
)
def test_a_destination_that_ssh_or_a_shell_would_take_for_more_is_refused(destination: str) -> None:
    with pytest.raises(SpecError, match="is not a destination of ssh"):
        InventoryHost(name="a", destination=destination)


@pytest.mark.parametrize("destination", ["rack3-07", "root@10.0.3.7", "me@node.lan", "fe80::1%eth0", "u_1@2001:db8::7"])
def test_users_hosts_and_addresses_are_destinations(destination: str) -> None:
    assert InventoryHost(name="a", destination=destination).destination == destination


@settings(max_examples=examples(30, drawn=100))
@given(st.text())
def test_whatever_a_destination_is_ssh_gets_it_as_one_that_is_no_option(text: str) -> None:
    try:
        host = InventoryHost(name="a", destination=text)
    except SpecError:
        return
    command = ssh_command(host, tunnelled("postgresql://db.lan/servefit"))
    assert command[-3:-1] == ["--", text]
    assert not text.startswith("-")
    assert not set(text) & set(" \t\n\"'`$;&|<>()\\")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_inventory_or_a_mistake_that_is_named(content: bytes) -> None:
    hosts: tuple[InventoryHost, ...] = ()
    with suppress(SpecError):
        hosts = parse_inventory(content, "hosts.toml")
    assert len({host.name for host in hosts}) == len(hosts)


def test_a_file_that_is_not_there_or_is_far_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        read_inventory(tmp_path / "hosts.toml")
    with pytest.raises(SpecError, match="Is a directory"):
        read_inventory(tmp_path)
    (tmp_path / "hosts.toml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(SpecError, match="more than"):
        read_inventory(tmp_path / "hosts.toml")
    (tmp_path / "hosts.toml").write_bytes(b"\xff")
    with pytest.raises(SpecError, match="UTF-8"):
        read_inventory(tmp_path / "hosts.toml")
