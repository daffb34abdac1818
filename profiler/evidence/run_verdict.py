"""The verdict on the latency thresholds of a whole run, and when a PASS may be relied upon.

A queue that has only begun to grow is still short, and the sequential test alone takes it for one that is stable. So a
PASS takes servers that had time to spare, or a run so long that a growing queue would have shown (``GROWTH_SEEN``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.sequential_test import FAIL_LEVEL, GROWTH_SEEN, PASS_LEVEL, SequentialTest
from servefit.profiler.evidence.time_to_spare import busy_share, is_unhurried, workers_serving
from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.record.traffic import FAILED_NS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.evidence.sequential_test import Evidence
    from servefit.profiler.record.types import Run


def start_tests(thresholds: Sequence[LatencyThreshold], *, chances: int = 1) -> list[SequentialTest]:
    """Return a new test of each of ``thresholds``, in their order. One that fails is enough for a FAIL, so they share
    its error rate, and one of so many ``chances`` for a PASS, which share that [Bonferroni]."""
    level_fail = FAIL_LEVEL / max(1, len(thresholds))
    return [
        SequentialTest(
            percentile=threshold.rank,
            limit_ns=threshold.limit_ns,
            level_pass=PASS_LEVEL / chances,
            level_fail=level_fail,
        )
        for threshold in thresholds
    ]


def evidence_of(
    run: Run, tests: Sequence[SequentialTest], thresholds: Sequence[LatencyThreshold], *, workers: int
) -> tuple[Evidence, ...]:
    """Have ``tests`` conclude on all requests of ``run``, up to the first of which nothing is known.

    ``tests`` are those of ``thresholds``, and may have seen the run while it went on: a FAIL stands. A PASS becomes
    UNDECIDED where so many ``workers`` had no time to spare, and the run was too short for a growing queue to show.
    """
    return _concluded([counted(run)], tests, thresholds, workers=workers)


def evidence_of_runs(
    runs: Sequence[Run], thresholds: Sequence[LatencyThreshold], *, workers: int, chances: int = 1
) -> tuple[Evidence, ...]:
    """Conclude on all requests of several ``runs`` of one thing, each with ``workers``; see ``evidence_of`` and
    ``start_tests``. A PASS takes time to spare in each of them, or as much time as a growing queue takes to show."""
    tests = start_tests(thresholds, chances=chances)
    return _concluded([counted(run) for run in runs], tests, thresholds, workers=workers)


def _concluded(
    runs: Sequence[Run], tests: Sequence[SequentialTest], thresholds: Sequence[LatencyThreshold], *, workers: int
) -> tuple[Evidence, ...]:
    response_ns = np.concatenate([responses_ns(run, thresholds) for run in runs])
    unhurried = all(was_unhurried(run, workers) for run in runs)
    shortest_s = min((run.plateau_ns[1] - run.plateau_ns[0]) / NS_PER_S for run in runs)
    return _relied_upon(
        [test.conclude(response_ns) for test in tests],
        part_seen=1.0 if unhurried else _growth_seen(shortest_s, thresholds),
    )


def _relied_upon(evidence: Sequence[Evidence], *, part_seen: float) -> tuple[Evidence, ...]:
    """Return the ``evidence``, with UNDECIDED in place of PASS where this part of the time in which a growing queue
    shows is less than all of it."""
    if part_seen >= 1:
        return tuple(evidence)
    return tuple(
        of_limit
        if of_limit.verdict == "FAIL"
        else replace(of_limit, verdict="UNDECIDED", decided_by=max(of_limit.decided_by or 1.0, 1 / part_seen))
        for of_limit in evidence
    )


def was_unhurried(run: Run, workers: int) -> bool:
    """Return whether ``workers`` had time to spare in ``run``, by the requests that were answered."""
    samples = counted(run).samples
    answered = samples.ended_ns() != 0
    due_ns, started_ns, ended_ns = (
        times[answered] for times in (samples.scheduled_ns(), samples.started_ns(), samples.ended_ns())
    )
    serving = workers_serving(due_ns, started_ns, ended_ns) / workers
    # Requests that wait inside an endpoint are begun, as all are that come while it pauses.
    return is_unhurried(len(due_ns), min(serving, busy_share(started_ns, ended_ns)))


def _growth_seen(elapsed_s: float, thresholds: Sequence[LatencyThreshold]) -> float:
    """Return which part of the time that a growing queue takes to show is ``elapsed_s``."""
    takes_s = growth_seen_s(thresholds)
    return elapsed_s / takes_s if takes_s else 1.0


def growth_seen_s(thresholds: Sequence[LatencyThreshold]) -> float:
    """Return how long a run takes until a growing queue shows at every one of ``thresholds``; 0.0 without any."""
    return GROWTH_SEEN * max((threshold.limit_ms for threshold in thresholds), default=0.0) / 1000


def responses_ns(run: Run, thresholds: Sequence[LatencyThreshold]) -> np.ndarray:
    """Return response times, in order of arrival, up to the first request without an answer that may still keep a
    limit. Those that had waited for longer than every limit when the run ended broke them, as failed ones do."""
    longest_ns = max((threshold.limit_ns for threshold in thresholds), default=0.0)
    unanswered = run.samples.ended_ns() == 0
    waited_ns = run.plateau_ns[1] - run.samples.scheduled_ns()
    open_ended = np.flatnonzero(unanswered & (waited_ns <= longest_ns))
    until = int(open_ended[0]) if len(open_ended) else len(unanswered)
    response_ns: np.ndarray = np.where(unanswered, FAILED_NS, run.samples.response_ns())[:until]
    return response_ns
