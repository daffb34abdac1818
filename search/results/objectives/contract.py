"""The base class of objectives: the figure that a job is about, of what was measured and of what is predicted.

An objective of another package is a class that derives from :class:`Objective`, offered under an entry point of the
group ``servefit.objectives`` (docs/adding-an-objective.md). It is imported into the process of the command, so it
imports nothing heavy, and its methods are quick and change nothing: they are called for thousands of configurations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import exp, fsum, inf, log
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from servefit.quantities import number_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.machine.host import Host
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.pooled_trials import PooledTrials
    from servefit.search.results.price import Price
    from servefit.search.results.recommendation import Recommendation, Trial

Direction: TypeAlias = Literal["min", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The facts that a figure may depend on beside a trial.

    ``price`` is that of one instance, ``rate_per_s`` the rate asked of all of them, None where none was, and
    ``cost_weight`` what cost counts against latency, 0 to 1. ``learnt`` is what the objective's own
    :meth:`Objective.learn` made of the trials so far; None for figures of what was measured. ``carries_rate`` says that
    what is paid for is carrying the rate, and not as many requests as could be answered.
    """

    price: Price
    rate_per_s: float | None
    cost_weight: float
    learnt: object = None
    carries_rate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The performance that is expected of ``configuration`` before it is measured.

    ``capacity_per_s`` is how many requests an instance answers at most. ``p95_ms`` is the latency at the rate asked, or
    of the closed loop where none was; infinite where it is not known. Where many configurations are looked through, it
    is what no request can be faster than. ``instances`` share the rate asked.
    """

    configuration: Configuration
    capacity_per_s: float
    p95_ms: float = inf
    instances: int = 1


class Objective(ABC):
    """A figure that a job makes as small or as large as it can. Figures are zero or above; see :meth:`of_trial`.

    Attributes:
        name: Its name for ``--goal``: lower-case letters, digits and dashes.
        unit: The unit of its figures, as it stands behind a number: "ms".
        direction: "min" if less is better, else "max".
        aim: The best, for sentences: "the least energy".
        tie: The part of the best figure by which another may be worse and still ties with it, unless rounds of
            measuring both in turns told them apart. Chosen, not measured.
        needs_rate: True if figures depend on the load at the rate asked. Then the best are measured at their share of
            it, too, when they are compared in turns.
        needs_latency: True if predictions depend on ``p95_ms``, which takes a simulation each.
        priced: True if figures depend on the price. Then what has none ranks behind what has.
        paid_by_the_hour: True if, where a rate is asked, the price of all instances comes before the figure.
        whole_machine: True if figures are of the whole machine, so that no test may run beside another.
        explored_by: The number of figures that :meth:`explored` gives.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    direction: ClassVar[Direction] = "min"
    aim: ClassVar[str]
    tie: ClassVar[float] = 0.02
    needs_rate: ClassVar[bool] = True
    needs_latency: ClassVar[bool] = True
    priced: ClassVar[bool] = False
    paid_by_the_hour: ClassVar[bool] = False
    whole_machine: ClassVar[bool] = False
    explored_by: ClassVar[int] = 1

    @abstractmethod
    def of_trial(self, trial: Trial, context: Context) -> float | None:
        """Return the figure of a trial.

        Args:
            trial: One test: ``trial.judged`` has the figures at the rate asked, ``trial.capacity`` those at full load.
            context: The price of the instance, and what was asked.

        Returns:
            A number that is zero or above, or infinite; None where the trial does not tell. What has no figure ranks
            behind what has one.
        """

    @abstractmethod
    def predicted(self, prediction: Prediction, context: Context) -> float | None:
        """Return the figure that is expected of a configuration which was not measured.

        Args:
            prediction: What calls timed alone, and a simulation of the queue, say of it.
            context: As for :meth:`of_trial`, with what was ``learnt``.

        Returns:
            As for :meth:`of_trial`; None where nobody can tell. The search then tries what it cannot predict: first one
            plain configuration of every backend, then what Optuna's Parzen estimator proposes.
        """

    def of_pooled_trials(self, pooled: PooledTrials, context: Context) -> float | None:
        """Return the figure that all measurements of a configuration amount to: unless an objective overrides it, the
        geometric mean over those under the load that counts."""
        figures = (self.of_trial(trial, context) for trial in pooled.alike)
        numbers = [figure for figure in figures if figure is not None]
        if not numbers or not all(0 < figure < inf for figure in numbers):
            return max(numbers, key=self.lower, default=None)
        return exp(fsum(map(log, numbers)) / len(numbers))

    def ties(self, best: float, other: float) -> bool:
        """Return whether the figure ``other`` differs too little from the ``best`` to matter; both as
        :meth:`lower` gives them."""
        return other <= best + abs(best) * self.tie

    def learn(self, trials: Sequence[Trial]) -> object:  # noqa: ARG002
        """Return what :meth:`predicted` may use of all ``trials`` so far, worked out once after each."""
        return None

    def uncertainty(self, capacity_sd: float, latency_sd: float) -> float:
        """Return the standard deviation of the logarithm of a predicted figure, from those of its parts: above 0 and
        at most 10."""
        return max(capacity_sd, latency_sd) if self.needs_latency else capacity_sd

    def explored(self, trial: Trial, context: Context) -> tuple[float | None, ...]:
        """Return ``explored_by`` figures for the Parzen estimator to minimise where predictions promise no more."""
        figure = self.of_trial(trial, context)
        return (None if figure is None else self.lower(figure),)

    def check(self, host: Host) -> None:  # noqa: B027
        """Raise SpecError where no trial on ``host`` could have a figure, with the reason and what to do about it."""

    def compared_by(self, context: Context) -> str:  # noqa: ARG002
        """Return what two configurations are compared by that were measured in turns, for sentences."""
        return self.name

    def times_better(self, context: Context) -> str:
        """Return what stands behind a ratio of two configurations: "1.2 times as good by energy per inference"."""
        return f"times as good by {self.compared_by(context)}"

    def evidence(self, best: Recommendation, context: Context) -> str:
        """Return what the sentence on a recommendation says beside its latency, capacity and price; empty for
        nothing."""
        return self.figure_text(best, context)

    def figure_text(self, best: Recommendation, context: Context) -> str:
        """Return the figure of a recommendation for a person who waits for the job: "27 J per million"."""
        figure = self.of_trial(best.trial, context)
        return f"{self.name} not known" if figure is None else self.text(figure)

    def text(self, figure: float) -> str:
        """Return a figure with its unit."""
        return f"{number_text(figure)} {self.unit}"

    @property
    def axis(self) -> str:
        """The name of the axis of a plot of its figures, in which vCPUs stand for prices."""
        return f"{self.name}, {self.unit}"

    def lower(self, figure: float) -> float:
        """Return ``figure`` such that less is better, whatever the direction: zero or above, or infinite."""
        if self.direction == "min":
            return figure
        return 1 / figure if figure else inf
