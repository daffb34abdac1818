"""A job at work: compiles, measures on real workers, and keeps every step as it begins and as it ends.

So an interruption loses nothing but the step that ran, and a job that is taken up again begins with all that its steps
know. ``optimizer.search`` decides what is measured, and in which order.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from servefit.errors import BackendError, MeasurementError, StateError, TimedOut
from servefit.profiler.drivers.start_driver import endpoint_for, workers_for
from servefit.search.capacity.what_if import changes
from servefit.search.jobs import measure_endpoint, tasks
from servefit.search.jobs.compile_candidates import choices, compile_candidates
from servefit.search.jobs.cpu_slots import ANYWHERE, CpuSlot, CpuSlots
from servefit.search.jobs.job import JobStopped, crashed, trials_of
from servefit.search.jobs.nothing_measured import why_nothing_was_measured
from servefit.search.jobs.optuna_trials import StudyOfTrials
from servefit.search.jobs.tasks import MIN_TIMING_S, TIMES_USUAL
from servefit.search.jobs.warm_start import results_of_earlier_jobs
from servefit.search.optimizer.bench import OutOfTime
from servefit.search.optimizer.progress import before_search, counting_down
from servefit.search.optimizer.search import Search
from servefit.search.optimizer.service_time_survey import service_times_of, time_service
from servefit.search.request.space import Batching, Space
from servefit.search.results.measure_trial import run_test
from servefit.search.results.recommendation import FailedTrial, Trial
from servefit.search.storage.header import JobState
from servefit.search.storage.job_folder import keep_measurement
from servefit.search.storage.steps import OUT_OF_TIME, TESTS
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact
    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.record.types import Configuration, Measurement
    from servefit.search.jobs.tasks import Task
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.progress import Moment, Progress
    from servefit.search.queueing.service import ServiceTimes
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.measure_trial import Durations
    from servefit.search.results.recommendation import Skipped
    from servefit.search.storage.header import JobHeader, Status
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.log import JobLog
    from servefit.search.storage.steps import Step

_MAX_STDERR_SHOWN = 400
"""Characters of what a crashed worker said, from its end: a few lines, where the reason mostly is. Chosen, not
measured."""


@dataclass(slots=True, kw_only=True)
class JobRunner:
    """A job at work, and what it knows while it runs. It is the bench of its search."""

    log: JobLog
    store: JobStore
    payload: Payload
    folder: Path
    clock: Clock
    progress: Progress
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    steps_before: tuple[Step, ...] = ()
    artifacts: list[Artifact] = field(default_factory=list)
    search: Search | None = None
    cpu_slots: CpuSlots = field(init=False)
    study: StudyOfTrials | None = None
    resumed_at_s: float = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.cpu_slots = CpuSlots(self.header.host)
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
        compiled = compile_candidates(self.log, self.payload, self.clock, self.progress)
        self.artifacts = compiled.artifacts
        self.skipped.extend(compiled.skipped)
        self.remarks.extend(compiled.remarks)
        space = Space.of(
            self.header.profiles,
            choices(self.header.model, self.artifacts, self.header.profiles),
            self.request.environment,
            self.header.host.gpus,
            Batching.of(self.request, batch_dependent=self.header.model.batch_dependent),
        )
        if not space.grid:
            self._say_why_nothing()
            return
        self.study = StudyOfTrials(self.log, space.grid, seed=self.request.seed)
        self.search = self._begin_search(space.only(self.study.holds))
        self.log.set_state(self.state("IN_PROGRESS"))
        ready_s = self.clock.elapsed_s
        self.search.carry_out()
        if not self.search.trials:
            self._say_why_nothing(test_s=self.search.test_s, ready_s=ready_s)
        if self.request.over_http:
            self._measure_over_http(self.search)

    def _say_why_nothing(self, *, test_s: float = 0.0, ready_s: float | None = None) -> None:
        """Add a remark that says why nothing was measured, if no step does; see ``why_nothing_was_measured``."""
        why = why_nothing_was_measured(
            self.request, self.clock, self.artifacts, self.header.profiles, test_s=test_s, ready_s=ready_s
        )
        if why is not None:
            self.remarks.append(why)

    def _begin_search(self, space: Space) -> Search:
        """Return a search that begins with what earlier runs of this job know, and with what earlier jobs knew of the
        same model here."""
        steps = self.steps_before
        earlier = results_of_earlier_jobs(self.store, self.header, self.artifacts, space.grid)
        if earlier.trials:
            self.remarks.append(f"the search began with what {len(earlier.trials)} tests of earlier jobs had measured")
        return Search(
            space=space,
            request=self.request,
            reference=self.header.model.reference,
            clock=self.clock,
            bench=self,
            progress=self.progress,
            service_times={**earlier.service_times, **service_times_of(steps)},
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
            closing_s=lambda winner: measure_endpoint.closing_s(winner, self.header.host, self.request),
            untimeable={replace(subject, max_batch=1) for subject in crashed(steps, ("service_time",))},
        )

    def state(self, status: Status) -> JobState:
        """Return how far the job is, to be kept. While it goes on its time is counted by whoever reads it."""
        search = self.search
        if search is None:
            return self.state_without_answer(status)
        elapsed_s = self._elapsed_s(status)
        untried = list(search.untried()) if search.trials else []
        remarks = [f"not tried for lack of tests or time: {', '.join(untried)}"] if untried else []
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
            changes=changes(best, None if service is None else service[0], self.request)
            if best is not None and best.trial.verdict == "FAIL"
            else (),
        )

    def state_without_answer(self, status: Status, *remarks: str) -> JobState:
        """Return the state where nothing can be said of what was measured, with ``remarks`` that say why."""
        return JobState(
            status=status,
            elapsed_s=self._elapsed_s(status),
            skipped=tuple(self.skipped),
            remarks=tuple(dict.fromkeys([*self.remarks, *remarks])),
        )

    def _elapsed_s(self, status: Status) -> float:
        """Return the seconds to keep: those before the job was resumed, for as long as it goes on."""
        return self.resumed_at_s if status == "IN_PROGRESS" else self.clock.elapsed_s

    def time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        """Time calls of ``subject``, as a step; see ``Bench``. Raises JobStopped."""
        self._check_stopped()
        memory_bytes = max(profile.memory_bytes for profile in self.header.profiles if profile.vcpus >= subject.vcpus)
        limit_s, doing = self.clock.share_s(MIN_TIMING_S), f"timing calls of {subject.backend}"
        with (
            self.log.step("service_time", subject.backend, subject) as step,
            counting_down(self.progress, doing, self.moment, limit_s),
        ):
            try:
                with self._at_most(limit_s), self._workers(subject, memory_bytes) as workers:
                    found = time_service(workers, sizes)
            except (MeasurementError, BackendError) as error:
                self._check_time(step, error, "the timing of calls")
                self.log.finish(step, status="FAILED", reason=_reason(error))
                self._give_up_if_it_hangs(replace(subject, max_batch=1), error)
                return None
            self.log.finish(step, status="COMPLETED", result=found)
        return found

    def load_tests(self, batch: Sequence[Configuration]) -> Mapping[Configuration, Trial | None]:
        """Put ``batch`` under load, each as a step and a trial of the study; see ``Bench``. Raises JobStopped."""
        self._check_stopped()
        if self.study is None:
            raise RuntimeError("there is no study before the search begins")
        slots = dict.fromkeys(batch, ANYWHERE)
        if len(batch) > 1:
            disjoint = self.cpu_slots.disjoint([configuration.vcpus for configuration in batch])
            if disjoint is None:
                raise RuntimeError(f"{len(batch)} tests have no CPUs of their own")
            slots.update(zip(batch, disjoint, strict=True))
        results: dict[Configuration, Trial | None] = {}
        task = tasks.screening(self.request, limit_s=self._limit_of_a_test_s())

        def measure(configuration: Configuration) -> Trial | None:
            results[configuration] = self._test(configuration, task, slots[configuration])
            return results[configuration]

        self.study.carry_out(batch, measure)
        return results

    def in_turn(self, configuration: Configuration, nth_round: int, instances: int) -> Trial | None:
        """Put a finalist under a short load, as a step; see ``Bench``. Raises JobStopped."""
        self._check_stopped()
        return self._test(configuration, tasks.turn(self.request, nth_round, instances))

    def confirm(self, configuration: Configuration, durations: Durations) -> Trial | None:
        """Put the winner under load again, as a step; see ``Bench``. Raises JobStopped."""
        self._check_stopped()
        kept_s = 0.0 if self.search is None else self.search.min_closing_s(configuration)
        return self._test(configuration, tasks.confirmation(self.request, durations, kept_s=kept_s))

    def fit_at_once(self, vcpus: Sequence[int]) -> bool:
        """Return whether envelopes of these sizes can be measured at the same time."""
        return self.cpu_slots.fit_at_once(vcpus)

    def _measure_over_http(self, search: Search) -> None:
        """Measure the winner as the endpoint that it would be, unless an earlier run of the job has."""
        best = next(iter(search.recommendations()), None)
        done = {trial.configuration for trial in trials_of(self.steps_before, ("endpoint",))}
        if best is None or best.trial.verdict == "INVALID" or best.trial.configuration in done:
            return
        configuration, host = best.trial.configuration, self.header.host
        if reason := measure_endpoint.why_not(configuration, host, self.request, self.clock):
            self.remarks.append(f"the winner was not measured over HTTP: {reason}")
            return
        self._check_stopped()
        search.time_left.update("closing")
        self.progress.stage("measuring the winner over HTTP", self.moment())
        endpoint = endpoint_for(
            configuration,
            self._artifact(configuration),
            self.header.model.signature,
            self.payload.rows,
            host=host,
            memory_bytes=search.space.memory_bytes(configuration),
            rows_per_request=self.request.rows_per_request,
        )
        try:
            result = self._carry_out(configuration, endpoint, tasks.over_http(self.request))
        except OutOfTime as error:
            self.remarks.append(f"{error} was cut short: the time asked for ran out")
            return
        if isinstance(result, FailedTrial):
            self.remarks.append(f"the winner could not be measured over HTTP: {result.reason}")

    def _test(self, configuration: Configuration, task: Task, slot: CpuSlot = ANYWHERE) -> Trial | None:
        """Make a load test, as a step, and return it; None if it could not be made. Raises OutOfTime."""
        with self._lock:
            self.clock.tests += 1
            at = self.moment()
        workers = self._workers(configuration, self._memory_bytes(configuration), slot)
        result = self._carry_out(configuration, workers, task, begins=at)
        return result if isinstance(result, Trial) else None

    def _carry_out(
        self,
        configuration: Configuration,
        starting: AbstractContextManager[MeasuredDriver],
        task: Task,
        *,
        begins: Moment | None = None,
    ) -> Trial | FailedTrial:
        """Put what is ``starting`` under load, as a step, which is reported as it ``begins``, and when it ends. Raises
        OutOfTime."""
        host, max_s = self.header.host, min(task.limit_s, self.clock.left_s - task.kept_s)
        with self.log.step(task.kind, configuration.backend, configuration) as step:
            if begins is not None:
                self.progress.testing(configuration, replace(begins, step=step.number))
            try:
                with (
                    counting_down(self.progress, f"step {step.number}", self.moment, task.limit_s),
                    self._at_most(max_s),
                    starting as driver,
                ):
                    trial = run_test(
                        driver,
                        task.request,
                        host,
                        task.durations,
                        nth_round=task.nth_round,
                        keep=lambda measurement: self._keep(measurement, step),
                    )
            except (MeasurementError, BackendError) as error:
                self._check_time(step, error, task.called, kept_s=task.kept_s)
                self.log.finish(step, status="FAILED", reason=_reason(error))
                self._give_up_if_it_hangs(configuration, error)
                result: Trial | FailedTrial = FailedTrial(configuration=configuration, reason=str(error))
            else:
                self.log.finish(step, status="COMPLETED", result=trial)
                result = trial
        self.progress.tested(result, replace(self.moment(result), step=step.number))
        return result

    def _at_most(self, seconds: float) -> AbstractContextManager[None]:
        """Return a context in which nothing takes longer than ``seconds``."""
        ends_s = self.clock.elapsed_s + seconds
        return time_limit(lambda: ends_s - self.clock.elapsed_s)

    def _limit_of_a_test_s(self) -> float:
        """Return how long a test of the search may take: the first as long as there is, since without it there is no
        answer."""
        if self.search is None or not self.search.trials:
            return self.clock.left_s
        return self.clock.share_s(TIMES_USUAL * self.search.test_s)

    def _check_time(
        self, step: Step, error: MeasurementError | BackendError, called: str, *, kept_s: float = 0.0
    ) -> None:
        """Raise OutOfTime where ``step`` did not end because the job's time is over, of which ``kept_s`` are kept."""
        if isinstance(error, TimedOut) and self.clock.left_s <= kept_s:
            self.log.finish(step, status="FAILED", reason=OUT_OF_TIME)
            raise OutOfTime(called) from error

    def _give_up_if_it_hangs(self, configuration: Configuration, error: MeasurementError | BackendError) -> None:
        """Give up the backend where one worker of it does not answer one request: others would not answer either."""
        simple = (configuration.workers, configuration.settings.threads, configuration.max_batch) == (1, 1, 1)
        if simple and isinstance(error, TimedOut) and self.search is not None:
            self.search.give_up(configuration)
            self.remarks.append(f"{configuration.backend} was given up: {error}")

    def _workers(
        self,
        configuration: Configuration,
        memory_bytes: int | None,
        slot: CpuSlot = ANYWHERE,
    ) -> AbstractContextManager[Workers]:
        """Return the workers of ``configuration``, to be started, in ``slot``."""
        return workers_for(
            configuration,
            self._artifact(configuration),
            self.payload.rows,
            host=self.header.host,
            memory_bytes=memory_bytes,
            rows_per_request=self.request.rows_per_request,
            cpus=slot.cpus,
            outside=slot.outside,
        )

    def _memory_bytes(self, configuration: Configuration) -> int | None:
        """Return the memory of the envelope of ``configuration``, None before the search."""
        return None if self.search is None else self.search.space.memory_bytes(configuration)

    def _keep(self, measurement: Measurement, step: Step) -> str | None:
        """Keep raw samples, and return where, None where that is not possible."""
        try:
            return keep_measurement(measurement, self.folder, step.number)
        except StateError as error:  # a full disk is no reason to lose the answer
            self.remarks.append(f"raw samples were not kept: {error}")
            return None

    def moment(self, ended: Trial | FailedTrial | None = None) -> Moment:
        """Return the progress of the job, now that a test has ``ended``."""
        if self.search is None:
            return before_search(self.clock)
        return self.search.moment(ended if isinstance(ended, Trial) and ended.driver == "inprocess" else None)

    def _check_stopped(self) -> None:
        """Raise JobStopped where the job was asked to stop."""
        if self.log.stop_requested():
            raise JobStopped

    def _artifact(self, configuration: Configuration) -> Artifact:
        """Return the artifact that ``configuration`` serves."""
        wanted = configuration.backend, configuration.target
        return next(artifact for artifact in self.artifacts if (artifact.backend, artifact.target) == wanted)


def _reason(error: MeasurementError | BackendError) -> str:
    """Return the error in words, with the tail of what a crashed worker said."""
    stderr = str(getattr(error, "stderr", "") or "").strip()
    return f"{error} (it said: {stderr[-_MAX_STDERR_SHOWN:]})" if stderr else str(error)
