"""The time that rows take in a call of the predictor, learned from calls, and how many rows one call is given.

A request may have as many rows as fit into its body, and a row may take a microsecond or a second. So a long request is
called for in parts: between two of them the event loop reads and writes, other requests have their turn, and no call
runs into the limit beyond which the supervisor kills the worker, with all of its connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servefit.backends.model.packing import join_predictions
from servefit.serving.messages import Refused

if TYPE_CHECKING:
    import numpy as np

PART_NS = 250_000_000
"""A call that is expected to take longer is made in parts. Long beside what a call costs whatever its rows, and short
beside the second within which probes want an answer. Chosen, not measured."""

_MIN_EVIDENCE = 0.1
"""A request is refused for its rows after so much of the time that a call may take: by then it had some twelve
parts."""

_WIDTHS = 64
"""Powers of two."""


class RowTimes:
    """The time a row takes, for each power of two of its values: a row of a network with open sizes takes more time
    the longer it is. Of rows that are longer than all before it is assumed that time grows with the square."""

    def __init__(self) -> None:
        self._row_ns = [0.0] * _WIDTHS
        self._was_long = [False] * _WIDTHS

    def learn(self, rows: np.ndarray, taken_ns: int) -> None:
        """Note that a call of ``rows`` took ``taken_ns``. One that was slower than others counts as twice as slow at
        most: the machine may have been busy."""
        row_ns, at = taken_ns / len(rows), (rows.size // len(rows)).bit_length()
        known_ns = self._row_ns[at]
        self._row_ns[at] = min(row_ns, 2 * known_ns) if known_ns else row_ns
        self._was_long[at] = taken_ns >= PART_NS

    def _expected_ns(self, values: int) -> float:
        """Return the time that a row of so many ``values`` is expected to take; 0 where nothing is known."""
        at = values.bit_length()
        for size_class in range(at, -1, -1):
            if self._row_ns[size_class]:
                return self._row_ns[size_class] * 4.0 ** (at - size_class)
        return 0.0

    def shown_ns(self, values: int) -> float:
        """Return the time that a row of so many ``values`` took in the last call of such rows, if that was long enough
        to tell the time of others; else 0."""
        at = values.bit_length()
        return self._row_ns[at] if self._was_long[at] else 0.0

    def most_rows(self, values: int) -> int:
        """Return how many rows of so many ``values`` one call is given, at least 1."""
        row_ns = self._expected_ns(values)
        return max(1, int(PART_NS / row_ns)) if row_ns else 2**31


@dataclass(slots=True, eq=False)
class Parts:
    """The part of a long request that is predicted: ``queued_ns`` is how long it waited for its first call,
    ``taken_ns`` how long its calls took."""

    queued_ns: int
    taken_ns: int = 0
    rows: int = 0
    _predictions: list[np.ndarray] = field(default_factory=list)

    def add(self, predictions: np.ndarray, taken_ns: int) -> None:
        self._predictions.append(predictions)
        self.rows += len(predictions)
        self.taken_ns += taken_ns

    def joined(self) -> np.ndarray:
        """Return the predictions of all rows."""
        return join_predictions(self._predictions)

    def check(self, rows_left: int, limit_ns: float) -> None:
        """Raise Refused if all rows together take longer than ``limit_ns``, as far as those before tell."""
        row_ns = self.taken_ns / self.rows
        if self.taken_ns > _MIN_EVIDENCE * limit_ns:
            refuse_slow(self.rows + rows_left, row_ns, limit_ns)


def refuse_slow(rows: int, row_ns: float, limit_ns: float) -> None:
    """Raise Refused if ``rows`` of ``row_ns`` each take longer than ``limit_ns``."""
    if rows * row_ns > limit_ns:
        raise Refused(
            413,
            f"rows: {rows} of them take about {rows * row_ns / 1e9:.0f} s, and a request may take {limit_ns / 1e9:g} s "
            f"of the predictor: send at most {max(1, int(limit_ns / row_ns))} at once, or serve with a longer "
            "--call-timeout",
        )
