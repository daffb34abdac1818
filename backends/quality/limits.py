"""The limits that a user sets to artifacts that predict less exactly: which precisions may be tried, and what they may
change. Validated here, once; what an artifact makes of them is in ``judging``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args

from servefit.backends.quality.metric_names import check_metric, is_function, rise_or_drop
from servefit.backends.types import Precision
from servefit.checks import check_above_zero, check_at_least, check_finite
from servefit.errors import SpecError
from servefit.field_types import check_types
from servefit.quantities import parse_share
from servefit.showing import shown
from servefit.stored import Stored

Measure: TypeAlias = Literal["share", "cosine", "top1"]
"""A measure of deviation: the largest difference of a row, as a share of its scale; the least cosine between the two;
or the share of rows that are put into the same class."""

LESS_EXACT = tuple(precision.value for precision in Precision if precision is not Precision.EXACT)
"""The names of the precisions that have to be allowed."""

_DEVIATION = re.compile(r"\s*(?:(?P<measure>[A-Za-z0-9_]+)\s*=)?\s*(?P<limit>[^=]+?)\s*")


@shown()
class DeviationLimit(Stored, frozen=True, kw_only=True):
    """A limit on how predictions may differ from the reference's: at most ``limit`` for the measure "share", at least
    ``limit`` for "cosine" and "top1"."""

    measure: Measure
    limit: float

    def __post_init__(self) -> None:
        check_types(self)
        if self.measure == "share":
            check_above_zero("max_deviation", self.limit, most=1)
        else:
            check_above_zero("max_deviation", self.limit)
            if self.limit >= 1:
                problem = "leaves nothing to allow" if self.limit == 1 else "is above 1"
                raise SpecError("max_deviation", f"{self.measure}={self.limit:g}", problem)

    def __str__(self) -> str:
        digits = format(Decimal(repr(float(self.limit))), "f")
        return digits if self.measure == "share" else f"{self.measure}={digits}"


@shown("metric", "drop", "source")
class QualityLimit(Stored, frozen=True, kw_only=True):
    """A limit on the ``drop`` of a metric on labelled rows, 0 to 1. ``source`` is the file that the labels are in, or
    "array"; ``labels`` are there once it has been read, one for each row of the payload."""

    source: str
    metric: str
    drop: float
    labels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_types(self)
        check_metric(self.metric)
        check_finite("quality_drop", self.drop)
        check_at_least("quality_drop", self.drop, 0, most=1)
        if self.drop == 0:
            raise SpecError(
                "quality_drop", 0, "can be shown by no number of rows", remedy="allow a little, such as 0.5%"
            )

    @property
    def is_own_function(self) -> bool:
        """True if the metric is a function of the user's own."""
        return is_function(self.metric)


@shown()
class PrecisionLimits(Stored, frozen=True, kw_only=True):
    """The precisions besides the exact one that may be tried, and the limits that all of them have to keep. Nothing is
    allowed where no precision is.

    Example:
        ::

            limits = sf.PrecisionLimits.of(allow_precision=("int8",), max_deviation=0.01)
            print(limits.text)

    ``sf.compile_model``, ``sf.profile`` and ``sf.Deployment`` take them as ``precision``.
    """

    allowed: tuple[str, ...] = ()
    deviations: tuple[DeviationLimit, ...] = ()
    quality: QualityLimit | None = None

    def __post_init__(self) -> None:
        check_types(self)
        for name in self.allowed:
            if name not in LESS_EXACT:
                raise SpecError.unknown("allow_precision", name, LESS_EXACT)
            if self.allowed.count(name) > 1:
                raise SpecError("allow_precision", name, "is named twice")
        measures = [limit.measure for limit in self.deviations]
        for limit in self.deviations:
            if measures.count(limit.measure) > 1:
                raise SpecError("max_deviation", str(limit), "is given twice")
        limited = "max_deviation" if self.deviations else "quality" if self.quality else None
        if limited and not self.allowed:
            raise SpecError(
                limited,
                None,
                "limits artifacts that predict less exactly, and none are allowed",
                remedy="allow some with --allow-precision int8 (allow_precision=('int8',))",
            )
        if self.allowed and not limited:
            raise SpecError(
                "allow_precision",
                ",".join(self.allowed),
                "has no limit to what it may change",
                remedy="give --max-deviation 0.01 (max_deviation=0.01), or --quality with labels",
            )

    @classmethod
    def of(
        cls,
        *,
        allow_precision: str | Collection[str] = (),
        max_deviation: float | str | None = None,
        quality: Any = None,
        metric: str | None = None,
        quality_drop: float | str | None = None,
    ) -> PrecisionLimits:
        """Return the limits that these options of a job say.

        Args:
            allow_precision: Precisions to try, "int8" and "bf16", as a list or with commas between them.
            max_deviation: The share of a row's scale that predictions may differ by, "cosine=0.995", "top1=0.999", or
                several with commas between them.
            quality: Labels of the payload's rows: a file of them (CSV, NPY), or an array.
            metric: "accuracy", "auc", "f1", "r2", "mae", "recall@10", or a function "package.module:name" that takes
                labels and predictions and returns a number, of which more is better.
            quality_drop: How much less than the reference's the metric may be, "0.5%" or 0.005.

        Returns:
            The limits, with labels that are read when the payload is.

        Raises:
            SpecError: An option is missing, not known, or none that it can be.

        Example:
            ::

                print(sf.PrecisionLimits.of(allow_precision="int8,bf16", max_deviation="cosine=0.995"))
        """
        remedy = f"name {' or '.join(LESS_EXACT)}, or leave it out"
        if not isinstance(allow_precision, Collection):
            raise SpecError("allow_precision", allow_precision, "is no list of names", remedy=remedy)
        named = allow_precision.split(",") if isinstance(allow_precision, str) else list(allow_precision)
        allowed = tuple(str(name).strip().lower() for name in named if str(name).strip())
        if named and not allowed:
            raise SpecError("allow_precision", ",".join(map(str, named)), "names no precision", remedy=remedy)
        return cls(
            allowed=allowed,
            deviations=() if max_deviation is None else parse_deviations(max_deviation),
            quality=_quality(quality, metric, quality_drop),
        )

    @property
    def allows_nothing(self) -> bool:
        """True if only exact artifacts are taken."""
        return not self.allowed

    @property
    def text(self) -> str:
        """The limits in words."""
        parts = [f"{_WORDS[limit.measure]} {limit.limit:.12g}" for limit in self.deviations]
        if self.quality is not None:
            verb = rise_or_drop(self.quality.metric)
            parts.append(f"{self.quality.metric} may {verb} by {100 * self.quality.drop:.12g} %")
        return ", ".join(parts)


def held_against_nothing(limits: PrecisionLimits, backend: str) -> str:
    """Return the warning that ``backend``, which predicts as the model's own library does, is not held to ``limits``:
    nobody has looked at labels then."""
    return (
        f"{backend} predicts as the model's own library does: nothing was held against what is allowed ({limits.text})"
    )


_WORDS = {"share": "deviation at most", "cosine": "cosine at least", "top1": "same class at least"}


def parse_deviations(text_or_number: float | str) -> tuple[DeviationLimit, ...]:
    """Return the limits in a number, or in a text such as "1%", "0.01", "cosine=0.995" or "cosine=0.99,top1=0.999".
    Raises SpecError."""
    if not isinstance(text_or_number, str):
        check_finite("max_deviation", text_or_number)
        return (DeviationLimit(measure="share", limit=float(text_or_number)),)
    limits = []
    for text in text_or_number.split(","):
        match = _DEVIATION.fullmatch(text)
        if match is None:
            raise SpecError("max_deviation", text_or_number, "does not look like 0.01, cosine=0.995 or top1=0.999")
        measure = (match["measure"] or "share").lower()
        if measure not in get_args(Measure):
            raise SpecError.unknown("max_deviation", measure, get_args(Measure))
        limit = _share("max_deviation", match["limit"])
        limits.append(DeviationLimit(measure=measure, limit=limit))  # type: ignore[arg-type]
    return tuple(limits)


def _quality(labels: Any, metric: str | None, drop: float | str | None) -> QualityLimit | None:
    """Return the limit of three options together, None if all are missing. Raises SpecError."""
    options = {"quality": labels, "metric": metric, "quality_drop": drop}
    missing = [name for name, value in options.items() if value is None]
    if len(missing) == len(options):
        return None
    if labels is None or metric is None or drop is None:
        remedies = {
            "quality": "give the labels with --quality labels.csv (quality=...)",
            "metric": "say which with --metric accuracy (metric='accuracy')",
            "quality_drop": "say how much less is allowed with --quality-drop 0.5% (quality_drop=0.005)",
        }
        first = next(name for name in options if name not in missing)
        raise SpecError(first, None, f"needs {missing[0]} beside it", remedy=remedies[missing[0]])
    from servefit.backends.quality.labels import label_values

    share = _drop(drop)
    if isinstance(labels, str) or hasattr(labels, "__fspath__"):
        return QualityLimit(source=str(labels), metric=metric, drop=share)
    return QualityLimit(source="array", metric=metric, drop=share, labels=label_values(labels))


def _share(field: str, text: str) -> float:
    """Return the share that ``text`` says, with no digit that nobody wrote: 99.9 % is 0.999. Raises SpecError."""
    share = parse_share(field, text)
    return float(Decimal(text.strip().rstrip("%").strip()) / 100) if "%" in text else share


def _drop(drop: float | str) -> float:
    if isinstance(drop, str):
        if drop.strip().startswith("-"):
            raise SpecError("quality_drop", drop, "is below zero")
        share = _share("quality_drop", drop)
        if share > 1:
            raise SpecError("quality_drop", drop, "is above 100 %")
        return share
    check_finite("quality_drop", drop)
    check_at_least("quality_drop", drop, 0)
    if drop > 1:
        raise SpecError("quality_drop", drop, "is above 1, which is 100 %", remedy="write 0.5% or 0.005")
    return float(drop)
