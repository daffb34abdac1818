"""Progress of a job under the cell of a notebook that runs it: one line, written over."""

from __future__ import annotations

import sys
from html import escape
from typing import TYPE_CHECKING, Any

from servefit.quantities import span_text
from servefit.report.moments import best_so_far, result, tests_begun, time_left
from servefit.report.sentences import shape_in_envelope
from servefit.search.optimizer.progress import SilentProgress

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.progress import Moment, Progress
    from servefit.search.results.recommendation import FailedTrial, Trial


def default_progress() -> Progress:
    """Return the listener of a job that nobody gave one: a line in a notebook, and elsewhere nothing."""
    return NotebookProgress() if in_notebook() else SilentProgress()


def in_notebook() -> bool:
    """Return whether a cell of a notebook runs this. IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class NotebookProgress:
    """A listener that shows what a job does below the cell that runs it. Pass it as ``progress`` where servefit cannot
    tell that it runs in a notebook.

    Example:
        ::

            sf.recommend("model.ubj", backend="xgboost", max_tests=1, progress=sf.NotebookProgress())
    """

    def __init__(self) -> None:
        self._handle: Any = None

    def stage(self, text: str, at: Moment | None = None) -> None:
        self._show(text, at)

    def timing(self, configuration: Configuration, at: Moment) -> None:
        self._show(f"timing calls of {shape_in_envelope(configuration)}", at)

    def testing(self, configuration: Configuration, at: Moment) -> None:
        self._show(f"testing {shape_in_envelope(configuration)}", at)

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        self._show(result(trial), at)

    def _show(self, text: str, at: Moment | None) -> None:
        from IPython.display import HTML, display

        shown = HTML(f"<div>{'<br>'.join(map(escape, _lines(text, at)))}</div>")
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)


def _lines(text: str, at: Moment | None) -> list[str]:
    if at is None:
        return [text]
    times = (tests_begun(at), span_text(at.elapsed_s), time_left(at.left_s, at_most=at.at_most))
    best = best_so_far(at)
    return [text, *([f"best so far: {best}"] if best else []), ", ".join(part for part in times if part)]
