"""Load goes to this machine, or to an address that the user has allowed."""

from __future__ import annotations

import socket

import psutil
import pytest

from servefit.errors import MeasurementError, SpecError
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.resolution import resolve_address

pytestmark = pytest.mark.integration

OWN = [
    entry.address.partition("%")[0]
    for each in psutil.net_if_addrs().values()
    for entry in each
    if entry.family == socket.AF_INET
]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "localhost", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", *OWN]
)
def test_a_loopback_and_the_addresses_of_its_interfaces_are_this_machine(host: str) -> None:
    assert resolve_address(Address.parse(f"http://{host}:8080/x"), allow_remote=False).is_here


@pytest.mark.parametrize("host", ["192.0.2.77", "[2001:db8::1]", "8.8.8.8", "[::ffff:192.0.2.77]"])
def test_any_other_machine_has_to_be_allowed(host: str) -> None:
    address = Address.parse(f"http://{host}:8080/x")
    with pytest.raises(SpecError, match=r"^url: .* is not this machine, but .*; say --allow-remote") as caught:
        resolve_address(address, allow_remote=False)
    assert caught.value.field == "url"
    assert not resolve_address(address, allow_remote=True).is_here


def test_a_name_is_this_machine_only_if_all_that_it_leads_to_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("127.0.0.1", "192.0.2.77")]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(SpecError, match=r"192\.0\.2\.77"):
        resolve_address(Address.parse("http://half.example/"), allow_remote=False)


@pytest.mark.parametrize("allow_remote", [False, True])
def test_a_name_that_leads_nowhere_is_told_in_one_line(allow_remote: bool) -> None:
    with pytest.raises(MeasurementError, match=r"^there is no server called nowhere\.invalid: "):
        resolve_address(Address.parse("http://nowhere.invalid/"), allow_remote=allow_remote)
    with pytest.raises(SpecError, match="name of a server"):
        resolve_address(Address.parse("http://a..b/"), allow_remote=allow_remote)
