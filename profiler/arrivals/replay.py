"""Traffic that was recorded, sent again: the timestamps of a file, faster or slower, once or again and again.

At another rate than its own every entry stands for as many requests as it takes: fewer are drawn at random, more are
spread up to the next entry. The times at which the trace is busy or quiet stay where they are; only ``speed`` moves
them. How files are read is in ``trace_formats``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf
from pathlib import Path

import numpy as np

from servefit.errors import SpecError
from servefit.profiler.arrivals.contract import MAX_ARRIVALS, NS_PER_S, Arrivals
from servefit.profiler.arrivals.parameters import FACTOR, FILE, FLAG, TEXT, parameter
from servefit.profiler.arrivals.trace_formats import Trace, read_trace
from servefit.quantities import given_duration_text, given_text

_SAME_RATE = 1e-9
"""Rates that differ by less are the same but for rounding, which is below 1e-15 a step: the entries are sent as they
are."""


@dataclass(frozen=True, kw_only=True)
class Replay(Arrivals):
    """The entries of ``file``, ``speed`` times as fast; with ``loop`` they begin anew until the run ends.

    Entries that were timed to the second are spread over it at random. ``column`` names that of the timestamps.
    """

    name = "replay"

    file: str = parameter(FILE, alone=True)
    speed: float = parameter(FACTOR, default=1.0)
    loop: bool = parameter(FLAG, default=True)
    column: str | None = parameter(TEXT, default=None)

    @property
    def own_rate_per_s(self) -> float:
        return len(self._trace().offsets_ns) / self.cycle_s

    @property
    def cycle_s(self) -> float:
        return self._trace().span_ns / NS_PER_S / self.speed

    @property
    def longest_s(self) -> float:
        return inf if self.loop else self.cycle_s

    def times_ns(self, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
        trace, random = self._trace(), np.random.default_rng(seed)
        if duration_s > self.longest_s:
            raise too_short(self, duration_s)
        duration_ns = duration_s * NS_PER_S
        span_ns = trace.span_ns / self.speed
        rounds = ceil(duration_ns / span_ns)
        entries = int(np.searchsorted(trace.offsets_ns, duration_ns * self.speed)) if rounds == 1 else None
        offsets_ns = trace.offsets_ns[:entries]
        if rounds * len(offsets_ns) > MAX_ARRIVALS:
            raise SpecError("arrivals", str(self), f"have more than {MAX_ARRIVALS:,} entries in {duration_s:g} s")
        times_ns = np.tile(offsets_ns / self.speed, rounds)
        times_ns += np.repeat(np.arange(rounds) * span_ns, len(offsets_ns))
        if trace.resolution_ns:
            times_ns += random.uniform(0, trace.resolution_ns / self.speed, len(times_ns))
            times_ns.sort()
        per_entry = rate_per_s / self.own_rate_per_s
        if abs(per_entry - 1) > _SAME_RATE:
            times_ns = _resample(times_ns, per_entry, max(duration_ns, rounds * span_ns), random)
        times_ns = np.floor(times_ns).astype(np.int64)
        return times_ns[times_ns < duration_ns]

    def describe(self) -> str:
        speed = "" if self.speed == 1 else f", {given_text(self.speed)} times as fast"
        return f"as {Path(self.file).name} recorded them{speed}"

    def _trace(self) -> Trace:
        path = Path(self.file).absolute()
        try:
            seen = path.stat()
        except OSError as error:
            raise SpecError("arrivals", self.file, f"cannot be read: {error.strerror}") from error
        return _read(path, self.column, (seen.st_mtime_ns, seen.st_size))


def too_short(shape: Arrivals, duration_s: float) -> SpecError:
    """Return the error for arrivals that are over before a run is."""
    lasts = given_duration_text(shape.longest_s)
    return SpecError(
        "arrivals",
        str(shape),
        f"are over after {lasts}, and a run takes {given_duration_text(duration_s)}",
        remedy="say loop=yes, or give a shorter duration",
    )


@lru_cache(maxsize=4)
def _read(path: Path, column: str | None, _version: tuple[int, int]) -> Trace:
    """Read the trace in ``path``, once for as long as that has the same time of its last change and the same size."""
    return read_trace(path, column=column)


def _resample(times_ns: np.ndarray, per_entry: float, end_ns: float, random: np.random.Generator) -> np.ndarray:
    """Draw ``per_entry`` requests for each entry, on average: the first at the time of the entry, others
    between it and the next."""
    if per_entry * len(times_ns) > 2 * MAX_ARRIVALS:
        raise SpecError(
            "arrivals", given_text(per_entry), f"times the rate of a trace makes more than {MAX_ARRIVALS:,} requests"
        )
    whole = int(per_entry)
    counts = whole + (random.random(len(times_ns)) < per_entry - whole).astype(np.int64)
    gaps_ns = np.diff(times_ns, append=end_ns)
    firsts = times_ns[counts > 0]
    more = np.maximum(counts - 1, 0)
    others = np.repeat(times_ns, more) + random.random(int(more.sum())) * np.repeat(gaps_ns, more)
    return np.sort(np.concatenate([firsts, others]))
