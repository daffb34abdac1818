"""The progress of what a job does on one of several hosts, each stage with the name of the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.progress import Moment, Progress
    from servefit.search.results.recommendation import FailedTrial, Trial


@dataclass(frozen=True, slots=True)
class OfHost:
    """A listener that passes on to ``progress`` what happens on ``host``; see ``Progress``."""

    progress: Progress
    host: str

    def stage(self, text: str, at: Moment | None = None) -> None:
        """Pass on that a stage began on the host."""
        self.progress.stage(f"{self.host}: {text}", at)

    def timing(self, configuration: Configuration, at: Moment) -> None:
        """Pass on that calls are timed."""
        self.progress.timing(configuration, at)

    def testing(self, configuration: Configuration, at: Moment) -> None:
        """Pass on that a test begins."""
        self.progress.testing(configuration, at)

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        """Pass on what came of a test."""
        self.progress.tested(trial, at)
