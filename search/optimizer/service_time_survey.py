"""Service times of everything in the space, for little: each backend's calls are timed alone before any load test.

The time of a call depends on the backend, its threads and knobs, the requests in the call and how many workers are
busy, and on nothing else, so a few short microbenchmarks speak for many configurations. Every backend is timed with
one worker first. What is far behind at every batch size is not looked at any further: more threads or workers cannot
gain more than their number. How calls are timed is in ``call_timing``; what service times mean for capacity and latency
is computed in ``search.simulation``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import exp, fsum, log
from typing import TYPE_CHECKING, TypeAlias

from servefit.backends.types import Target
from servefit.profiler.queueing.service import ServiceTimes

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.storage.steps import Step

PROMISING = 0.6
"""A backend that serves fewer than this part of the requests that the best one serves on the same kind of processor, at
every batch size, is not timed with more threads or workers. Chosen, not measured."""

MAX_SIZES_TIMED_AGAIN = 4
"""Batch sizes that are timed with more threads or workers: those between are interpolated. Chosen, not measured."""

_THREADS_EXPONENT = 0.585
"""The logarithm of 1.5 to the base of 2: twice the threads take a call 1.5 times as fast. An assumption, for what was
not timed."""

Time: TypeAlias = "Callable[[Configuration, Sequence[int]], ServiceTimes | None]"
"""Times calls of a configuration with each number of requests, all its workers at once; None if that failed."""


def timed_as(configuration: Configuration, workers: int) -> Configuration:
    """Return what is timed to know the calls of ``configuration`` when ``workers`` are busy: the same for all envelopes
    that are large enough, for all batch sizes and delays. With one thread the knobs of waiting threads have no
    effect."""
    settings = configuration.settings
    needed = workers * settings.threads
    return replace(
        configuration,
        vcpus=min(needed, configuration.vcpus),
        workers=workers,
        settings=replace(settings, options=settings.options if settings.threads > 1 else ()),
        max_batch=1,
        batch_delay_us=0,
    )


def service_times_of(steps: Iterable[Step]) -> dict[Configuration, ServiceTimes]:
    """Return what the microbenchmarks among ``steps`` of a job found, by what was timed."""
    return {
        replace(step.configuration, max_batch=1): step.result
        for step in steps
        if isinstance(step.result, ServiceTimes) and step.configuration is not None
    }


@dataclass(slots=True, kw_only=True)
class Survey:
    """The service times that have been timed, by ``timed_as``; ``sizes`` are the batch sizes of the space, ascending,
    and ``subjects`` what has to be timed to know all of it."""

    sizes: tuple[int, ...]
    subjects: tuple[Configuration, ...] = ()
    known: dict[Configuration, ServiceTimes] = field(default_factory=dict)
    failed: set[Configuration] = field(default_factory=set)

    @classmethod
    def of(cls, grid: Sequence[Configuration]) -> Survey:
        """Return the survey of ``grid``, with nothing timed yet."""
        sizes = {configuration.max_batch for configuration in grid}
        return cls(sizes=tuple(sorted(sizes)), subjects=tuple(_subjects(grid)))

    @classmethod
    def of_steps(cls, steps: Iterable[Step]) -> Survey:
        """Return a survey of what ``steps`` of a job timed."""
        return cls(sizes=(), known=service_times_of(steps))

    def carry_out(self, time: Time, in_time: Callable[[], bool], *, reference: str) -> None:
        """Time the subjects, the most promising first, for as long as ``in_time`` says. Of the simple ones that is all
        but ``reference``, the backend of the model's own library: the others are there because they may be faster."""
        waiting = self.untimed()
        simple_ones = [subject for subject in waiting if (subject.workers, subject.settings.threads) == (1, 1)]
        for simple in sorted(simple_ones, key=lambda subject: subject.backend == reference):
            if simple not in self.failed and in_time():
                self._time(simple, self.sizes, time)
        rest = [subject for subject in waiting if subject not in self.known and subject not in self.failed]
        for subject in sorted(rest, key=self._order):
            sizes = self._sizes_worth_it(subject)
            if subject not in self.failed and sizes and in_time():
                self._time(subject, sizes, time)

    def quickest(self) -> Configuration | None:
        """Return what answers a single request the soonest, with one worker of one thread on the CPU; None where no
        such worker was timed."""
        simple = [
            subject
            for subject in self.known
            if (subject.workers, subject.settings.threads, subject.gpu) == (1, 1, None)
        ]
        return min(simple, key=lambda subject: self.known[subject].mean_ns(1), default=None)

    def untimed(self) -> list[Configuration]:
        """Return the subjects that were not timed yet."""
        return [subject for subject in self.subjects if subject not in self.known]

    def _time(self, subject: Configuration, sizes: Sequence[int], time: Time) -> None:
        """Time ``subject``, and keep its service times, or that it failed."""
        # The workers' largest batch is what they allocate for.
        service = time(replace(subject, max_batch=sizes[-1]), sizes)
        if service is None:
            self.failed.add(subject)
        else:
            self.known[subject] = service

    def _sizes_worth_it(self, subject: Configuration) -> tuple[int, ...]:
        """Return some of the batch sizes at which one worker of the backend is not far behind the best, the smallest
        and the largest among them; all sizes where no such worker was timed."""
        simple = self._simple(subject)
        if simple is None:
            return self.sizes
        worth_it = [size for size in self.sizes if self._relative_speed(simple, size) >= PROMISING]
        steps = min(len(worth_it), MAX_SIZES_TIMED_AGAIN) - 1
        if steps < 1:
            return tuple(worth_it)
        return tuple(worth_it[round(nth * (len(worth_it) - 1) / steps)] for nth in range(steps + 1))

    def _order(self, subject: Configuration) -> tuple[float, int, int]:
        """Return the key to sort subjects by, the most promising first."""
        simple = self._simple(subject)
        speed = 1.0 if simple is None else max(self._relative_speed(simple, size) for size in self.sizes)
        return -speed, subject.workers, subject.settings.threads

    def _relative_speed(self, simple: Configuration, size: int) -> float:
        """Return how many requests are served in calls of ``size``, over how many the best backend serves on the same
        kind of processor."""
        fastest_ns = min(
            service.mean_ns(size)
            for key, service in self.known.items()
            if (key.workers, key.settings.threads, key.gpu) == (1, 1, simple.gpu)
        )
        return fastest_ns / self.known[simple].mean_ns(size)

    def _simple(self, subject: Configuration) -> Configuration | None:
        """Return what a single-threaded worker of the same backend was timed as, None where it was not."""
        simple = timed_as(replace(subject, settings=replace(subject.settings, threads=1)), 1)
        return simple if simple in self.known else None

    def service_times(self, configuration: Configuration) -> tuple[ServiceTimes, bool] | None:
        """Return the service times of ``configuration``, and whether they were timed or only guessed from those of
        another number of threads or workers. None where nothing of its backend was timed with as few threads."""
        alone, timed = self._alone(configuration)
        if alone is None:
            return None
        workers = configuration.workers
        if workers == 1:
            return alone, timed
        crowded = self._crowded(configuration)
        if crowded is None:
            return replace(alone, workers=workers), False
        whole = contention(alone, crowded)
        share = min(1.0, (workers - 1) / (crowded.workers - 1))
        seen = {times.requests: times for times in alone.batches}
        if workers == crowded.workers:
            seen |= {times.requests: times.stretched(1 / whole) for times in crowded.batches}
        batches = tuple(seen[size] for size in sorted(seen))
        contended = 1 + (whole - 1) * share
        return replace(alone, batches=batches, workers=workers, contention=contended), timed

    def _alone(self, configuration: Configuration) -> tuple[ServiceTimes | None, bool]:
        """Return the calls of one worker, and whether they were timed. Where those of so many threads were not timed,
        the nearest fewer threads that were stand in, as if twice the threads took a call 1.5 times as fast."""
        threads = configuration.settings.threads
        if timed := self.known.get(timed_as(configuration, 1)):
            return self._extended(self._in_traffic(timed, configuration), configuration), True
        nearest: ServiceTimes | None = None
        nearest_threads = 0
        for key, service in self.known.items():
            same = (key.backend, key.target, key.environment, key.gpu, key.workers) == (
                configuration.backend,
                configuration.target,
                configuration.environment,
                configuration.gpu,
                1,
            )
            if same and nearest_threads < key.settings.threads <= threads:
                nearest, nearest_threads = service, key.settings.threads
        if nearest is None:
            return None, False
        speed = (threads / nearest_threads) ** _THREADS_EXPONENT
        return replace(nearest, batches=tuple(times.stretched(1 / speed) for times in nearest.batches)), False

    def _in_traffic(self, timed: ServiceTimes, configuration: Configuration) -> ServiceTimes:
        """Return ``timed`` with the extra time of a single-threaded worker in traffic, where its own was not measured:
        without it the configuration would seem quicker than those that were measured in traffic."""
        simple = self._simple(configuration)
        if simple is None:
            return timed
        plain = self.known[simple]
        return replace(
            timed,
            after_idle=timed.after_idle or plain.after_idle,
            changing_sizes=timed.changing_sizes or plain.changing_sizes,
            serial_order=timed.serial_order or plain.serial_order,
        )

    def _extended(self, timed: ServiceTimes, configuration: Configuration) -> ServiceTimes:
        """Return ``timed`` with sizes beyond those that were timed. Their time is that of a single-threaded worker,
        times the ratio of both at the last size that was timed: a library that spreads two rows over two threads at no
        cost does not do so with more rows."""
        simple = self._simple(configuration)
        if simple is None:
            return timed
        plain, last = self.known[simple], timed.batches[-1]
        factor = max(last.mean_ns / plain.mean_ns(last.requests), 1 / configuration.settings.threads)
        beyond = tuple(times.stretched(factor) for times in plain.batches if times.requests > last.requests)
        return replace(timed, batches=(*timed.batches, *beyond))

    def _crowded(self, configuration: Configuration) -> ServiceTimes | None:
        """Return the calls of the fewest workers that were timed at once and are no fewer, else of the most; None where
        none were."""
        if crowded := self.known.get(timed_as(configuration, configuration.workers)):
            return crowded
        settings = timed_as(configuration, 1).settings
        alike = [
            service
            for key, service in self.known.items()
            if service.workers > 1
            and (key.backend, key.target, key.environment, key.gpu, key.settings)
            == (
                configuration.backend,
                configuration.target,
                configuration.environment,
                configuration.gpu,
                settings,
            )
        ]
        enough = [service for service in alike if service.workers >= configuration.workers]
        if enough:
            return min(enough, key=lambda service: service.workers)
        return max(alike, key=lambda service: service.workers, default=None)

    def slower(self, less_exact: Collection[str]) -> Iterator[tuple[str, Target, str, float]]:
        """Yield each of the backends ``less_exact`` that gains nothing by that: one thread takes at least as long for
        calls of every size as an exact backend does. With it, its target, the exact backend at the size where it is the
        least behind, and how many times as long it takes there."""
        single = {key: service for key, service in self.known.items() if (key.workers, key.settings.threads) == (1, 1)}
        least: dict[tuple[str, Target], tuple[float, str]] = {}
        for key, service in single.items():
            exact = [
                (other.backend, times)
                for other, times in single.items()
                if other.backend not in less_exact and (other.gpu, other.environment) == (key.gpu, key.environment)
            ]
            if key.backend not in less_exact or not exact:
                continue
            for size in (times.requests for times in service.batches):
                rival_ns, rival = min((times.mean_ns(size), backend) for backend, times in exact)
                slowdown = service.mean_ns(size) / rival_ns, rival
                same = key.backend, key.target
                least[same] = min(least.get(same, slowdown), slowdown)
        for (backend, target), (times_as_long, rival) in least.items():
            if times_as_long >= 1:
                yield backend, target, rival, times_as_long

    def speedups(self, reference: str) -> Iterator[tuple[str, Target, float]]:
        """Yield each backend and target, and how many times faster than ``reference`` it answers one request on one
        thread."""
        times_ns = {
            (key.backend, key.target): service.mean_ns(1)
            for key, service in self.known.items()
            if (key.workers, key.settings.threads, key.environment) == (1, 1, ())
        }
        if (baseline_ns := times_ns.get((reference, Target.CPU))) is not None:
            for (backend, target), own_ns in times_ns.items():
                yield backend, target, baseline_ns / own_ns


def contention(alone: ServiceTimes, crowded: ServiceTimes) -> float:
    """Return how many times longer calls take in a crowd: the geometric mean over the batch sizes timed in the
    crowd."""
    ratios = [times.mean_ns / alone.mean_ns(times.requests) for times in crowded.batches]
    return exp(fsum(map(log, ratios)) / len(ratios))


def _subjects(grid: Sequence[Configuration]) -> Iterator[Configuration]:
    """Yield what has to be timed: of every backend with its threads and knobs one worker, and the most there may be."""
    max_workers: dict[Configuration, int] = defaultdict(int)
    for configuration in grid:
        key = timed_as(configuration, 1)
        max_workers[key] = max(max_workers[key], configuration.workers)
    by_size = sorted(grid, key=lambda configuration: (configuration.workers, configuration.vcpus))
    largest = {timed_as(configuration, 1): configuration for configuration in by_size}
    for key, workers in max_workers.items():
        yield key
        if workers > 1:
            yield timed_as(largest[key], workers)
