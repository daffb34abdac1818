"""Rounds of ``claims.forest``: contestants take turns in slices, and ratios are taken within a round."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.forest.contestant import Contestant

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.types import Artifact

OURS, LLEAVES = "forest", "lleaves"

HOPELESS = 3.0
"""Who takes so many times what the best other takes in the first round sits out the rest."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Another's time over forest's: the median over rounds, and the lowest and the highest."""

    middle: float
    lowest: float
    highest: float


@dataclass(slots=True, kw_only=True)
class Point:
    """One model, number of rows and of threads: what each round found, in microseconds a call by contestant.
    ``cpu_share`` is the least of all slices."""

    model: str
    rows: int
    threads: int
    rounds: list[dict[str, float]] = field(default_factory=list)
    cpu_share: float = 1.0

    def us(self) -> dict[str, float]:
        """Return for each contestant the median over the rounds that it took part in."""
        names = {name: None for times in self.rounds for name in times}
        return {name: median(times[name] for times in self.rounds if name in times) for name in names}

    def sat_out(self) -> list[str]:
        return sorted(name for name in self.rounds[0] if name not in self.rounds[-1])

    def best_other(self) -> str | None:
        """Return the backend, other than forest, with the lowest median, None if there is no other."""
        others = {name: us for name, us in self.us().items() if name in backends(self.us())}
        return min(others, key=others.__getitem__) if others else None

    def ratio_to_best(self) -> Ratio | None:
        """Return the ratio to the best other backend of each round."""
        return self._ratio([min((times[name] for name in backends(times)), default=0.0) for times in self.rounds])

    def ratio_to_lleaves(self) -> Ratio | None:
        return self._ratio([times.get(LLEAVES, 0.0) for times in self.rounds])

    def _ratio(self, others: list[float]) -> Ratio | None:
        ratios = [us / times[OURS] for us, times in zip(others, self.rounds, strict=True) if us and OURS in times]
        return Ratio(median(ratios), min(ratios), max(ratios)) if ratios else None


def backends(us: Mapping[str, float]) -> list[str]:
    """Return the backends other than forest. lleaves is no backend."""
    return [name for name in us if name not in (OURS, LLEAVES)]


class Field:
    """All contestants of one model and number of threads, each in its own fresh process. They are gone on exit."""

    def __init__(
        self,
        model: str,
        artifacts: Mapping[str, Artifact],
        loaders: Mapping[str, str],
        *,
        rows_file: Path,
        cpus: tuple[int, ...],
        random: Random,
    ) -> None:
        self._model, self._threads, self._random = model, len(cpus), random
        self._stack = ExitStack()
        self._contestants: dict[str, Contestant] = {}
        with ExitStack() as stack:
            for name, artifact in artifacts.items():
                loader = {"loader": loaders[name]} if name in loaders else {}
                contestant = Contestant(artifact, rows_file=rows_file, cpus=cpus, threads=self._threads, **loader)
                self._contestants[name] = stack.enter_context(contestant)
                contestant.wait_until_loaded()
            self._stack = stack.pop_all()

    def __enter__(self) -> Field:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, rows: int, rounds: int) -> Point:
        """Time a slice of every contestant in every round, in a random order of its own."""
        point = Point(model=self._model, rows=rows, threads=self._threads)
        taking_part = sorted(self._contestants)
        for number in range(rounds):
            order = self._random.sample(taking_part, len(taking_part))
            slices = {name: self._contestants[name].time_slice(rows) for name in order}
            point.rounds.append({name: time_slice.us for name, time_slice in slices.items()})
            point.cpu_share = min(point.cpu_share, *(time_slice.cpu_share for time_slice in slices.values()))
            if number == 0:
                taking_part = [name for name in taking_part if not _hopeless(name, point.rounds[0])]
        return point


def _hopeless(name: str, us: Mapping[str, float]) -> bool:
    """Return whether ``name`` is far behind the best other backend. forest and lleaves never are."""
    others = backends(us)
    return name in others and us[name] > HOPELESS * min(us[rival] for rival in others)
