"""The periods that points are of: whole ones, counted from 1970."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_SHORT_S = (1, 5, 10, 20, 30)
_MINUTE_S = 60

MAX_POINTS = 1440
"""Of a call of GetMetricStatistics, and of a line in a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """Those of ``period_s`` seconds that begin before ``end_s``, from the one on that ``begin_s`` is in."""

    period_s: int
    begin_s: float
    end_s: float

    @classmethod
    def between(cls, begin: datetime, end: datetime, period_s: int) -> Periods:
        return cls(period_s=period_s, begin_s=begin.timestamp(), end_s=end.timestamp())

    @property
    def first_s(self) -> int:
        """The beginning of the first period."""
        return floor(self.begin_s / self.period_s) * self.period_s

    @property
    def last_s(self) -> int:
        """The end of what counts: CloudWatch has data by the minute, and counts the minute that is not over yet."""
        step_s = min(self.period_s, _MINUTE_S)
        return ceil(self.end_s / step_s) * step_s

    @property
    def count(self) -> int:
        """The number of periods, as CloudWatch counts what is asked for."""
        return ceil((self.end_s - self.begin_s) / self.period_s)


def is_period(seconds: int) -> bool:
    """Return whether CloudWatch takes a period of so many seconds."""
    return seconds in _SHORT_S or (seconds > 0 and seconds % _MINUTE_S == 0)


PERIODS = "1, 5, 10, 20, 30, or a multiple of 60"


def wrong_way_round(begin: datetime, end: datetime) -> str | None:
    """Return what CloudWatch says of two times that nothing is between; None where there is something."""
    if begin == end:
        return "The parameter StartTime must not equal parameter EndTime."
    return "The parameter StartTime must be less than the parameter EndTime." if begin > end else None
