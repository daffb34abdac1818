"""Prospects: what each instance profile of this host is expected to serve at most, before anything is loaded.

A model is compiled with every backend, and calls are timed alone, as a job does before its first load test; what they
add up to is computed. Nothing is kept, and no traffic is sent: a job measures, and says more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from servefit.errors import MeasurementError
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.procedures.prepare import check_there, model_name
from servefit.search.jobs.beginning import new_header
from servefit.search.jobs.job_bench import JobBench
from servefit.search.jobs.measurable import measurable_profiles
from servefit.search.jobs.measurer import LocalMeasurer
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.equals import preferred_equal
from servefit.search.optimizer.predictions import Surrogate
from servefit.search.optimizer.progress import before_search
from servefit.search.optimizer.service_time_survey import Survey
from servefit.search.request.job_request import JobRequest
from servefit.search.request.space import BatchingSpace, Space
from servefit.search.storage.jobs import JobStore
from servefit.state import temporary_folder
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.progress import Progress
    from servefit.search.results.objectives.score import Score

LIMIT_S = 40.0
"""Compiling, timing and computing take no longer, without the wait for others that measure. AWS promises its instant
recommendations within a minute, and the start of a process comes on top."""

_TIMING_UNTIL = 0.7
"""When this part of the time is over nothing more is timed: what was begun may take a quarter of it. Chosen, not
measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """The configuration that is expected to be the best on ``profile``, and the most requests a second that it is
    expected to answer, called in process. Both are predicted from calls that were timed alone."""

    profile: InstanceProfile
    configuration: Configuration
    capacity_per_s: float


def prospects_of(
    source: Any, *, trust_pickle: bool, trust_code: bool = False, progress: Progress, wait_s: float | None = None
) -> tuple[Prospect, ...]:
    """Return a prospect for each profile of this host, the cheapest by the request first, of the model that ``source``
    is, with rows that are drawn from it. Where something else measures on this machine it waits, for ``wait_s`` at most
    (None: until that is done).

    Raises SpecError and ModelError where the model cannot be read, MeasurementError where no call could be timed,
    SlotTaken after ``wait_s``, and StateError.
    """
    from servefit.backends.checking.verification import check_batch_dependence
    from servefit.backends.model import Model
    from servefit.backends.payload.reading import payload_for
    from servefit.profiler.machine.host import describe_host

    # What requests cost over HTTP takes traffic to know: what is told is of the model as a library.
    request = JobRequest(name="prospects", deploy="library", over_http=False, budget_s=LIMIT_S)
    clock = Clock.of(request)
    check_there(source, None)

    @cache
    def opened() -> tuple[Model, Payload]:
        progress.stage("opening the model", before_search(clock))
        model = (
            source
            if isinstance(source, Model)
            else Model.load(source, trust_pickle=trust_pickle, trust_code=trust_code)
        )
        payload = payload_for(model, None, seed=request.seed)
        return check_batch_dependence(model, payload), payload

    what = f"prospects of {model_name(source)}"
    with (
        time_limit(lambda: clock.left_s, clock.budget),
        measuring_slot(what, wait_s=wait_s, before_waiting=opened) as slot,
        temporary_folder("prospects") as folder,
    ):
        clock.leave_out(slot.waited_s)
        return _timed(request, *opened(), describe_host(), folder, clock, progress)


def _timed(
    request: JobRequest, model: Model, payload: Payload, host: Host, folder: Path, clock: Clock, progress: Progress
) -> tuple[Prospect, ...]:
    """Carry out the first steps of a job, in a database that is gone afterwards, and return what follows."""
    profiles, _ = measurable_profiles(request, host)
    header = new_header(request, model, payload, host, profiles)
    with JobStore.open(f"sqlite:///{folder / 'steps.db'}") as store:
        log = store.create(header)
        with log.owned():
            measurer = LocalMeasurer(header=header, payload=payload, folder=folder, log=log)
            bench = JobBench(log=log, measurer=measurer, clock=clock, progress=progress, remarks=measurer.remarks)
            compiled, knobs = measurer.compile(clock, progress)
            space = Space.of(
                profiles,
                knobs,
                request.environment,
                host.gpus,
                BatchingSpace.of(request, batch_dependent=model.batch_dependent, called_singly=model.is_called_singly),
            )
            progress.stage("timing calls", before_search(clock))
            survey = Survey.of(space.grid)
            survey.carry_out(
                bench.time, lambda: clock.elapsed_s < _TIMING_UNTIL * clock.limit_s, reference=model.reference
            )
            reasons = [step.reason for step in log.steps() if step.reason] + [
                skipped.reason for skipped in compiled.skipped
            ]
    prospects = _foretold(space, Surrogate(space, survey, request))
    if not prospects:
        raise MeasurementError(f"no call could be timed: {'; '.join(dict.fromkeys(reasons)) or clock.budget.ran_out()}")
    return prospects


def _foretold(space: Space, surrogate: Surrogate) -> tuple[Prospect, ...]:
    """Return what is expected to be the best on each profile, or what is simpler and expected to do as well."""
    scored: list[tuple[Score, Prospect]] = []
    for profile, fitting in space.profiles:
        expected = surrogate.optimistic_scores(
            [configuration for configuration in space.grid if configuration in fitting]
        )
        if not expected:
            continue
        best = min(expected, key=lambda outlook: outlook.score)
        scores = {outlook.configuration: outlook.score for outlook in expected}
        chosen = preferred_equal(best.configuration, list(scores), surrogate)
        (capacity,) = surrogate.capacities([chosen])
        if capacity is not None:
            prospect = Prospect(profile=profile, configuration=chosen, capacity_per_s=capacity.value)
            scored.append((scores[chosen], prospect))
    return tuple(prospect for _, prospect in sorted(scored, key=lambda entry: entry[0]))
