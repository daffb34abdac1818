"""The progress of a job while it runs, as facts, which the command line words. A program may pass a listener of its
own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Protocol

from servefit.errors import ServefitError
from servefit.quantities import span_text
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.clock import Clock
    from servefit.search.results.recommendation import FailedTrial, Recommendation, Trial

MIN_BETWEEN_S = 2.0
MAX_COUNTED = 10
"""A stage that ends after a time says so every two seconds, or ten times if that is less often: a line in a log should
say something new. Chosen, not measured."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A snapshot of a job's progress.

    ``elapsed_s`` have passed, and it is expected to take ``left_s`` more: None where that is not known, and no more
    than that where it is ``at_most``. ``tests`` load tests have begun, of ``most_tests`` where their number is limited.
    ``step`` is the number of the job step that is reported, None where it is none. ``best`` is what would be
    recommended now, and ``figure`` its figure by the objective of the job, as text; ``asked`` says whether there is an
    SLA for it to meet.
    """

    elapsed_s: float
    left_s: float | None = None
    at_most: bool = False
    tests: int = 0
    most_tests: int | None = None
    step: int | None = None
    best: Recommendation | None = None
    figure: str = ""
    asked: bool = False


def before_search(clock: Clock) -> Moment:
    """Return the progress of a job that does not know yet what it searches: what its time limit leaves it, if
    anything."""
    left_s = clock.left_s if isfinite(clock.limit_s) and clock.left_s > 0 else None
    return Moment(elapsed_s=clock.elapsed_s, left_s=left_s, at_most=True)


@contextmanager
def counting_down(progress: Progress, doing: str, moment: Callable[[], Moment], limit_s: float) -> Iterator[None]:
    """Report now and then, while the block lasts, which is ended after ``limit_s``, how long that is still to come.
    ``moment`` gives the progress of the job.

    An error of ``moment``, such as that of a failing objective, is raised once the block is done.
    """
    over = threading.Event()
    failed: list[ServefitError] = []
    ends_s = time.monotonic() + limit_s

    def count() -> None:
        while not over.wait(max(MIN_BETWEEN_S, limit_s / MAX_COUNTED)):
            left_s = max(0.0, ends_s - time.monotonic())
            try:
                at = moment()
            except ServefitError as error:
                failed.append(error)
                return
            progress.stage(f"{doing}: {span_text(left_s)} more at most", at)

    counting = threading.Thread(target=count, name="servefit countdown", daemon=True)
    if isfinite(limit_s):
        counting.start()
    try:
        yield
    finally:
        over.set()
        if isfinite(limit_s):
            counting.join()
    if failed:
        raise failed[0]


class Progress(Protocol):
    """A listener to a job: called for everything as it happens, in the thread that runs the job, or in that of a test
    beside others."""

    def stage(self, text: str, at: Moment | None = None) -> None:
        """Take note that a new stage began: "compiling with treelite"."""
        ...

    def timing(self, configuration: Configuration, at: Moment) -> None:
        """Take note that calls of ``configuration`` are timed alone now."""
        ...

    def testing(self, configuration: Configuration, at: Moment) -> None:
        """Take note that a test of ``configuration`` begins, which is the step of ``at``."""
        ...

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        """Take note that the test finished that is the step of ``at``."""
        ...


class SilentProgress:
    """A listener that says nothing."""

    def stage(self, text: str, at: Moment | None = None) -> None:
        pass

    def timing(self, configuration: Configuration, at: Moment) -> None:
        pass

    def testing(self, configuration: Configuration, at: Moment) -> None:
        pass

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        pass
