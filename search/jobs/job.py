"""A job as it is read: the sum of its header, its state and its steps, whether it is over or not.

Jobs are run by ``lifecycle`` and kept by ``storage``; their JSON form is in ``document``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from servefit.backends.model.names import name_after
from servefit.errors import SpecError
from servefit.profiler.record.script_cost import answered
from servefit.search.figures.outside import outside_problems
from servefit.search.jobs.notes import job_warnings, with_speedups
from servefit.search.optimizer.importance import Explanation, explain
from servefit.search.request.space import Space, admits
from servefit.search.results.choices import choices
from servefit.search.results.confirmation import confirmation_of
from servefit.search.results.ids import former_id
from servefit.search.results.pareto import pareto_front
from servefit.search.results.ranking import recommend
from servefit.search.results.recommendation import CompilationReport, FailedTrial, Trial
from servefit.search.storage.steps import BESIDE, TESTS, script_cost_of, was_cut_short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from servefit.backends.model import Model
    from servefit.backends.types import Target
    from servefit.profiler.machine.host import Host
    from servefit.profiler.record.script_cost import ScriptCost
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import Goal, JobRequest
    from servefit.search.results.recommendation import Recommendation, Skipped
    from servefit.search.storage.header import JobHeader, JobState, JobStatus, PayloadFacts
    from servefit.search.storage.ownership import Owner
    from servefit.search.storage.steps import Step, StepKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationJob:
    """A job, and what it found. ``recommendations`` come best first, one per instance profile that could be measured.

    ``pareto`` is the front of price, latency and throughput; ``why`` the reasons for the first recommendation.
    ``trials`` are all load tests that were measured, confirmations included, and ``failed`` the configurations that
    could not be measured, in such a test or before it.
    ``owner`` is the process that works on it, None where nobody does. ``script_cost`` is what a script costs beside the
    model file that it loads, None where there is none.
    """

    header: JobHeader
    state: JobState
    steps: tuple[Step, ...]
    recommendations: tuple[Recommendation, ...]
    pareto: tuple[Recommendation, ...]
    why: Explanation
    trials: tuple[Trial, ...]
    failed: tuple[FailedTrial, ...]
    compilation: tuple[CompilationReport, ...]
    warnings: tuple[str, ...]
    owner: Owner | None = None
    script_cost: ScriptCost | None = None

    @classmethod
    def of(
        cls,
        header: JobHeader,
        state: JobState,
        steps: Iterable[Step],
        *,
        owner: Owner | None = None,
        allowed: frozenset[str] | None = None,
    ) -> RecommendationJob:
        """Return the job that these are of: a pure function of what is stored, except that the installed objectives of
        other packages rank, and a warning is added for each of their figures that cannot be read. Where the objective
        of the job is not installed, a warning says so, and nothing is ranked."""
        steps = tuple(steps)
        request, reference = header.request, header.model.reference
        trials = trials_of(steps, TESTS)
        failed = tuple(
            FailedTrial(configuration=step.configuration, reason=step.reason or "it failed", step=step.number)
            for step in steps
            if step.kind in _OF_CANDIDATES and step.configuration is not None and _crashed(step)
        )
        reports = tuple(step.result for step in steps if isinstance(step.result, CompilationReport))
        space = replace(space_of(header, trials), less_exact=less_exact_of(steps))
        unreliable = crashed(steps, TESTS)
        reliable = tuple(trial for trial in trials if trial.configuration not in unreliable)
        confirmations = trials_of(steps, ("confirmation",))
        if header.plan is not None:
            reliable = _relied_on(reliable, confirmations)
        numbers = {id(step.result): step.number for step in steps}
        served = {trial.configuration: trial for trial in trials_of(steps, BESIDE)}
        cost = script_cost_of(steps)
        qualities = {(report.backend, report.target): report.quality for report in reports}
        recommendations, pareto = (
            tuple(
                replace(
                    recommendation,
                    deployment=request.deployment,
                    beside=(beside := beside_of(recommendation.trial, served)),
                    step=(step := numbers.get(id(recommendation.trial))),
                    beside_step=None if beside is None else numbers.get(id(beside), step),
                    model=header.model,
                    measured_on=header.host,
                    confirmation=confirmation_of(recommendation.trial, confirmations),
                    quality=qualities.get(_artifact(recommendation.trial.configuration)),
                    request=request,
                    payload_digest=header.payload.digest,
                    allowed=allowed,
                )
                for recommendation in chosen
            )
            for chosen in (recommend(space, reliable, request, answers=served), pareto_front(space, reliable))
        )
        return cls(
            header=header,
            state=state,
            steps=steps,
            recommendations=recommendations,
            pareto=pareto,
            why=replace(
                explain(
                    recommendations[0] if recommendations else None,
                    trials,
                    request,
                    state.naive,
                    dict(state.importance),
                    state.changes,
                ),
                choices=choices(space, reliable, request, recommendations[0]) if recommendations else (),
            ),
            trials=trials,
            failed=failed,
            compilation=with_speedups(reports, state.speedups, reference, trials),
            warnings=(
                *answered(job_warnings(header, trials, failed, recommendations, space), cost),
                *state.remarks,
                *outside_problems((*recommendations, *pareto, *trials)),
            ),
            owner=owner,
            script_cost=cost,
        )

    @property
    def request(self) -> JobRequest:
        """The request that the job was begun with."""
        return self.header.request

    @property
    def name(self) -> str:
        """The name of the job."""
        return self.request.name

    @property
    def goal(self) -> Goal:
        """The goal by which configurations are ranked."""
        return self.request.goal

    @property
    def status(self) -> JobStatus:
        """The status of the job: whether it is over, and how it ended."""
        return self.state.status

    @property
    def model(self) -> Model:
        """The model that the job is about."""
        return self.header.model

    @property
    def payload(self) -> PayloadFacts:
        """The facts of the payload."""
        return self.header.payload

    @property
    def host(self) -> Host:
        """The host that the job measures on."""
        return self.header.host

    @property
    def elapsed_s(self) -> float:
        """The seconds that the job has taken so far."""
        return self.state.elapsed_s

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The backends and profiles that were left out, and why."""
        return self.state.skipped

    @property
    def tests(self) -> int:
        """The number of load tests, confirmations and failures included, and interrupted ones left out."""
        return tests_in(self.steps)

    @property
    def best(self) -> Recommendation | None:
        """The first recommendation, None where there is none."""
        return self.recommendations[0] if self.recommendations else None

    def recommendation(self, recommendation_id: str | None = None) -> Recommendation:
        """Return the recommendation of that ID, which may be one that an earlier servefit gave, also of those on the
        Pareto front, or the first where no ID is given. Raises SpecError where there is none."""
        if self.best is None:
            raise SpecError("job", self.name, "has no recommendation: nothing was measured")
        if recommendation_id is None:
            return self.best
        current = {recommendation.id: recommendation for recommendation in (*self.pareto, *self.recommendations)}
        former = {
            former_id(recommendation.profile.name, recommendation.trial.configuration): recommendation
            for recommendation in current.values()
        }
        match = current.get(recommendation_id) or former.get(recommendation_id)
        if match is None:
            raise SpecError.unknown("recommendation", recommendation_id, list(current))
        return match

    def __repr__(self) -> str:
        """Return the job on one line, without its contents."""
        return f"<{type(self).__name__} {self.name}, {self.status}>"


class JobInterrupted(KeyboardInterrupt):
    """The job was interrupted; ``job`` is what it had found until then.

    Example:
        ::

            try:
                job = sf.recommend("model.ubj", payload="payload.csv", backend="xgboost", max_tests=1)
            except sf.JobInterrupted as interrupted:
                job = interrupted.job
            print(job)
    """

    def __init__(self, job: RecommendationJob) -> None:
        super().__init__(f"job {job.name} was interrupted")
        self.job = job


class JobStopped(Exception):
    """The job was asked to stop."""


def _artifact(configuration: Configuration) -> tuple[str, Target]:
    """Return which of a job's artifacts a configuration has."""
    return configuration.backend, configuration.target


def space_of(header: JobHeader, trials: Iterable[Trial]) -> Space:
    """Return the part of the space that was measured: the configurations, by the profiles that admit them."""
    measured = tuple(dict.fromkeys(trial.configuration for trial in trials))
    ranges, gpus = header.request.environment, header.host.gpus
    return Space(
        profiles=tuple(
            (profile, frozenset(point for point in measured if admits(profile, point, ranges, gpus)))
            for profile in header.profiles
        ),
        grid=measured,
    )


def beside_of(trial: Trial, measured: Mapping[Configuration, Trial]) -> Trial | None:
    """Return ``trial`` in the other deployment: as it was ``measured`` there, or what it was predicted from; None where
    there is neither."""
    measured_trial = measured.get(trial.configuration)
    if measured_trial is None and trial.alone is not None:
        return replace(
            trial,
            capacity=trial.alone.capacity,
            at_rate=trial.alone.at_rate,
            instance_count=trial.alone.instance_count,
            driver="inprocess",
            basis="measured",
            alone=None,
        )
    return measured_trial


def less_exact_of(steps: Iterable[Step]) -> frozenset[str]:
    """Return the backends among the compilations of a job whose artifacts predict less exactly than the model's own
    library: what they change was held against limits."""
    reports = (step.result for step in steps if isinstance(step.result, CompilationReport))
    return frozenset(report.backend for report in reports if report.quality is not None)


def trials_of(steps: Iterable[Step], kinds: Iterable[StepKind]) -> tuple[Trial, ...]:
    """Return what steps of these kinds have measured, in their order."""
    kinds = tuple(kinds)
    return tuple(step.result for step in steps if step.kind in kinds and isinstance(step.result, Trial))


def tests_in(steps: Iterable[Step]) -> int:
    """Return how many load tests ``steps`` are. What was cut short is made again, and does not count."""
    return sum(step.kind in TESTS and not was_cut_short(step) for step in steps)


def measured_s(steps: Iterable[Step]) -> float:
    """Return for how many seconds at least one of ``steps`` was being carried out."""
    total, until = 0.0, 0.0
    for step in sorted(steps, key=lambda step: step.began_at):
        if step.ended_at is not None and step.ended_at > until:
            total += step.ended_at - max(step.began_at, until)
            until = step.ended_at
    return total


def crashed(steps: Iterable[Step], kinds: Iterable[StepKind]) -> set[Configuration]:
    """Return what could not be measured in a step of these kinds. A step that was cut short says nothing about its
    configuration."""
    kinds = tuple(kinds)
    failed = [step for step in steps if step.kind in kinds and _crashed(step)]
    return {step.configuration for step in failed if step.configuration is not None}


def _relied_on(trials: Sequence[Trial], confirmations: Iterable[Trial]) -> tuple[Trial, ...]:
    """Return what the plan of a fleet relies on: ``trials`` of what was confirmed to hold the SLA, without those at
    higher rates that it did not hold; all of them where nothing was."""
    held: dict[Configuration, float] = {}
    for trial in confirmations:
        if trial.round is None and trial.verdict == "PASS":
            held[trial.configuration] = max(held.get(trial.configuration, 0.0), trial.asked_per_s or 0.0)
    if not held:
        return tuple(trials)
    return tuple(
        trial
        for trial in trials
        if trial.configuration in held
        and (
            trial.round is not None
            or trial.verdict == "PASS"
            or (trial.asked_per_s or 0.0) <= held[trial.configuration]
        )
    )


def _crashed(step: Step) -> bool:
    """Return whether ``step`` failed by itself, and was not cut short."""
    return step.status == "FAILED" and not was_cut_short(step)


_OF_CANDIDATES: tuple[StepKind, ...] = (*TESTS, "service_time", "endpoint_costs")
"""The kinds of steps that measure a configuration: one that crashes may do so before its first load test."""


def default_name(source: Any) -> str:
    """Return a name for a job on ``source``: that of the model, and the time."""
    return f"{name_after(source)}-{datetime.now():%Y%m%d-%H%M%S-%f}"
