"""The register of agents in a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.search.fleet.conftest import LEASES, MakeHost, rows

from servefit.errors import SpecError, StorageError
from servefit.search.fleet import database as database_module
from servefit.search.fleet.database import FleetDatabase, fleet_address, fleet_leases
from servefit.search.fleet.host import Leases
from servefit.search.fleet.making import make_fleet
from servefit.search.fleet.registry import WAITING, Registry
from servefit.search.storage.ownership import Owner

pytestmark = pytest.mark.integration


@pytest.fixture
def database(fleet_url: str) -> Iterator[FleetDatabase]:
    database = FleetDatabase(fleet_address(fleet_url))
    yield database
    database.close()


@pytest.fixture
def registry(database: FleetDatabase) -> Registry:
    return Registry(database, database.address, LEASES)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents are seen as those of other machines: nothing is known of them but when they were last heard of."""
    monkeypatch.setattr(Owner, "is_on_this_machine", False)


def test_a_host_is_told_as_its_agent_described_it(registry: Registry, fleet_host: MakeHost) -> None:
    described = fleet_host("rack3-07", labels=(("rack", "3"),), cost=(("per_hour", 0.21),), trust_pickle=True)
    registry.claim(described)
    (state,) = registry.hosts()
    assert (state.host, state.status, state.doing) == (described, "idle", "")


def test_a_name_is_one_agents_at_a_time(registry: Registry, fleet_host: MakeHost) -> None:
    claim = registry.claim(fleet_host("rack3-07"))
    with pytest.raises(SpecError, match="is that of an agent that runs: process"):
        registry.claim(fleet_host("rack3-07"))
    registry.leave(claim)
    again = registry.claim(fleet_host("rack3-07"))
    assert not registry.renew(claim, None)
    assert registry.renew(again, None)


def test_an_agent_learns_that_the_database_is_as_it_was_earlier(
    registry: Registry, fleet_host: MakeHost, database: FleetDatabase
) -> None:
    claim = registry.renew(registry.claim(fleet_host("rack3-07")), None)
    assert claim is not None
    assert not claim.was_set_back
    _age(database, 3600.0)
    claim = registry.renew(claim, None)
    assert claim is not None
    assert claim.was_set_back
    claim = registry.renew(claim, None)
    assert claim is not None
    assert not claim.was_set_back


@pytest.mark.usefixtures("elsewhere")
def test_an_agent_elsewhere_that_is_silent_for_long_loses_its_name(
    registry: Registry, fleet_host: MakeHost, fleet_url: str, database: FleetDatabase
) -> None:
    claim = registry.claim(fleet_host("rack3-07"))
    with pytest.raises(SpecError, match="is that of an agent that runs"):
        registry.claim(fleet_host("rack3-07"))
    _age(database, LEASES.silent_s + 0.1)
    assert [state.status for state in registry.hosts()] == ["silent"]
    registry.claim(fleet_host("rack3-07"))
    assert not registry.renew(claim, None)


@pytest.mark.usefixtures("elsewhere")
def test_a_host_is_silent_and_then_gone_by_the_clock_of_the_database(
    registry: Registry, fleet_host: MakeHost, database: FleetDatabase
) -> None:
    claim = registry.claim(fleet_host("rack3-07"))
    statuses = []
    for seconds in (0, LEASES.silent_s, LEASES.lost_s):
        _age(database, seconds)
        statuses += [state.status for state in registry.hosts()]
    assert statuses == ["idle", "silent", "gone"]
    registry.renew(claim, None)
    assert [state.status for state in registry.hosts()] == ["idle"]


def test_what_an_agent_is_at_is_told(registry: Registry, fleet_host: MakeHost) -> None:
    claim = registry.claim(fleet_host("rack3-07"))
    registry.renew(claim, "job fraud")
    assert [(state.status, state.doing) for state in registry.hosts()] == [("measuring", "job fraud")]
    registry.renew(claim, f"{WAITING}process 7")
    assert [(state.status, state.doing) for state in registry.hosts()] == [("waiting", "waiting for process 7")]


def test_a_host_that_is_drained_stays_so_when_its_agent_is_started_again(
    registry: Registry, fleet_host: MakeHost
) -> None:
    claim = registry.claim(fleet_host("rack3-07"))
    registry.drain("rack3-07")
    assert [state.status for state in registry.hosts()] == ["drained"]
    registry.leave(claim)
    registry.claim(fleet_host("rack3-07"))
    assert [state.status for state in registry.hosts()] == ["drained"]
    registry.drain("rack3-07", drained=False)
    assert [state.status for state in registry.hosts()] == ["idle"]


def test_a_host_is_forgotten_once_its_agent_has_ended(registry: Registry, fleet_host: MakeHost) -> None:
    claim = registry.claim(fleet_host("rack3-07"))
    with pytest.raises(SpecError, match="has an agent that runs"):
        registry.forget("rack3-07")
    registry.leave(claim)
    registry.forget("rack3-07")
    assert registry.hosts() == ()


def test_a_host_that_is_not_known_is_told_with_names_like_it(registry: Registry, fleet_host: MakeHost) -> None:
    with pytest.raises(SpecError, match="is not known; start an agent there"):
        registry.drain("rack3-07")
    registry.claim(fleet_host("rack3-07"))
    for use in (registry.drain, registry.forget):
        with pytest.raises(SpecError, match="did you mean 'rack3-07'"):
            use("rack3-08")


def test_an_agent_that_cannot_be_read_is_told_and_the_others_are_there(
    registry: Registry, fleet_host: MakeHost, database: FleetDatabase
) -> None:
    registry.claim(fleet_host("rack3-07"))
    _write(database, document="{")
    claim = registry.claim(fleet_host("rack3-08"))
    assert [state.host.name for state in registry.hosts()] == ["rack3-08"]
    (told,) = registry.unreadable()
    assert told.startswith("agent rack3-07 is damaged")
    assert registry.renew(claim, None)


def test_a_database_without_a_fleet_or_with_a_newer_one_is_refused(postgresql_url: str) -> None:
    database = FleetDatabase(fleet_address(postgresql_url))
    try:
        with pytest.raises(StorageError, match=r"it has no fleet; make the tables.*servefit fleet init"):
            fleet_leases(database, database.address)
        make_fleet(postgresql_url)
        assert fleet_leases(database, database.address) == Leases()
        from sqlalchemy import text

        database.run(lambda connection: connection.execute(text("UPDATE servefit_fleet SET schema = 2")))
        with pytest.raises(StorageError, match="of schema 2, and this servefit knows 1; update servefit on this host"):
            fleet_leases(database, database.address)
        with pytest.raises(StorageError, match="of schema 2"):
            make_fleet(postgresql_url)
    finally:
        database.close()


def test_the_leases_of_a_fleet_stay_until_others_are_given(postgresql_url: str) -> None:
    make_fleet(postgresql_url, Leases(silent_s=5, lost_s=20))
    make_fleet(postgresql_url)
    assert rows(postgresql_url, "SELECT silent_s, lost_s FROM servefit_fleet") == [(5.0, 20.0)]
    make_fleet(postgresql_url, Leases(silent_s=6, lost_s=30))
    assert rows(postgresql_url, "SELECT silent_s, lost_s FROM servefit_fleet") == [(6.0, 30.0)]


@pytest.mark.parametrize(("silent_s", "lost_s"), [(0, 10), (-1, 10), (10, 5), (float("nan"), 10), (1, float("inf"))])
def test_leases_that_make_no_sense_are_refused(silent_s: float, lost_s: float) -> None:
    with pytest.raises(SpecError):
        Leases(silent_s=silent_s, lost_s=lost_s)


@pytest.mark.parametrize("url", ["sqlite:////tmp/jobs.db", "mysql+pymysql://user@server/jobs", None])
def test_a_database_that_cannot_hold_a_fleet_is_refused(url: str | None) -> None:
    with pytest.raises(SpecError, match="storage"):
        fleet_address(url)


def test_an_agent_of_another_schema_is_no_host_to_choose(registry: Registry, fleet_host: MakeHost) -> None:
    from servefit.search.fleet.selection import Selection

    registry.claim(replace(fleet_host("rack3-07"), schema=2, servefit="9.1"))
    with pytest.raises(SpecError, match=r"the agent of rack3-07 is of servefit 9\.1, whose fleets are of schema 2"):
        Selection().choose(registry.hosts())


def _age(database: FleetDatabase, seconds: float) -> None:
    """Have all agents be heard of last so long ago."""
    from sqlalchemy import text

    now = "extract(epoch FROM clock_timestamp())"
    statement = text(f"UPDATE servefit_agents SET renewed_at = {now} - :seconds")
    database.run(lambda connection: connection.execute(statement, {"seconds": seconds}))


def _write(database: FleetDatabase, *, document: str) -> None:
    from sqlalchemy import text

    statement = text("UPDATE servefit_agents SET document = :document")
    database.run(lambda connection: connection.execute(statement, {"document": document}))


def test_without_the_packages_of_fleets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "find_spec", lambda name: None if name == "procrastinate" else object())
    with pytest.raises(SpecError, match=r"not installed: procrastinate; pip install 'servefit\[fleet\]'"):
        fleet_address("postgresql://fleet@db.lan/servefit")
