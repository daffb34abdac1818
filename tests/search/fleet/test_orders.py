"""Orders and answers in a database, and errors that travel in them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.search.fleet.conftest import LEASES, MakeHost, MakeJob, eventually, in_thread, rows

from servefit import errors
from servefit.errors import AgentLost, MeasurementError, ServefitError, SpecError, TimedOut, WorkerCrashed
from servefit.profiler.record.types import Configuration
from servefit.search.fleet.database import FleetDatabase, fleet_address
from servefit.search.fleet.dispatcher import OVERDUE_S
from servefit.search.fleet.host import Leases
from servefit.search.fleet.orders import Answer, Failure, Order, Orders
from servefit.search.fleet.subject import delete_unneeded
from servefit.search.storage import records
from servefit.search.storage.blobs import Blobs

if TYPE_CHECKING:
    from servefit.search.fleet.host import HostState

pytestmark = pytest.mark.integration

MINE, ANOTHERS = "token of an agent", "token of another"


@pytest.fixture
def orders(fleet_url: str) -> Iterator[Orders]:
    database = FleetDatabase(fleet_address(fleet_url))
    yield Orders(database)
    database.close()


@pytest.fixture
def order(open_job: MakeJob) -> Order:
    return open_job("rack3-07").order("rack3-07")


def test_an_order_is_begun_once_and_answered_by_whoever_began_it(orders: Orders, order: Order) -> None:
    orders.give(order)
    orders.give(order)
    assert orders.begin(order.token, MINE) == order
    assert orders.begin(order.token, ANOTHERS) is None
    assert not orders.answer(order.token, ANOTHERS, Answer(waited_s=1))
    answer = Answer(waited_s=2, remarks=("it was cold",))
    assert orders.answer(order.token, MINE, answer)
    assert orders.answer(order.token, MINE, answer)
    state = orders.states([order.token])[order.token]
    assert (state.state, state.agent, state.answer) == ("ANSWERED", MINE, answer)


def test_an_order_that_was_given_up_is_not_begun_and_its_answer_counts_nowhere(
    orders: Orders, order: Order, fleet_url: str
) -> None:
    orders.give(order)
    orders.begin(order.token, MINE)
    assert orders.give_up([order.token], "its agent was silent for 130 s") == (order.token,)
    assert orders.give_up([order.token], "again") == ()
    assert not orders.answer(order.token, MINE, Answer(waited_s=2))
    assert orders.states([order.token])[order.token].answer is None
    ((late,),) = rows(fleet_url, "SELECT late FROM servefit_orders")
    assert records.read(str(late), Answer, "late") == Answer(waited_s=2)


def test_an_order_that_was_answered_cannot_be_given_up(orders: Orders, order: Order) -> None:
    orders.give(order)
    orders.begin(order.token, MINE)
    orders.answer(order.token, MINE, Answer())
    assert orders.give_up([order.token], "withdrawn") == ()


def test_an_order_that_was_withdrawn_before_it_was_begun_is_not_begun(orders: Orders, order: Order) -> None:
    orders.give(order)
    assert orders.open_of("rack3-07", begun=False) == (order.token,)
    orders.give_up([order.token], "withdrawn")
    assert orders.begin(order.token, MINE) is None
    assert orders.open_of("rack3-07", begun=False) == orders.open_of("rack3-07", begun=True) == ()


def test_a_long_reason_is_cut_and_does_not_fail(orders: Orders, order: Order) -> None:
    orders.give(order)
    orders.give_up([order.token], "x" * 1000)
    assert orders.states([order.token])[order.token].state == "x" * 64


def test_an_order_that_nobody_gave_is_unknown(orders: Orders) -> None:
    assert orders.begin("nobody's", MINE) is None
    assert orders.states(["nobody's"]) == {}
    assert not orders.answer("nobody's", MINE, Answer())


def test_an_order_that_left_the_queue_is_queued_again(open_job: MakeJob, fleet_host: MakeHost, fleet_url: str) -> None:
    job = open_job("rack3-07")
    job.dispatcher.registry.claim(fleet_host("rack3-07"))
    order = job.order("rack3-07")
    with in_thread(lambda: job.dispatcher.ask(order)) as found:
        eventually(lambda: _queued(fleet_url) == 1)
        rows(fleet_url, "DELETE FROM procrastinate_jobs RETURNING 1")
        assert _queued(fleet_url) == 0
        eventually(lambda: _queued(fleet_url) == 1)
        job.dispatcher.withdraw(order.token)
    assert isinstance(found[0], AgentLost)


@pytest.mark.thorough
def test_an_order_that_its_agent_does_not_end_is_given_up(open_job: MakeJob, fleet_host: MakeHost) -> None:
    job = open_job("rack3-07")
    claim = job.dispatcher.registry.claim(fleet_host("rack3-07"))
    order = job.order("rack3-07", limit_s=0.3 - OVERDUE_S)
    with in_thread(lambda: job.dispatcher.ask(order)) as found:
        eventually(lambda: job.dispatcher.orders.begin(order.token, claim.token) is not None)
        job.dispatcher.registry.renew(claim, "job fraud")
        eventually(lambda: found != [])
    assert isinstance(found[0], AgentLost)
    assert found[0].reason == "its agent did not end it in time"


class Silences(list[float]):
    """The silences of the only agent, in seconds, as a dispatcher tells of them at each of its looks."""

    def __init__(self, url: str) -> None:
        self._url = url

    def tell(self, state: HostState) -> None:
        self.append(state.silent_s)

    def make(self, seconds: float) -> None:
        """Have the agent be silent for so long."""
        at = f"extract(epoch from clock_timestamp()) - {seconds}"
        rows(self._url, f"UPDATE servefit_agents SET renewed_at = {at} RETURNING 1")

    def are_seen_of(self, seconds: float) -> None:
        """Wait until the dispatcher has looked twice at an agent that is silent for so long."""
        eventually(lambda: sum(silent_s >= seconds for silent_s in self) >= 2)


def test_a_host_that_says_nothing_is_waited_for_only_while_the_job_has_time(
    open_job: MakeJob, fleet_host: MakeHost, fleet_url: str
) -> None:
    patient = Leases(silent_s=600.0, lost_s=1200.0)
    job = open_job("rack3-07", leases=patient)
    job.dispatcher.registry.claim(fleet_host("rack3-07"))
    order, left_s, silences = job.order("rack3-07", limit_s=60.0), [60.0], Silences(fleet_url)
    with in_thread(lambda: job.dispatcher.ask(order, left_s=lambda: left_s[0], on_state=silences.tell)) as found:
        eventually(lambda: silences != [])
        silences.make(patient.silent_s)
        silences.are_seen_of(patient.silent_s)
        assert found == []
        silences.make(patient.renew_s)
        # A look that began before would take the long silence for one of now.
        eventually(lambda: silences[-1] < patient.late_s)
        left_s[0] = 0.0
        # Its agent lives, and may be about to answer.
        silences.clear()
        silences.are_seen_of(patient.renew_s)
        assert found == []
        silences.make(patient.late_s)
        eventually(lambda: found != [])
    assert isinstance(found[0], AgentLost)
    assert found[0].reason.endswith("and time is over")


def test_an_agent_may_be_silent_for_twice_as_long_as_a_long_order_is_expected_to_take(
    open_job: MakeJob, fleet_host: MakeHost, fleet_url: str
) -> None:
    job = open_job("rack3-07")
    job.dispatcher.registry.claim(fleet_host("rack3-07"))
    order, silences = job.order("rack3-07", limit_s=900.0), Silences(fleet_url)
    with in_thread(lambda: job.dispatcher.ask(order, expected_s=300.0, on_state=silences.tell)) as found:
        eventually(lambda: silences != [])
        silences.make(500)
        silences.are_seen_of(500)
        assert found == []
        silences.make(600)
        eventually(lambda: found != [])
    assert isinstance(found[0], AgentLost)
    assert found[0].reason.startswith("its agent was silent for 10 min")
    assert (LEASES.lost_after_s(300.0), LEASES.lost_after_s(1.0)) == (600.0, LEASES.lost_s)


def test_an_answer_that_cannot_be_read_loses_its_order_alone(
    open_job: MakeJob, fleet_host: MakeHost, fleet_url: str
) -> None:
    job = open_job("rack3-07", "rack3-08")
    claims = [job.dispatcher.registry.claim(fleet_host(name)) for name in ("rack3-07", "rack3-08")]
    one, other = job.order("rack3-07"), job.order("rack3-08")
    asking = in_thread(lambda: job.dispatcher.ask(one)), in_thread(lambda: job.dispatcher.ask(other))
    with asking[0] as damaged, asking[1] as whole:
        for order, claim in zip((one, other), claims, strict=True):
            eventually(partial(_begins, job.dispatcher.orders, order, claim.token))
        rows(
            fleet_url, f"UPDATE servefit_orders SET state='ANSWERED', answer='x' WHERE token='{one.token}' RETURNING 1"
        )
        eventually(lambda: damaged != [])
        answer = Answer(failure=Failure.of(MeasurementError("nothing was answered")))
        job.dispatcher.orders.answer(other.token, claims[1].token, answer)
    assert isinstance(damaged[0], AgentLost)
    assert damaged[0].reason.startswith("what its agent answered cannot be read")
    assert whole[0] == replace(answer, waited_s=whole[0].waited_s)  # type: ignore[attr-defined]


def _begins(orders: Orders, order: Order, agent: str) -> bool:
    return orders.begin(order.token, agent) is not None


def _queued(url: str) -> int:
    return len(rows(url, "SELECT 1 FROM procrastinate_jobs WHERE status = 'todo'"))


ERRORS: list[ServefitError] = [
    TimedOut("a worker", limit_s=2.5),
    WorkerCrashed("it died", signal=11, stderr="Segmentation fault"),
    SpecError("env", "LD_PRELOAD", "is not allowed", remedy="leave it out"),
    errors.OutOfMemory("too much", limit_bytes=2**20),
    errors.BackendUnavailable("tl2cgen", "no compiler", remedy="install gcc"),
    MeasurementError("nothing was answered"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_comes_out_as_it_went_in(error: ServefitError) -> None:
    written = records.write(Failure.of(error), Failure)
    again = records.read(written, Failure, "failure").as_error()
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__


def test_an_error_of_a_newer_agent_is_an_error_of_measuring() -> None:
    unknown = Failure(error="NotYetKnown", fields={"message": "the moon was full", "remedy": None})
    error = unknown.as_error()
    assert type(error) is MeasurementError
    assert str(error) == "the moon was full"


@pytest.mark.parametrize("name", ["Path", "Any", "datetime", "MAX_NAMES_SHOWN", "__name__"])
def test_what_is_no_error_of_ours_is_not_made_from_a_document(name: str) -> None:
    assert inspect.getmodule(errors) is not None
    assert type(Failure(error=name, fields={"message": "x", "remedy": None}).as_error()) is MeasurementError


def test_what_an_open_order_needs_is_not_deleted(open_job: MakeJob) -> None:
    job = open_job("rack3-07")
    blobs = Blobs.of(job.store)
    needed, not_needed = blobs.put(b"needed"), blobs.put(b"not needed")
    named = Configuration(backend="xgboost", vcpus=1, environment=(("CONTENT", needed),))
    order = job.order("rack3-07", job.load(configuration=named))
    job.dispatcher.orders.give(order)
    assert delete_unneeded(job.store) == 1
    assert blobs.exists(needed)
    assert not blobs.exists(not_needed)
    job.dispatcher.orders.give_up([order.token], "withdrawn")
    assert delete_unneeded(job.store) == 1
