"""The declaration of a figure: a column of every table, and a field of every document, in one place.

A figure is a pure function of what was measured. How it is written is for tables and documents, which read what is
declared here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, TypeAlias

from servefit.errors import SpecError
from servefit.profiler.evidence.summary import Summary
from servefit.quantities import DIGITS
from servefit.search.results.recommendation import Recommendation, Trial

Value: TypeAlias = float | str | None
"""The value of a figure: a number, text, or None for what is not known."""

Subject: TypeAlias = Summary | Trial | Recommendation
"""The results that a figure is read from."""

MAX_TITLE_CHARACTERS = 32
"""The longest title: a table has twenty columns, and a terminal some two hundred characters. Chosen, not measured."""

MAX_DIGITS = 17
"""So many significant digits tell every float from every other [IEEE 754]."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*([.\[][A-Za-z0-9_]+\]?)*")
"""The place of a figure in a JSON document: ``samples``, ``model_latency_ms.p95``, ``model_latency_ms_ci95.p95[0]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure, and how it is read. Exactly one of the last three fields is given.

    Args:
        name: Its place in JSON documents of a recommendation, and its name in ``servefit figures``.
        title: The head of its column. One that ends in " ms" is shown in the unit that fits its values.
        unit: The unit of its values, None where they have none.
        meaning: One sentence for people who read the table.
        digits: The significant digits that people are shown; whole numbers are shown in full. None: it is text.
        scale: The factor of values in tables, where these have another unit than JSON.
        only_where_known: No column is made of it where nothing in the table has a value of it.
        of_summary: Reads it from the figures that the SLA was held against.
        of_trial: Reads it from a whole test.
        of_recommendation: Reads it from a recommendation: a test for an instance profile, with what it costs there.

    Raises:
        SpecError: what is declared makes no column.

    Example:
        ``Figure(name="failed", title="failed", unit="requests", meaning="Requests without an answer.",
        of_summary=lambda summary: summary.failed)``
    """

    name: str
    title: str
    unit: str | None
    meaning: str
    digits: int | None = DIGITS
    scale: float = 1.0
    only_where_known: bool = False
    of_summary: Callable[[Summary], Value] | None = None
    of_trial: Callable[[Trial], Value] | None = None
    of_recommendation: Callable[[Recommendation], Value] | None = None

    def __post_init__(self) -> None:
        def refuse(problem: str) -> SpecError:
            return SpecError("figure", self.name, problem)

        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise refuse("is no name of a field, such as tail_ratio")
        if not _is_line(self.title) or len(self.title) > MAX_TITLE_CHARACTERS:
            raise refuse(f"has a title that is no line of 1 to {MAX_TITLE_CHARACTERS} characters: {self.title!r}")
        if self.unit is not None and not _is_line(self.unit):
            raise refuse(f"has a unit that is no line of text: {self.unit!r}")
        if not _is_line(self.meaning):
            raise refuse(f"has a meaning that is no line of text: {self.meaning!r}")
        if self.digits is not None and self.digits not in range(1, MAX_DIGITS + 1):
            raise refuse(f"has {self.digits!r} digits, not 1 to {MAX_DIGITS}, or None for text")
        if not isfinite(self.scale) or not self.scale:
            raise refuse(f"has a scale of {self.scale!r}")
        if sum(map(callable, self._readers)) != 1 or self._readers.count(None) != len(self._readers) - 1:
            raise refuse("is read by none or by several of of_summary, of_trial and of_recommendation")

    @property
    def _readers(self) -> tuple[Callable[..., Value] | None, ...]:
        return self.of_summary, self.of_trial, self.of_recommendation

    @property
    def reads_trials(self) -> bool:
        """True if a single test has this figure; else it takes a recommendation."""
        return self.of_recommendation is None

    def of(self, subject: Subject) -> Value:
        """Return the figure of ``subject``, None where it is not known, or where ``subject`` has less than it takes.

        Args:
            subject: A recommendation, a test, or the figures of a run.

        Returns:
            The value as JSON holds it.

        Raises:
            Whatever reading raises. Those of servefit raise nothing, and ``outside`` guards all others.

        Example:
            ``figure("model_latency_ms.p95").of(job.recommendations[0])``
        """
        if self.of_recommendation is not None:
            return self.of_recommendation(subject) if isinstance(subject, Recommendation) else None
        tested = subject.trial if isinstance(subject, Recommendation) else subject
        if self.of_trial is not None:
            return self.of_trial(tested) if isinstance(tested, Trial) else None
        summary = tested.judged if isinstance(tested, Trial) else tested
        return None if self.of_summary is None else self.of_summary(summary)

    def cell(self, subject: Subject) -> Value:
        """Return the figure of ``subject`` as tables hold it: in the unit of its column."""
        value = self.of(subject)
        # A whole number stays one: 1,029 and not 1,030.
        return value if value is None or isinstance(value, str) or self.scale == 1 else value * self.scale

    def titled(self, title: str) -> Figure:
        """Return the same figure under another title, for a table that has two of a kind."""
        return replace(self, title=title)


def _is_line(text: Any) -> bool:
    """Return whether ``text`` is a line of printable characters."""
    return isinstance(text, str) and bool(text.strip()) and text.isprintable()
