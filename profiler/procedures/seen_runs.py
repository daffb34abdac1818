"""The runs of a search whose calls were seen, and what their replay is good for. How one is done is in
``evidence.replay``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.evidence.replay import MIN_S, RunReplay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.queueing.discipline import Discipline, ServedRequests

NEAR_ROOT = 0.15
"""Runs that are replayed are so near to the root, as far as they are enough: calls may be longer at another rate."""


class SeenRuns:
    """Runs of one configuration, whose queue is ``discipline``; with None nothing is kept, and nothing replayed. Fresh
    arrivals are of the shape called ``arrivals``."""

    def __init__(
        self, discipline: Discipline | None, thresholds: Sequence[LatencyThreshold], *, arrivals: str, seed: int
    ) -> None:
        self._discipline, self._thresholds = discipline, thresholds
        self._arrivals, self._seed = arrivals, seed
        self._runs: list[tuple[float, ServedRequests, float]] = []

    def add(self, rate_per_s: float, served: ServedRequests | None, *, elapsed_s: float) -> None:
        """Keep a run that took ``elapsed_s``, unless its calls were not seen, or there was none that succeeded."""
        if served is not None and len(served.batches) and self._discipline is not None:
            self._runs.append((rate_per_s, served, elapsed_s))

    def promise(self, seconds: float) -> bool:
        """Return whether runs of so many ``seconds`` are likely to suffice for a replay, by those that there are."""
        replay = self._replay(self._runs)
        return replay is not None and seconds >= MIN_S and replay.is_even

    def root_per_s(self) -> float | None:
        """Return roughly the rate at which the first limit is reached; None without runs."""
        replay = self._replay(self._runs)
        return None if replay is None else replay.root_per_s()

    def near_root(self) -> RunReplay | None:
        """Return the replay of the runs near the root, or of all where those are too few; None without runs."""
        replay = self._replay(self._runs)
        if replay is None:
            return None
        root = replay.root_per_s()
        near = self._replay([run for run in self._runs if abs(run[0] - root) <= NEAR_ROOT * root])
        return replay if near is None or not near.is_enough else near

    def _replay(self, runs: Sequence[tuple[float, ServedRequests, float]]) -> RunReplay | None:
        if self._discipline is None or not runs:
            return None
        return RunReplay(
            [served for _, served, _ in runs],
            self._discipline,
            self._thresholds,
            seconds=sum(elapsed_s for _, _, elapsed_s in runs),
            arrivals=self._arrivals,
            seed=self._seed,
        )
