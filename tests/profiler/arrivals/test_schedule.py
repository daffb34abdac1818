"""Shapes that break their contract are refused when arrivals are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.arrivals.constant import ConstantRate
from servefit.profiler.arrivals.contract import MAX_ARRIVALS, Arrivals
from servefit.profiler.arrivals.schedule import draw_arrivals_ns


@dataclass(frozen=True, kw_only=True)
class Broken(Arrivals):
    name = "broken"

    gives: ClassVar[Any] = None

    def times_ns(self, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
        if isinstance(self.gives, Exception | SystemExit):
            raise self.gives
        given: np.ndarray = self.gives
        return given

    def describe(self) -> str:
        return "as a mistake"


def ns(*times: int) -> np.ndarray:
    return np.array(times, dtype=np.int64)


@pytest.mark.parametrize(
    ("gives", "problem"),
    [
        (ns(1, 5, 4, 7), "go backwards: number 2 comes at 5 ns, and the next one at 4 ns"),
        (ns(), "are none, where some 100 were asked for"),
        (ns(-1, 5), "lie outside the run: from -1 to 5 ns"),
        (ns(0, 1_000_000_000), "lie outside the run: from 0 to 1000000000 ns, where it ends at 1000000000 ns"),
        (np.array([0.5, np.nan]), "hold times that are no finite numbers"),
        (np.array([0.5, np.inf]), "hold times that are no finite numbers"),
        (np.array([0.5, 1.5]), "are float64, not int64 nanoseconds"),
        (np.array([1, 2], dtype=np.int32), "are int32, not int64"),
        (np.zeros((2, 2), dtype=np.int64), "are no array of times"),
        ([1, 2, 3], "are no array of times"),
        (None, "are no array of times"),
        (np.broadcast_to(np.int64(0), (MAX_ARRIVALS + 1,)), "are 50,000,001, more than the 50,000,000 that a run may"),
        (ZeroDivisionError("division by zero"), "cannot be drawn: ZeroDivisionError: division by zero"),
        (SystemExit(0), "cannot be drawn: SystemExit: 0"),
    ],
)
def test_what_is_wrong_with_arrivals_is_said_with_the_name_of_their_shape(
    gives: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "gives", gives)
    with pytest.raises(SpecError) as caught:
        draw_arrivals_ns(Broken(), rate_per_s=100, duration_s=1, seed=0)
    assert f"arrivals: 'broken' {problem}" in str(caught.value)
    assert caught.value.remedy == "mend the shape, or choose another"


def test_too_many_are_refused_before_they_are_drawn() -> None:
    with pytest.raises(SpecError, match=r"^rate: .* makes more than 50,000,000 arrivals in 1000 s"):
        draw_arrivals_ns(ConstantRate(), rate_per_s=1e5, duration_s=1000, seed=0)


def test_a_short_run_may_have_none() -> None:
    assert len(draw_arrivals_ns(ConstantRate(), rate_per_s=1, duration_s=0.5, seed=0)) == 0


def test_a_shape_may_refuse_a_run_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Broken, "gives", SpecError("arrivals", "broken", "are on holiday"))
    with pytest.raises(SpecError, match="are on holiday"):
        draw_arrivals_ns(Broken(), rate_per_s=100, duration_s=1, seed=0)
