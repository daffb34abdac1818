"""Why a job ended without a measurement, where no step says it: too little time, or nothing to test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from servefit.quantities import duration_text
from servefit.search.jobs.tasks import PREPARATION_S, TIMES_USUAL
from servefit.search.results.measure_trial import min_test_s

if TYPE_CHECKING:
    from servefit.backends.types import Artifact
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.search.optimizer.clock import Clock
    from servefit.search.request.job_request import JobRequest

NOTHING = "nothing was measured"
"""The beginning of a reason, among the other warnings of a job."""


def why_nothing_was_measured(
    request: JobRequest,
    clock: Clock,
    artifacts: Sequence[Artifact],
    profiles: Sequence[InstanceProfile],
    *,
    test_s: float = 0.0,
    survey_s: float = 0.0,
    ready_s: float | None = None,
) -> str | None:
    """Return why a job by ``request`` has measured nothing; None where its compilations or its tests say it.

    A test is expected to take ``test_s``, if that is more than the least, and to need ``survey_s`` of other
    measurements. The first could begin after ``ready_s``, None where the job did not come that far.
    """
    if clock.left_s < max(test_s, min_test_s(request)) + survey_s:
        return _too_little_time(request, clock, ready_s, survey_s)
    if clock.tests or not artifacts:
        return None
    backends = ", ".join(dict.fromkeys(artifact.backend for artifact in artifacts))
    return (
        f"{NOTHING}: there was no configuration of {backends} for "
        f"{', '.join(profile.name for profile in profiles)} to test; name other backends or profiles"
    )


def _too_little_time(request: JobRequest, clock: Clock, ready_s: float | None, survey_s: float) -> str:
    """Return that the budget was too little, and how much would do."""
    if ready_s is None:
        spent_s, more_s = clock.elapsed_s, PREPARATION_S
    else:
        spent_s, more_s = ready_s, TIMES_USUAL * min_test_s(request) + survey_s
    enough = clock.budget.option(max(0.0, spent_s - clock.limit_s) + more_s)
    spent = duration_text(spent_s, digits=2)
    return f"{NOTHING}: opening the model and compiling took {spent} of the {clock.budget}; use {enough} or more"
