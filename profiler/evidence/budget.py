"""The budget of a search, in requests and in seconds, whichever ends first."""

from __future__ import annotations

import math

from servefit.checks import check_above_zero
from servefit.errors import SpecError


class RunBudget:
    """Requests and seconds that may be spent, and those that have been."""

    def __init__(self, *, requests: int | None, seconds: float | None) -> None:
        if requests is None and seconds is None:
            raise SpecError("budget", None, "is missing", remedy="give a number of requests or of seconds")
        for limit in (requests, seconds):
            if limit is not None:
                check_above_zero("budget", limit)
        self._requests = math.inf if requests is None else requests
        self._seconds = math.inf if seconds is None else seconds
        self.requests_spent = 0
        self.seconds_spent = 0.0

    def spend(self, requests: int, seconds: float) -> None:
        self.requests_spent += requests
        self.seconds_spent += seconds

    def total(self, rate_per_s: float) -> float:
        """Return how many requests at that rate the whole budget would be."""
        return min(self._requests, self._seconds * rate_per_s)

    def left(self, rate_per_s: float, *, share: float = 1.0) -> int:
        """Return how many requests at that rate are left of a share of the budget."""
        requests = share * self._requests - self.requests_spent
        return int(max(0.0, min(requests, (share * self._seconds - self.seconds_spent) * rate_per_s)))
