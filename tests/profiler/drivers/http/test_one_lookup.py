"""The name of an endpoint is looked up once. Whatever the name service says later, everything goes where it was checked
that it may go."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.single_requests import get
from servefit.profiler.machine.host import describe_host
from servefit.profiler.procedures.load_clients import clients_at, place_clients
from servefit.profiler.procedures.target_endpoint import resolve_target
from servefit.profiler.record.traffic import ClosedLoop

if TYPE_CHECKING:
    from pathlib import Path

    from tests.profiler.conftest import HostSmall

pytestmark = pytest.mark.integration

ELSEWHERE = "192.0.2.77"
NAME = "rebinding.test"
ROWS = np.ones((4, 3), dtype=np.float32)
Names = Callable[..., list[str]]

_WRITES_DOWN_LOOKUPS = """
import os, sys

def write(word):
    with open(os.environ["LOOKUPS"], "a") as file:
        file.write(f"{word}\\n")

def look(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        write(arguments[0])

sys.addaudithook(look)
write("started")
"""


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A name service that gives one answer after the other, and the last one from then on; what it was asked."""
    real = socket.getaddrinfo

    def answering(*answers: list[str]) -> list[str]:
        asked: list[str] = []
        coming: Iterator[list[str]] = iter(answers)
        last = answers[-1]

        def lookup(host: Any, port: Any, *arguments: Any, **options: Any) -> list[Any]:
            if host != NAME:
                return real(host, port, *arguments, **options)
            asked.append(host)
            return [real(ip, port, *arguments, **options)[0] for ip in next(coming, last)]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        return asked

    return answering


@pytest.fixture
def lookups_of_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], set[str]]:
    """What processes that are started from now on ask the name service for; "started" says that there are some."""
    (tmp_path / "sitecustomize.py").write_text(_WRITES_DOWN_LOOKUPS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("LOOKUPS", str(tmp_path / "lookups"))
    return lambda: set((tmp_path / "lookups").read_text().split())


def test_everything_goes_to_the_address_that_was_checked(
    host_small: HostSmall, names: Names, lookups_of_children: Callable[[], set[str]]
) -> None:
    asked = names(["127.0.0.1"], [ELSEWHERE])
    with host_small({"speaks": "sagemaker"}) as hosted:
        target = resolve_target(hosted.url.replace("127.0.0.1", NAME), payload=ROWS, timeout_s=2)
        placement = place_clients(target, describe_host())
        with clients_at(target, placement, timeout_s=2) as driver:
            run = driver.run(ClosedLoop.constant(users=1, duration_s=0.2))
    assert (run.samples.ended_ns() > 0).all()
    assert asked == [NAME]
    assert lookups_of_children() - {"127.0.0.1"} == {"started"}
    assert target.destination.address.authority.startswith(f"{NAME}:")


def test_a_name_that_nobody_has_looked_up_is_looked_up_by_no_connection(names: Names) -> None:
    asked = names(["127.0.0.1"])
    with pytest.raises(RuntimeError, match=r"rebinding\.test has not been looked up"):
        get(Address.parse(f"http://{NAME}/ping"), timeout_s=1)
    assert asked == []


def test_of_several_addresses_the_first_that_answers_gets_everything(host_small: HostSmall, names: Names) -> None:
    names(["::1", "127.0.0.1"])
    with host_small({"speaks": "sagemaker"}) as hosted:
        target = resolve_target(hosted.url.replace("127.0.0.1", NAME), payload=ROWS, timeout_s=2)
        with clients_at(target, place_clients(target, describe_host()), timeout_s=2) as driver:
            run = driver.run(ClosedLoop.constant(users=1, duration_s=0.1))
    assert target.destination.address.ip == "127.0.0.1"
    assert (run.samples.ended_ns() > 0).all()


def test_all_of_several_addresses_have_to_be_this_machine(names: Names) -> None:
    names(["127.0.0.1", ELSEWHERE])
    with pytest.raises(SpecError, match=r"is not this machine, but 192\.0\.2\.77"):
        resolve_target(f"http://{NAME}:8080/", payload=ROWS)
