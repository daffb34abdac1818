"""What is reported while something runs that is ended after a time."""

from __future__ import annotations

import threading

import pytest

from servefit.errors import ObjectiveError
from servefit.search.optimizer import progress
from servefit.search.optimizer.progress import Moment, SilentProgress, counting_down


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MIN_BETWEEN_S", 0.01)
    monkeypatch.setattr(progress, "MAX_COUNTED", 1000)


def block(done: list[str], *, raises: Exception | None = None) -> None:
    """Do something until a report of its progress has failed."""
    reported = threading.Event()

    def fail() -> Moment:
        reported.set()
        raise ObjectiveError("odd", "oddities 1.0", "figure_text() raised KeyError: 'watts'")

    with counting_down(SilentProgress(), "step 1", fail, limit_s=10.0):
        assert reported.wait(10)
        done.append("block")
        if raises is not None:
            raise raises


def test_what_fails_while_progress_is_reported_is_raised_at_the_end_of_the_block() -> None:
    done: list[str] = []
    with pytest.raises(ObjectiveError, match=r"goal 'odd' of oddities 1\.0"):
        block(done)
    assert done == ["block"]


def test_what_the_block_raises_itself_comes_before_that() -> None:
    with pytest.raises(ZeroDivisionError):
        block([], raises=ZeroDivisionError())
