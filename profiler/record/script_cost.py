"""The measured cost of a script beside the model file that it loads, or the reason why there is none.

Measuring is for ``procedures.script_comparison``.
"""

from __future__ import annotations

from collections.abc import Sequence

from servefit.backends.model.scripts import BESIDE
from servefit.quantities import count_text, duration_text, number_text
from servefit.showing import shown
from servefit.stored import StoredMember


@shown("file", "script_s", "backend", "file_s", "largest_difference", "reason")
class ScriptCost(StoredMember, frozen=True, kw_only=True):
    """The service times of the same requests, answered by a script and without it, each on one thread of one worker.

    ``file`` is the model beside the script, by its path in the archive. ``script_s`` is what a call of the script took,
    and ``file_s`` what one of ``backend`` did, the fastest of ``tried_s``, which are exact backends with their times:
    medians, in seconds. A script reads the request and writes the answer itself: an endpoint of the file takes ``io_s``
    for that; None where it was not timed. Each of the ``requests`` has ``rows`` rows. ``largest_difference`` is that of
    the predictions, and ``not_compared`` says why there is none. ``reason`` says why nothing was measured; then all of
    these are empty.
    """

    file: str
    script_s: float | None = None
    file_s: float | None = None
    io_s: float | None = None
    backend: str | None = None
    tried_s: tuple[tuple[str, float], ...] = ()
    requests: int = 0
    rows: int = 0
    largest_difference: float | None = None
    not_compared: str | None = None
    reason: str | None = None

    @property
    def text(self) -> str:
        """The cost in a line; why it is not known where nothing was measured."""
        if self.script_s is None or self.file_s is None:
            return f"{self.file} was not measured without the script: {self.reason}"
        without = duration_text(self.file_s, digits=2)
        if self.io_s is not None:
            without += f", and {duration_text(self.io_s, digits=2)} to read and answer it"
        costs = "nothing of it"
        if (cost_s := self.script_s - self.file_s - (self.io_s or 0.0)) > 0:
            costs = f"{duration_text(cost_s, digits=2)} of it"
        return (
            f"{duration_text(self.script_s, digits=2)} a request; the same {self.file} without the script, by "
            f"{self.backend}: {without}; the script costs {costs}"
        )

    @property
    def predictions_text(self) -> str:
        """The difference between the predictions of the two, or the reason why that is not known."""
        if self.largest_difference is None:
            return f"predictions with and without the script were not compared: {self.not_compared}"
        compared = count_text(self.requests * self.rows, "row")
        return (
            f"predictions with and without the script differ by {number_text(self.largest_difference, digits=2)} at "
            f"most, on {compared}"
        )


def answered(warnings: Sequence[str], cost: ScriptCost | None) -> tuple[str, ...]:
    """Return ``warnings`` of a model without those of files beside its script that ``cost`` answers, and with the
    reason where it says why it does not."""
    if cost is None:
        return tuple(warnings)
    if cost.reason is None:
        return tuple(warning for warning in warnings if BESIDE not in warning)
    return tuple(f"{warning}; here it was not: {cost.reason}" if BESIDE in warning else warning for warning in warnings)
