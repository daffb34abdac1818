"""The choice of hosts by name and label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from servefit.errors import SpecError
from servefit.search.fleet.host import HostState, HostStatus
from servefit.search.fleet.selection import Selection

if TYPE_CHECKING:
    from tests.search.fleet.conftest import MakeHost


@pytest.fixture
def hosts(fleet_host: MakeHost) -> tuple[HostState, ...]:
    labels = {"rack3-07": (("rack", "3"), ("disk", "ssd")), "rack3-08": (("rack", "3"),), "desk": ()}
    return tuple(_state(fleet_host, name, labels=labels[name]) for name in labels)


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(), ["rack3-07", "rack3-08", "desk"]),
        (Selection(patterns=("rack3-*",)), ["rack3-07", "rack3-08"]),
        (Selection(patterns=("*-07", "desk")), ["rack3-07", "desk"]),
        (Selection(labels=(("rack", "3"),)), ["rack3-07", "rack3-08"]),
        (Selection(labels=(("rack", "3"), ("disk", "ssd"))), ["rack3-07"]),
        (Selection(patterns=("*-08",), labels=(("rack", "3"),)), ["rack3-08"]),
    ],
)
def test_hosts_are_chosen_by_pattern_and_by_all_labels(
    hosts: tuple[HostState, ...], selection: Selection, chosen: list[str]
) -> None:
    assert [state.host.name for state in selection.choose(hosts)] == chosen


def test_what_fits_no_host_is_told_with_names_like_it(hosts: tuple[HostState, ...]) -> None:
    with pytest.raises(SpecError, match="host: 'rack4-07' is not known; did you mean 'rack3-07'"):
        Selection(patterns=("rack4-07",)).choose(hosts)
    with pytest.raises(SpecError, match="label: 'rack=4' is not known; did you mean 'rack=3'"):
        Selection(labels=(("rack", "4"),)).choose(hosts)
    with pytest.raises(SpecError, match=r"host: 'desk rack=3' is what no host of the fleet is"):
        Selection(patterns=("desk",), labels=(("rack", "3"),)).choose(hosts)


def test_a_fleet_without_hosts_says_how_to_start_an_agent() -> None:
    with pytest.raises(SpecError, match="fleet has no hosts; start an agent on each"):
        Selection().choose(())


@pytest.mark.parametrize("status", ["gone", "silent", "drained"])
def test_hosts_that_take_no_orders_are_left_out_and_told_where_there_is_no_other(
    hosts: tuple[HostState, ...], fleet_host: MakeHost, status: HostStatus
) -> None:
    away = _state(fleet_host, "rack3-09", status=status)
    assert away not in Selection(patterns=("rack3-*",)).choose((*hosts, away))
    with pytest.raises(SpecError, match=f"takes no orders: rack3-09 is {status}"):
        Selection(patterns=("rack3-09",)).choose((*hosts, away))


def _state(
    fleet_host: MakeHost, name: str, *, status: HostStatus = "idle", labels: tuple[tuple[str, str], ...] = ()
) -> HostState:
    return HostState(host=fleet_host(name, labels=labels), status=status, silent_s=0.0, doing="", process="process 7")
