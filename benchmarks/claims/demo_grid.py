"""Measures every configuration that the demo's search may try, more than once, and keeps the figures as a table.

    python -m benchmarks.claims.demo_grid [--repeats 2] [-o FILE] [--only backend=xgboost,vcpus=1]
    python -m benchmarks.claims.demo_grid --calls [--repeats 2]
    python -m benchmarks.claims.demo_grid --near-the-best replay|truth [--repeats 10]

``regret`` plays searches back on that table. All backends are compiled first. Then each repeat goes through all
configurations, and through all that a survey of service times may time, in an order of its own, so that what the
machine does in the meantime is in the differences between repeats. What was INVALID is measured again at the end of its
repeat, twice at most. With ``--calls`` the calls of a stored table are timed again, and its tests stay. With
``--near-the-best`` only those are measured that may be the best of the stored table by any goal, ten times: to be
played back beside the table, as two repeats that agree by luck would be found each time that they are, or as the truth
for ``regret``.

Everything that is finished is in the working file beside the output (``.part.jsonl``), and a run that was broken off
goes on from there. Prints one JSON object; what it is at goes to stderr. With two CPUs it takes about 30 minutes, with
``--calls`` one, and with ``--near-the-best`` 20.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal, cast

from benchmarks.data.grid import (
    NEAR_REPLAYED,
    REPEATED,
    STORED,
    Figures,
    Grid,
    Timing,
    compact,
    configuration_of,
    figures_of,
    figures_row,
    row_of,
    timing_of,
    timing_row,
)
from benchmarks.models.fraud import BACKENDS, Fraud, demo_request
from benchmarks.optimizers.truth import near_the_best
from servefit.cli.demo import LIMIT_MS
from servefit.errors import BackendError, MeasurementError
from servefit.profiler.drivers.start_driver import workers_for
from servefit.profiler.record.traffic import NS_PER_S
from servefit.search.optimizer.call_timing import rate_in_process, time_service
from servefit.search.optimizer.service_time_survey import timed_as
from servefit.search.request.space import BATCH_SIZES
from servefit.search.results.measure_trial import Durations, run_test

if TYPE_CHECKING:
    from servefit.profiler.drivers.inprocess.timing import CallTimes, WorkerTimeCalls
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.evidence.limits import Verdict
    from servefit.profiler.record.types import Configuration, Measurement
    from servefit.search.request.space import Space
    from servefit.search.results.recommendation import Trial

DURATIONS = Durations(capacity_s=0.4, at_rate_s=1.0, at_rate_max_s=3.0)
"""As a search screens, but a second at the rate, without which p99 would not be known."""

NEAR: dict[str, tuple[Path, int]] = {"replay": (NEAR_REPLAYED, 200), "truth": (REPEATED, 100)}
"""Where repeats of what may be the best are kept, and the number of the first, which is the seed of its arrivals: truth
and what is played back have others."""

MAX_ATTEMPTS = 3
TYPICAL_TEST_S = 2.3

Kind = Literal["test", "timing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A configuration to put under load, or to time calls of."""

    kind: Kind
    configuration: Configuration
    repeat: int


class Session:
    """What was measured so far, kept in the file at ``path``. Raises SystemExit for one that another session left."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self._path = path
        self._done: dict[Task, Figures | Timing] = {}
        self._attempts: Counter[Task] = Counter()
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_text(compact(identity) + "\n")
        first, *lines = path.read_text().splitlines()
        if json.loads(first) != identity:
            raise SystemExit(f"{path} was left by a session with another model, machine or traffic; remove it")
        for line in lines:
            kind, repeat, configuration, result = json.loads(line)
            task = Task(kind=kind, configuration=configuration_of(configuration), repeat=repeat)
            self._take(task, figures_of(result) if kind == "test" else timing_of(result))

    def keep(self, task: Task, result: Figures | Timing) -> None:
        row = figures_row(result) if isinstance(result, Figures) else timing_row(result)
        with self._path.open("a") as stream:
            stream.write(compact([task.kind, task.repeat, row_of(task.configuration), row]) + "\n")
        self._take(task, result)

    def _take(self, task: Task, result: Figures | Timing) -> None:
        self._done[task] = result
        self._attempts[task] += 1

    def finished(self, task: Task) -> bool:
        """Return whether ``task`` need not be carried out any more."""
        result = self._done.get(task)
        again = isinstance(result, Figures) and result.invalid and self._attempts[task] < MAX_ATTEMPTS
        return result is not None and not again

    def tests(self, configuration: Configuration) -> tuple[Figures, ...]:
        """Return the repeats of the tests, in the order in which they were made."""
        found = (result for task, result in self._done.items() if task.configuration == configuration)
        return tuple(figures for figures in found if isinstance(figures, Figures))

    def timings(self, subject: Configuration) -> tuple[Timing, ...]:
        found = (result for task, result in self._done.items() if task.configuration == subject)
        return tuple(timing for timing in found if isinstance(timing, Timing))

    def remove(self) -> None:
        self._path.unlink()


class Stopwatch:
    """Workers whose timing of calls is itself timed, by batch size; else they are as ``workers``."""

    def __init__(self, workers: Workers) -> None:
        self.sizes_s: list[tuple[int, float]] = []
        self._workers = workers

    def time_calls(self, order: WorkerTimeCalls) -> tuple[CallTimes, ...]:
        began = time.monotonic()
        found = self._workers.time_calls(order)
        self.sizes_s.append((order.requests_per_call, time.monotonic() - began))
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workers, name)


def time_alone(fraud: Fraud, subject: Configuration, seed: int) -> Timing:
    """Time the calls of ``subject`` with nothing beside it, as a search for the demo's rate does, with arrivals from
    ``seed``. Raises MeasurementError and BackendError."""
    began = time.monotonic()
    with fraud.workers(replace(subject, max_batch=BATCH_SIZES[-1])) as workers:
        watch = Stopwatch(workers)
        ready = time.monotonic()
        service = time_service(
            cast("Workers", watch), BATCH_SIZES, rate_per_s=rate_in_process(demo_request()), seed=seed
        )
        timed_s = time.monotonic() - ready
    in_traffic_s = timed_s - sum(seconds for _, seconds in watch.sizes_s) if service.after_idle else 0.0
    return Timing(
        service=service,
        start_s=time.monotonic() - began - timed_s,
        sizes_s=tuple(watch.sizes_s),
        in_traffic_s=in_traffic_s,
    )


def put_under_load(fraud: Fraud, space: Space, task: Task, *, allow_noise: bool) -> Figures:
    configuration = task.configuration
    kept: list[Measurement] = []

    def keep(measurement: Measurement) -> None:
        kept.append(measurement)

    began = time.monotonic()
    try:
        with workers_for(
            configuration,
            fraud.artifacts[configuration.backend],
            fraud.rows,
            host=fraud.host,
            memory_bytes=space.memory_bytes(configuration),
        ) as workers:
            trial = run_test(
                workers,
                replace(demo_request(), allow_noise=allow_noise),
                fraud.host,
                DURATIONS,
                seed=task.repeat,
                keep=keep,
            )
    except (MeasurementError, BackendError) as error:
        return failed(str(error), time.monotonic() - began)
    seconds = time.monotonic() - began
    (measurement,) = kept
    closed_s, *open_s = [(run.plateau_ns[1] - run.plateau_ns[0]) / NS_PER_S for run in measurement.runs]
    latency_ms = trial.judged.latency_ms
    return Figures(
        capacity_per_s=trial.capacity.throughput_per_s,
        p50_ms=latency_ms["p50"],
        p95_ms=latency_ms["p95"],
        p99_ms=latency_ms["p99"],
        instances=trial.instance_count,
        verdict=verdict_of(trial),
        violation=trial.violation,
        memory_bytes=trial.measurement.peak_memory_bytes,
        seconds=seconds,
        closed_s=closed_s,
        open_s=sum(open_s),
        invalid=trial.verdict == "INVALID",
        largest_call=None if trial.at_rate is None else trial.at_rate.largest_call,
    )


def verdict_of(trial: Trial) -> Verdict:
    """Return the verdict of the trial, or, if it is INVALID, the verdict that its figures give."""
    if trial.verdict != "INVALID":
        return trial.verdict
    p95_ms = trial.judged.latency_ms["p95"]
    if p95_ms is None:
        return "UNDECIDED"
    return "PASS" if p95_ms <= LIMIT_MS and not trial.judged.saturated else "FAIL"


def failed(reason: str, seconds: float) -> Figures:
    return Figures(
        capacity_per_s=0.0,
        p50_ms=None,
        p95_ms=None,
        p99_ms=None,
        instances=1,
        verdict="FAIL",
        violation=1.0,
        memory_bytes=0,
        seconds=seconds,
        closed_s=0.0,
        open_s=0.0,
        failed=reason,
    )


def subjects(grid: Sequence[Configuration]) -> tuple[Configuration, ...]:
    """Return everything that a survey of ``grid`` may time: each kind with one worker, and with every number of
    workers."""
    return tuple(
        dict.fromkeys(
            timed_as(configuration, workers) for configuration in grid for workers in {1, configuration.workers}
        )
    )


def tasks(
    grid: Sequence[Configuration], timed: Sequence[Configuration], repeats: Sequence[int], seed: int
) -> Iterator[list[Task]]:
    """Yield the tasks of each of the ``repeats``, in a random order of its own: tests of ``grid``, and calls of what is
    ``timed`` alone."""
    for repeat in repeats:
        of_repeat = [Task(kind="test", configuration=configuration, repeat=repeat) for configuration in grid]
        of_repeat += [Task(kind="timing", configuration=configuration, repeat=repeat) for configuration in timed]
        Random(f"{seed} {repeat}").shuffle(of_repeat)
        yield of_repeat


def measure(
    fraud: Fraud, space: Space, session: Session, repeats: Iterable[Sequence[Task]], *, allow_noise: bool
) -> None:
    waiting = [deque(task for task in of_repeat if not session.finished(task)) for of_repeat in repeats]
    left = sum(map(len, waiting))
    say(f"{left} measurements to make, about {left * TYPICAL_TEST_S / 60:.0f} min")
    began, made = time.monotonic(), 0
    for queue in waiting:
        while queue:
            task = queue.popleft()
            if task.kind == "test":
                session.keep(task, put_under_load(fraud, space, task, allow_noise=allow_noise))
            else:
                session.keep(task, time_alone(fraud, task.configuration, task.repeat))
            if not session.finished(task):
                queue.append(task)
            made += 1
            if made % 10 == 0:
                left = sum(map(len, waiting))
                say(f"{made} made, {left} left, about {left * (time.monotonic() - began) / made / 60:.1f} min")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def chosen(grid: Sequence[Configuration], only: str) -> tuple[Configuration, ...]:
    """Return the configurations that have all values of ``only``, such as "backend=xgboost,vcpus=1"."""
    wanted = dict(part.split("=", 1) for part in only.split(",") if part)

    def value(configuration: Configuration, name: str) -> Any:
        return configuration.settings.threads if name == "threads" else getattr(configuration, name)

    return tuple(
        configuration
        for configuration in grid
        if all(str(value(configuration, name)) == text for name, text in wanted.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, help="how often each configuration is measured")
    parser.add_argument("-o", "--output", type=Path)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--calls", action="store_true", help="time calls again, and keep the tests that are stored")
    part.add_argument("--near-the-best", choices=sorted(NEAR), help="what may be the best, and what it is for")
    parser.add_argument("--only", default="", help="a part of the grid, to try this out")
    parser.add_argument("--seed", type=int, default=0, help="of the order of measurements")
    parser.add_argument("--allow-noise", action="store_true", help="to try this out on a busy machine")
    options = parser.parse_args()
    if options.calls and options.only:
        parser.error("--calls times all of a table")
    say(f"compiling with {', '.join(BACKENDS)}; tl2cgen takes half a minute the first time")
    fraud = Fraud.prepare()
    space = fraud.space()
    only_near = options.near_the_best is not None
    stored_in, first = NEAR[options.near_the_best] if only_near else (STORED, 0)
    count, output = options.repeats or (10 if only_near else 2), options.output or stored_in
    grid = chosen(near_the_best(Grid.read()) if only_near else space.grid, options.only)
    timed = () if only_near else subjects(grid)
    stored = Grid.read(output).tests if options.calls else {}
    identity = {
        "model": fraud.model.digest,
        "host": fraud.host.fingerprint,
        "durations": str(DURATIONS),
        "allow_noise": options.allow_noise,
    }
    session = Session(output.with_suffix(".part.jsonl"), identity)
    began = time.monotonic()
    in_order = tasks(() if options.calls else grid, timed, range(first, first + count), options.seed)
    measure(fraud, space, session, in_order, allow_noise=options.allow_noise)
    found = Grid(
        machine=fraud.machine(),
        model=fraud.model.digest,
        profiles=fraud.profiles,
        tests=stored or {configuration: session.tests(configuration) for configuration in grid},
        timings={configuration: session.timings(configuration) for configuration in timed},
    )
    found.write(output)
    session.remove()
    tests = [test for repeats in found.tests.values() for test in repeats]
    figures = {
        "machine": found.machine,
        "configurations": len(grid),
        "repeats": count,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "seconds_to_measure_all_once": round(found.seconds, 1),
        "invalid": sum(test.invalid for test in tests),
        "failed": sum(test.failed is not None for test in tests),
        "bytes": output.stat().st_size,
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
