"""The steps of a job: every compilation, microbenchmark and load test, with what came of it.

A step is kept when it begins and again when it ends, so a job that is killed knows what it has. Where steps are kept
is for ``storage`` to say, what they add up to for ``jobs.job``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal, TypeAlias

from servefit.profiler.queueing.service import ServiceTimes
from servefit.profiler.record.script_cost import ScriptCost
from servefit.profiler.record.types import Configuration
from servefit.search.results.recommendation import CompilationReport, Trial
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.showing import shown
from servefit.stored import Stored

StepKind: TypeAlias = Literal[
    "compilation",
    "script_cost",
    "service_time",
    "endpoint_costs",
    "load_test",
    "confirmation",
    "endpoint",
    "model_alone",
    "spot_check",
]
"""The work of a step: a backend compiled the model, a script was timed beside the model file that it loads, calls were
timed alone, requests to an endpoint were timed beside their predictions, a configuration was put under load, one was
put under load again because it may be the winner, the winner was put under load in the other deployment (as an
endpoint, or called in process), or on another host of a fleet, to see whether it does the same there."""

TESTS: tuple[StepKind, ...] = ("load_test", "confirmation")
"""The kinds of steps whose trials the search compares: load tests of the deployment that was asked for."""

BESIDE: tuple[StepKind, ...] = ("endpoint", "model_alone")
"""The kinds of steps that put the winner under load in the other deployment."""

StepStatus: TypeAlias = Literal["RUNNING", "COMPLETED", "FAILED"]

INTERRUPTED = "interrupted"
"""The reason of a step that ran when the process that worked on the job was killed."""

OUT_OF_TIME = "the job's budget ran out"
"""The reason of a step that ran when it did."""

_OUT_OF_TIME_BEFORE = "the job's time was over"
"""The same in jobs from before it was called so."""

LOST = "lost: "
"""Begins the reason of a step that an agent was asked to carry out, and did not."""

CUT_SHORT = (INTERRUPTED, OUT_OF_TIME, _OUT_OF_TIME_BEFORE)
"""Reasons that say nothing about what was measured; those that begin with LOST do not either."""


@shown("host", "agent")
class Attempt(Stored, frozen=True, kw_only=True):
    """A try of an agent to carry a step out: the ``host`` of the fleet, the ``agent`` process there, and the ``token``
    that this try has to itself. What comes of another try, or comes once this one was given up, is not its result."""

    token: str
    host: str
    agent: str


Result: TypeAlias = CompilationReport | ScriptCost | ServiceTimes | EndpointCosts | Trial


class StepClock:
    """Tells the times of steps: seconds since 1970 by the host's clock of when it was made, and steadily from then on,
    so that no step takes an hour, or less than nothing, because the host's clock was set meanwhile. It stands still
    while the host is suspended."""

    def __init__(self) -> None:
        self._ahead_s = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time."""
        return self._ahead_s + time.monotonic()


@shown("number", "kind", "status", "configuration", "reason", "result")
class Step(Stored, frozen=True, kw_only=True):
    """One step. Times are those of a ``StepClock``; ``ended_at`` is None while it runs, and where its owner was killed.

    ``configuration`` is what was measured, None for a compilation and for the cost of a script, ``backend`` the backend
    that it is about. ``reason`` says why the step failed. ``result`` is there once it is COMPLETED; that of a
    compilation also when it FAILED. ``attempt`` says which agent was asked to carry it out, None where the process did
    that works on the job.
    """

    number: int
    kind: StepKind
    status: StepStatus
    backend: str
    configuration: Configuration | None
    host_fingerprint: str
    began_at: float
    ended_at: float | None = None
    reason: str | None = None
    result: Result | None = None
    attempt: Attempt | None = None


def was_cut_short(step: Step) -> bool:
    """Return whether ``step`` ended for a reason that says nothing about what was measured."""
    return step.reason is not None and (step.reason in CUT_SHORT or step.reason.startswith(LOST))


def script_cost_of(steps: Iterable[Step]) -> ScriptCost | None:
    """Return what a script costs beside the model file that it loads, None where ``steps`` of a job did not ask."""
    return next((step.result for step in steps if isinstance(step.result, ScriptCost)), None)


def endpoint_costs_of(steps: Iterable[Step]) -> dict[str, EndpointCosts]:
    """Return what requests cost in endpoints of each backend that ``steps`` of a job measured that of, as it was
    measured last. The backend that was measured first, which stands for those that were not, comes first."""
    return {step.backend: step.result for step in steps if isinstance(step.result, EndpointCosts)}
