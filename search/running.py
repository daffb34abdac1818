"""A job from beginning to end: open the model, compile it, try configurations, confirm the winner, rank.

Results are collected as they come, so that an interruption or a failed write at the end loses nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from servefit.errors import BackendError, MeasurementError, SpecError, StateError
from servefit.search.compiling import Compilations, choices, compile_candidates
from servefit.search.job import JobInterrupted, RecommendationJob, keep_measurement, reserve, save
from servefit.search.notes import job_warnings, with_speedups
from servefit.search.ranking import objectives, recommend
from servefit.search.recommendation import FailedTrial, Recommendation, Skipped, Trial
from servefit.search.space import Space
from servefit.search.study import Outcome, Proposals
from servefit.search.testing import CONFIRMING, SCREENING, Durations, run_test

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact, Target
    from servefit.profiler.host import Host
    from servefit.profiler.types import Configuration, InstanceProfile
    from servefit.search.progress import Progress
    from servefit.search.request import JobRequest

CONFIRMATION_SHARE = 0.2
"""The part of the budget kept free for measuring the winner again."""

MOST_CONFIRMATIONS = 2

TYPICAL_TEST_S = 2.5
"""What a test takes with its fresh processes; decides only whether the whole grid is likely to fit the budget."""


def run_job(
    source: Any, sample_payload: Any, request: JobRequest, *, trust_pickle: bool, progress: Progress
) -> RecommendationJob:
    """Run a job to its end. Raises SpecError, ModelError or StateError before anything is measured; JobInterrupted."""
    from servefit.backends.model import Model
    from servefit.backends.payload.reading import payload_for
    from servefit.backends.registry import backend
    from servefit.profiler.host import describe_host

    started_s = time.monotonic()
    host = describe_host()
    profiles, skipped = measurable_profiles(request, host)
    for name in request.backends:
        backend(name)
    progress.stage("opening the model")
    model = source if isinstance(source, Model) else Model.load(source, trust_pickle=trust_pickle)
    payload = payload_for(model, sample_payload, seed=request.seed)
    folder = reserve(request.name)
    job = _RunningJob(
        request=request,
        model=model,
        payload=payload,
        host=host,
        folder=folder,
        profiles=profiles,
        compilations=Compilations(skipped=skipped),
        progress=progress,
        started_s=started_s,
    )
    try:
        job.compile()
        job.search()
        job.confirm()
    except KeyboardInterrupt as interruption:
        raise JobInterrupted(_kept(job.result("STOPPED"), folder)) from interruption
    return _kept(job.result("COMPLETED" if job.trials else "FAILED"), folder)


def _kept(result: RecommendationJob, folder: Path) -> RecommendationJob:
    """Save ``result``. An answer that took a minute to find is not lost to a full disk: it says so instead."""
    try:
        save(result, folder)
    except StateError as error:
        return replace(result, warnings=(*result.warnings, f"the job was not kept: {error}"))
    return result


def measurable_profiles(request: JobRequest, host: Host) -> tuple[tuple[InstanceProfile, ...], list[Skipped]]:
    """The profiles asked for, or all, that this host can be; and the others with the reason. Raises SpecError for an
    unknown name."""
    from servefit.profiler.profiles import all_profiles, find_profile, why_not_measurable

    named = [find_profile(name, host) for name in request.profiles]
    for one in request.environment:
        named_in_range = [find_profile(name, host) for name in one.profiles]
        if outside := [profile.name for profile in named_in_range if named and profile not in named]:
            raise SpecError(
                "env", one.variable, f"is to vary on {outside[0]}, which is not among the profiles asked for"
            )
    measurable, skipped = [], []
    for profile in named or all_profiles(host):
        if reason := why_not_measurable(profile, host):
            skipped.append(Skipped(kind="instance_profile", name=profile.name, reason=reason))
        else:
            measurable.append(profile)
    return tuple(measurable), skipped


@dataclass(slots=True, kw_only=True)
class _RunningJob:
    """What a job knows while it runs."""

    request: JobRequest
    model: Model
    payload: Payload
    host: Host
    folder: Path
    profiles: tuple[InstanceProfile, ...]
    compilations: Compilations
    progress: Progress
    started_s: float
    space: Space = Space(profiles=(), grid=())
    trials: dict[Configuration, Trial] = field(default_factory=dict)
    failed: list[FailedTrial] = field(default_factory=list)
    tests: int = 0
    test_s: float = 0.0
    unconfirmed: str | None = None
    not_kept: StateError | None = None

    def compile(self) -> None:
        if self.profiles:
            compile_candidates(
                self.compilations,
                self.model,
                self.payload,
                self.request,
                self.profiles,
                self.progress,
                started_s=self.started_s,
            )

    def search(self) -> None:
        """Try configurations until the tests, the time or the space run out."""
        offered = choices(self.model, self.compilations.artifacts, self.profiles)
        self.space = Space.of(self.profiles, offered, self.request.environment, self.host.gpus)
        if not self.space.grid:
            return
        self.progress.stage("measuring")
        proposals = Proposals(
            self.space.grid,
            objectives=2 if self.request.goal == "balanced" else 1,
            seed=self.request.seed,
            exhaustive=len(self.space.grid) <= self._tests_that_fit(),
        )
        began_s = time.monotonic()
        while (configuration := proposals.next()) is not None:
            result = self._test(configuration, SCREENING)
            if isinstance(result, FailedTrial):
                self.failed.append(result)
                proposals.fail()
            else:
                self.trials[configuration] = result
                if result.verdict == "INVALID":  # it says nothing about the configuration
                    proposals.fail()
                else:
                    outcome = Outcome(objectives=objectives(result, self.request.goal), violation=result.violation)
                    proposals.learn(outcome)
            self.test_s = (time.monotonic() - began_s) / self.tests
            done = self._done()
            self.progress.tested(result, self.tests, min(done, 1.0))
            if done >= 1:
                return

    def confirm(self) -> None:
        """Measure the winner again, for longer: the best of many measurements is partly the luckiest. If that makes
        another one the winner, that one is confirmed too."""
        confirmed: set[Configuration] = set()
        while self.trials:
            best = self._recommendations()[0].trial.configuration if self._recommendations() else None
            if best is None or best in confirmed:
                return
            if len(confirmed) == MOST_CONFIRMATIONS or not self._confirmation_fits():
                self.unconfirmed = "the winner was not measured a second time: the tests or the time asked for ran out"
                return
            self.progress.stage("measuring the winner again")
            result = self._test(best, self._confirming())
            confirmed.add(best)
            if isinstance(result, FailedTrial):
                self.failed.append(result)
                del self.trials[best]
            elif result.verdict == "INVALID" and self.trials[best].verdict != "INVALID":
                self.unconfirmed = f"the second measurement of the winner was disturbed: {result.reason}"
            else:
                self.trials[best] = result

    def result(self, status: Literal["COMPLETED", "FAILED", "STOPPED"]) -> RecommendationJob:
        trials = tuple(self.trials.values())
        recommendations = self._recommendations()
        job = RecommendationJob(
            request=self.request,
            status=status,
            model=self.model,
            payload=self.payload,
            host=self.host,
            elapsed_s=time.monotonic() - self.started_s,
            tests=self.tests,
            recommendations=recommendations,
            trials=trials,
            failed=tuple(self.failed),
            compilation=with_speedups(self.compilations.reports, trials, self.model.reference),
            skipped=tuple(self.compilations.skipped),
            warnings=(),
        )
        return replace(job, warnings=(*job_warnings(job), *self._left_undone()))

    def _left_undone(self) -> Iterator[str]:
        tried = self.trials.keys() | {one.configuration for one in self.failed}
        untried = [profile.name for profile, fitting in self.space.profiles if fitting and not tried & set(fitting)]
        if self.trials and untried:
            yield f"not tried for lack of tests or time: {', '.join(untried)}"
        if self.unconfirmed is not None:
            yield self.unconfirmed
        if self.not_kept is not None:
            yield f"raw samples were not kept: {self.not_kept}"

    def _test(self, configuration: Configuration, durations: Durations) -> Trial | FailedTrial:
        self.tests += 1
        artifact = self._artifact(configuration.backend, configuration.target)
        try:
            trial = run_test(
                configuration,
                artifact,
                self.payload.rows,
                self.request,
                self.host,
                durations,
                memory_bytes=self.space.memory_bytes(configuration),
            )
        except (MeasurementError, BackendError) as error:
            return FailedTrial(configuration=configuration, reason=str(error))
        try:
            return replace(trial, kept_in=keep_measurement(trial.measurement, self.folder, self.tests))
        except StateError as error:  # a full disk is no reason to lose the answer
            self.not_kept = error
            return trial

    def _artifact(self, backend: str, target: Target) -> Artifact:
        return next(one for one in self.compilations.artifacts if one.backend == backend and one.target == target)

    def _recommendations(self) -> tuple[Recommendation, ...]:
        at_rate = self.request.sla.rate_per_s is not None
        return recommend(self.space, tuple(self.trials.values()), self.request.goal, at_rate=at_rate)

    def _tests_that_fit(self) -> float:
        limit_s, limit = self.request.time_limit_s, self.request.test_limit
        left_s = float("inf") if limit_s is None else limit_s - (time.monotonic() - self.started_s)
        return min(left_s / TYPICAL_TEST_S, float("inf") if limit is None else limit)

    def _done(self) -> float:
        """The part of the search that is over, 1 or more when another test would not fit. One test of a limited
        number, and a share of the time, are left for the confirmation."""
        parts = [len(self.trials) / len(self.space.grid)]
        if self.request.test_limit is not None:
            parts.append(self.tests / max(1, self.request.test_limit - 1))
        if self.request.time_limit_s is not None:
            available_s = self.request.time_limit_s * (1 - CONFIRMATION_SHARE) - self.test_s
            parts.append((time.monotonic() - self.started_s) / max(available_s, 1e-3))
        return max(parts)

    def _confirming(self) -> Durations:
        """How long the confirmation may take: as long as it needs, within the time that is left."""
        limit_s = self.request.time_limit_s
        if limit_s is None:
            return CONFIRMING
        left_s = limit_s - (time.monotonic() - self.started_s) - self.test_s - CONFIRMING.capacity_s
        if not self.request.allow_noise:
            left_s /= 2  # a disturbed run is made again
        return replace(CONFIRMING, at_rate_most_s=min(CONFIRMING.at_rate_most_s, max(CONFIRMING.at_rate_s, left_s)))

    def _confirmation_fits(self) -> bool:
        """Whether tests and time are left to measure once more, which takes as long as a test has taken so far, and
        what its longer runs add."""
        limit_s, limit = self.request.time_limit_s, self.request.test_limit
        expected_s = self.test_s
        if self.request.phases is None:
            expected_s += CONFIRMING.capacity_s - SCREENING.capacity_s
        if self.request.sla.rate_per_s is not None:
            expected_s += CONFIRMING.at_rate_s - SCREENING.at_rate_s
        in_time = limit_s is None or time.monotonic() - self.started_s + expected_s <= limit_s
        return in_time and (limit is None or self.tests < limit)
