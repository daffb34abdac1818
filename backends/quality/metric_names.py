"""The names that a metric may have. What each computes is in ``metrics``; this module is light, for whoever validates
requests."""

from __future__ import annotations

import re

from servefit.errors import SpecError

NAMES = ("accuracy", "auc", "f1", "r2", "mae", "recall@10")
"""The metrics that are there, "recall@10" for all numbers."""

_RECALL = re.compile(r"recall@([1-9][0-9]{0,5})")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def check_metric(name: str) -> None:
    """Raise SpecError for what names neither a metric nor a function."""
    if name not in NAMES and not is_function(name) and recalled(name) is None:
        error = SpecError.unknown("metric", name, NAMES)
        remedy = f"{error.remedy}; a function of your own is named package.module:function"
        raise SpecError("metric", name, error.problem, remedy=remedy)


def rise_or_drop(name: str) -> str:
    """Return what a metric does that becomes worse: an error rises."""
    return "rise" if name == "mae" else "drop"


def is_function(name: str) -> bool:
    """Return whether ``name`` names a function of the user's own."""
    return _FUNCTION.fullmatch(name) is not None


def recalled(name: str) -> int | None:
    """Return K of "recall@K", None for another name."""
    match = _RECALL.fullmatch(name)
    return None if match is None else int(match[1])
