"""A job at work: it compiles, has a search decide what is measured, measures the winner over HTTP, and says how far it
is.

An interruption loses nothing but the step that ran, and a job that is taken up again begins with all that its steps
know. ``job_bench`` keeps every step, and ``measurer`` measures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from servefit.search.capacity.what_if import changes
from servefit.search.jobs import closing
from servefit.search.jobs.job import crashed, less_exact_of, trials_of
from servefit.search.jobs.job_bench import JobBench
from servefit.search.jobs.measurable import why_disturbed
from servefit.search.jobs.nothing_measured import why_nothing_was_measured
from servefit.search.jobs.optuna_trials import StudyOfTrials
from servefit.search.jobs.warm_start import results_of_earlier_jobs
from servefit.search.optimizer.bench import OutOfTime
from servefit.search.optimizer.confirmation_plan import too_little_traffic
from servefit.search.optimizer.guide import OnItsOwn
from servefit.search.optimizer.progress import before_search
from servefit.search.optimizer.search import Search
from servefit.search.optimizer.service_time_survey import service_times_of
from servefit.search.request.space import BatchingSpace, Space
from servefit.search.results.recommendation import FailedTrial, Trial
from servefit.search.simulation.endpoint import SURVEY_S, costs_for, usual_costs
from servefit.search.storage.header import JobState
from servefit.search.storage.steps import BESIDE, TESTS, endpoint_costs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.types import Artifact
    from servefit.search.jobs.measurer import Measurer
    from servefit.search.jobs.script_beside import ScriptBeside
    from servefit.search.jobs.warm_start import EarlierResults
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.guide import Guide
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Skipped
    from servefit.search.simulation.endpoint import EndpointCosts
    from servefit.search.storage.class_log import ClassLog
    from servefit.search.storage.header import JobHeader, JobStatus
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.log import JobLog
    from servefit.search.storage.steps import Step

SEARCH_BEGAN = "the search began with what "
"""Begins the remark on the tests of earlier jobs."""


@dataclass(slots=True, kw_only=True)
class JobRunner:
    """A job at work, and what it knows while it runs. ``beside`` measures the model file beside a script, on the host
    of the job; None on a fleet."""

    log: JobLog | ClassLog
    store: JobStore
    measurer: Measurer
    clock: Clock
    progress: Progress
    guide: Guide = field(default_factory=OnItsOwn)
    beside: ScriptBeside | None = None
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(init=False)
    steps_before: tuple[Step, ...] = ()
    search: Search | None = None
    artifacts: Sequence[Artifact] = ()
    bench: JobBench = field(init=False)
    resumed_at_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.remarks = self.measurer.remarks
        self.bench = JobBench(
            log=self.log, measurer=self.measurer, clock=self.clock, progress=self.progress, remarks=self.remarks
        )
        self.resumed_at_s = self.clock.elapsed_s

    @property
    def header(self) -> JobHeader:
        """The header of the job."""
        return self.log.header

    @property
    def request(self) -> JobRequest:
        """The request that the job was begun with."""
        return self.header.request

    def carry_out(self) -> None:
        """Do everything that is left to do. Raises JobStopped, StateError and StorageError."""
        self.steps_before = self.log.steps()
        self.log.set_state(self.state("IN_PROGRESS"))
        if not self.header.profiles:
            return
        if disturbed := why_disturbed(self.request, self.header.host):
            self.remarks.append(disturbed)
        if too_little := too_little_traffic(self.request, limit_s=self.clock.limit_s):
            self.remarks.append(too_little)
            self.progress.stage(f"warning: {too_little}", before_search(self.clock))
        compiled, knobs = self.measurer.compile(self.clock, self.progress)
        self.artifacts = compiled.artifacts
        self.skipped.extend(compiled.skipped)
        self.remarks.extend(compiled.remarks)
        if self.beside is not None:
            self.beside.carry_out(self.artifacts, self.clock, self.progress)
        space = Space.of(
            self.header.profiles,
            knobs,
            self.request.environment,
            self.header.host.gpus,
            BatchingSpace.of(
                self.request,
                batch_dependent=self.header.model.batch_dependent,
                called_singly=self.header.model.is_called_singly,
            ),
        )
        space = replace(space, less_exact=less_exact_of(self.log.steps()))
        if not space.grid:
            self._say_why_nothing()
            return
        study = StudyOfTrials(self.log, space.grid, seed=self.request.seed)
        self.search = self._begin_search(space.only(study.holds))
        self.bench.search, self.bench.study = self.search, study
        self.log.set_state(self.state("IN_PROGRESS"))
        ready_s = self.clock.elapsed_s
        self.search.carry_out()
        if not self.search.trials and not self.guide.left_alone:
            needs_costs = not self.bench.costs and all(map(self.bench.is_predicted, self.search.space.grid))
            survey_s = SURVEY_S if needs_costs else 0.0
            self._say_why_nothing(test_s=self.search.test_s, survey_s=survey_s, ready_s=ready_s)
        if self.request.deployment == "endpoint" or self.request.over_http:
            self._measure_beside(self.search)

    def _say_why_nothing(self, *, test_s: float = 0.0, survey_s: float = 0.0, ready_s: float | None = None) -> None:
        """Add a remark that says why nothing was measured, if no step does; see ``why_nothing_was_measured``."""
        why = why_nothing_was_measured(
            self.request,
            self.clock,
            self.artifacts,
            self.header.profiles,
            test_s=test_s,
            survey_s=survey_s,
            ready_s=ready_s,
        )
        if why is not None:
            self.remarks.append(why)

    def _begin_search(self, space: Space) -> Search:
        """Return a search that begins with what earlier runs of this job know, and with what earlier jobs knew of the
        same model here."""
        steps = self.steps_before
        # Costs that figures are predicted with have to be undisturbed; to choose what is tested first any will do.
        predicts = any(map(self.bench.is_predicted, space.grid))
        earlier = results_of_earlier_jobs(self.store, self.header, self.artifacts, space.grid, disturbed=not predicts)
        if self.request.deployment == "endpoint":
            self.bench.costs = self._known_costs(earlier)
        if earlier.trials:
            count = len(earlier.trials)
            self.remarks.append(
                f"{SEARCH_BEGAN}{count} {'test' if count == 1 else 'tests'} of earlier jobs had measured with the same "
                "model on this machine: that only decides what is tested first, and no figure is theirs"
            )
        return Search(
            space=space,
            request=self.request,
            reference=self.header.model.reference,
            clock=self.clock,
            bench=self.bench,
            progress=self.progress,
            service_times={**earlier.service_times, **service_times_of(steps)},
            costs=usual_costs(self.bench.costs),
            earlier=earlier.trials,
            usual_s=earlier.usual_s,
            trials=list(trials_of(steps, TESTS)),
            failed=crashed(steps, TESTS),
            confirmed={
                step.configuration
                for step in steps
                if step.kind == "confirmation"
                and step.configuration is not None
                and isinstance(step.result, Trial)
                and step.result.round is None
            },
            closing_s=lambda winner: (
                self.guide.kept_s + closing.closing_s(winner, self.header.host, self.request, self.clock)
            ),
            guide=self.guide,
            untimeable={replace(subject, max_batch=1) for subject in crashed(steps, ("service_time",))},
        )

    def _known_costs(self, earlier: EarlierResults) -> dict[str, EndpointCosts]:
        """Return what is known of the costs of endpoints, by backend: from this job, unless the machine got in the way
        of that, or from an earlier one. Those are kept as steps, so that all of this job is read with the same
        costs."""
        own = endpoint_costs_of(self.steps_before)
        usable = {backend: costs for backend, costs in own.items() if self.request.allow_noise or not costs.problems}
        if usable:
            return usable
        for subject, costs in earlier.costs.items():
            with self.log.step("endpoint_costs", subject.backend, subject, attempt=self.measurer.attempt()) as step:
                self.log.finish(step, status="COMPLETED", result=costs)
            usable[subject.backend] = costs
        return usable

    def state(self, status: JobStatus) -> JobState:
        """Return the state of the job, to be kept. While the job goes on, its readers compute the elapsed time."""
        search = self.search
        if search is None:
            return self.state_without_answer(status)
        elapsed_s = self._elapsed_s(status)
        untried = list(search.untried()) if search.trials else []
        ran_out = self.clock.ran_out(len(untried) * search.test_s, tests_left=self.clock.tests_to_search)
        remarks = [f"not measured: {', '.join(untried)}; {ran_out}"] if untried else []
        best = next(iter(search.recommendations()), None)
        service = None if best is None else search.survey.service_times(best.trial.configuration)
        return JobState(
            status=status,
            elapsed_s=elapsed_s,
            skipped=tuple(self.skipped),
            remarks=tuple(dict.fromkeys([*remarks, *search.remarks, *self.remarks])),
            importance=tuple(search.importance().items()) if search.trials else (),
            speedups=tuple(search.survey.speedups(self.header.model.reference)),
            naive=None if best is None else search.naive(best.profile.vcpus),
            changes=changes(
                best,
                None if service is None else service[0],
                self.request,
                costs_for(best.trial.configuration.backend, self.bench.costs),
            )
            if best is not None and best.trial.verdict == "FAIL"
            else (),
        )

    def state_without_answer(self, status: JobStatus, *remarks: str) -> JobState:
        """Return the state where nothing can be said of what was measured, with ``remarks`` that say why."""
        return JobState(
            status=status,
            elapsed_s=self._elapsed_s(status),
            skipped=tuple(self.skipped),
            remarks=tuple(dict.fromkeys([*self.remarks, *remarks])),
        )

    def _elapsed_s(self, status: JobStatus) -> float:
        """Return the seconds to keep: those before the job was resumed, for as long as it goes on."""
        return self.resumed_at_s if status == "IN_PROGRESS" else self.clock.elapsed_s

    def _measure_beside(self, search: Search) -> None:
        """Measure the winner in the other deployment, unless an earlier run of the job has, or it was predicted from
        that."""
        best = next(iter(search.recommendations()), None)
        done = {trial.configuration for trial in trials_of(self.steps_before, BESIDE)}
        if best is None or best.trial.verdict == "INVALID" or best.trial.configuration in done:
            return
        if best.trial.alone is not None:
            return
        where = "over HTTP" if self.request.deployment == "library" else "in process"
        configuration = best.trial.configuration
        if reason := closing.why_not(configuration, self.header.host, self.request, self.clock):
            self.remarks.append(f"the winner was not measured {where}: {reason}")
            return
        search.time_left.update("closing")
        self.progress.stage(f"measuring the winner {where}", search.moment())
        try:
            result = self.bench.beside(configuration)
        except OutOfTime as error:
            self.remarks.append(f"{error} was cut short: {self.clock.budget.ran_out()}")
            return
        if isinstance(result, FailedTrial):
            self.remarks.append(f"the winner could not be measured {where}: {result.reason}")
