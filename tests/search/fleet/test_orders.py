"""Orders and answers in a database, and errors that travel in them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from tests.search.fleet.conftest import MakeJob, rows

from servefit import errors
from servefit.errors import MeasurementError, ServefitError, SpecError, TimedOut, WorkerCrashed
from servefit.search.fleet.database import FleetDatabase, fleet_address
from servefit.search.fleet.orders import Answer, Failure, Order, Orders
from servefit.search.storage import records

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
