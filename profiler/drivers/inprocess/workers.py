"""The parent's side of the in-process driver: starts workers, hands them runs, and leaves nothing behind.

The memory that workers share is a memfd, which has no name; what their processes leave is the business of
``processes`` and of the envelope that they live in.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.variables.environment import worker_environment
from servefit.checks import check_whole
from servefit.errors import SpecError
from servefit.profiler.arrivals.contract import MAX_ARRIVALS
from servefit.profiler.drivers.driving.ending import ClosedLoopEnd, OpenLoopEnd
from servefit.profiler.drivers.driving.pinning import pinned_to
from servefit.profiler.drivers.driving.processes import WorkerProcesses
from servefit.profiler.drivers.driving.schedule import ArrivalSchedule
from servefit.profiler.drivers.driving.setup import write_setup
from servefit.profiler.drivers.inprocess.messages import (
    Loaded,
    WorkerBeginClosed,
    WorkerBeginOpen,
    WorkerPrepare,
    WorkerReady,
    WorkerRecord,
    WorkerSetup,
)
from servefit.profiler.drivers.inprocess.timing import CallTimes, WorkerTimeCalls
from servefit.profiler.drivers.inprocess.users import WaitingUsers
from servefit.profiler.evidence.backlog import offered_and_backlog
from servefit.profiler.evidence.plateaus import on_plateau
from servefit.profiler.machine.envelope.opening import open_envelope
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.machine.telemetry import watching
from servefit.profiler.record.traffic import NS_PER_S, OpenLoop, Traffic
from servefit.profiler.record.types import Configuration, Run, Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servefit.backends.types import Artifact
    from servefit.profiler.drivers.driving.ending import Enough
    from servefit.profiler.drivers.driving.memory import SharedWords
    from servefit.profiler.evidence.stopping import StoppingConditions
    from servefit.profiler.machine.envelope.types import EnvelopeMethod
    from servefit.profiler.record.traffic import ClosedLoop
    from servefit.profiler.record.types import Stopped, TelemetryPoint

_log = logging.getLogger(__name__)

BACKEND_LOADER = "servefit.backends.compilation:load_predictor"
"""The function that opens an artifact in a worker. Tests name another, to run predictors with known behaviour."""

MAX_WORKERS, MAX_THREADS = 1024, 1024
"""A typing error must not take the machine down."""

MAX_ROWS_A_CALL, MAX_BATCH_DELAY_US = 1_000_000, 10_000_000
"""Nor make a call that takes all memory, or a run that waits for ten seconds and more."""

_SERVE = "servefit.profiler.drivers.inprocess.serving:serve"
_SPIN_NS = 200_000
"""Waking up takes 0.1 ms, and at times twice as long."""

_LEAD_NS = 20_000_000
"""For the message that begins a run to reach every worker before it does."""


@contextmanager
def start_workers(
    configuration: Configuration,
    artifact: Artifact,
    rows: np.ndarray,
    *,
    cpus: tuple[int, ...],
    outside: tuple[int, ...] = (),
    memory_bytes: int | None = None,
    method: EnvelopeMethod | None = None,
    rows_per_request: int = 1,
    loader: str = BACKEND_LOADER,
    load_timeout_s: float = 60.0,
    grace_s: float = 30.0,
) -> Iterator[Workers]:
    """Start the workers of ``configuration`` and load ``artifact`` in each; all are gone on exit.

    They are held to ``cpus``, and to ``memory_bytes`` all together, by the best method that works here, or by
    ``method``; this thread moves to ``outside``, if there are any such CPUs, while they run. ``rows`` is the payload
    (n, features), of the datatype that the model's rows have. A run may take its duration and ``grace_s`` more, for the
    warm-up and the requests in flight. The measuring slot is held as long as there are workers.

    Raises what the loader raises if that is a ServefitError, else WorkerCrashed, OutOfMemory or TimedOut; SpecError for
    nonsense in the configuration; MeasurementError if ``method`` does not work here.
    """
    check_configuration(configuration, rows_per_request)
    # Facts may be any mapping, and not every one can be pickled.
    setup = WorkerSetup(
        import_path=tuple(sys.path),
        loader=loader,
        artifact=replace(artifact, facts=dict(artifact.facts)),
        settings=configuration.settings,
        rows=np.ascontiguousarray(rows),
        rows_per_request=rows_per_request,
        max_batch=configuration.max_batch,
    )
    with ExitStack() as stack:
        slot = stack.enter_context(measuring_slot(f"workers of {configuration.backend}"))
        memory_fd, setup_fd = os.memfd_create("servefit-run"), os.memfd_create("servefit-setup")
        stack.callback(os.close, memory_fd)
        stack.callback(os.close, setup_fd)
        write_setup(setup, setup_fd)
        envelope = stack.enter_context(open_envelope(cpus, memory_bytes, method=method))
        processes = WorkerProcesses(envelope, _SERVE, memory_fd, setup_fd, slot=slot)
        stack.callback(processes.end)
        environment = worker_environment(
            configuration.settings.threads, configuration.environment, gpu=configuration.gpu
        )
        for _ in range(configuration.workers):
            processes.launch(environment)
        loaded = processes.answers(Loaded, f"loading the artifact of {configuration.backend}", load_timeout_s)
        load_s = max(answer.load_ns for answer in loaded) / NS_PER_S
        yield Workers(configuration, processes, memory_fd=memory_fd, outside=outside, load_s=load_s, grace_s=grace_s)


def check_configuration(configuration: Configuration, rows_per_request: int) -> None:
    """Raise SpecError, naming the field, for a configuration that workers could never have."""
    check_counts(configuration.workers, configuration.settings.threads)
    delay_us = configuration.batch_delay_us
    check_calls(rows_per_request, configuration.max_batch, delay_us)
    if delay_us and configuration.max_batch == 1:
        raise SpecError("batch_delay_us", delay_us, "delays batches, and there are none", remedy="give a batch size")
    for name, content in configuration.environment:
        if not isinstance(content, str) or not name or "=" in name or "\0" in name + content:
            raise SpecError("environment", name, "cannot be an environment variable")


def check_counts(workers: int, threads: int) -> None:
    """Raise SpecError, naming the field, for a number of workers, or of threads a worker, that nobody could start."""
    check_whole("workers", workers, least=1, most=MAX_WORKERS)
    check_whole("threads", threads, least=1, most=MAX_THREADS)


def check_calls(rows_per_request: int, max_batch: int = 1, batch_delay_us: int = 0) -> None:
    """Raise SpecError, naming the field, for calls that workers would never make."""
    check_whole("rows_per_request", rows_per_request, least=1, most=MAX_ROWS_A_CALL)
    check_whole("batch", max_batch, least=1, most=MAX_ROWS_A_CALL // rows_per_request)
    check_whole("batch_delay_us", batch_delay_us, least=0, most=MAX_BATCH_DELAY_US)


class Workers:
    """Loaded workers, ready for runs. Made by :func:`start_workers`."""

    def __init__(
        self,
        configuration: Configuration,
        processes: WorkerProcesses,
        *,
        memory_fd: int,
        outside: tuple[int, ...],
        load_s: float,
        grace_s: float,
    ) -> None:
        self.configuration = configuration
        self.envelope = processes.envelope
        self.load_s = load_s
        self._processes = processes
        self._memory_fd = memory_fd
        self._outside = outside
        self._grace_s = grace_s

    @property
    def usual_users(self) -> int:
        """The number of users at once that keep every worker busy."""
        return self.configuration.workers * self.configuration.max_batch

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers."""
        return self._processes.pids

    def run(self, traffic: Traffic, *, enough: Enough | None = None, stopping: StoppingConditions | None = None) -> Run:
        """Warm up, carry out ``traffic`` once, and give what was recorded. Raises as :func:`start_workers` does.

        While an open loop goes on, ``enough`` is called now and then with the response times so far (int64 ns, in order
        of arrival, up to the first request without an answer) and the part of the time for which workers were serving
        (at most 1), and ends it by giving True. A closed loop ends when one of the conditions of ``stopping`` is
        reached; requests that were due by then still get their answer.
        """
        self._processes.send(WorkerPrepare())
        self._processes.answers(WorkerReady, f"the warm-up of {self.configuration.backend}", self._grace_s)
        if isinstance(traffic, OpenLoop):
            return self._run_open(traffic, enough)
        return self._run_closed(traffic, stopping)

    def time_calls(self, order: WorkerTimeCalls) -> tuple[CallTimes, ...]:
        """Have every worker time its predictor by itself, all at the same time. Raises as :func:`start_workers` does,
        and SpecError for calls of more requests than the configuration's batches hold."""
        check_whole("batch", order.requests_per_call, least=1, most=self.configuration.max_batch)
        self._processes.send(order)
        limit_s = order.warm_up_s + order.duration_s + self._grace_s
        return tuple(self._processes.answers(CallTimes, f"timing calls of {self.configuration.backend}", limit_s))

    def _run_open(self, traffic: OpenLoop, enough: Enough | None) -> Run:
        delay_ns = 1000 * self.configuration.batch_delay_us
        with ArrivalSchedule.write(
            self._memory_fd, traffic.arrivals_ns(), workers=self.configuration.workers
        ) as schedule:
            start_ns = time.monotonic_ns() + _LEAD_NS
            end_ns = start_ns + round(traffic.duration_s * NS_PER_S)
            schedule.begin_at(start_ns, end_ns)
            begin = WorkerBeginOpen(
                start_ns=start_ns,
                plateau_ns=(start_ns, end_ns),
                spin_ns=self._spin_ns(),
                delay_ns=delay_ns,
                backlog_cap=backlog_cap(traffic, self.configuration),
            )
            end = OpenLoopEnd(schedule, enough)
            records, telemetry = self._carry_out(begin, schedule.words, traffic.duration_s, end.check)
            due, started, ended = schedule.records()
            stopped_ns = schedule.stopped_ns
        plateau_ns = (start_ns, end_ns if stopped_ns is None else min(end_ns, stopped_ns))
        begun = (started > 0) & (started < plateau_ns[1])
        came = due < plateau_ns[1]
        stopped: Stopped | None = None
        if stopped_ns is not None:
            stopped = "verdict" if end.decided else "backlog"
        return _assemble(
            traffic,
            Samples(scheduled=due.tobytes(), started=started.tobytes(), ended=ended.tobytes()),
            records,
            telemetry,
            plateau_ns=plateau_ns,
            offered=int(np.count_nonzero(came)),
            # A batch that is still open at the end has not been kept waiting.
            backlog=int(np.count_nonzero((due < plateau_ns[1] - delay_ns) & ~begun)),
            stopped=stopped,
        )

    def _run_closed(self, traffic: ClosedLoop, stopping: StoppingConditions | None) -> Run:
        joins_ns = np.array([round(join * NS_PER_S) for join in traffic.joins_s()], dtype=np.int64)
        workers, delay_ns = self.configuration.workers, 1000 * self.configuration.batch_delay_us
        start_ns = time.monotonic_ns() + _LEAD_NS
        joins_ns += start_ns
        plateau_ns = (int(joins_ns[-1]), start_ns + round(traffic.duration_s * NS_PER_S))
        most = self.configuration.max_batch
        with WaitingUsers.write(self._memory_fd, joins_ns, workers=workers, most=most, delay_ns=delay_ns) as users:
            begin = WorkerBeginClosed(
                start_ns=start_ns,
                plateau_ns=plateau_ns,
                spin_ns=self._spin_ns(),
                delay_ns=delay_ns,
                workers=workers,
                limits_ns=None if stopping is None else tuple(threshold.limit_ns for threshold in stopping.thresholds),
            )
            end = ClosedLoopEnd(users, traffic, stopping, start_ns=start_ns)
            records, telemetry = self._carry_out(begin, users.words, traffic.duration_s, end.check)
            stopped_ns = users.stopped_ns
            waiting = np.array(users.waiting(stopped_ns or plateau_ns[1]), dtype=np.int64)
        answered = np.concatenate([record.requests for record in records if record.requests is not None], axis=1)
        answered = answered[:, np.argsort(answered[2], kind="stable")]
        if stopped_ns is not None:
            # Workers notice a little later; what came in between belongs to no run.
            answered = answered[:, answered[0] < stopped_ns]
        unanswered = np.stack([waiting, np.zeros_like(waiting), np.zeros_like(waiting)])
        scheduled, started, ended = np.concatenate([answered, unanswered], axis=1)
        samples = Samples(scheduled=scheduled.tobytes(), started=started.tobytes(), ended=ended.tobytes())
        offered, backlog = offered_and_backlog(samples, plateau_ns)
        run = _assemble(
            traffic,
            samples,
            records,
            telemetry,
            plateau_ns=plateau_ns,
            offered=offered,
            backlog=backlog,
            stopped=end.reached,
        )
        if stopped_ns is None:
            return run
        last = traffic.plateaus(until_s=(stopped_ns - start_ns) / NS_PER_S)[-1]
        return on_plateau(run, (start_ns + round(last.begin_s * NS_PER_S), start_ns + round(last.end_s * NS_PER_S)))

    def _carry_out(
        self,
        begin: WorkerBeginOpen | WorkerBeginClosed,
        words: SharedWords,
        duration_s: float,
        meanwhile: Callable[[], None],
    ) -> tuple[list[WorkerRecord], tuple[TelemetryPoint, ...]]:
        """Let the workers begin, watch them, and wait for their records, calling ``meanwhile`` every now and then."""
        cpus, gpu = self.envelope.cpus, self.configuration.gpu
        with (
            pinned_to(self._outside),
            watching(self.pids, words.waiting_ns, gpu=gpu, cpus=cpus, others=self._outside) as telemetry,
        ):
            self._processes.send(begin)
            limit_s, what = duration_s + self._grace_s, f"the run of {self.configuration.backend}"
            records = self._processes.answers(WorkerRecord, what, limit_s, meanwhile)
        _log.debug("threads of each worker: %s", ", ".join(str(record.threads) for record in records))
        return records, telemetry.points()

    def _spin_ns(self) -> int:
        """Return for how long workers spin: it makes one that waits punctual, unless it takes the CPU from one that
        works."""
        needed = self.configuration.workers * self.configuration.settings.threads
        return _SPIN_NS if needed <= len(self.envelope.cpus) else 0


def backlog_cap(traffic: OpenLoop, configuration: Configuration) -> int:
    """Return how many requests may wait before the run is given up as saturated.

    Unless the traffic says so itself: what arrives in half a second, so that one long stall does not end a run, and 200
    full calls of every worker, which queueing alone does not bring together below 95 % of capacity (M/M/1: one arrival
    in 30,000 finds more). Where the rate varies a peak may bring any number together: then it is never given up.
    """
    if traffic.backlog_cap is not None:
        return traffic.backlog_cap
    if not traffic.is_steady:
        return MAX_ARRIVALS
    return max(round(traffic.rate_per_s / 2), 200 * configuration.workers * configuration.max_batch)


def _assemble(
    traffic: Traffic,
    samples: Samples,
    records: list[WorkerRecord],
    telemetry: tuple[TelemetryPoint, ...],
    *,
    plateau_ns: tuple[int, int],
    offered: int,
    backlog: int,
    stopped: Stopped | None,
) -> Run:
    """Make the run that the workers' records amount to."""
    return Run(
        driver="inprocess",
        traffic=traffic,
        samples=samples,
        plateau_ns=plateau_ns,
        offered=offered,
        backlog=backlog,
        stopped=stopped,
        lags=np.concatenate([record.lags for record in records]).tobytes(),
        busy_cpu_ns=sum(record.busy_cpu_ns for record in records),
        threads_per_worker=tuple(record.threads for record in records),
        threads_outside=sum(record.threads_outside for record in records),
        peak_memory_bytes=sum(record.peak_memory_bytes for record in records),
        telemetry=telemetry,
    )
