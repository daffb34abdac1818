"""Shapes of other packages, each behind a wrapper that checks what it says, and names the package where that is wrong.

Such a shape may raise, end Python, or give NaN for a time. servefit's own shapes are not wrapped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.checks import check_above_zero, check_at_least
from servefit.errors import ServefitError, SpecError
from servefit.plug_ins import raised_text
from servefit.profiler.arrivals.contract import NS_PER_S, Arrivals
from servefit.profiler.arrivals.parameters import FIELD

if TYPE_CHECKING:
    import numpy as np

_REMEDY = "mend the shape, or choose another"


@dataclass(frozen=True, kw_only=True)
class GuardedShape(Arrivals):
    """The ``shape`` that ``package`` offers as ``offered_as``. Whatever it raises or gives wrongly is a SpecError."""

    shape: Arrivals
    offered_as: str
    package: str

    def __post_init__(self) -> None:
        # The fields are no parameters: those of the shape were checked when it was made.
        object.__setattr__(self, "name", self.offered_as)

    def times_ns(self, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
        with self._asked("times_ns"):
            return self.shape.times_ns(rate_per_s=rate_per_s, duration_s=duration_s, seed=seed)

    def describe(self) -> str:
        with self._asked("describe"):
            text = self.shape.describe()
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise self.error(f"cannot be used: describe gave {text!r:.80}, which is not a line of text")
        return text

    @property
    def own_rate_per_s(self) -> float | None:
        with self._asked("own_rate_per_s"):
            rate_per_s = self.shape.own_rate_per_s
        if rate_per_s is None:
            return None
        with self._checked("own_rate_per_s", rate_per_s):
            check_above_zero(FIELD, rate_per_s)
        return float(rate_per_s)

    @property
    def cycle_s(self) -> float:
        with self._asked("cycle_s"):
            cycle_s = self.shape.cycle_s
        with self._checked("cycle_s", cycle_s):
            check_at_least(FIELD, cycle_s, 0)
            if 0 < cycle_s * NS_PER_S < 1:
                raise SpecError(FIELD, cycle_s, "is less than a nanosecond")
        return float(cycle_s)

    @property
    def longest_s(self) -> float:
        with self._asked("longest_s"):
            longest_s = self.shape.longest_s
        with self._checked("longest_s", longest_s):
            if longest_s != inf:
                check_above_zero(FIELD, longest_s)
        return float(longest_s)

    def __str__(self) -> str:
        with self._asked("__str__"):
            text = str(self.shape)
        return self._own_text("__str__", text)

    def typed(self, *, folder: Path | None = None) -> str:
        with self._asked("typed"):
            text = self.shape.typed(folder=folder)
        return self._own_text("typed", text)

    def error(self, problem: str) -> SpecError:
        """Return the error for ``problem``, the end of a sentence on arrivals."""
        return SpecError(FIELD, self.offered_as, f"of {self.package} {problem}", remedy=_REMEDY)

    def _own_text(self, method: str, text: str) -> str:
        # What is kept is the text: it has to lead to this shape again.
        if text.partition(":")[0] != self.offered_as:
            raise self.error(f"cannot be used: {method} gave {text!r:.80}, which begins with another name")
        return text

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        try:
            yield
        except SpecError as error:
            # A shape may refuse a run in its own words.
            problem = f"of {self.package} {error.problem}"
            raise SpecError(error.field, error.value or self.offered_as, problem, remedy=error.remedy) from error
        except (ServefitError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise self.error(f"cannot be used: {what} {raised_text(error)}") from error

    @contextmanager
    def _checked(self, what: str, value: Any) -> Iterator[None]:
        try:
            yield
        except SpecError as error:
            raise self.error(f"cannot be used: {what} is {value!r:.40}, which {error.problem}") from error
