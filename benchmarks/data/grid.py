"""The stored grid: every configuration of the demo, measured more than once, as ``demo_grid`` makes it.

Reading and writing, and what follows from the figures alone: the truth about a configuration, and how much several
measurements of it differ. ``replay`` plays it back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import exp, fsum, log, sqrt
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Self, TypeVar

from servefit.backends.types import Settings
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.request.space import Space

if TYPE_CHECKING:
    from servefit.profiler.evidence.limits import Verdict

STORED = Path(__file__).with_name("demo_grid.json")
NEAR_REPLAYED = Path(__file__).with_name("demo_near.json")
REPEATED = Path(__file__).with_name("demo_truth.json")
SCHEMA = 2

_WORST_LAST: tuple[Verdict, ...] = ("PASS", "UNDECIDED", "INVALID", "FAIL")
_MAD_TO_SD = 1.4826

Row = list[Any]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one test of a configuration gave: the capacity of a closed loop, and percentiles at the share of the rate
    that each of ``instances`` has (None where there are too few samples).

    ``seconds`` is the whole test with its fresh processes, of which the closed loop took ``closed_s`` and open loops
    ``open_s``. ``invalid``: the machine got in the way of every attempt, and ``verdict`` follows from p95. Where the
    test could not be made ``failed`` says why, and the rest means nothing. ``largest_call`` is the most requests that a
    call joined at the rate, None where that was not kept.
    """

    capacity_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    instances: int
    verdict: Verdict
    violation: float
    memory_bytes: int
    seconds: float
    closed_s: float
    open_s: float
    invalid: bool = False
    failed: str | None = None
    largest_call: int | None = None

    @property
    def start_s(self) -> float:
        """What went by before and between the runs."""
        return self.seconds - self.closed_s - self.open_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Timed calls: the service times, what starting the workers took, and then each batch size, one call after the
    other, and all traffic in which calls were timed, in seconds, zero where there was none."""

    service: ServiceTimes
    start_s: float
    sizes_s: tuple[tuple[int, float], ...]
    in_traffic_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """``tests`` has the repeats of every configuration, ``timings`` those of everything that a survey may time.

    ``machine`` says what all that was measured on, and ``model`` is the digest of the model.
    """

    machine: Mapping[str, Any]
    model: str
    profiles: tuple[InstanceProfile, ...]
    tests: Mapping[Configuration, tuple[Figures, ...]]
    timings: Mapping[Configuration, tuple[Timing, ...]]

    @classmethod
    def read(cls, path: Path = STORED) -> Self:
        """Read a stored grid. Raises OSError if there is no such file, ValueError for another schema."""
        document = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise ValueError(f"{path} has schema {document['schema']}, not {SCHEMA}: measure the grid again")
        return cls(
            machine=document["machine"],
            model=document["model"],
            profiles=tuple(InstanceProfile(**profile) for profile in document["profiles"]),
            tests={
                configuration_of(row): tuple(figures_of(repeat) for repeat in repeats)
                for row, *repeats in document["tests"]
            },
            timings={
                configuration_of(row): tuple(timing_of(repeat) for repeat in repeats)
                for row, *repeats in document["timings"]
            },
        )

    def write(self, path: Path) -> None:
        """Write the grid as JSON, one entry a line, with the meaning of the columns at the beginning."""
        head = {
            "schema": SCHEMA,
            "columns": {
                "tests": "a configuration, then its repeats",
                "timings": "what was timed, as a configuration, then its repeats",
                "configuration": list(_CONFIGURATION),
                "repeat of a test": [field.name for field in fields(Figures)],
                "repeat of a timing": "workers, seconds to start, seconds in traffic, what calls took longer there "
                "after the worker was idle for so many us (means of equal shares of the sorted times in us), how many "
                "times as long calls of so many requests were among others there, then for each batch size: requests, "
                "seconds, means of equal shares of the sorted times in us",
            },
            "machine": dict(self.machine),
            "model": self.model,
            "profiles": [asdict(profile) for profile in self.profiles],
        }
        tests = [[row_of(configuration), *map(figures_row, repeats)] for configuration, repeats in self.tests.items()]
        timings = [
            [row_of(configuration), *map(timing_row, repeats)] for configuration, repeats in self.timings.items()
        ]
        lines = json.dumps(head, indent=1).removesuffix("\n}")
        for name, rows in (("tests", tests), ("timings", timings)):
            lines += f',\n "{name}": [\n' + ",\n".join(compact(row) for row in rows) + "\n ]"
        path.parent.mkdir(exist_ok=True)
        path.write_text(lines + "\n}\n")

    def space(self) -> Space:
        """Return the search space: the configurations, and the profiles that may have them."""
        grid = tuple(self.tests)
        members = (
            (profile, frozenset(configuration for configuration in grid if configuration.vcpus == profile.vcpus))
            for profile in self.profiles
        )
        return Space(profiles=tuple(members), grid=grid)

    @property
    def seconds(self) -> float:
        """What it takes to measure every configuration once."""
        return fsum(fmean(repeat.seconds for repeat in repeats) for repeats in self.tests.values())

    def truth(self, configuration: Configuration) -> Figures:
        """Return the geometric means of the repeats, with the verdict of the middle one, of two the worse."""
        repeats = believed(self.tests[configuration])
        by_verdict = sorted(repeats, key=lambda repeat: (_WORST_LAST.index(repeat.verdict), repeat.instances))
        return replace(
            by_verdict[len(repeats) // 2],
            capacity_per_s=_geometric_mean([repeat.capacity_per_s for repeat in repeats]),
            p50_ms=_geometric_mean([repeat.p50_ms for repeat in repeats]),
            p95_ms=_geometric_mean([repeat.p95_ms for repeat in repeats]),
            p99_ms=_geometric_mean([repeat.p99_ms for repeat in repeats]),
        )

    def with_tests_of(self, others: Grid) -> Self:
        """Return the same grid with the repeats of ``others`` beside its own."""
        tests = {
            configuration: (*repeats, *others.tests.get(configuration, ()))
            for configuration, repeats in self.tests.items()
        }
        return replace(self, tests=tests)

    def with_calls_of(self, repeated: Grid) -> Self:
        """Return the same grid that knows of ``repeated`` how many requests calls joined, which says which
        configurations do the same."""
        tests = {
            configuration: tuple(replace(repeat, largest_call=_usual_call(others)) for repeat in repeats)
            if (others := repeated.tests.get(configuration))
            else repeats
            for configuration, repeats in self.tests.items()
        }
        return replace(self, tests=tests)


def believed(repeats: Sequence[Figures]) -> Sequence[Figures]:
    """Return the repeats that the machine did not disturb; if it disturbed all, those; if all failed, the failures."""
    made = [repeat for repeat in repeats if repeat.failed is None]
    return [repeat for repeat in made if not repeat.invalid] or made or repeats


def _usual_call(repeats: Sequence[Figures]) -> int | None:
    known = sorted(repeat.largest_call for repeat in believed(repeats) if repeat.largest_call is not None)
    return known[len(known) // 2] if known else None


def scatter(groups: Sequence[Sequence[Item]], figure: Callable[[Item], float | None]) -> float:
    """Return the scatter of repeats: the standard deviation of the logarithm of ``figure``, from the median distance to
    the mean of the repeats, so that a few disturbed ones do not count. It is 0 if nothing was repeated."""
    distances: list[float] = []
    for repeats in groups:
        logs = [log(value) for repeat in repeats if (value := figure(repeat)) is not None and value > 0]
        if len(logs) > 1:
            # The mean lies nearer to the repeats that it is of than the truth does.
            distances.extend(abs(value - fmean(logs)) * sqrt(len(logs) / (len(logs) - 1)) for value in logs)
    return _MAD_TO_SD * median(distances) if distances else 0.0


def _geometric_mean(values: Sequence[Any]) -> Any:
    """Return the geometric mean of ``values``, None if one of them is not known."""
    if any(value is None or value <= 0 for value in values):
        return None if any(value is None for value in values) else 0.0
    return exp(fmean(map(log, values)))


_CONFIGURATION = ("vcpus", "backend", "threads", "workers", "max_batch", "batch_delay_us", "options")


def row_of(configuration: Configuration) -> Row:
    settings = configuration.settings
    return [
        configuration.vcpus,
        configuration.backend,
        settings.threads,
        configuration.workers,
        configuration.max_batch,
        configuration.batch_delay_us,
        settings.options,
    ]


def configuration_of(row: Row) -> Configuration:
    vcpus, backend, threads, workers, max_batch, batch_delay_us, options = row
    return Configuration(
        vcpus=vcpus,
        backend=backend,
        settings=Settings(threads=threads, options=tuple((name, value) for name, value in options)),
        workers=workers,
        max_batch=max_batch,
        batch_delay_us=batch_delay_us,
    )


def figures_row(figures: Figures) -> Row:
    return [_short(value) for value in asdict(figures).values()]


def figures_of(row: Row) -> Figures:
    # Rows that were measured before a column was added lack it.
    return Figures(**dict(zip((field.name for field in fields(Figures)), row, strict=False)))


def timing_row(timing: Timing) -> Row:
    seconds = dict(timing.sizes_s)
    after_idle = [[_us(each.idle_ns), list(map(_us, each.extra_ns))] for each in timing.service.after_idle]
    sizes = [
        [batch.requests, _short(seconds[batch.requests]), list(map(_us, batch.strata_ns))]
        for batch in timing.service.batches
    ]
    changing_sizes = [[requests, _short(times)] for requests, times in timing.service.changing_sizes]
    before = [timing.service.workers, _short(timing.start_s), _short(timing.in_traffic_s)]
    return [*before, after_idle, changing_sizes, *sizes]


def timing_of(row: Row) -> Timing:
    workers, start_s, in_traffic_s, after_idle, changing_sizes, *sizes = row
    return Timing(
        service=ServiceTimes(
            batches=tuple(BatchTimes(requests=n, strata_ns=_ns(times_us)) for n, _, times_us in sizes),
            workers=workers,
            after_idle=tuple(
                AfterIdle(idle_ns=1000.0 * idle_us, extra_ns=_ns(extra_us)) for idle_us, extra_us in after_idle
            ),
            changing_sizes=tuple((requests, times) for requests, times in changing_sizes),
        ),
        start_s=start_s,
        sizes_s=tuple((requests, seconds) for requests, seconds, _ in sizes),
        in_traffic_s=in_traffic_s,
    )


def _us(ns: float) -> float:
    return round(ns / 1000, 3)


def _ns(times_us: Sequence[float]) -> tuple[float, ...]:
    return tuple(1000.0 * us for us in times_us)


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _short(value: Any) -> Any:
    """Round floats to five digits, more than any measurement has."""
    return float(f"{value:.5g}") if isinstance(value, float) else value
