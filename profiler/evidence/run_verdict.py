"""The verdict on the latency thresholds of a whole run, and when a PASS may be relied upon.

A queue that has only begun to grow is still short, and the sequential test alone takes it for one that is stable. So a
PASS takes servers that had time to spare, or a run so long that a growing queue would have shown (``GROWTH_SEEN``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.sequential_test import FAIL_LEVEL, GROWTH_SEEN, PASS_LEVEL, SequentialTest
from servefit.profiler.evidence.time_to_spare import is_unhurried, workers_serving
from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.record.traffic import NS_PER_S

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
    run: Run, tests: Sequence[SequentialTest], thresholds: Sequence[LatencyThreshold], *, unhurried: bool
) -> tuple[Evidence, ...]:
    """Have ``tests`` conclude on all requests of ``run``, up to the first without an answer.

    ``tests`` are those of ``thresholds``, and may have seen the run while it went on: a FAIL stands. A PASS becomes
    UNDECIDED where the servers were not ``unhurried`` and the run was too short for a growing queue to show.
    """
    run = counted(run)
    response_ns = run.samples.response_ns()[: _known(run)]
    elapsed_s = (run.plateau_ns[1] - run.plateau_ns[0]) / NS_PER_S
    return _relied_upon(
        [test.conclude(response_ns) for test in tests],
        relies=unhurried or elapsed_s >= growth_seen_s(thresholds),
    )


def evidence_of_runs(
    runs: Sequence[Run], thresholds: Sequence[LatencyThreshold], *, workers: int, chances: int = 1
) -> tuple[Evidence, ...]:
    """Conclude on all requests of several ``runs`` of one thing, each with ``workers``; see ``evidence_of`` and
    ``start_tests``. A PASS takes time to spare in each of them, or as much time as a growing queue takes to show."""
    runs = [counted(run) for run in runs]
    response_ns = np.concatenate([run.samples.response_ns()[: _known(run)] for run in runs])
    unhurried = all(was_unhurried(run, workers) for run in runs)
    shortest_s = min((run.plateau_ns[1] - run.plateau_ns[0]) / NS_PER_S for run in runs)
    return _relied_upon(
        [test.conclude(response_ns) for test in start_tests(thresholds, chances=chances)],
        relies=unhurried or shortest_s >= growth_seen_s(thresholds),
    )


def _relied_upon(evidence: Sequence[Evidence], *, relies: bool) -> tuple[Evidence, ...]:
    """Return the ``evidence``, with UNDECIDED in place of PASS unless ``relies``."""
    return tuple(
        replace(of_limit, verdict="UNDECIDED") if of_limit.verdict == "PASS" and not relies else of_limit
        for of_limit in evidence
    )


def was_unhurried(run: Run, workers: int) -> bool:
    """Return whether ``workers`` had time to spare in ``run``, up to the first request without an answer."""
    run = counted(run)
    count = _known(run)
    samples = run.samples
    serving = workers_serving(samples.scheduled_ns()[:count], samples.started_ns()[:count], samples.ended_ns()[:count])
    return is_unhurried(count, serving / workers)


def growth_seen_s(thresholds: Sequence[LatencyThreshold]) -> float:
    """Return how long a run takes until a growing queue shows at every one of ``thresholds``; 0.0 without any."""
    return GROWTH_SEEN * max((threshold.limit_ms for threshold in thresholds), default=0.0) / 1000


def _known(run: Run) -> int:
    """Return how many requests come before the first without an answer."""
    ended = run.samples.ended_ns()
    unanswered = np.flatnonzero(ended == 0)
    return int(unanswered[0]) if len(unanswered) else len(ended)
