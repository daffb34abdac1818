"""Which orders are deleted when a job is over, and that nothing stays in the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.search.fleet.conftest import MakeHost, MakeJob, eventually, in_thread, rows

from servefit.errors import AgentLost
from servefit.search.fleet.old_orders import KEPT_S, RESULT, delete_old_orders
from servefit.search.fleet.orders import Answer
from servefit.search.fleet.subject import delete_unneeded
from servefit.search.storage.header import JobState

if TYPE_CHECKING:
    from tests.search.fleet.conftest import OpenJob

    from servefit.search.fleet.orders import Order

pytestmark = pytest.mark.integration


def test_orders_of_jobs_that_are_over_are_deleted_after_a_day_and_no_others(open_job: MakeJob) -> None:
    over, stopped = open_job("rack3-07"), open_job("rack3-07")
    old, young = answered(over), answered(over)
    still_open, resumable, without_job = over.order("rack3-07"), answered(stopped), answered(over)
    over.dispatcher.orders.give(still_open)
    for order in (old, still_open, resumable, without_job):
        age(over, order)
    rows(over.url, f"UPDATE servefit_orders SET job = 'deleted' WHERE token = '{without_job.token}' RETURNING 1")
    assert delete_old_orders(over.store) == 1
    assert without_job.token not in known(over)
    over.log.set_state(JobState(status="COMPLETED"))
    stopped.log.set_state(JobState(status="STOPPED"))
    delete_unneeded(over.store)
    assert known(over) == {young.token, still_open.token, resumable.token}


def test_the_results_of_pairs_of_models_are_kept(open_job: MakeJob) -> None:
    job = open_job("rack3-07")
    pair, other = answered(job), answered(job)
    rows(job.url, f"UPDATE servefit_orders SET token = '{RESULT}1' WHERE token = '{pair.token}' RETURNING 1")
    rows(job.url, f"UPDATE servefit_orders SET given_at = given_at - {KEPT_S + 60} RETURNING 1")
    job.log.set_state(JobState(status="COMPLETED"))
    assert delete_old_orders(job.store) == 1
    assert known(job) == {f"{RESULT}1"}
    assert other.token not in known(job)


def test_an_order_that_is_withdrawn_before_it_is_begun_leaves_nothing_in_the_queue(
    open_job: MakeJob, fleet_host: MakeHost
) -> None:
    job = open_job("rack3-07")
    job.dispatcher.registry.claim(fleet_host("rack3-07"))
    order = job.order("rack3-07")
    with in_thread(lambda: job.dispatcher.ask(order)) as found:
        eventually(lambda: rows(job.url, "SELECT 1 FROM procrastinate_jobs") != [])
        job.dispatcher.withdraw(order.token)
    assert isinstance(found[0], AgentLost)
    assert rows(job.url, "SELECT 1 FROM procrastinate_jobs") == []


def answered(job: OpenJob) -> Order:
    order, orders = job.order("rack3-07"), job.dispatcher.orders
    orders.give(order)
    orders.begin(order.token, "an agent")
    orders.answer(order.token, "an agent", Answer())
    return order


def age(job: OpenJob, order: Order) -> None:
    rows(
        job.url,
        f"UPDATE servefit_orders SET given_at = given_at - {KEPT_S + 60} WHERE token = '{order.token}' RETURNING 1",
    )


def known(job: OpenJob) -> set[object]:
    return {token for (token,) in rows(job.url, "SELECT token FROM servefit_orders")}
