"""The measurer of a class of hosts: its agents carry out what is ordered, and its progress names the host.

``settle`` has done with the orders of a job whose owner was killed: their agents' answers count, also those that come
now.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, TypeVar

from servefit.errors import AgentLost, BackendError, MeasurementError, SpecError, StorageError
from servefit.profiler.queueing.service import ServiceTimes
from servefit.quantities import span_text
from servefit.search.fleet.checks.rates import TimedCalls
from servefit.search.fleet.compiling import Compile, Compiled
from servefit.search.fleet.dispatcher import REFUSED, USUAL_S
from servefit.search.fleet.orders import Order
from servefit.search.fleet.selection import AWAY
from servefit.search.jobs.compile_candidates import CompiledCandidates
from servefit.search.jobs.cpu_slots import ANYWHERE
from servefit.search.jobs.orders import Load
from servefit.search.optimizer.progress import before_search
from servefit.search.results.recommendation import CompilationReport, Trial
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.search.storage.class_log import ClassLog
from servefit.search.storage.steps import LOST, Attempt
from servefit.time_limit import time_left_s

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.fleet.dispatcher import Dispatcher
    from servefit.search.fleet.host import HostState
    from servefit.search.fleet.orders import Ordered
    from servefit.search.jobs.cpu_slots import CpuSlot
    from servefit.search.jobs.orders import SurveyEndpoint, TimeCalls
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.progress import Moment, Progress
    from servefit.search.request.space import Choice
    from servefit.search.results.recommendation import FailedTrial
    from servefit.search.storage.log import JobLog
    from servefit.search.storage.steps import Step


def settle(log: JobLog, dispatcher: Dispatcher) -> None:
    """Have done with the steps that agents were at when an earlier owner of the job ended. They are waited for; where
    that is interrupted, their agents end them."""
    begun = [(step, step.attempt) for step in log.steps() if step.status == "RUNNING" and step.attempt is not None]
    try:
        for step, attempt in begun:
            _settle(log, dispatcher, step, attempt)
    except BaseException:
        hosts = {attempt.token: attempt.host for _, attempt in begun}
        with suppress(StorageError):  # the database is gone, and with it whatever could tell the agents
            dispatcher.withdraw(*hosts, hosts=hosts)
        raise


def _settle(log: JobLog, dispatcher: Dispatcher, step: Step, attempt: Attempt) -> None:
    try:
        calls = partial(timed_calls, ClassLog(log, log.header.representative_of(attempt.host).name), attempt.host)
        answer = dispatcher.wait_for(attempt.token, attempt.host, calls=calls)
    except AgentLost as error:
        log.finish(step, status="FAILED", reason=f"{LOST}{error.message}")
        return
    if answer.failure is not None:
        log.finish(step, status="FAILED", reason=answer.failure.as_error().message)
    elif isinstance(answer.result, Trial) and answer.result.configuration != step.configuration:
        log.finish(step, status="FAILED", reason=f"{LOST}{attempt.host} was asked for something else")
    elif isinstance(answer.result, ServiceTimes | EndpointCosts | Trial):
        log.finish(step, status="COMPLETED", result=answer.result)


@dataclass(frozen=True, slots=True)
class OfHost:
    """A listener that passes on to ``progress`` what happens on ``host``; see ``Progress``."""

    progress: Progress
    host: str

    def stage(self, text: str, at: Moment | None = None) -> None:
        """Pass on that a stage began on the host."""
        self.progress.stage(f"{self.host}: {text}", at)

    def timing(self, configuration: Configuration, at: Moment) -> None:
        """Pass on that calls are timed."""
        self.progress.timing(configuration, at)

    def testing(self, configuration: Configuration, at: Moment) -> None:
        """Pass on that a test begins."""
        self.progress.testing(configuration, at)

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        """Pass on what came of a test."""
        self.progress.tested(trial, at)


_Result = TypeVar("_Result")


def timed_calls(log: ClassLog, host: str) -> TimedCalls:
    """Return the calls that were timed on ``host`` or hosts of its class, for the job that ``log`` is of."""
    return TimedCalls(
        timing=log.timing_of(host),
        timed=[
            (step.configuration, step.result)
            for step in log.steps()
            if step.configuration is not None and isinstance(step.result, ServiceTimes)
        ],
    )


LOOK_S = 1.0
"""Between two looks for an agent where there is none."""

SILENT_S = 20.0
"""An agent that is silent for so long is told of: it should have been heard of twice. Chosen, not measured."""


@dataclass(slots=True, kw_only=True)
class FleetMeasurer:
    """The measurer of the class that ``log`` is of, whose ``hosts`` are asked one at a time: the first, until its agent
    is lost, then the next. ``clock`` is not spent while something else measures on the host."""

    log: ClassLog
    dispatcher: Dispatcher
    hosts: tuple[str, ...]
    clock: Clock
    progress: Progress
    remarks: list[str] = field(default_factory=list)
    _lost: dict[str, int] = field(default_factory=dict)

    def attempt(self) -> Attempt:
        """Return a new attempt of the agent whose turn it is; see ``Measurer``. Where none of them is there they are
        waited for, as long as an agent that is silent is, and while the job has time. Raises AgentLost where none
        comes."""
        began_s = time.monotonic()
        while not (candidates := self._candidates()):
            waited_s = time.monotonic() - began_s
            if self.log.stop_requested() or waited_s > self.dispatcher.leases.lost_s or self.clock.left_s <= 0:
                raise AgentLost(self.hosts[0], "there is no agent" + (" of its class" if len(self.hosts) > 1 else ""))
            self.progress.stage("waiting for an agent", before_search(self.clock))
            time.sleep(LOOK_S)
        chosen = min(candidates, key=lambda state: self._lost.get(state.host.name, 0))
        return Attempt(token=secrets.token_hex(16), host=chosen.host.name, agent=chosen.process)

    def attempt_on(self, host: str) -> Attempt:
        """Return a new attempt of the agent of that host of the class. Raises AgentLost where it is not there."""
        there = {state.host.name: state for state in self._candidates()}
        if host not in there:
            raise AgentLost(host, "its agent is not there")
        return Attempt(token=secrets.token_hex(16), host=host, agent=there[host].process)

    def _candidates(self) -> list[HostState]:
        there = {state.host.name: state for state in self.dispatcher.registry.hosts()}
        return [there[name] for name in self.hosts if name in there and there[name].status not in AWAY]

    def compile(self, clock: Clock, progress: Progress) -> tuple[CompiledCandidates, tuple[Choice, ...]]:
        """Compile, as ``Measurer`` says. Hosts of the class that measure later find artifacts in their own caches."""
        before = tuple(step.result for step in self.log.steps() if isinstance(step.result, CompilationReport))
        attempt = self.attempt()
        progress.stage("compiling", before_search(clock))
        compiled = self._ask(Compile(before=before), attempt, Compiled)
        for report, began_at, ended_at in compiled.reports:
            with self.log.step("compilation", report.backend, None, attempt=attempt) as step:
                took = replace(step, began_at=step.began_at - (ended_at - began_at))
                self.log.finish(took, status=report.status, result=report, reason=report.reason)
        choices = tuple(choice.as_choice() for choice in compiled.choices)
        artifacts = {(choice.artifact.backend, choice.artifact.target): choice.artifact for choice in choices}
        candidates = CompiledCandidates(
            artifacts=list(artifacts.values()), skipped=list(compiled.skipped), remarks=list(compiled.remarks)
        )
        return candidates, choices

    def time_calls(self, order: TimeCalls, attempt: Attempt | None, /) -> ServiceTimes:
        """Time calls; see ``Measurer``. Raises AgentLost."""
        return self._ask(order, attempt, ServiceTimes)

    def survey_endpoint(self, order: SurveyEndpoint, attempt: Attempt | None, /) -> EndpointCosts:
        """Measure what requests cost in an endpoint; see ``Measurer``. Raises AgentLost."""
        return self._ask(order, attempt, EndpointCosts)

    def load(self, order: Load, attempt: Attempt | None, /, slot: CpuSlot = ANYWHERE) -> Trial:
        """Put a configuration under load; see ``Measurer``. Raises AgentLost, and SpecError for CPUs that are chosen
        here: those of the host are for its agent to choose."""
        if slot is not ANYWHERE:
            raise SpecError("max_parallel_tests", None, "is for one host, which a fleet has more of")
        return self._ask(order, attempt, Trial)

    def _ask(self, asked: Ordered, attempt: Attempt | None, kind: type[_Result]) -> _Result:
        """Have ``attempt`` carry out what is asked, and return what comes of it."""
        if attempt is None:
            raise RuntimeError("an agent carries out attempts of its own alone")
        left_s = min(time_left_s(), self.clock.left_s)
        order = Order(
            token=attempt.token,
            host=attempt.host,
            job=self.log.name,
            asked=asked,
            limit_s=max(0.0, left_s) if isfinite(left_s) else None,
            elapsed_s=self.clock.elapsed_s,
            model_digest=self.log.header.model.digest,
        )
        try:
            answer = self.dispatcher.ask(
                order,
                expected_s=_expected_s(asked),
                left_s=lambda: self.clock.left_s,
                on_state=self._tell,
                calls=lambda: timed_calls(self.log, attempt.host),
            )
        except AgentLost as lost:
            self._lost[attempt.host] = self._lost.get(attempt.host, 0) + 1
            if lost.reason.startswith(REFUSED):
                self.remarks.append(lost.reason)
            raise
        self.clock.leave_out(answer.waited_s)
        self.remarks.extend(answer.remarks)
        if answer.failure is not None:
            error = answer.failure.as_error()
            if isinstance(error, BackendError | MeasurementError):
                raise error
            # The error is of its disk, its database or its copy of the model, not of the measurement.
            raise AgentLost(attempt.host, error.message)
        if not isinstance(answer.result, kind):
            raise AgentLost(attempt.host, f"its agent answered with something else: {type(answer.result).__name__}")
        return answer.result

    def _tell(self, state: HostState) -> None:
        """Say what a host is at that does not measure for this job."""
        if state.status == "waiting":
            self.progress.stage(state.doing, before_search(self.clock))
        elif state.silent_s >= SILENT_S:
            self.progress.stage(f"silent for {span_text(state.silent_s)}", before_search(self.clock))


def _expected_s(asked: Ordered) -> float:
    """Return the seconds that carrying out what is asked is expected to take. Its limit does not say that: it may be
    all that is left of the job's time."""
    if isinstance(asked, Load):
        return USUAL_S + asked.runs * (asked.durations.capacity_s + asked.durations.at_rate_max_s)
    return USUAL_S
