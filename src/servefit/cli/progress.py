"""Progress on stderr: three live lines in a terminal, plain lines elsewhere. Their words are those of ``moments``."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from servefit.cli.output import print_note
from servefit.cli.terminal import columns_of
from servefit.quantities import span_text
from servefit.report.moments import best_so_far, obtained, result, step_number, tests_begun, time_left
from servefit.report.sentences import shape_in_envelope
from servefit.showing import one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.progress import Moment, Progress
    from servefit.search.results.recommendation import FailedTrial, Trial

DRAWN_PER_S = 2
"""Drawings a second. Chosen low: drawing takes CPU time beside what is measured."""

BURST = 8
"""Plain lines that may follow each other at once. Beyond them, lines about what merely begins are left out as long as
there is more than one line a second. Chosen: a log stays readable."""

_BAR_WIDTH = 24
"""Columns of the bar. Chosen: with the words beside it, it fits a terminal of 80 columns."""


@contextmanager
def job_progress(*, quiet: bool) -> Iterator[Progress]:
    """Yield a listener that shows the progress of a job, or, if ``quiet``, one that shows nothing."""
    from servefit.search.optimizer.progress import SilentProgress

    if quiet:
        yield SilentProgress()
    elif _can_draw():
        with _drawn() as lines:
            yield lines
    else:
        yield PlainLines(print_note)


class ShowStage(Protocol):
    """Shows the stage that begins, and the time that it takes, or takes ``at_most``, where that is known."""

    def __call__(self, text: str, *, takes_s: float | None = None, at_most: bool = False) -> None: ...


@contextmanager
def showing_stage(
    text: str, *, quiet: bool, takes_s: float | None = None, at_most: bool = False
) -> Iterator[ShowStage]:
    """Show ``text`` on stderr while the block runs. Yields a function that shows another stage."""
    from servefit.search.optimizer.progress import Moment

    began_s = time.monotonic()

    def show_stage(text: str, *, takes_s: float | None = None, at_most: bool = False) -> None:
        elapsed_s = time.monotonic() - began_s
        at = None if takes_s is None else Moment(elapsed_s=elapsed_s, left_s=takes_s, at_most=at_most)
        progress.stage(text, at)

    with job_progress(quiet=quiet) as progress:
        show_stage(text, takes_s=takes_s, at_most=at_most)
        yield show_stage


def _can_draw() -> bool:
    """Return whether stderr is a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


class PlainLines:
    """One line without control characters for every event, given to ``write``, about one a second."""

    def __init__(self, write: Callable[[str], object], now: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._now = now
        self._lock = threading.Lock()
        self._allowed = float(BURST)
        self._last_s = now()
        self._best = ""

    def stage(self, text: str, at: Moment | None = None) -> None:
        self._say(text, at)

    def timing(self, configuration: Configuration, at: Moment) -> None:
        self._say(f"timing calls of {shape_in_envelope(configuration)}", at, only_if_allowed=True)

    def testing(self, configuration: Configuration, at: Moment) -> None:
        count = "" if at.most_tests is None else f" ({tests_begun(at)})"
        self._say(f"{step_number(at)} begins{count}: {shape_in_envelope(configuration)}", at, only_if_allowed=True)

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        line = f"{step_number(at)}{obtained(trial)}: {result(trial)}"
        best = best_so_far(at)
        if best != self._best:
            self._best = best
            line += f"; best so far: {best}"
        self._say(line, at)

    def _say(self, text: str, at: Moment | None, *, only_if_allowed: bool = False) -> None:
        with self._lock:
            now_s = self._now()
            self._allowed = min(float(BURST), self._allowed + now_s - self._last_s)
            self._last_s = now_s
            if only_if_allowed and self._allowed < 1:
                return
            self._allowed -= 1
            self._write(f"[{_times(at)}] {text}" if at is not None else text)


def _times(at: Moment) -> str:
    left = time_left(at.left_s, at_most=at.at_most)
    return f"{span_text(at.elapsed_s)}, {left}" if left else span_text(at.elapsed_s)


class LiveLines:
    """Three lines that rich draws: the stage or the test, the best so far, and a bar with the time."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._updated_s = now()
        self._stage = "starting"
        self._doing = ""
        self._at: Moment | None = None

    def stage(self, text: str, at: Moment | None = None) -> None:
        self._stage, self._doing = text, ""
        self._update(at)

    def timing(self, configuration: Configuration, at: Moment) -> None:
        self.testing(configuration, at)

    def testing(self, configuration: Configuration, at: Moment) -> None:
        step = "" if at.step is None else f"step {at.step}, "
        self._doing = f"{step}{shape_in_envelope(configuration)}"
        self._update(at)

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:  # noqa: ARG002
        self._update(at)

    def _update(self, at: Moment | None) -> None:
        if at is not None or self._at is None:
            self._at, self._updated_s = at, self._now()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        at, width = self._at, options.max_width
        yield Text(fitted(f"{self._stage}: {self._doing}" if self._doing else self._stage, width), no_wrap=True)
        if at is not None and (best := best_so_far(at)):
            yield Text(fitted(f"best so far: {best}", width), style="green", no_wrap=True)
        passed_s = self._now() - self._updated_s
        yield self._bar(at, passed_s, width, plain=options.ascii_only)

    def _bar(self, at: Moment | None, passed_s: float, width: int, *, plain: bool) -> Text:
        from rich.text import Text

        if at is None:
            return Text(fitted(span_text(passed_s), width))
        elapsed_s = at.elapsed_s + passed_s
        left_s = None if at.left_s is None else max(0.0, at.left_s - passed_s)
        parts = (tests_begun(at), span_text(elapsed_s), time_left(left_s, at_most=at.at_most))
        words = fitted(", ".join(part for part in parts if part), width)
        room = min(_BAR_WIDTH, width - len(words) - 1)
        if left_s is None or room < len("bar"):
            return Text(words)
        done = round(room * elapsed_s / (elapsed_s + left_s)) if elapsed_s + left_s > 0 else 0
        over, rest = ("#", "-") if plain else ("━", "─")
        return Text.assemble((over * done, "cyan"), (rest * (room - done), "dim"), f" {words}")


def fitted(text: str, width: int) -> str:
    """Return ``text`` as one line that fits a terminal of ``width`` columns."""
    from rich.cells import set_cell_size

    line = one_line(text)
    return line if columns_of(line) <= width else f"{set_cell_size(line, max(0, width - 3))}..."[:width]


@contextmanager
def _drawn() -> Iterator[LiveLines]:
    from rich.console import Console
    from rich.live import Live

    lines = LiveLines()
    console = Console(stderr=True, highlight=False)
    with Live(lines, console=console, refresh_per_second=DRAWN_PER_S, transient=True, redirect_stdout=False):
        # Whatever ends this process, the terminal keeps its cursor.
        console.show_cursor(True)
        yield lines
