"""Objectives by name: the built-in ones, and those that other packages offer under ``servefit.objectives``."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from servefit.errors import SpecError
from servefit.search.request.goals import OBJECTIVES
from servefit.search.results.objectives.contract import Context, Direction, Objective
from servefit.search.results.objectives.cost import Cost, CostAtRate
from servefit.search.results.objectives.guarded import GuardedObjective
from servefit.search.results.objectives.missing import MissingObjective
from servefit.showing import one_line

if TYPE_CHECKING:
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.price import Price

_YES_OR_NO = ("needs_rate", "needs_latency", "priced", "paid_by_the_hour", "whole_machine")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@cache
def objective(name: str) -> Objective:
    """Return the objective called ``name``.

    Args:
        name: As for ``--goal``.

    Returns:
        The one instance of its class in this process; guarded if it is of another package, so that its methods raise
        ObjectiveError if they fail.

    Raises:
        SpecError: no package offers it, several do, or what a package offers is no objective.

    Example:
        ``objective("energy").unit``
    """
    kind = OBJECTIVES.imported(name)
    package = OBJECTIVES.package_of(name)
    _check_class(kind, name, package)
    try:
        made: Objective = kind()
    except (Exception, SystemExit) as error:
        raise _refused(name, package, f"cannot be made: {type(error).__name__}: {one_line(str(error))}") from error
    return made if name in OBJECTIVES.built_in else GuardedObjective(made, package)


def _check_class(kind: Any, name: str, package: str) -> None:
    """Raise SpecError if ``kind``, which ``package`` offers as ``name``, is not the class of an objective."""
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        raise _refused(name, package, "is no class that derives from Objective")
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise _refused(name, package, f"has no {' and no '.join(missing)}")
    for attribute in ("name", "unit", "aim"):
        _check_text(attribute, getattr(kind, attribute, None), name, package)
    if kind.name != name or not _NAME.fullmatch(name):
        raise _refused(name, package, f"calls itself {kind.name!r}; names are lower-case letters, digits and dashes")
    if kind.direction not in get_args(Direction):
        raise _refused(name, package, f"has the direction {kind.direction!r}, which is neither min nor max")
    for attribute in _YES_OR_NO:
        if not isinstance(getattr(kind, attribute), bool):
            raise _refused(name, package, f"has the {attribute} {getattr(kind, attribute)!r}, which is no bool")
    if type(kind.explored_by) is not int or kind.explored_by < 1:
        raise _refused(name, package, f"has the explored_by {kind.explored_by!r}, which is no whole number above 0")


def _check_text(attribute: str, text: Any, name: str, package: str) -> None:
    if not isinstance(text, str):
        raise _refused(name, package, f"has no {attribute}, which is a text")
    if not text.isprintable():
        raise _refused(name, package, f"has the {attribute} {text!r:.80}, which is no line of printable text")


_AT_RATE = CostAtRate()


def objective_of(request: JobRequest) -> Objective:
    """Return the objective that ``request`` asks for; with a rate, cost is that of carrying it. Where it cannot be used
    here, as once its package is uninstalled, that is one without figures: what a job measured stays readable."""
    try:
        if request.goal == Cost.name and request.sla.rate_per_s is not None and request.decided_at == "rate":
            return _AT_RATE
        return objective(request.goal)
    except SpecError as error:
        return MissingObjective(request.goal, error)


def rate_that_counts(request: JobRequest) -> float | None:
    """Return the rate that is asked for, None without one, or where figures do not depend on the load there."""
    return request.sla.rate_per_s if objective_of(request).needs_rate else None


def context_of(request: JobRequest, price: Price) -> Context:
    """Return what figures for ``request`` depend on, on an instance of that ``price``."""
    rate_per_s = request.sla.rate_per_s
    return Context(
        price=price,
        rate_per_s=rate_per_s,
        cost_weight=request.cost_weight,
        carries_rate=rate_per_s is not None and request.decided_at == "rate",
    )


def _refused(name: str, package: str, problem: str) -> SpecError:
    return SpecError("goal", name, f"of {package} {problem}", remedy="update or uninstall that package")
