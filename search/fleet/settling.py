"""What agents were at when whoever worked on a job was killed: what they answered, or answer now, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.errors import AgentLost
from servefit.profiler.queueing.service import ServiceTimes
from servefit.search.queueing.endpoint import EndpointCosts
from servefit.search.results.recommendation import Trial
from servefit.search.storage.steps import LOST

if TYPE_CHECKING:
    from servefit.search.fleet.dispatcher import Dispatcher
    from servefit.search.storage.log import JobLog


def settle(log: JobLog, dispatcher: Dispatcher) -> None:
    """Have done with the steps that agents were at when an earlier owner of the job ended. They are waited for."""
    for step in log.steps():
        if step.status != "RUNNING" or step.attempt is None:
            continue
        try:
            answer = dispatcher.wait_for(step.attempt.token, step.attempt.host)
        except AgentLost as error:
            log.finish(step, status="FAILED", reason=f"{LOST}{error.message}")
            continue
        if answer.failure is not None:
            log.finish(step, status="FAILED", reason=answer.failure.as_error().message)
        elif isinstance(answer.result, ServiceTimes | EndpointCosts | Trial):
            log.finish(step, status="COMPLETED", result=answer.result)
