"""Searches to hold servefit's own against, on the same bench: random, Optuna's own, and a hill climb.

Each measures until the time is up and chooses the best of what it measured. None of them knows anything beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import dist, log2
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.optimizers.replay import Rank, best_choice
from servefit.search.optimizer.parzen import choices, parameters
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.optimizer.search import Search

if TYPE_CHECKING:
    from benchmarks.optimizers.replay import Choice, Table
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.recommendation import Trial

Searcher: TypeAlias = "Callable[[Table], Choice | None]"
Coordinate: TypeAlias = tuple[int, ...]

MAX_REPEATS = 50
"""Proposals in a row that were all measured already, before Optuna is left out of it and one is drawn at random."""

RADIUS = 3
MIN_MEASURED = 3
STEPS_ABOVE = (0.09, 0.3, 1.0)
"""As Model Analyzer has it: how far the neighbours that count may lie, how many have to be known before a step, and the
gains for each doubling above which it goes one, two and three steps."""


def servefit(table: Table) -> Choice | None:
    """Search in the way of a job."""
    search = Search(
        space=table.space,
        request=table.request,
        reference="xgboost",
        clock=table.clock,
        bench=table,
        progress=SilentProgress(),
    )
    search.carry_out()
    best = next(iter(search.recommendations()), None)
    return None if best is None else (best.profile, best.trial.configuration)


class Measured:
    """What a baseline knows; nothing is measured twice."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: dict[Configuration, tuple[Rank, Choice] | None] = {}
        self._trials: dict[Configuration, Trial | None] = {}

    @property
    def in_time(self) -> bool:
        left = len(self._known) < len(self._table.space.grid)
        return left and self._table.clock.left_s > 0

    def knows(self, configuration: Configuration) -> bool:
        return configuration in self._known

    def left(self) -> list[Configuration]:
        return [configuration for configuration in self._table.space.grid if configuration not in self._known]

    def trial(self, configuration: Configuration) -> Trial | None:
        """Return the trial of ``configuration``, measured now if it was not before."""
        if configuration not in self._trials:
            table = self._table
            trial = self._trials[configuration] = table.measure(configuration)
            self._known[configuration] = None if trial is None else best_choice(table.space, trial, table.request)
        return self._trials[configuration]

    def rank(self, configuration: Configuration) -> Rank | None:
        """Return the rank of ``configuration``, None if it failed."""
        self.trial(configuration)
        known = self._known[configuration]
        return None if known is None else known[0]

    def best(self) -> Choice | None:
        """Return the best of what was measured."""
        found = [known for known in self._known.values() if known is not None]
        return min(found, key=lambda ranked: ranked[0])[1] if found else None


def random_search(table: Table) -> Choice | None:
    """Measure configurations in random order."""
    measured = Measured(table)
    for configuration in Random(table.request.seed).sample(table.space.grid, len(table.space.grid)):
        if not measured.in_time:
            break
        measured.trial(configuration)
    return measured.best()


def parzen(table: Table) -> Choice | None:
    """Search with Optuna's tree-structured Parzen estimator at its defaults, on the parameters of servefit's own
    estimator, with the SLA as a constraint.

    What it proposes is fitted into the space: the configuration that shares most parameters, the first ones counting
    most. It knows the order of configurations by one number; what it asks for again costs nothing.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    points = {configuration: parameters(configuration) for configuration in table.space.grid}
    offered = choices(list(points.values()))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=table.request.seed))
    measured, drawn = Measured(table), Random(table.request.seed)
    repeats = 0
    while measured.in_time:
        asked = study.ask()
        point = {name: asked.suggest_categorical(name, values) for name, values in offered.items()}
        configuration = max(
            points,
            key=lambda configuration: [points[configuration].get(name) == value for name, value in point.items()],
        )
        repeats = repeats + 1 if measured.knows(configuration) else 0
        if repeats > MAX_REPEATS:
            configuration = drawn.choice(measured.left())
        trial, rank = measured.trial(configuration), measured.rank(configuration)
        if trial is None or rank is None:
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
            continue
        asked.set_constraint("sla", trial.violation)
        _, score = rank
        study.tell(asked, 1e6 * score.unpriced + 1e3 * score.per_hour + score.figure)
    return measured.best()


def hill_climb(table: Table) -> Choice | None:
    """Climb from the smallest configuration of each backend, then from random ones, until no neighbour is better.

    The space has no order of backends, so each is climbed by itself, in random order.
    """
    measured, drawn = Measured(table), Random(table.request.seed)
    axes = Axes(table.space.grid)
    backends = drawn.sample(sorted({configuration.backend for configuration in table.space.grid}), k=len(axes.backends))
    for backend in backends:
        if measured.in_time:
            Climb(axes, measured, backend).carry_out(axes.smallest(backend))
    while measured.in_time:
        configuration = drawn.choice(measured.left())
        Climb(axes, measured, configuration.backend).carry_out(axes.of(configuration))
    return measured.best()


class Axes:
    """The configurations of each backend by coordinates: doublings of what is counted, places of other values."""

    def __init__(self, grid: Sequence[Configuration]) -> None:
        self._delays = sorted({configuration.batch_delay_us for configuration in grid})
        self._options = sorted({configuration.settings.options for configuration in grid}, key=str)
        self.backends = {
            name: {self.of(configuration): configuration for configuration in grid if configuration.backend == name}
            for name in _backends(grid)
        }

    def of(self, configuration: Configuration) -> Coordinate:
        counts = (configuration.vcpus, configuration.settings.threads, configuration.workers, configuration.max_batch)
        delay, options = (
            self._delays.index(configuration.batch_delay_us),
            self._options.index(configuration.settings.options),
        )
        return (*(round(log2(count)) for count in counts), delay, options)

    def smallest(self, backend: str) -> Coordinate:
        return min(self.backends[backend], key=lambda at: (sum(at), at))


def _backends(grid: Sequence[Configuration]) -> list[str]:
    return list(dict.fromkeys(configuration.backend for configuration in grid))


class Climb:
    """A hill climb among the configurations of one backend, as Triton Model Analyzer's quick search does it
    [Model Analyzer, docs/config_search.md, and what its source does beyond that].

    Around a home, neighbours within ``RADIUS`` are measured, those with most coordinates that are new first. Three of
    them make a direction, the mean gain for each step along every axis, and home moves there. Where some keep the SLA
    and others do not, or a home broke it, all adjacent ones are measured instead, and home moves to the best of them.
    It ends where home stays, or comes to a place for the third time.
    """

    def __init__(self, axes: Axes, measured: Measured, backend: str) -> None:
        self._at = axes.backends[backend]
        self._measured = measured
        self._homes: dict[Coordinate, int] = {}
        self._best: Coordinate | None = None

    def carry_out(self, home: Coordinate) -> None:
        """Climb from ``home`` until it is stuck or the time is up."""
        slow, passed = False, False
        while self._measured.in_time:
            rank = self._rank(home)
            self._homes[home] = self._homes.get(home, 0) + 1
            if rank is None or (passed and not _passes(rank)):
                following, slow = self._back(home), True
            else:
                passed = passed or _passes(rank)
                following, slow = self._step(home, slow=slow), False
            if following in (None, home) or self._homes.get(following, 0) >= 2:
                return
            home = following

    def _rank(self, at: Coordinate) -> Rank | None:
        rank = self._measured.rank(self._at[at])
        if rank is not None and (self._best is None or rank < self._known(self._best)):
            self._best = at
        return rank

    def _known(self, at: Coordinate) -> Rank:
        rank = self._measured.rank(self._at[at])
        if rank is None:
            raise ValueError(f"{at} could not be measured")
        return rank

    def _back(self, home: Coordinate) -> Coordinate | None:
        """Return the neighbour nearest to the best so far."""
        best = self._best
        return None if best is None else min((home, *self._around(home)), key=lambda at: dist(at, best))

    def _step(self, home: Coordinate, *, slow: bool) -> Coordinate | None:
        """Return where to go next, None when the time is up."""
        while not slow and len(self._seen(home)) < MIN_MEASURED:
            new = [at for at in self._around(home) if not self._measured.knows(self._at[at])]
            if not new:
                break
            if not self._measured.in_time:
                return None
            self._rank(max(new, key=lambda at: self._uncovered(home, at)))
            slow = len({_passes(self._known(at)) for at in (home, *self._seen(home))}) > 1
        if not slow:
            return self._uphill(home)
        adjacent = [at for at in self._around(home) if dist(at, home) == 1]
        for at in adjacent:
            if not self._measured.in_time:
                return None
            self._rank(at)
        return min((home, *self._seen(home)), key=self._known)

    def _around(self, home: Coordinate) -> Iterator[Coordinate]:
        return (at for at in self._at if 0 < dist(at, home) <= RADIUS)

    def _seen(self, home: Coordinate) -> list[Coordinate]:
        """Return the neighbours that were measured."""
        known = [at for at in self._around(home) if self._measured.knows(self._at[at])]
        return [at for at in known if self._measured.rank(self._at[at]) is not None]

    def _uncovered(self, home: Coordinate, at: Coordinate) -> int:
        """Return how many coordinates of ``at`` no measured neighbour has."""
        seen = self._seen(home)
        return sum(all(value != neighbour[axis] for neighbour in seen) for axis, value in enumerate(at))

    def _uphill(self, home: Coordinate) -> Coordinate:
        mine = self._known(home)
        gains, lengths = [0.0] * len(home), [0] * len(home)
        for at in self._seen(home):
            gain = _gain(mine, self._known(at))
            for axis, (here, there) in enumerate(zip(home, at, strict=True)):
                step = there - here
                gains[axis] += gain * (step > 0) - gain * (step < 0)
                lengths[axis] += abs(step)
        target = [
            here + _steps(gain / length if length else 0.0)
            for here, gain, length in zip(home, gains, lengths, strict=True)
        ]
        # Not every combination is a configuration.
        return min(self._at, key=lambda at: dist(at, target))


def _passes(rank: Rank) -> bool:
    return rank[0] == 0


def _gain(mine: Rank, theirs: Rank) -> float:
    """Return by which part of their mean the figure of ``theirs`` is better, -2 to 2; -2 or 2 if the ranks differ."""
    (verdict, here), (their_verdict, there) = mine, theirs
    rank, other_rank = (verdict, here.unpriced, here.per_hour), (their_verdict, there.unpriced, there.per_hour)
    if rank != other_rank:
        return 2.0 if other_rank < rank else -2.0
    # More is better, as of a throughput.
    return 2 * (1 / there.figure - 1 / here.figure) / (1 / there.figure + 1 / here.figure)


def _steps(gain: float) -> int:
    steps = sum(abs(gain) > bound for bound in STEPS_ABOVE)
    return steps if gain > 0 else -steps


SEARCHERS: dict[str, Searcher] = {
    "servefit": servefit,
    "tpe": parzen,
    "random": random_search,
    "hill_climb": hill_climb,
}
