"""Findings on an artifact that predicts less exactly: its deviation from the reference, with verdicts."""

from __future__ import annotations

from typing import Literal, TypeAlias

from servefit.backends.quality.limits import Measure
from servefit.backends.quality.metric_names import rise_or_drop
from servefit.quantities import count_text
from servefit.showing import shown
from servefit.stored import Stored

QualityVerdict: TypeAlias = Literal["PASS", "FAIL", "UNDECIDED"]
"""UNDECIDED: the rows are too few to tell. It is not taken then."""

Way: TypeAlias = Literal["together", "shuffled", "alone"]
"""The way of calling rows: several in a call, in the order of the payload or in another one, or one at a time."""


@shown()
class Deviation(Stored, frozen=True, kw_only=True):
    """The deviation of predictions of ``rows`` rows from the reference's, in the ``way`` of calling that differs most.

    ``found`` is the largest share of a row's scale, the least cosine, or the share of rows of the same class. ``bound``
    is what is shown of rows that were not seen, with an error rate of 5 %: rows of the same class are a share of at
    least ``bound``; of the other two measures, at most a share of ``bound`` of all rows is beyond the limit.
    ``rows_needed`` would decide what is UNDECIDED, if it goes on as it was; None where that is not known.
    """

    measure: Measure
    limit: float
    verdict: QualityVerdict
    found: float
    bound: float
    rows: int
    way: Way
    rows_needed: int | None = None

    @property
    def within(self) -> bool:
        """Whether what was found is within the limit, whatever that shows of other rows."""
        return self.found <= self.limit if self.measure == "share" else self.found >= self.limit

    @property
    def text(self) -> str:
        """The finding, in words."""
        limit = f"{self.limit:.12g}"
        if self.measure == "top1":
            shown = f"at least {100 * self.bound:.4g} % are, with 95 % confidence; {limit} is asked"
            return f"{100 * self.found:.6g} % of {self.rows} rows in the same class ({self.way}): {shown}"
        if self.measure == "share":
            said = f"largest deviation {self.found:.3g} of the scale, {limit} is allowed"
        else:
            said = f"least cosine {self.found:.6g}, {limit} is asked"
        unseen = f"; at most {100 * self.bound:.3g} % of rows are beyond it" if self.verdict == "PASS" else ""
        return f"{said} ({self.rows} rows, {self.way}){unseen}"


@shown()
class QualityDrop(Stored, frozen=True, kw_only=True):
    """A metric of the ``reference`` and of the ``candidate`` on the same ``rows``, in the ``way`` of calling that is
    worst. ``drop`` is the difference, in points or relative to the reference; the true one is at most ``bound`` and at
    least ``least``, each with an error rate of 5 %. ``rows_needed`` as for a :class:`Deviation`."""

    metric: str
    limit: float
    verdict: QualityVerdict
    reference: float
    candidate: float
    drop: float
    bound: float
    least: float
    rows: int
    way: Way
    rows_needed: int | None = None

    @property
    def within(self) -> bool:
        """Whether what was found is within the limit, whatever that shows of other rows."""
        return self.drop <= self.limit

    @property
    def text(self) -> str:
        """The finding, in words."""
        scores = f"{self.metric} {self.candidate:.4g} against {self.reference:.4g}"
        verb = f"{rise_or_drop(self.metric)}s"
        return (
            f"{scores} on {self.rows} rows ({self.way}): it {verb} by {percent(self.drop)}, and by "
            f"{percent(self.bound)} at most with 95 % confidence; {percent(self.limit)} is allowed"
        )


@shown()
class Quality(Stored, frozen=True, kw_only=True):
    """The findings on an artifact of that ``precision``. ``batch_dependent`` says that its predictions of a row depend
    on the rows beside it: then each way of calling was held against the limits. ``largest_deviation`` is a share of the
    row's scale, whatever the limits are on, and ``largest_error`` the largest difference of a value. ``rows_alone`` of
    the ``rows`` were called one at a time too. ``spared`` layers were left in float32, to keep the limits."""

    precision: str
    rows: int
    rows_alone: int
    batch_dependent: bool
    largest_deviation: float
    largest_error: float
    deviations: tuple[Deviation, ...] = ()
    drop: QualityDrop | None = None
    spared: int = 0

    @property
    def verdict(self) -> QualityVerdict:
        """PASS if all limits are met, FAIL if one is broken, else UNDECIDED."""
        verdicts = [part.verdict for part in self._parts]
        if "FAIL" in verdicts:
            return "FAIL"
        return "UNDECIDED" if "UNDECIDED" in verdicts else "PASS"

    @property
    def within(self) -> bool:
        """Whether all that was found is within the limits, whatever that shows of other rows."""
        return all(part.within for part in self._parts)

    @property
    def text(self) -> str:
        """The findings, in words."""
        layers = [f"{count_text(self.spared, 'layer')} left in float32"] if self.spared else []
        return "; ".join([*(part.text for part in self._parts), *layers])

    @property
    def short(self) -> str:
        """The same in a few words, for a column."""
        if self.drop is not None:
            drop = self.drop
            return f"{drop.metric} {drop.candidate:.4g} ({rise_or_drop(drop.metric)} < {percent(drop.bound)})"
        names = {"share": "deviation", "cosine": "cosine", "top1": "top-1"}
        return ", ".join(f"{names[deviation.measure]} {deviation.found:.4g}" for deviation in self.deviations)

    @property
    def rows_needed(self) -> int | None:
        """The number of rows that would decide all limits that are UNDECIDED; None if unknown."""
        undecided = [part.rows_needed for part in self._parts if part.verdict == "UNDECIDED"]
        needed = [rows for rows in undecided if rows is not None]
        return max(needed) if needed and len(needed) == len(undecided) else None

    @property
    def _parts(self) -> tuple[Deviation | QualityDrop, ...]:
        return self.deviations if self.drop is None else (*self.deviations, self.drop)


def percent(share: float) -> str:
    """Return a share as people read it."""
    return f"{100 * share:.3g} %"
