"""A job at work: compiles, measures on real workers, and keeps every step as it begins and as it ends.

So an interruption loses nothing but the step that ran, and a job that is taken up again begins with all that its steps
know. What is measured, and in which order, is decided in ``searching``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from servefit.errors import BackendError, MeasurementError, StateError
from servefit.profiler.measuring import workers_for
from servefit.search.changing import changes
from servefit.search.compiling import choices, compile_candidates
from servefit.search.header import JobState
from servefit.search.job import TESTS, crashed, keep_measurement
from servefit.search.places import Places
from servefit.search.queueing.service import ServiceTimes
from servefit.search.recommendation import FailedTrial, Trial
from servefit.search.searching import Search
from servefit.search.sla import Sla
from servefit.search.space import Batching, Space
from servefit.search.survey import time_service
from servefit.search.testing import ROUND, SCREENING, run_test
from servefit.search.trials import StudyOfTrials

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact
    from servefit.profiler.types import Configuration, Measurement
    from servefit.search.clock import Clock
    from servefit.search.header import JobHeader, Status
    from servefit.search.progress import Progress
    from servefit.search.recommendation import Skipped
    from servefit.search.request import JobRequest
    from servefit.search.steps import Kind, Step
    from servefit.search.storage.jobs import JobStore
    from servefit.search.storage.log import JobLog
    from servefit.search.testing import Durations, Place

_JOBS_LOOKED_THROUGH = 50
_JOBS_REMEMBERED = 3
_STDERR_SHOWN = 400


class Stopped(Exception):
    """Somebody asked for the job to stop."""


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
    artifacts: list[Artifact] = field(default_factory=list)
    search: Search | None = None
    places: Places = field(init=False)
    study: StudyOfTrials | None = None
    _lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.places = Places(self.header.host)

    @property
    def header(self) -> JobHeader:
        return self.log.header

    @property
    def request(self) -> JobRequest:
        return self.header.request

    def carry_out(self) -> None:
        """Do everything that is left to do. Raises Stopped, StateError and StorageError."""
        steps = self.log.steps()
        if not self.header.profiles:
            return
        self.artifacts, left_out = compile_candidates(self.log, self.payload, self.clock, self.progress)
        self.skipped.extend(left_out)
        space = Space.of(
            self.header.profiles,
            choices(self.header.model, self.artifacts, self.header.profiles),
            self.request.environment,
            self.header.host.gpus,
            Batching.of(self.request),
        )
        if not space.grid:
            return
        self.study = StudyOfTrials(self.log, space.grid, seed=self.request.seed)
        self.search = self._begin_search(space, steps)
        self.search.carry_out()

    def _begin_search(self, space: Space, steps: Sequence[Step]) -> Search:
        """A search that begins with what earlier runs of this job know, and with what earlier jobs knew of the same
        model here."""
        earlier = [one for past in self._earlier_jobs() for one in past.steps()]
        known = set(space.grid)
        past = [one.result for one in earlier if isinstance(one.result, Trial) and one.result.configuration in known]
        if past:
            self.remarks.append(f"the search began with what {len(past)} tests of earlier jobs had measured")
        return Search(
            space=space,
            request=self.request,
            reference=self.header.model.reference,
            clock=self.clock,
            bench=self,
            progress=self.progress,
            service_times={
                replace(one.configuration, max_batch=1): one.result
                for one in (*earlier, *steps)
                if isinstance(one.result, ServiceTimes) and one.configuration is not None
            },
            earlier=past,
            trials=[one.result for one in steps if isinstance(one.result, Trial)],
            failed=crashed(steps, TESTS),
            confirmed={
                one.configuration
                for one in steps
                if one.kind == "confirmation"
                and one.configuration is not None
                and isinstance(one.result, Trial)
                and one.result.round is None
            },
            untimeable={replace(one, max_batch=1) for one in crashed(steps, ("service_time",))},
        )

    def _earlier_jobs(self) -> list[JobLog]:
        """The last jobs with the same model, payload and host that are over, the oldest of them first."""
        mine = _subject(self.header)
        found = [
            one.name
            for one in self.store.overview()[:_JOBS_LOOKED_THROUGH]
            if one.name != self.log.name
            and one.header is not None
            and one.state is not None
            and one.state.status != "IN_PROGRESS"
            and _subject(one.header) == mine
        ]
        return [self.store.job(name) for name in found[:_JOBS_REMEMBERED][::-1]]

    def state(self, status: Status) -> JobState:
        """How far the job is, to be kept."""
        search = self.search
        if search is None:
            return JobState(
                status=status,
                elapsed_s=self.clock.elapsed_s,
                skipped=tuple(self.skipped),
                remarks=tuple(dict.fromkeys(self.remarks)),
            )
        untried = list(search.untried()) if search.trials else []
        remarks = [f"not tried for lack of tests or time: {', '.join(untried)}"] if untried else []
        best = next(iter(search.recommendations()), None)
        service = None if best is None else search.survey.service_times(best.trial.configuration)
        return JobState(
            status=status,
            elapsed_s=self.clock.elapsed_s,
            skipped=tuple(self.skipped),
            remarks=tuple(dict.fromkeys([*remarks, *search.remarks, *self.remarks])),
            importance=tuple(search.importance().items()) if search.trials else (),
            speedups=tuple(search.survey.speedups(self.header.model.reference)),
            changes=changes(best, None if service is None else service[0], self.request)
            if best is not None and best.trial.verdict == "FAIL"
            else (),
        )

    def time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        self._check_stopped()
        memory_bytes = max(one.memory_bytes for one in self.header.profiles if one.vcpus >= subject.vcpus)
        with self.log.step("service_time", subject.backend, subject) as step:
            try:
                with workers_for(
                    subject,
                    self._artifact(subject),
                    self.payload.rows,
                    host=self.header.host,
                    memory_bytes=memory_bytes,
                    rows_per_request=self.request.rows_per_request,
                ) as workers:
                    found = time_service(workers, sizes)
            except (MeasurementError, BackendError) as error:
                self.log.finish(step, status="FAILED", reason=_reason(error))
                return None
            self.log.finish(step, status="COMPLETED", result=found)
        return found

    def load_tests(self, batch: Sequence[Configuration]) -> Mapping[Configuration, Trial | None]:
        results: dict[Configuration, Trial | None] = {}
        side_by_side = None if len(batch) == 1 else self.places.side_by_side([one.vcpus for one in batch])
        places = dict(zip(batch, side_by_side or (None,) * len(batch), strict=True))

        def measure(configuration: Configuration) -> Trial | None:
            place = places[configuration]
            results[configuration] = self._test(configuration, "load_test", SCREENING, place=place)
            return results[configuration]

        if self.study is not None:
            self.study.carry_out(batch, measure)
        return results

    def in_turn(self, configuration: Configuration, nth_round: int) -> Trial | None:
        return self._test(configuration, "confirmation", ROUND, nth_round=nth_round)

    def confirm(self, configuration: Configuration, durations: Durations) -> Trial | None:
        return self._test(configuration, "confirmation", durations)

    def at_once(self, vcpus: Sequence[int]) -> bool:
        return self.places.at_once(vcpus)

    def _test(
        self,
        configuration: Configuration,
        kind: Kind,
        durations: Durations,
        *,
        place: Place | None = None,
        nth_round: int | None = None,
    ) -> Trial | None:
        """One load test, as a step; None if it could not be made."""
        self._check_stopped()
        with self._lock:
            self.clock.tests += 1
        with self.log.step(kind, configuration.backend, configuration) as step:
            try:
                trial = run_test(
                    configuration,
                    self._artifact(configuration),
                    self.payload.rows,
                    self.request if nth_round is None else _in_turns(self.request),
                    self.header.host,
                    durations,
                    memory_bytes=None if self.search is None else self.search.space.memory_bytes(configuration),
                    place=place,
                    nth_round=nth_round,
                    keep=lambda measurement: self._keep(measurement, step),
                )
            except (MeasurementError, BackendError) as error:
                self.log.finish(step, status="FAILED", reason=_reason(error))
                self._tell_progress(FailedTrial(configuration=configuration, reason=str(error)))
                return None
            self.log.finish(step, status="COMPLETED", result=trial)
        self._tell_progress(trial)
        return trial

    def _keep(self, measurement: Measurement, step: Step) -> str | None:
        try:
            return keep_measurement(measurement, self.folder, step.number)
        except StateError as error:  # a full disk is no reason to lose the answer
            self.remarks.append(f"raw samples were not kept: {error}")
            return None

    def _tell_progress(self, result: Trial | FailedTrial) -> None:
        clock = self.clock
        done = max(clock.tests / clock.test_limit, clock.elapsed_s / clock.limit_s)
        self.progress.tested(result, clock.tests, min(1.0, done))

    def _check_stopped(self) -> None:
        """Raises Stopped."""
        if self.log.stop_requested():
            raise Stopped

    def _artifact(self, configuration: Configuration) -> Artifact:
        wanted = configuration.backend, configuration.target
        return next(one for one in self.artifacts if (one.backend, one.target) == wanted)


def _subject(header: JobHeader) -> tuple[str, str, str, int]:
    """What jobs must share for one to learn from the other."""
    return header.model.digest, header.payload.digest, header.host.fingerprint, header.request.rows_per_request


def _in_turns(request: JobRequest) -> JobRequest:
    """What is asked of finalists in turns: how much they answer, and, where latency counts, how fast."""
    rate_per_s = request.sla.rate_per_s if request.goal in ("latency", "balanced") else None
    return replace(request, sla=Sla(rate_per_s=rate_per_s), phases=None)


def _reason(error: MeasurementError | BackendError) -> str:
    """The error in words, with the tail of what a crashed worker said."""
    stderr = str(getattr(error, "stderr", "") or "").strip()
    return f"{error} (it said: {stderr[-_STDERR_SHOWN:]})" if stderr else str(error)
