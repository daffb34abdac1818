"""Loads that several clients can make together, and those that they cannot; which clients they are."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.scripts import photos
from tests.search.fleet.conftest import LEASES, MakeHost

from servefit.backends.model.opaque import SIGNATURE
from servefit.backends.payload.bodies import Bodies, bodies_payload
from servefit.errors import SpecError
from servefit.profiler.record.traffic import ClosedLoop
from servefit.search.fleet.database import FleetDatabase, fleet_address
from servefit.search.fleet.load import running
from servefit.search.fleet.load.requests import INLINE_BYTES, LoadSubject, check_supported, client_orders, sent_payload
from servefit.search.fleet.load.running import load_from_clients
from servefit.search.fleet.registry import Registry
from servefit.search.fleet.selection import Selection
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.load_request import LoadRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from servefit.search.fleet.load.load_result import ClientsLoadTest

RATE = Sla(rate_per_s=300.0)
SUBJECT = LoadSubject(url="http://lb.lan:8080/score", protocol="json")


def test_each_client_sends_an_equal_part_of_the_rate_with_arrivals_of_its_own() -> None:
    request = LoadRequest(sla=RATE, duration_s=4, connections=10)
    orders = client_orders(SUBJECT, request, 3, None, start_within_s=60)
    assert [order.rate_per_s for order in orders] == [100, 100, 100]
    assert len({order.seed for order in orders}) == 3
    assert {order.rows_seed for order in orders} == {request.seed}
    assert {order.duration_s for order in orders} == {4}
    assert {order.connections for order in orders} == {4}


def test_the_same_seed_makes_the_same_arrivals() -> None:
    first, second = (client_orders(SUBJECT, LoadRequest(sla=RATE, seed=7), 2, None, start_within_s=60) for _ in "12")
    assert first == second


def test_what_lateness_is_held_against_is_the_lowest_limit() -> None:
    thresholds = (*parse_sla("p50=5ms"), *parse_sla("p99.9=50ms"))
    request = LoadRequest(sla=Sla(thresholds=thresholds, rate_per_s=10.0))
    (order,) = client_orders(SUBJECT, request, 1, None, start_within_s=60)
    assert order.limit_ms == 5
    assert order.percentiles == ("p50", "p99.9")


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("users", {"users": 3}),
        ("users", {"users": 3, "sla": RATE}),
        ("phases", {"phases": ClosedLoop.constant(users=2, duration_s=1)}),
        ("arrivals", {"arrivals": "constant", "sla": RATE}),
        ("arrivals", {"arrivals": "sine:period=2s", "sla": RATE}),
        ("rate", {}),
        ("rate", {"sla": Sla(thresholds=parse_sla("p95=10ms"))}),
    ],
)
def test_what_several_clients_cannot_send_as_one_is_refused(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        check_supported(LoadRequest(**changes))
    assert caught.value.field == field
    assert caught.value.remedy


@pytest.mark.parametrize("url", ["", "lb.lan", "ftp://lb.lan", "http://", "http://user:word@lb.lan"])
def test_what_is_no_address_is_refused_before_anybody_is_asked(url: str) -> None:
    with pytest.raises(SpecError, match="url"):
        LoadSubject(url=url)


def test_an_unknown_protocol_is_refused_before_anybody_is_asked() -> None:
    with pytest.raises(SpecError, match="protocol"):
        LoadSubject(url="http://lb.lan", protocol="grpc")


def test_a_rate_that_makes_more_arrivals_than_there_may_be_is_refused() -> None:
    with pytest.raises(SpecError, match="rate"):
        client_orders(SUBJECT, LoadRequest(sla=Sla(rate_per_s=1e12)), 2, None, start_within_s=60)


@pytest.mark.thorough
@pytest.mark.integration
def test_a_small_payload_goes_with_the_order_and_a_large_one_through_the_database(
    fleet_url: str, tmp_path: Path
) -> None:
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    small.write_bytes(b"1,2\n")
    large.write_bytes(b"1,2\n" * (INLINE_BYTES // 4 + 1))
    with JobStore.open(fleet_url) as store:
        blobs = Blobs.of(store)
        sent = sent_payload(small, blobs)
        assert sent.content is not None
        assert (sent.name, base64.b64decode(sent.content), sent.digest) == ("small.csv", b"1,2\n", None)
        kept = sent_payload(large, blobs)
        assert kept.content is None
        assert kept.digest is not None
        assert blobs.exists(kept.digest)


@pytest.mark.thorough
@pytest.mark.integration
def test_bodies_of_a_folder_go_as_an_archive_with_what_was_said_of_them(fleet_url: str, tmp_path: Path) -> None:
    given = Bodies(source=photos(tmp_path / "photos", count=3), content_type="image/jpeg", accept="text/csv")
    with JobStore.open(fleet_url) as store:
        sent = sent_payload(given, Blobs.of(store))
    assert sent.content is not None
    archive = tmp_path / sent.name
    archive.write_bytes(base64.b64decode(sent.content))
    arrived = Bodies(source=archive, content_type=sent.content_type, accept=sent.accept, each_line=sent.each_line)
    first, second = (bodies_payload(each, SIGNATURE).rows for each in (given, arrived))
    assert (sent.bodies, first.tolist()) == (True, second.tolist())


@pytest.mark.integration
def test_a_link_out_of_a_folder_of_bodies_is_refused(fleet_url: str, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", count=1)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    with JobStore.open(fleet_url) as store, pytest.raises(SpecError, match="leads out of it"):
        sent_payload(Bodies(source=folder), Blobs.of(store))


@pytest.mark.integration
@pytest.mark.parametrize("name", ["nowhere.csv", ""])
def test_a_payload_that_cannot_be_read_is_refused(name: str, fleet_url: str, tmp_path: Path) -> None:
    with JobStore.open(fleet_url) as store, pytest.raises(SpecError, match="payload"):
        sent_payload(tmp_path / name, Blobs.of(store))


def _load(fleet_url: str, selection: Selection) -> ClientsLoadTest:
    return load_from_clients(SUBJECT, LoadRequest(sla=RATE), selection, storage=fleet_url, progress=SilentProgress())


@pytest.mark.integration
def test_where_no_client_fits_near_names_are_shown(fleet_url: str, fleet_host: MakeHost) -> None:
    with pytest.raises(SpecError, match="has no hosts"):
        _load(fleet_url, Selection(patterns=("client-*",)))
    address = fleet_address(fleet_url)
    database = FleetDatabase(address)
    registry = Registry(database, address, LEASES)
    registry.claim(fleet_host("client-a"))
    registry.drain("client-a")
    with pytest.raises(SpecError, match="did you mean 'client-a'"):
        _load(fleet_url, Selection(patterns=("klient-a",)))
    with pytest.raises(SpecError, match="client-a is drained"):
        _load(fleet_url, Selection(patterns=("client-*",)))
    database.close()


@pytest.mark.thorough
@pytest.mark.integration
def test_a_client_that_does_not_get_ready_in_time_makes_the_load_invalid(
    fleet_url: str, fleet_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "READY_S", 1.0)
    address = fleet_address(fleet_url)
    database = FleetDatabase(address)
    registry = Registry(database, address, LEASES)
    for name in ("client-a", "client-b"):
        registry.claim(fleet_host(name))  # neither takes an order
    registry.drain("client-b")
    found = _load(fleet_url, Selection(patterns=("client-*",)))
    assert found.verdict == "INVALID"
    assert found.reason == "client-a: it was not ready within 1 s"
    assert found.warnings[0] == "client-b is drained, and sent nothing"
    assert found.summary is None
    assert found.to_dict()["latency_ms"] == {}
    database.close()
