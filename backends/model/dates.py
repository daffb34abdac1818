"""Columns of dates. A row has them as texts in the form of ISO 8601, and a step of the user's gets them as pandas has
dates. Which columns are dates is told by trying: nothing that such a step was fitted to says so."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from servefit.backends.model.sklearn_steps import is_dropped, is_passed

_TRIED = 32
"""Rows: so many dates differ in their months, days and hours."""
_FIRST, _LAST = "1990-01-01", "2040-01-01"
"""Between which dates are drawn. Chosen."""


_ROUNDING = 1e-9
"""As a share: nanoseconds since 1970 are beyond what float64 holds exactly."""


def as_dates(texts: Sequence[str | None] | np.ndarray, name: str) -> Any:
    """Return the dates that ``texts`` are as pandas' datetime64 of microseconds, a missing one as NaT. Raises
    ValueError."""
    import pandas as pd

    expected = f"a date such as 2026-12-31 or 2026-12-31T18:30:00 in {name!r:.60}"
    # Not "now" and "NaT", which pandas takes for dates
    strange = next((text for text in texts if isinstance(text, str) and not text[:4].isdecimal()), None)
    if strange is not None:
        raise ValueError(f"expected {expected}, got {strange!r:.60}")
    try:
        dates = pd.to_datetime(pd.Index(texts, dtype=object), format="ISO8601")
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"expected {expected}: {str(error).splitlines()[0][:120]}") from error
    if getattr(dates, "tz", None) is not None:
        raise ValueError(f"expected {expected}, without a time zone")
    return dates.as_unit("us")


def drawn_dates(count: int, generator: np.random.Generator) -> list[str]:
    """Draw ``count`` dates as texts, half of them with a time."""
    first, last = (np.datetime64(day).astype("datetime64[s]").astype(np.int64) for day in (_FIRST, _LAST))
    seconds = generator.integers(first, last, count).astype("datetime64[s]")
    return [str(second if nth % 2 else second.astype("datetime64[D]")) for nth, second in enumerate(seconds)]


def takes_dates(transformer: Any, names: Sequence[str], *, as_series: bool) -> bool:
    """Return whether ``transformer``, of a class or a function that is not scikit-learn's, is one of dates in all of
    the columns ``names``. ``as_series`` says that it is given its only column by itself.

    It is if it tells dates of each column apart, and no numbers: pandas takes these for nanoseconds, which are of one
    day. What it gives must not depend on the unit in which pandas counts dates: nothing says in which one it was
    fitted.
    """
    import pandas as pd

    if not _is_of_the_user(transformer):
        return False
    generator = np.random.default_rng(0)
    dates = {name: as_dates(drawn_dates(_TRIED, generator), name) for name in names}

    def output(columns: Mapping[str, Any]) -> np.ndarray | None:
        frame = pd.DataFrame(columns)
        return _output_of(transformer, frame[names[0]] if as_series else frame)

    as_usual = output(dates)
    for unit in ("s", "ns"):
        in_unit = output({name: column.as_unit(unit) for name, column in dates.items()})
        if as_usual is None or in_unit is None or as_usual.shape != in_unit.shape:
            return False
        if not np.allclose(as_usual, in_unit, rtol=_ROUNDING, atol=0):
            return False
    same = {name: column[:1].repeat(_TRIED) for name, column in dates.items()}
    return all(
        _tells_apart(output({**same, name: dates[name]}))
        and not any(
            _tells_apart(output({**same, name: generator.uniform(low, high, _TRIED)})) for low, high in _NUMBERS
        )
        for name in names
    )


_NUMBERS = ((1, 100), (1e9, 2e9), (1.5e12, 1.6e12))
"""Small ones, and seconds and milliseconds since 1970."""


def _is_of_the_user(transformer: Any) -> bool:
    inner = [*getattr(transformer, "steps", ()), *getattr(transformer, "transformer_list", ())]
    if inner:
        return any(_is_of_the_user(step) for _, step in inner)
    if is_passed(transformer) or is_dropped(transformer):
        return False
    kind = type(transformer)
    return not kind.__module__.startswith("sklearn.") or kind.__name__ == "FunctionTransformer"


def _output_of(transformer: Any, frame: Any) -> np.ndarray | None:
    """Return the numbers that ``transformer`` makes of ``frame``; None where it takes none of its kind."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output = transformer.transform(frame)
        numbers = np.asarray(output.toarray() if hasattr(output, "toarray") else output).astype(np.float64)
    except Exception:  # noqa: BLE001 - code of the user's, which is given what it may not take, raises what it will
        return None
    return numbers if len(numbers) == len(frame) and np.isfinite(numbers).all() else None


def _tells_apart(output: np.ndarray | None) -> bool:
    return output is not None and bool((output != output[0]).any())
