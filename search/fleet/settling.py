"""Settling the orders of a job whose owner was killed: their agents' answers count, also those that come now."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from servefit.errors import AgentLost, StorageError
from servefit.profiler.queueing.service import ServiceTimes
from servefit.search.fleet.measurer import timed_calls
from servefit.search.results.recommendation import Trial
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.search.storage.class_log import ClassLog
from servefit.search.storage.steps import LOST

if TYPE_CHECKING:
    from servefit.search.fleet.dispatcher import Dispatcher
    from servefit.search.storage.log import JobLog
    from servefit.search.storage.steps import Attempt, Step


def settle(log: JobLog, dispatcher: Dispatcher) -> None:
    """Have done with the steps that agents were at when an earlier owner of the job ended. They are waited for; where
    that is interrupted, their agents end them."""
    begun = [(step, step.attempt) for step in log.steps() if step.status == "RUNNING" and step.attempt is not None]
    try:
        for step, attempt in begun:
            _settle(log, dispatcher, step, attempt)
    except BaseException:
        hosts = {attempt.token: attempt.host for _, attempt in begun}
        with suppress(StorageError):  # the database is gone, and with it whatever could tell the agents
            dispatcher.withdraw(*hosts, hosts=hosts)
        raise


def _settle(log: JobLog, dispatcher: Dispatcher, step: Step, attempt: Attempt) -> None:
    try:
        calls = partial(timed_calls, ClassLog(log, log.header.representative_of(attempt.host).name), attempt.host)
        answer = dispatcher.wait_for(attempt.token, attempt.host, calls=calls)
    except AgentLost as error:
        log.finish(step, status="FAILED", reason=f"{LOST}{error.message}")
        return
    if answer.failure is not None:
        log.finish(step, status="FAILED", reason=answer.failure.as_error().message)
    elif isinstance(answer.result, Trial) and answer.result.configuration != step.configuration:
        log.finish(step, status="FAILED", reason=f"{LOST}{attempt.host} was asked for something else")
    elif isinstance(answer.result, ServiceTimes | EndpointCosts | Trial):
        log.finish(step, status="COMPLETED", result=answer.result)
