"""A job as it is read: what its header, its state and its steps add up to, whether it is over or not.

How one runs is in ``lifecycle``, where one is kept in ``storage``, and its JSON form in ``document``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.errors import SpecError
from servefit.search.figures.outside import outside_problems
from servefit.search.jobs.notes import job_warnings, with_speedups
from servefit.search.optimizer.importance import Why, why
from servefit.search.request.space import Space, admits
from servefit.search.results.ids import former_id
from servefit.search.results.pareto import pareto_front
from servefit.search.results.ranking import recommend
from servefit.search.results.recommendation import CompilationReport, FailedTrial, Trial
from servefit.search.storage.steps import CUT_SHORT, TESTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servefit.backends.model import Model
    from servefit.profiler.machine.host import Host
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import Goal, JobRequest
    from servefit.search.results.recommendation import Recommendation, Skipped
    from servefit.search.storage.header import JobHeader, JobState, PayloadFacts, Status
    from servefit.search.storage.ownership import Owner
    from servefit.search.storage.steps import Kind, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationJob:
    """What a job found. ``recommendations`` come best first, one per instance profile that could be measured.

    ``pareto`` is the front of price, latency and throughput; ``why`` the reasons for the first recommendation.
    ``trials`` are all load tests that were measured, confirmations included, and ``failed`` those that could not be.
    ``owner`` is the process that works on it, None where nobody does.
    """

    header: JobHeader
    state: JobState
    steps: tuple[Step, ...]
    recommendations: tuple[Recommendation, ...]
    pareto: tuple[Recommendation, ...]
    why: Why
    trials: tuple[Trial, ...]
    failed: tuple[FailedTrial, ...]
    compilation: tuple[CompilationReport, ...]
    warnings: tuple[str, ...]
    owner: Owner | None = None

    @classmethod
    def of(
        cls, header: JobHeader, state: JobState, steps: Iterable[Step], *, owner: Owner | None = None
    ) -> RecommendationJob:
        """The job that these are of: a pure function of what is kept, and of what is wrong with figures of other
        packages."""
        steps = tuple(steps)
        request, reference = header.request, header.model.reference
        trials = trials_of(steps, TESTS)
        failed = tuple(
            FailedTrial(configuration=one.configuration, reason=one.reason or "it failed", step=one.number)
            for one in steps
            if one.kind in TESTS and one.configuration is not None and _crashed(one)
        )
        reports = tuple(one.result for one in steps if isinstance(one.result, CompilationReport))
        space = space_of(header, trials)
        unreliable = crashed(steps, TESTS)
        reliable = tuple(one for one in trials if one.configuration not in unreliable)
        numbers = {id(one.result): one.number for one in steps}
        served = {one.configuration: one for one in trials_of(steps, ("endpoint",))}
        recommendations, pareto = (
            tuple(
                replace(
                    one,
                    endpoint=(endpoint := served.get(one.trial.configuration)),
                    step=numbers.get(id(one.trial)),
                    endpoint_step=None if endpoint is None else numbers[id(endpoint)],
                    model=header.model,
                    measured_on=header.host,
                )
                for one in chosen
            )
            for chosen in (recommend(space, reliable, request), pareto_front(space, reliable))
        )
        return cls(
            header=header,
            state=state,
            steps=steps,
            recommendations=recommendations,
            pareto=pareto,
            why=why(
                recommendations[0] if recommendations else None,
                trials,
                request,
                state.naive,
                dict(state.importance),
                state.changes,
            ),
            trials=trials,
            failed=failed,
            compilation=with_speedups(reports, state.speedups, reference, trials),
            warnings=(
                *job_warnings(header, trials, failed, recommendations, space),
                *state.remarks,
                *outside_problems((*recommendations, *pareto, *trials)),
            ),
            owner=owner,
        )

    @property
    def request(self) -> JobRequest:
        return self.header.request

    @property
    def name(self) -> str:
        return self.request.name

    @property
    def goal(self) -> Goal:
        return self.request.goal

    @property
    def status(self) -> Status:
        return self.state.status

    @property
    def model(self) -> Model:
        return self.header.model

    @property
    def payload(self) -> PayloadFacts:
        return self.header.payload

    @property
    def host(self) -> Host:
        return self.header.host

    @property
    def elapsed_s(self) -> float:
        return self.state.elapsed_s

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return self.state.skipped

    @property
    def tests(self) -> int:
        """How many load tests there were, confirmations and failures included, and interrupted ones left out."""
        return tests_in(self.steps)

    @property
    def best(self) -> Recommendation | None:
        """The first recommendation, None where there is none."""
        return self.recommendations[0] if self.recommendations else None

    def recommendation(self, recommendation_id: str | None = None) -> Recommendation:
        """The recommendation of that ID, which may be one that an earlier servefit gave, also of those on the Pareto
        front, or the first one. Raises SpecError where there is none."""
        if self.best is None:
            raise SpecError("job", self.name, "has no recommendation: nothing was measured")
        if recommendation_id is None:
            return self.best
        known = {one.id: one for one in (*self.pareto, *self.recommendations)}
        former = {former_id(one.profile.name, one.trial.configuration): one for one in known.values()}
        found = known.get(recommendation_id) or former.get(recommendation_id)
        if found is None:
            raise SpecError.unknown("recommendation", recommendation_id, list(known))
        return found

    def __repr__(self) -> str:
        """The job on a line: all that it holds is more than anybody reads."""
        return f"<{type(self).__name__} {self.name}, {self.status}>"


class JobInterrupted(KeyboardInterrupt):
    """The job was interrupted; ``job`` is what it had found until then."""

    def __init__(self, job: RecommendationJob) -> None:
        super().__init__(f"job {job.name} was interrupted")
        self.job = job


class JobStopped(Exception):
    """Somebody asked for the job to stop."""


def space_of(header: JobHeader, trials: Iterable[Trial]) -> Space:
    """The part of the space that was measured: which profiles may have each configuration."""
    measured = tuple(dict.fromkeys(trial.configuration for trial in trials))
    ranges, gpus = header.request.environment, header.host.gpus
    return Space(
        profiles=tuple(
            (profile, frozenset(one for one in measured if admits(profile, one, ranges, gpus)))
            for profile in header.profiles
        ),
        grid=measured,
    )


def trials_of(steps: Iterable[Step], kinds: Iterable[Kind]) -> tuple[Trial, ...]:
    """What steps of these kinds have measured, in their order."""
    kinds = tuple(kinds)
    return tuple(one.result for one in steps if one.kind in kinds and isinstance(one.result, Trial))


def tests_in(steps: Iterable[Step]) -> int:
    """How many load tests ``steps`` are. What was cut short is made again, and does not count."""
    return sum(one.kind in TESTS and one.reason not in CUT_SHORT for one in steps)


def measured_s(steps: Iterable[Step]) -> float:
    """For how many seconds at least one of ``steps`` was being carried out."""
    total, until = 0.0, 0.0
    for one in sorted(steps, key=lambda one: one.began_at):
        if one.ended_at is not None and one.ended_at > until:
            total += one.ended_at - max(one.began_at, until)
            until = one.ended_at
    return total


def crashed(steps: Iterable[Step], kinds: Iterable[Kind]) -> set[Configuration]:
    """What could not be measured in a step of these kinds. One that was cut short says nothing about its
    configuration."""
    kinds = tuple(kinds)
    return {one.configuration for one in steps if one.kind in kinds and one.configuration is not None and _crashed(one)}


def _crashed(step: Step) -> bool:
    return step.status == "FAILED" and step.reason not in CUT_SHORT


def default_name(source: Any) -> str:
    """A name for a job on ``source``: what the model is called, and the time."""
    return f"{name_after(source)}-{datetime.now():%Y%m%d-%H%M%S-%f}"


def name_after(source: Any, *, keep: str = "") -> str:
    """What a model from ``source`` is called: like its file, 40 letters, digits, dashes and ``keep`` at most."""
    stem = Path(str(source)).name if isinstance(source, (str, Path)) else type(source).__name__
    plain = re.sub(rf"[^A-Za-z0-9{keep}]+", "-", stem.partition(".")[0]).strip(f"-{keep}")
    return plain[:40].strip(f"-{keep}") or "model"


def check_unchanged(model: Model) -> None:
    """Make sure that the model's file is what it was when it was opened, or put it back. Raises CorruptModel where
    nobody has it any more, and StateError."""
    from servefit.backends.model.kept import check_kept

    check_kept(model)
