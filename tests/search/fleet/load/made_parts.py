"""Parts of a load that clients might have answered with, made of response times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.traffic import OpenLoop
from servefit.profiler.record.types import ClientRecord, Run, Samples
from servefit.search.fleet.load.recording import blocks_of, late_s, seconds_of
from servefit.search.fleet.load_orders import LoadPart

BEGAN_S = 1_900_000_000.0
_HERE_NS = 77_000_000_000


def made_run(response_ns: Sequence[int] | np.ndarray, *, duration_s: float = 10.0, failed: int = 0) -> Run:
    """Requests that were due evenly over the run, in this order, of which the last so many failed."""
    responses = np.asarray(response_ns, dtype=np.int64)
    total = len(responses) + failed
    duration_ns = round(duration_s * 1e9)
    scheduled = _HERE_NS + (np.arange(total, dtype=np.int64) * duration_ns) // max(1, total)
    ended = scheduled.copy()
    ended[: len(responses)] += responses
    ended[len(responses) :] *= -1
    return Run(
        driver="http",
        traffic=OpenLoop(rate_per_s=max(1, total) / duration_s, duration_s=duration_s),
        samples=Samples(scheduled=scheduled.tobytes(), started=scheduled.tobytes(), ended=ended.tobytes()),
        plateau_ns=(_HERE_NS, _HERE_NS + duration_ns),
        offered=total,
        backlog=0,
        lags=np.full(max(1, total), 1000, dtype=np.int64).tobytes(),
        busy_cpu_ns=None,
        threads_per_worker=(),
        threads_outside=0,
        peak_memory_bytes=None,
        telemetry=(),
        client=ClientRecord(
            processes=1,
            cpus=(0,),
            cpu_percent=10.0,
            connections=1,
            reconnections=0,
            errors={"HTTP 503": failed} if failed else {},
            shares_cpus=False,
        ),
    )


def part_of(run: Run, **changes: Any) -> LoadPart:
    """What a client answers that recorded ``run``."""
    begin, end = run.plateau_ns
    part = LoadPart(
        endpoint="http://10.0.0.1:8080/",
        protocol="json",
        model=None,
        payload="payload.csv",
        synthetic=False,
        is_here=False,
        began_s=BEGAN_S,
        ended_s=BEGAN_S + (end - begin) / 1e9,
        clock_within_s=0.0001,
        late_s=late_s(run),
        backlog=False,
        summary=summarize(run),
        blocks=blocks_of(run),
        seconds=seconds_of(run),
        cpus=(0,),
        problems=(),
        warnings=(),
    )
    return replace(part, **changes)


def around(median_ms: float, requests: int = 2000, seed: int = 1) -> np.ndarray:
    """Response times with that median, in nanoseconds."""
    random = np.random.default_rng(seed)
    times: np.ndarray = (1e6 * median_ms * random.lognormal(0, 0.1, requests)).astype(np.int64)
    return times
