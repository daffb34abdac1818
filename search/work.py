"""A job at work: compiles, measures on real workers, and keeps every step as it begins and as it ends.

So an interruption loses nothing but the step that ran, and a job that is taken up again begins with all that its steps
know. What is measured, and in which order, is decided in ``searching``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from servefit.errors import BackendError, MeasurementError, StateError
from servefit.profiler.measuring import endpoint_for, workers_for
from servefit.search import over_http
from servefit.search.changing import changes
from servefit.search.compiling import choices, compile_candidates
from servefit.search.header import JobState
from servefit.search.job import JobStopped, crashed, keep_measurement, trials_of
from servefit.search.places import ANYWHERE, Place, Places
from servefit.search.progress import before_search
from servefit.search.recommendation import FailedTrial, Trial
from servefit.search.searching import Search
from servefit.search.sla import Sla
from servefit.search.space import Batching, Space
from servefit.search.steps import TESTS
from servefit.search.survey import time_service
from servefit.search.testing import ROUND, SCREENING, run_test
from servefit.search.trials import StudyOfTrials
from servefit.search.warm_start import remember, service_times_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact
    from servefit.profiler.driver import MeasuredDriver
    from servefit.profiler.inprocess.workers import Workers
    from servefit.profiler.types import Configuration, Measurement
    from servefit.search.clock import Clock
    from servefit.search.header import JobHeader, Status
    from servefit.search.progress import Moment, Progress
    from servefit.search.queueing.service import ServiceTimes
    from servefit.search.recommendation import Skipped
    from servefit.search.request import JobRequest
    from servefit.search.steps import Kind, Step
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.log import JobLog
    from servefit.search.testing import Durations

_STDERR_SHOWN = 400


@dataclass(slots=True, kw_only=True)
class Work:
    """What a job knows while it runs. It is the bench of its search."""

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
    places: Places = field(init=False)
    study: StudyOfTrials | None = None
    taken_up_s: float = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.places = Places(self.header.host)
        self.taken_up_s = self.clock.elapsed_s

    @property
    def header(self) -> JobHeader:
        return self.log.header

    @property
    def request(self) -> JobRequest:
        return self.header.request

    def carry_out(self) -> None:
        """Do everything that is left to do. Raises JobStopped, StateError and StorageError."""
        self.steps_before = self.log.steps()
        self.log.set_state(self.state("IN_PROGRESS"))
        if not self.header.profiles:
            return
        self.artifacts, left_out = compile_candidates(self.log, self.payload, self.clock, self.progress)
        self.skipped.extend(left_out)
        space = Space.of(
            self.header.profiles,
            choices(self.header.model, self.artifacts, self.header.profiles),
            self.request.environment,
            self.header.host.gpus,
            Batching.of(self.request, batch_dependent=self.header.model.batch_dependent),
        )
        if not space.grid:
            return
        self.study = StudyOfTrials(self.log, space.grid, seed=self.request.seed)
        self.search = self._begin_search(space.only(self.study.holds))
        self.log.set_state(self.state("IN_PROGRESS"))
        self.search.carry_out()
        if self.request.over_http:
            self._measure_over_http(self.search)

    def _begin_search(self, space: Space) -> Search:
        """A search that begins with what earlier runs of this job know, and with what earlier jobs knew of the same
        model here."""
        steps = self.steps_before
        memory = remember(self.store, self.header, self.artifacts, space.grid)
        if memory.trials:
            self.remarks.append(f"the search began with what {len(memory.trials)} tests of earlier jobs had measured")
        return Search(
            space=space,
            request=self.request,
            reference=self.header.model.reference,
            clock=self.clock,
            bench=self,
            progress=self.progress,
            service_times={**memory.service_times, **service_times_of(steps)},
            earlier=memory.trials,
            usual_s=memory.usual_s,
            trials=list(trials_of(steps, TESTS)),
            failed=crashed(steps, TESTS),
            confirmed={
                one.configuration
                for one in steps
                if one.kind == "confirmation"
                and one.configuration is not None
                and isinstance(one.result, Trial)
                and one.result.round is None
            },
            closing_s=lambda winner: over_http.closing_s(winner, self.header.host, self.request),
            untimeable={replace(one, max_batch=1) for one in crashed(steps, ("service_time",))},
        )

    def state(self, status: Status) -> JobState:
        """How far the job is, to be kept. While it goes on its time is counted by whoever reads it."""
        search = self.search
        elapsed_s = self.taken_up_s if status == "IN_PROGRESS" else self.clock.elapsed_s
        if search is None:
            return JobState(
                status=status,
                elapsed_s=elapsed_s,
                skipped=tuple(self.skipped),
                remarks=tuple(dict.fromkeys(self.remarks)),
            )
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

    def time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        self._check_stopped()
        memory_bytes = max(one.memory_bytes for one in self.header.profiles if one.vcpus >= subject.vcpus)
        with self.log.step("service_time", subject.backend, subject) as step:
            try:
                with self._workers(subject, memory_bytes) as workers:
                    found = time_service(workers, sizes)
            except (MeasurementError, BackendError) as error:
                self.log.finish(step, status="FAILED", reason=_reason(error))
                return None
            self.log.finish(step, status="COMPLETED", result=found)
        return found

    def load_tests(self, batch: Sequence[Configuration]) -> Mapping[Configuration, Trial | None]:
        self._check_stopped()
        if self.study is None:
            raise RuntimeError("there is no study before the search begins")
        places = dict.fromkeys(batch, ANYWHERE)
        if len(batch) > 1:
            side_by_side = self.places.side_by_side([one.vcpus for one in batch])
            if side_by_side is None:
                raise RuntimeError(f"{len(batch)} tests have no CPUs of their own")
            places.update(zip(batch, side_by_side, strict=True))
        results: dict[Configuration, Trial | None] = {}

        def measure(configuration: Configuration) -> Trial | None:
            results[configuration] = self._test(configuration, "load_test", SCREENING, place=places[configuration])
            return results[configuration]

        self.study.carry_out(batch, measure)
        return results

    def in_turn(self, configuration: Configuration, nth_round: int, instances: int) -> Trial | None:
        self._check_stopped()
        asked = _in_turns(self.request, instances)
        return self._test(configuration, "confirmation", ROUND, request=asked, nth_round=nth_round)

    def confirm(self, configuration: Configuration, durations: Durations) -> Trial | None:
        self._check_stopped()
        return self._test(configuration, "confirmation", durations)

    def at_once(self, vcpus: Sequence[int]) -> bool:
        return self.places.at_once(vcpus)

    def _measure_over_http(self, search: Search) -> None:
        """Measure the winner as the endpoint that it would be, unless an earlier run of the job has."""
        best = next(iter(search.recommendations()), None)
        done = {one.configuration for one in trials_of(self.steps_before, ("endpoint",))}
        if best is None or best.trial.verdict == "INVALID" or best.trial.configuration in done:
            return
        configuration, host = best.trial.configuration, self.header.host
        if reason := over_http.why_not(configuration, host, self.request, self.clock):
            self.remarks.append(f"the winner was not measured over HTTP: {reason}")
            return
        self._check_stopped()
        search.time_left.look("closing")
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
        result = self._carry_out("endpoint", configuration, endpoint, self.request, over_http.DURATIONS)
        if isinstance(result, FailedTrial):
            self.remarks.append(f"the winner could not be measured over HTTP: {result.reason}")

    def _test(
        self,
        configuration: Configuration,
        kind: Kind,
        durations: Durations,
        *,
        request: JobRequest | None = None,
        place: Place = ANYWHERE,
        nth_round: int | None = None,
    ) -> Trial | None:
        """One load test, as a step; None if it could not be made. ``request`` is the job's own unless one is given."""
        with self._lock:
            self.clock.tests += 1
            at = self.moment()
        workers = self._workers(configuration, self._memory_bytes(configuration), place)
        result = self._carry_out(
            kind, configuration, workers, request or self.request, durations, nth_round=nth_round, begins=at
        )
        return result if isinstance(result, Trial) else None

    def _carry_out(
        self,
        kind: Kind,
        configuration: Configuration,
        starting: AbstractContextManager[MeasuredDriver],
        request: JobRequest,
        durations: Durations,
        *,
        nth_round: int | None = None,
        begins: Moment | None = None,
    ) -> Trial | FailedTrial:
        """Put what is ``starting`` under load, as a step, which is told of as it ``begins``, and when it ends."""
        host = self.header.host
        with self.log.step(kind, configuration.backend, configuration) as step:
            if begins is not None:
                self.progress.testing(configuration, replace(begins, step=step.number))
            try:
                with starting as driver:
                    trial = run_test(
                        driver,
                        request,
                        host,
                        durations,
                        nth_round=nth_round,
                        keep=lambda measurement: self._keep(measurement, step),
                    )
            except (MeasurementError, BackendError) as error:
                self.log.finish(step, status="FAILED", reason=_reason(error))
                result: Trial | FailedTrial = FailedTrial(configuration=configuration, reason=str(error))
            else:
                self.log.finish(step, status="COMPLETED", result=trial)
                result = trial
        self.progress.tested(result, replace(self.moment(result), step=step.number))
        return result

    def _workers(
        self,
        configuration: Configuration,
        memory_bytes: int | None,
        place: Place = ANYWHERE,
    ) -> AbstractContextManager[Workers]:
        return workers_for(
            configuration,
            self._artifact(configuration),
            self.payload.rows,
            host=self.header.host,
            memory_bytes=memory_bytes,
            rows_per_request=self.request.rows_per_request,
            cpus=place.cpus,
            outside=place.outside,
        )

    def _memory_bytes(self, configuration: Configuration) -> int | None:
        return None if self.search is None else self.search.space.memory_bytes(configuration)

    def _keep(self, measurement: Measurement, step: Step) -> str | None:
        try:
            return keep_measurement(measurement, self.folder, step.number)
        except StateError as error:  # a full disk is no reason to lose the answer
            self.remarks.append(f"raw samples were not kept: {error}")
            return None

    def moment(self, ended: Trial | FailedTrial | None = None) -> Moment:
        """Where the job stands, now that a test has ``ended``."""
        if self.search is None:
            return before_search(self.clock)
        return self.search.moment(ended if isinstance(ended, Trial) and ended.driver == "inprocess" else None)

    def _check_stopped(self) -> None:
        """Raises JobStopped."""
        if self.log.stop_requested():
            raise JobStopped

    def _artifact(self, configuration: Configuration) -> Artifact:
        wanted = configuration.backend, configuration.target
        return next(one for one in self.artifacts if (one.backend, one.target) == wanted)


def _in_turns(request: JobRequest, instances: int) -> JobRequest:
    """What is asked of finalists in turns: how much they answer, and, where latency counts, how fast at their share of
    the rate."""
    rate_per_s = request.sla.rate_per_s if request.goal in ("latency", "balanced") else None
    return replace(request, sla=Sla(rate_per_s=None if rate_per_s is None else rate_per_s / instances))


def _reason(error: MeasurementError | BackendError) -> str:
    """The error in words, with the tail of what a crashed worker said."""
    stderr = str(getattr(error, "stderr", "") or "").strip()
    return f"{error} (it said: {stderr[-_STDERR_SHOWN:]})" if stderr else str(error)
