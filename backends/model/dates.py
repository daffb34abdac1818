"""Columns of dates. A row has them as texts in the form of ISO 8601, and a step of the user's gets them as pandas has
dates. Which columns are dates is told by trying: nothing that such a step was fitted to says so."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

_TRIED = 32
"""Rows: so many dates differ in their months, days and hours."""
_FIRST, _LAST = "1990-01-01", "2040-01-01"
"""Between which dates are drawn. Chosen."""
_DOES_NOT_TAKE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, AssertionError)
"""Errors of steps that are given columns of another kind."""


def as_dates(texts: Sequence[str | None] | np.ndarray, name: str) -> Any:
    """Return the dates that ``texts`` are as pandas' datetime64, a missing one as NaT. Raises ValueError."""
    import pandas as pd

    expected = f"a date such as 2026-12-31 or 2026-12-31T18:30:00 in {name!r:.60}"
    try:
        dates = pd.to_datetime(pd.Index(texts, dtype=object), format="ISO8601")
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"expected {expected}: {str(error).splitlines()[0][:120]}") from error
    strange = dates.isna() & np.array([isinstance(text, str) for text in texts], dtype=bool)
    if strange.any():  # words for what is missing, and nothing at all
        raise ValueError(f"expected {expected}, got {texts[int(strange.argmax())]!r}")
    if getattr(dates, "tz", None) is not None:
        raise ValueError(f"expected {expected}, without a time zone")
    return dates


def drawn_dates(count: int, generator: np.random.Generator, *, with_time: bool = True) -> list[str]:
    """Draw ``count`` dates as texts, half of them with a time."""
    first, last = (np.datetime64(day).astype("datetime64[s]").astype(np.int64) for day in (_FIRST, _LAST))
    seconds = generator.integers(first, last, count).astype("datetime64[s]")
    return [
        str(second if with_time and nth % 2 else second.astype("datetime64[D]")) for nth, second in enumerate(seconds)
    ]


def takes_dates(transformer: Any, names: Sequence[str], *, as_series: bool) -> bool:
    """Return whether ``transformer``, of a class or a function that is not scikit-learn's, is one of dates in the
    columns ``names``: what it makes of dates differs from row to row, and what it makes of numbers does not, as of
    pandas' dates that count nanoseconds. ``as_series`` says that it is given its only column by itself."""
    import pandas as pd

    if not _is_of_the_user(transformer):
        return False
    generator = np.random.default_rng(0)
    # Those of a column are all less than those of the next, so that nanoseconds between two are never a day
    numbers = pd.DataFrame({name: 100 * nth + generator.uniform(1, 100, _TRIED) for nth, name in enumerate(names)})
    dates = pd.DataFrame({name: as_dates(drawn_dates(_TRIED, generator), name) for name in names})
    frames = (numbers[names[0]], dates[names[0]]) if as_series else (numbers, dates)
    return not _tells_rows_apart(transformer, frames[0]) and _tells_rows_apart(transformer, frames[1])


def _is_of_the_user(transformer: Any) -> bool:
    steps = [inner for _, inner in transformer.steps] if hasattr(transformer, "steps") else [transformer]
    return any(
        not type(step).__module__.startswith("sklearn.") or type(step).__name__ == "FunctionTransformer"
        for step in steps
        if not isinstance(step, str)
    )


def _tells_rows_apart(transformer: Any, frame: Any) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output = transformer.transform(frame)
        numbers = np.asarray(output.toarray() if hasattr(output, "toarray") else output).astype(np.float64)
    except _DOES_NOT_TAKE:
        return False
    return len(numbers) == _TRIED and bool((numbers != numbers[0]).any()) and bool(np.isfinite(numbers).all())
