"""The bench of a job: everything that is measured is a step of the job, which is kept as it begins and as it ends.

``optimizer.search`` decides what is measured, ``runner`` what a job does beside that, and ``measurer`` measures.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from servefit.errors import AgentLost, BackendError, MeasurementError, TimedOut
from servefit.profiler.arrivals.seeds import derived_seed
from servefit.search.jobs import tasks
from servefit.search.jobs.cpu_slots import ANYWHERE, CpuSlot, CpuSlots
from servefit.search.jobs.deployments import is_predicted
from servefit.search.jobs.job import JobStopped
from servefit.search.jobs.orders import Load, SurveyEndpoint, TimeCalls
from servefit.search.jobs.tasks import MIN_TIMING_S, TIMES_USUAL
from servefit.search.optimizer.bench import OutOfTime
from servefit.search.optimizer.endpoint_survey import rate_of_survey
from servefit.search.optimizer.progress import before_search, counting_down
from servefit.search.results.measure_trial import kept_for_rate_s
from servefit.search.results.recommendation import FailedTrial, Trial
from servefit.search.simulation.endpoint import SURVEY_S, costs_for
from servefit.search.storage.steps import LOST, OUT_OF_TIME, TESTS
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration
    from servefit.search.jobs.measurer import Measurer
    from servefit.search.jobs.optuna_trials import StudyOfTrials
    from servefit.search.jobs.orders import Started
    from servefit.search.jobs.tasks import StepTask
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.confirmation_plan import ConfirmationPlan
    from servefit.search.optimizer.progress import Moment, Progress
    from servefit.search.optimizer.search import Search
    from servefit.search.request.job_request import JobRequest
    from servefit.search.simulation.endpoint import EndpointCosts
    from servefit.search.storage.class_log import ClassLog
    from servefit.search.storage.header import JobHeader
    from servefit.search.storage.log import JobLog
    from servefit.search.storage.steps import Attempt, Step, StepKind

_T = TypeVar("_T")

_OF_STEP, _OF_ROUND = 0, 1
"""The kinds of runs that seeds are derived for."""

_MAX_STDERR_SHOWN = 400
"""Characters of what a crashed worker said, from its end: a few lines, where the reason mostly is. Chosen, not
measured."""


@dataclass(slots=True, kw_only=True)
class JobBench:
    """The bench of the job that ``log`` keeps, or of what it does on one host; see ``Bench``. ``measurer`` measures,
    for ``search`` and within ``study`` once there are any; ``remarks`` are what a reader of the job must know.
    ``costs`` are those of endpoints by backend, as far as they are known, the first for those whose own are not."""

    log: JobLog | ClassLog
    measurer: Measurer
    clock: Clock
    progress: Progress
    remarks: list[str]
    costs: dict[str, EndpointCosts] = field(default_factory=dict)
    search: Search | None = None
    study: StudyOfTrials | None = None
    _without_costs: set[str] = field(default_factory=set)
    _cpu_slots: CpuSlots = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._cpu_slots = CpuSlots(self.header.host)

    @property
    def header(self) -> JobHeader:
        """The header of the job."""
        return self.log.header

    @property
    def request(self) -> JobRequest:
        """The request that the job was begun with."""
        return self.header.request

    def time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        """Time calls of ``subject``, as a step; see ``Bench``. Raises JobStopped and AgentLost."""
        self._check_stopped()
        return self._twice(lambda: self._time(subject, sizes))

    def _time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        memory_bytes = max(profile.memory_bytes for profile in self.header.profiles if profile.vcpus >= subject.vcpus)
        over_s = self.clock.elapsed_s + self.clock.left_s
        limit_s, doing = self.clock.share_s(MIN_TIMING_S), f"timing calls of {subject.backend}"
        with (
            self._step("service_time", subject) as step,
            counting_down(self.progress, doing, self._moment, limit_s),
        ):
            try:
                order = TimeCalls(
                    subject=subject, sizes=tuple(sizes), memory_bytes=memory_bytes, seed=self._seed_of(step)
                )
                with self._at_most(limit_s):
                    service_times = self.measurer.time_calls(order, step.attempt)
            except (MeasurementError, BackendError) as error:
                self._check_lost(step, error)
                self._check_time(step, error, "the timing of calls", over_s)
                self.log.finish(step, status="FAILED", reason=_reason(error))
                self._give_up_if_it_hangs(replace(subject, max_batch=1), error)
                return None
            self.log.finish(step, status="COMPLETED", result=service_times)
        return service_times

    def load_tests(self, batch: Sequence[Configuration]) -> Mapping[Configuration, Trial | None]:
        """Put ``batch`` under load, each as a step and a trial of the study; see ``Bench``. Raises JobStopped."""
        self._check_stopped()
        if self.study is None:
            raise RuntimeError("there is no study before the search begins")
        slots = dict.fromkeys(batch, ANYWHERE)
        if len(batch) > 1:
            disjoint = self._cpu_slots.disjoint([configuration.vcpus for configuration in batch])
            if disjoint is None:
                raise RuntimeError(f"{len(batch)} tests have no CPUs of their own")
            slots.update(zip(batch, disjoint, strict=True))
        results: dict[Configuration, Trial | None] = {}
        task = tasks.screening(self.request, limit_s=self._limit_of_a_test_s(), kept_s=self._kept_of_a_test_s())

        def measure(configuration: Configuration) -> Trial | None:
            results[configuration] = self._test(configuration, task, slots[configuration])
            return results[configuration]

        self.study.carry_out(batch, measure)
        return results

    def in_turn(self, configuration: Configuration, nth_round: int, instances: int) -> Trial | None:
        """Put a finalist under a short load, as a step; see ``Bench``. Raises JobStopped."""
        self._check_stopped()
        # A turn that was begun may take longer than expected, and leave time for as few runs as an interval takes.
        kept_s = 0.0 if self.search is None else self.search.kept_for_the_end_s(hurried=True)
        return self._test(configuration, tasks.turn(self.request, nth_round, instances, kept_s=kept_s))

    def confirm(
        self, configuration: Configuration, plan: ConfirmationPlan, *, rate_per_s: float | None = None
    ) -> Trial | None:
        """Put the winner under load again, as a step; see ``Bench``. Raises JobStopped."""
        self._check_stopped()
        kept_s = 0.0 if self.search is None else self.search.kept_by_confirmation_s()
        task = tasks.confirmation(self.request, plan, kept_s=kept_s)
        if rate_per_s is not None:
            # What fails at its share of a rate is measured again at a lower one, twice.
            task = replace(tasks.at_rate(task, rate_per_s), chances=3 * task.chances)
        return self._test(configuration, task)

    def spot_check(self, configuration: Configuration, *, rate_per_s: float, attempt: Attempt) -> Trial | None:
        """Put ``configuration`` under a short load at ``rate_per_s`` on the host of ``attempt``, as a step; None if it
        could not be made. Several may be made at once, on as many hosts. Raises JobStopped and AgentLost."""
        self._check_stopped()
        task = tasks.spot_check(self.request, rate_per_s)
        result = self._put_under_load(configuration, task, "asked", ANYWHERE, None, attempt=attempt)
        return result if isinstance(result, Trial) else None

    def fit_at_once(self, vcpus: Sequence[int]) -> bool:
        """Return whether envelopes of these sizes can be measured at the same time."""
        # Clients of several endpoints would be in each other's way.
        return self._cpu_slots.fit_at_once(vcpus) and (self.request.deployment == "library" or len(vcpus) <= 1)

    def beside(self, configuration: Configuration) -> Trial | FailedTrial:
        """Put ``configuration`` under load in the other deployment, as a step. Raises JobStopped and OutOfTime."""
        self._check_stopped()
        return self._carry_out(configuration, tasks.beside(self.request), "other")

    def is_predicted(self, configuration: Configuration) -> bool:
        """Return whether tests of ``configuration`` are predicted; see ``Bench``."""
        return is_predicted(configuration, self.header)

    def endpoint_costs(self, subject: Configuration) -> EndpointCosts | None:
        """Measure what requests cost in an endpoint, as a step; see ``Bench``. It has one CPU, so that a client has
        another on any host of two. Raises JobStopped."""
        self._check_stopped()
        if subject.backend in self.costs:
            return self.costs[subject.backend]
        # What failed for the first backend fails for others too.
        if subject.backend in self._without_costs or (self._without_costs and not self.costs):
            return None
        settings = replace(subject.settings, threads=1, options=())
        subject = replace(subject, vcpus=1, settings=settings, workers=1, max_batch=1, batch_delay_us=0)
        return self._twice(lambda: self._surveyed(subject))

    def _surveyed(self, subject: Configuration) -> EndpointCosts | None:
        limit_s, doing = self._limit_of_a_survey_s(), "timing requests to an endpoint"
        over_s = self.clock.elapsed_s + self.clock.left_s
        with (
            self._step("endpoint_costs", subject) as step,
            counting_down(self.progress, doing, self._moment, limit_s),
        ):
            try:
                with self._at_most(limit_s):
                    costs = self.measurer.survey_endpoint(self._survey_of(subject), step.attempt)
            except (MeasurementError, BackendError) as error:
                self._check_lost(step, error)
                self._check_time(step, error, doing, over_s)
                self.log.finish(step, status="FAILED", reason=_reason(error))
                self._without_costs.add(subject.backend)
                return None
            self.log.finish(step, status="COMPLETED", result=costs)
        self.costs[subject.backend] = costs
        return costs

    def _survey_of(self, subject: Configuration) -> SurveyEndpoint:
        """Return the order for a survey of an endpoint of ``subject``."""
        most = max(
            (configuration.max_batch for configuration in (self.search.space.grid if self.search else ())), default=1
        )
        timed = self._timed(subject)
        return SurveyEndpoint(
            subject=subject,
            max_batch=most,
            service=None if timed is None else timed[0],
            rate_per_s=rate_of_survey(self.request),
        )

    def _timed(self, configuration: Configuration) -> tuple[ServiceTimes, bool] | None:
        """Return the calls of ``configuration``, and whether they are its own; None where none were timed."""
        return None if self.search is None else self.search.survey.service_times(configuration)

    def _step(
        self, kind: StepKind, configuration: Configuration, attempt: Attempt | None = None
    ) -> AbstractContextManager[Step]:
        """Begin a step that the measurer will carry out, by ``attempt`` if told."""
        attempt = attempt or self.measurer.attempt()
        return self.log.step(kind, configuration.backend, configuration, attempt=attempt)

    def _test(self, configuration: Configuration, task: StepTask, slot: CpuSlot = ANYWHERE) -> Trial | None:
        """Make a load test, as a step, and return it; None if it could not be made. Raises OutOfTime."""
        with self._lock:
            self.clock.tests += 1
            at = self._moment()
        result = self._carry_out(configuration, task, "asked", slot, begins=at)
        return result if isinstance(result, Trial) else None

    def _carry_out(
        self,
        configuration: Configuration,
        task: StepTask,
        started: Started,
        slot: CpuSlot = ANYWHERE,
        *,
        begins: Moment | None = None,
    ) -> Trial | FailedTrial:
        """Put what is ``started`` under load, as a step, which is reported as it ``begins``, and when it ends. Raises
        OutOfTime and AgentLost."""
        return self._twice(lambda: self._put_under_load(configuration, task, started, slot, begins))

    def _put_under_load(
        self,
        configuration: Configuration,
        task: StepTask,
        started: Started,
        slot: CpuSlot,
        begins: Moment | None,
        *,
        attempt: Attempt | None = None,
    ) -> Trial | FailedTrial:
        costs = self._costs_to_predict(configuration) if task.kind in TESTS else None
        in_time_s = self.clock.left_s - task.kept_s
        # What its closed loop leaves for the open one is not there for it either.
        over_s = self.clock.elapsed_s + in_time_s - kept_for_rate_s(task.request, task.durations)
        with self._step(task.kind, configuration, attempt) as step:
            if begins is not None:
                self.progress.testing(configuration, replace(begins, step=step.number))
            try:
                if costs is None and task.kind in TESTS and self.is_predicted(configuration):
                    raise MeasurementError("what requests cost in an endpoint could not be measured")
                order = self._load_of(configuration, task, started, step, costs)
                with (
                    counting_down(self.progress, f"step {step.number}", self._moment, task.limit_s),
                    self._at_most(min(task.limit_s, in_time_s)),
                ):
                    trial = self.measurer.load(order, step.attempt, slot=slot)
            except (MeasurementError, BackendError) as error:
                self._check_lost(step, error)
                self._check_time(step, error, task.called, over_s)
                self.log.finish(step, status="FAILED", reason=_reason(error))
                self._give_up_if_it_hangs(configuration, error)
                result: Trial | FailedTrial = FailedTrial(configuration=configuration, reason=str(error))
            else:
                self.log.finish(step, status="COMPLETED", result=trial)
                result = trial
        moment = self._moment(result if task.kind in TESTS else None)
        self.progress.tested(result, replace(moment, step=step.number))
        return result

    def _load_of(
        self, configuration: Configuration, task: StepTask, started: Started, step: Step, costs: EndpointCosts | None
    ) -> Load:
        """Return the order for what ``step`` is."""
        return Load(
            configuration=configuration,
            request=task.request,
            durations=task.durations,
            started=started,
            memory_bytes=None if self.search is None else self.search.space.memory_bytes(configuration),
            seed=self._seed(task, step),
            step=step.number,
            runs=task.runs,
            spare_s=task.spare_s,
            instances=task.instances,
            nth_round=task.nth_round,
            chances=task.chances,
            costs=costs,
            timed=None if costs is None else self._timed(configuration),
        )

    def _seed(self, task: StepTask, step: Step) -> int:
        """Return the seed of the arrivals of ``step``: its own, or that of its round, since those that take turns are
        compared."""
        if task.nth_round is None:
            return self._seed_of(step)
        return derived_seed(self.request.seed, _OF_ROUND, task.nth_round)

    def _seed_of(self, step: Step) -> int:
        return derived_seed(self.request.seed, _OF_STEP, step.number)

    def _at_most(self, seconds: float) -> AbstractContextManager[None]:
        """Return a context in which nothing takes longer than ``seconds``."""
        ends_s = self.clock.elapsed_s + seconds
        return time_limit(lambda: ends_s - self.clock.elapsed_s)

    def _limit_of_a_survey_s(self) -> float:
        """Return how long the costs of an endpoint may be measured."""
        share_s = self.clock.share_s(TIMES_USUAL * SURVEY_S)
        if self.search is None:
            return share_s
        before_test_s = self.search.trying_until_s() - self.search.test_s - self.clock.elapsed_s
        usual_s = SURVEY_S * self.clock.slowness.times
        return tasks.survey_limit_s(share_s, before_test_s=before_test_s, usual_s=usual_s)

    def _limit_of_a_test_s(self) -> float:
        """Return how long a test of the search may take: the first as long as there is, since without it there is no
        answer."""
        if self.search is None or not self.search.trials:
            return self.clock.left_s
        return self.clock.share_s(TIMES_USUAL * self.search.test_s)

    def _kept_of_a_test_s(self) -> float:
        """Return how much of the job's time a test of the search leaves for the confirmation and what follows: as much
        as that takes, or what a usual test leaves of it. The first leaves nothing."""
        if self.search is None or not self.search.trials:
            return 0.0
        return max(0.0, min(self.search.kept_for_the_end_s(), self.clock.left_s - self.search.test_s))

    def _twice(self, measure: Callable[[], _T]) -> _T:
        """Return what ``measure`` gives. It is begun once more where the agent that was asked is lost: that may have
        been the end of the agent, and not of what it measured."""
        try:
            return measure()
        except AgentLost:
            return measure()

    def _check_lost(self, step: Step, error: MeasurementError | BackendError) -> None:
        """Raise AgentLost where ``step`` failed because the agent that was to carry it out is lost."""
        if isinstance(error, AgentLost):
            self.log.finish(step, status="FAILED", reason=f"{LOST}{error.message}")
            raise error

    def _check_time(self, step: Step, error: MeasurementError | BackendError, called: str, over_s: float) -> None:
        """Raise OutOfTime where ``step`` did not end because the job's time for it is over, as it is after ``over_s``
        of the job."""
        if isinstance(error, TimedOut) and self.clock.elapsed_s >= over_s:
            self.log.finish(step, status="FAILED", reason=OUT_OF_TIME)
            raise OutOfTime(called) from error

    def _give_up_if_it_hangs(self, configuration: Configuration, error: MeasurementError | BackendError) -> None:
        """Give up the backend where one worker of it does not answer one request: others would not answer either."""
        simple = (configuration.workers, configuration.settings.threads, configuration.max_batch) == (1, 1, 1)
        if simple and isinstance(error, TimedOut) and self.search is not None:
            self.search.give_up(configuration)
            self.remarks.append(f"{configuration.backend} was given up: {error}")

    def _costs_to_predict(self, configuration: Configuration) -> EndpointCosts | None:
        """Return the costs with which tests of ``configuration`` are predicted, measured first where none are known;
        None where such tests are not predicted."""
        if not self.is_predicted(configuration):
            return None
        return costs_for(configuration.backend, self.costs) or self.endpoint_costs(configuration)

    def _moment(self, ended: Trial | FailedTrial | None = None) -> Moment:
        """Return the progress of the job, now that a test has ``ended``."""
        if self.search is None:
            return before_search(self.clock)
        return self.search.moment(ended if isinstance(ended, Trial) else None)

    def _check_stopped(self) -> None:
        """Raise JobStopped where the job was asked to stop."""
        if self.log.stop_requested():
            raise JobStopped


def _reason(error: MeasurementError | BackendError) -> str:
    """Return the error in words, with the tail of what a crashed worker said."""
    stderr = str(getattr(error, "stderr", "") or "").strip()
    return f"{error} (it said: {stderr[-_MAX_STDERR_SHOWN:]})" if stderr else str(error)
