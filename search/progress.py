"""What a job says while it runs. The command line draws it; a program may pass its own listener, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from servefit.search.recommendation import FailedTrial, Trial


class Progress(Protocol):
    """Told of everything as it happens: in the thread that runs the job, or in that of a test beside others."""

    def stage(self, text: str) -> None:
        """A new stage began: "compiling with treelite"."""
        ...

    def tested(self, trial: Trial | FailedTrial, tests: int, done: float) -> None:
        """A test finished, the ``tests``-th; ``done`` is the part of the search that is over, 0 to 1."""
        ...


class Silent:
    """Says nothing."""

    def stage(self, text: str) -> None:
        pass

    def tested(self, trial: Trial | FailedTrial, tests: int, done: float) -> None:
        pass
