"""The 95 % intervals of percentiles at a rate, by replaying the calls of runs behind many fresh arrivals.

Which requests come together is luck, and a run of some seconds has little of it. How long calls take it has seen
thousands of times. So percentiles are those of calls as they were recorded, in their order, behind arrivals as they
might as well have come (see ``replay``, which looks for a rate that way). What the interval holds is how much these
differ between runs, or between parts of a single run [sectioning: Asmussen and Glynn 2007, Stochastic Simulation,
III.5a]: other calls would have been seen, and another ratio of what was measured to what the queue, as it is computed,
makes of the same calls behind the same arrivals.

Calls are seen in process only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.backlog import is_large
from servefit.profiler.evidence.intervals import MIN_VALUES, t_quantile
from servefit.profiler.evidence.replay_checks import (
    MAX_SECTIONS,
    MIN_BEYOND,
    MIN_SECTIONS,
    SECTION_S,
    are_even,
    log_ratios,
)
from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.queueing.discipline import Discipline, ServedRequests
from servefit.profiler.queueing.fresh_streams import FreshStreams, capacity_per_s, equal_sections
from servefit.profiler.queueing.recorded_calls import CallsInOrder, served_requests, with_seen_overhead
from servefit.profiler.record.traffic import NS_PER_S, OpenLoop

if TYPE_CHECKING:
    from servefit.profiler.queueing.fresh_streams import Section
    from servefit.profiler.record.types import Configuration, Run

_STREAMS, _SINGLY, _JOINED = 10, 50_000, 20_000
"""Fresh streams of all calls, and requests of each: one call for each takes a sum, anything else a loop that takes a
hundred times as long. How far streams are apart is in the interval. Chosen."""

_MAX_UTILISATION = 0.98
"""Nearer to saturation there is no percentile to speak of: it grows for as long as anybody looks."""

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedRuns:
    """``runs`` that took ``seconds`` each, requests at ``rate_per_s`` with the shape called ``arrivals``."""

    runs: Sequence[ServedRequests]
    seconds: Sequence[float]
    rate_per_s: float
    arrivals: str

    @property
    def sections(self) -> tuple[Section, ...]:
        """The calls of each run, or parts of a single one; empty where they are too few or too short."""
        calls = [len(run.batches) for run in self.runs]
        if min(self.seconds) < SECTION_S or not all(calls):
            return ()
        if len(calls) == 1:
            count = min(MAX_SECTIONS, int(self.seconds[0] / SECTION_S))
            return equal_sections(calls[0], count) if count >= MIN_SECTIONS else ()
        firsts = np.cumsum([0, *calls]).tolist()
        return tuple(zip(firsts, calls, strict=False)) if len(calls) >= MIN_VALUES else ()


def replayed_intervals(
    runs: Sequence[Run], configuration: Configuration, ranks: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals, in ms, of percentiles (0..100, by name) of the response times of ``runs`` of one
    ``configuration`` in process, all at one rate.

    Empty if the runs differ in rate or are not of an open loop in process, if arrivals vary by design, if requests
    were not answered, if the runs are short (fewer than three of a second, or one of less than six), or if the workers
    had hardly any time to spare. A percentile is left out if fewer than 20 requests lie beyond it, or if a single call
    decides it (see ``replay_checks``).
    """
    whole = [counted(run) for run in runs]
    traffic = [run.traffic for run in whole if isinstance(run.traffic, OpenLoop) and run.client is None]
    alike = {(loop.rate_per_s, loop.arrivals) for loop in traffic}
    if len(traffic) < len(whole) or len(alike) > 1 or not all(loop.is_steady for loop in traffic):
        return {}
    if not all(all_answered(run) for run in whole):
        return {}
    rate_per_s, arrivals = alike.pop()
    replayed = ReplayedRuns(
        runs=[served_requests(run) for run in whole],
        seconds=[(run.plateau_ns[1] - run.plateau_ns[0]) / NS_PER_S for run in whole],
        rate_per_s=rate_per_s,
        arrivals=arrivals,
    )
    return intervals_of(replayed, Discipline.of(configuration), ranks)


def intervals_of(
    replayed: ReplayedRuns, discipline: Discipline, ranks: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals, in ms, of percentiles (0..100, by name); see ``replayed_intervals``."""
    sections, runs = replayed.sections, replayed.runs
    if not sections:
        return {}
    calls = CallsInOrder.of(runs, discipline)
    discipline = with_seen_overhead(discipline, runs)
    utilisation = replayed.rate_per_s / capacity_per_s(calls, discipline)
    requests = sum(len(run.scheduled_ns) for run in runs)
    names = [
        name
        for name, rank in ranks.items()
        if requests * (1 - rank / 100) >= MIN_BEYOND
        and are_even(calls, utilisation=utilisation, rank=rank, seconds=sum(replayed.seconds))
    ]
    if not names or utilisation > _MAX_UTILISATION:
        return {}
    of_names = [ranks[name] for name in names]
    streams = FreshStreams(calls, sections, discipline, arrivals=replayed.arrivals, seed=0)
    of_a_stream = _SINGLY if discipline.workers == discipline.max_batch == 1 else _JOINED

    def response_ns(section: Section | None) -> np.ndarray:
        return streams.response_ns(streams.draw(of_a_stream, section), replayed.rate_per_s)

    all_ns = [response_ns(None) for _ in range(_STREAMS)]
    whole = np.log([np.percentile(stream_ns, of_names) for stream_ns in all_ns])
    of_sections = np.log([np.percentile(response_ns(section), of_names) for section in sections])
    ratios = np.concatenate([log_ratios(run, len(sections) // len(runs), discipline, of_names) for run in runs])
    # Centers are those of all streams together: near saturation percentiles of short ones are too low.
    centers = np.log(np.percentile(np.concatenate(all_ns), of_names)) + ratios.mean(axis=0)
    count = len(sections)
    of_calls = np.square(of_sections + ratios - centers).sum(axis=0) / (count * (count - 1))
    errors = np.sqrt(of_calls + whole.var(axis=0, ddof=1) / _STREAMS)
    half = t_quantile((1 + _CONFIDENCE) / 2, count - 1)
    logs = zip(names, centers.tolist(), (half * errors).tolist(), strict=True)
    return {name: (exp(center - width) / 1e6, exp(center + width) / 1e6) for name, center, width in logs}


def all_answered(run: Run) -> bool:
    """Return whether all requests of ``run`` were answered, but for the few that wait as it ends."""
    left = is_large(run.backlog, offered=run.offered, workers=len(run.threads_per_worker))
    return run.stopped != "backlog" and not left and not (run.samples.ended_ns() < 0).any()
