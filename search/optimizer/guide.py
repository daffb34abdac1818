"""Whatever says, beside a search itself, whether it goes on, and which rate its winner is confirmed at.

A job on one host goes on for as long as its own search finds something to measure. One that is a part of something
larger, as the class of hosts of a fleet is of its plan, is told more by a guide of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.search_state import SearchState
    from servefit.search.results.recommendation import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class ToConfirm:
    """A configuration to measure again: at ``rate_per_s`` on each instance, or, where that is None, at its share of the
    rate that the job was asked for. It may take that ``part`` of the time that is left."""

    configuration: Configuration
    rate_per_s: float | None = None
    part: float = 1.0


class Guide(Protocol):
    """The guide of one search. All methods may raise JobStopped."""

    needs_predictions: bool
    """Whether the guide makes use of predictions, so that calls are timed also where everything could be tested."""

    left_alone: bool
    """Whether nothing was tested because the guide said that it would change nothing."""

    @property
    def kept_s(self) -> float:
        """The seconds that it keeps for what it does beside the confirmation."""
        ...

    def goes_on(self, search: SearchState) -> bool:
        """Return whether another test may change anything. It may wait until that is known, and has ``search`` learn
        what was found elsewhere meanwhile."""
        ...

    def tell(self, search: SearchState, trial: Trial) -> None:
        """Take note of what ``search`` has measured."""
        ...

    def to_confirm(self, search: SearchState) -> ToConfirm | None:
        """Return what is to be measured again, None where that is over."""
        ...


class OnItsOwn:
    """The guide of a job on one host, which needs none."""

    needs_predictions = False
    left_alone = False
    kept_s = 0.0

    def goes_on(self, _search: SearchState, /) -> bool:
        """Return True: the search knows by itself."""
        return True

    def tell(self, search: SearchState, trial: Trial, /) -> None:
        """Take note of nothing."""

    def to_confirm(self, search: SearchState, /) -> ToConfirm | None:
        """Return the winner, until it was measured again."""
        best = search.best()
        return None if best is None or best in search.confirmed else ToConfirm(configuration=best)
