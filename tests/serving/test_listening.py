"""Listening sockets, and how they are closed."""

from __future__ import annotations

import socket

import pytest

from servefit.errors import SpecError
from servefit.serving.listening import bind, listen, refuse_more

pytestmark = pytest.mark.integration


def test_after_the_last_call_no_connection_is_begun_and_those_that_were_are_accepted() -> None:
    [listening] = bind("127.0.0.1", 0)
    listen(listening)
    with listening, socket.create_connection(listening.getsockname(), timeout=5) as early:
        refuse_more(listening)
        with pytest.raises(TimeoutError):
            socket.create_connection(listening.getsockname(), timeout=0.2)
        early.sendall(b"hello")
        listening.setblocking(True)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.recv(5) == b"hello"
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_all_addresses_of_a_name_are_listened_on_at_one_port() -> None:
    bound = bind("localhost", 0)
    assert len({bound_socket.getsockname()[1] for bound_socket in bound}) == 1
    assert len({bound_socket.getsockname()[0] for bound_socket in bound}) == len(bound)
    for bound_socket in bound:
        bound_socket.close()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_this_machine_s_is_a_specification_error(host: str) -> None:
    with pytest.raises(SpecError) as error:
        bind(host, 0)
    assert error.value.value in (host, 0)
    assert host in str(error.value)
