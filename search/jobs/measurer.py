"""Whatever carries the orders of a job out: this process, on its own host, or an agent elsewhere.

What is ordered, and what a job keeps of it, is for ``job_bench``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Protocol

from servefit.errors import StateError, TimedOut
from servefit.profiler.arrivals.seeds import derived_seed
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.capacity.predicted_endpoint import predicted_endpoint
from servefit.search.jobs.compile_candidates import choices, compile_candidates
from servefit.search.jobs.cpu_slots import ANYWHERE
from servefit.search.jobs.deployments import Deployments
from servefit.search.optimizer.call_timing import longest_call_ns, rate_in_process, time_service
from servefit.search.optimizer.endpoint_survey import MAX_JOINED, survey_endpoint
from servefit.search.results.confirmed_trial import ConfirmationTest, confirmed_trial
from servefit.search.results.measure_trial import run_test
from servefit.search.storage.job_folder import keep_measurement
from servefit.time_limit import time_left_s

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from servefit.backends.payload import Payload
    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Measurement
    from servefit.search.jobs.compile_candidates import CompilationLog, CompiledCandidates
    from servefit.search.jobs.cpu_slots import CpuSlot
    from servefit.search.jobs.orders import Load, SurveyEndpoint, TimeCalls
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.space import Choice
    from servefit.search.results.recommendation import Trial
    from servefit.search.simulation.endpoint import EndpointCosts
    from servefit.search.storage.header import JobHeader
    from servefit.search.storage.steps import Attempt


class Measurer(Protocol):
    """Whatever measures for a job, on one host at a time. Each order belongs to a step that has begun, and was given
    its ``attempt``; it has to be done within the time limits around the call. All methods raise BackendError and
    MeasurementError."""

    remarks: list[str]
    """Remarks on the measurement that a reader of the job must know."""

    def attempt(self) -> Attempt | None:
        """Return a new attempt, for a step that is about to begin; None where this process measures itself."""
        ...

    def compile(self, clock: Clock, progress: Progress) -> tuple[CompiledCandidates, tuple[Choice, ...]]:
        """Compile the model with every backend that takes part, each a step of the job, and return what came of it, and
        the artifacts with their knobs."""
        ...

    def time_calls(self, order: TimeCalls, attempt: Attempt | None, /) -> ServiceTimes:
        """Time calls."""
        ...

    def survey_endpoint(self, order: SurveyEndpoint, attempt: Attempt | None, /) -> EndpointCosts:
        """Measure what requests cost in an endpoint."""
        ...

    def load(self, order: Load, attempt: Attempt | None, /, slot: CpuSlot = ANYWHERE) -> Trial:
        """Put a configuration under load, on the CPUs of ``slot``."""
        ...


@dataclass(slots=True, kw_only=True)
class LocalMeasurer:
    """The measurer of this host, for the job that ``log`` keeps. What tests recorded goes to ``folder``."""

    header: JobHeader
    payload: Payload
    folder: Path
    log: CompilationLog
    remarks: list[str] = field(default_factory=list)
    deployments: Deployments = field(init=False)

    def __post_init__(self) -> None:
        self.deployments = Deployments(header=self.header, payload=self.payload)

    def attempt(self) -> None:
        """Return None; see ``Measurer``."""
        return

    def compile(self, clock: Clock, progress: Progress) -> tuple[CompiledCandidates, tuple[Choice, ...]]:
        """Compile; see ``Measurer``. Raises JobStopped, StateError and StorageError besides."""
        compiled = compile_candidates(self.log, self.payload, clock, progress)
        self.deployments.artifacts = compiled.artifacts
        return compiled, choices(self.header.model, compiled.artifacts, self.header.profiles)

    def time_calls(self, order: TimeCalls, _attempt: Attempt | None = None, /) -> ServiceTimes:
        """Time calls; see ``Measurer``."""
        with self.deployments.workers(order.subject, memory_bytes=order.memory_bytes) as workers:
            request = self.header.request
            return time_service(
                workers,
                order.sizes,
                rate_per_s=rate_in_process(request),
                seed=order.seed,
                longest_ns=longest_call_ns(request),
            )

    def survey_endpoint(self, order: SurveyEndpoint, _attempt: Attempt | None = None, /) -> EndpointCosts:
        """Measure what requests cost in an endpoint; see ``Measurer``."""
        service = order.service
        if service is None:
            sizes = sorted({1, min(order.max_batch, MAX_JOINED)})
            with self.deployments.workers(replace(order.subject, max_batch=sizes[-1])) as workers:
                service = time_service(workers, sizes)
        return survey_endpoint(
            self.deployments.endpoint,
            order.subject,
            service,
            rows=self.header.request.rows_per_request,
            request_bytes=self.deployments.request_bytes,
            form=self.deployments.form,
            max_batch=order.max_batch,
            rate_per_s=order.rate_per_s,
            seed=self.header.request.seed,
        )

    def load(self, order: Load, _attempt: Attempt | None = None, /, slot: CpuSlot = ANYWHERE) -> Trial:
        """Put a configuration under load; see ``Measurer``."""
        parts = self._tested(order, slot)
        trial = confirmed_trial(
            parts,
            order.request,
            chances=order.chances,
            instances=order.instances,
            keep=lambda measurement: self._keep(measurement, order.step),
        )
        if order.costs is None:
            return trial
        closed = next((run for run in parts[0].measurement.runs if not isinstance(run.traffic, OpenLoop)), None)
        return predicted_endpoint(trial, order.costs, order.request, timed=order.timed, closed=closed)

    def _tested(self, order: Load, slot: CpuSlot) -> Sequence[ConfirmationTest]:
        """Make the tests of ``order``, as many as there is time for, and no more after one that fails."""
        parts: list[ConfirmationTest] = []
        quickest_s = inf
        for nth in range(order.runs):
            recorded: list[Measurement] = []
            began_s = time.monotonic()
            try:
                with self._start(order, slot) as driver:
                    trial = run_test(
                        driver,
                        order.request,
                        self.header.host,
                        order.durations,
                        spare_s=order.spare_s if nth == order.runs - 1 else 0.0,
                        seed=derived_seed(order.seed, nth),
                        instances=parts[0].trial.instance_count if parts else order.instances,
                        nth_round=order.nth_round,
                        chances=order.chances,
                        keep=recorded.append,
                    )
            except TimedOut:
                if not parts:
                    raise
                break
            parts.append(ConfirmationTest(trial=trial, measurement=recorded[0]))
            quickest_s = min(quickest_s, time.monotonic() - began_s)
            if trial.verdict == "FAIL" or time_left_s() < quickest_s:
                break
        return parts

    def _start(self, order: Load, slot: CpuSlot) -> AbstractContextManager[MeasuredDriver]:
        if order.started == "other":
            return self.deployments.other(order.configuration, memory_bytes=order.memory_bytes)
        return self.deployments.asked_for(order.configuration, slot, memory_bytes=order.memory_bytes)

    def _keep(self, measurement: Measurement, step: int) -> str | None:
        """Keep raw samples, and return where, None where that is not possible."""
        try:
            return keep_measurement(measurement, self.folder, step)
        except StateError as error:  # a full disk is no reason to lose the answer
            self.remarks.append(f"raw samples were not kept: {error}")
            return None
