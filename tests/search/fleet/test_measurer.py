"""The measurer of a class of hosts: what it asks agents for, and how long it waits for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.fleet.conftest import LEASES, MakeJob

from servefit.errors import AgentLost
from servefit.profiler.record.types import Configuration
from servefit.search.fleet.measurer import FleetMeasurer
from servefit.search.jobs.orders import TimeCalls
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.results.measure_trial import Durations
from servefit.search.storage.class_log import ClassLog
from servefit.search.storage.steps import Attempt

if TYPE_CHECKING:
    from tests.search.fleet.conftest import OpenJob

    from servefit.search.fleet.host import Leases
    from servefit.search.fleet.orders import Order

pytestmark = pytest.mark.integration

HERE = Attempt(token="token", host="rack3-07", agent="its process")


@dataclass
class Remembering:
    """A dispatcher that remembers what is asked, and loses it."""

    leases: Leases = LEASES
    asked: list[tuple[Order, dict[str, Any]]] = field(default_factory=list)

    def ask(self, order: Order, **asked: Any) -> None:
        self.asked.append((order, asked))
        raise AgentLost(order.host, "it is not there")


def measurer_of(job: OpenJob, *, limit_s: float, dispatcher: Any = None) -> FleetMeasurer:
    return FleetMeasurer(
        log=ClassLog(job.log, "rack3-07"),
        dispatcher=job.dispatcher if dispatcher is None else dispatcher,
        hosts=("rack3-07",),
        clock=Clock(limit_s=limit_s, test_limit=10),
        progress=SilentProgress(),
    )


def test_no_agent_is_waited_for_once_the_time_of_the_job_is_over(open_job: MakeJob) -> None:
    measurer = measurer_of(open_job("rack3-07"), limit_s=0.2)
    with pytest.raises(AgentLost, match="there is no agent"):
        measurer.attempt()
    assert 0.2 <= measurer.clock.elapsed_s < LEASES.lost_s


def test_an_order_may_take_what_is_left_of_the_job_and_is_expected_to_take_what_such_orders_do(
    open_job: MakeJob,
) -> None:
    job, dispatcher = open_job("rack3-07"), Remembering()
    measurer = measurer_of(job, limit_s=900.0, dispatcher=dispatcher)
    timing = TimeCalls(subject=Configuration(backend="xgboost", vcpus=1), sizes=(1,), memory_bytes=2**30, seed=1)
    long = job.load(durations=Durations(capacity_s=100.0, at_rate_s=0.0, at_rate_max_s=200.0))
    for ask in (lambda: measurer.time_calls(timing, HERE), lambda: measurer.load(long, HERE)):
        with pytest.raises(AgentLost):
            ask()
    (timed, of_timing), (loaded, of_load) = dispatcher.asked
    for order, asked in ((timed, of_timing), (loaded, of_load)):
        assert order.limit_s is not None
        assert asked["left_s"]() <= order.limit_s <= 900.0
    assert of_timing["expected_s"] < 60 < 300 <= of_load["expected_s"] < 360
