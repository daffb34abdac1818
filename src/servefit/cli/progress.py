"""Progress of a job on stderr: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from servefit.cli.output import cell_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from servefit.search.progress import Progress
    from servefit.search.recommendation import FailedTrial, Trial


@contextmanager
def job_progress(*, quiet: bool) -> Iterator[Progress]:
    """A listener for a job that draws what it is told, or, if ``quiet``, one that does not."""
    from servefit.search.progress import Silent

    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as drawn:
            yield _Live(drawn, drawn.add_task("starting", total=None))
    else:
        yield _Lines()


@contextmanager
def saying(text: str, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Say on stderr what goes on while the block runs; what is given is called to say something else."""
    with job_progress(quiet=quiet) as progress:
        progress.stage(text)
        yield progress.stage


class _Lines:
    """One plain line for every event."""

    def stage(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")

    def tested(self, trial: Trial | FailedTrial, tests: int, done: float) -> None:
        sys.stderr.write(f"{done:4.0%}  test {tests}: {describe(trial)}\n")


class _Live:
    """A spinner and a bar."""

    def __init__(self, drawn: RichProgress, task: TaskID) -> None:
        self._drawn = drawn
        self._task = task

    def stage(self, text: str) -> None:
        self._drawn.update(self._task, description=text)

    def tested(self, trial: Trial | FailedTrial, tests: int, done: float) -> None:
        self._drawn.update(self._task, description=f"test {tests}: {describe(trial)}", total=1.0, completed=done)


def describe(trial: Trial | FailedTrial) -> str:
    """One test in one line."""
    from servefit.search.recommendation import FailedTrial

    one = trial.configuration
    where = f"{one.backend}, {one.vcpus} vCPU, {one.workers} x {one.settings.threads} threads, batch {one.max_batch}"
    if one.batch_delay_us:
        where += f" and {one.batch_delay_us / 1000:g} ms"
    if isinstance(trial, FailedTrial):
        return f"{where}: failed, {trial.reason}"
    p95 = trial.judged.latency_ms["p95"]
    latency = "" if p95 is None else f", p95 {cell_text(p95)} ms"
    return f"{where}: {cell_text(trial.capacity.throughput_per_s)}/s{latency}"
