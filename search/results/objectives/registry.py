"""Objectives by name: the built-in ones, and those that other packages offer under ``servefit.objectives``."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, get_args

from servefit.errors import SpecError
from servefit.search.request.goals import OBJECTIVES
from servefit.search.results.objectives.contract import Context, Direction, Objective
from servefit.search.results.objectives.missing import MissingObjective

if TYPE_CHECKING:
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.price import Price

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@cache
def objective(name: str) -> Objective:
    """Return the objective called ``name``.

    Args:
        name: As for ``--goal``.

    Returns:
        The one instance of its class in this process.

    Raises:
        SpecError: nobody offers it, several packages do, or what a package offers is no objective.

    Example:
        ``objective("energy").unit``
    """
    kind = OBJECTIVES.imported(name)
    package = OBJECTIVES.package_of(name)
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        raise _refused(name, package, "is no class that derives from Objective")
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise _refused(name, package, f"has no {' and no '.join(missing)}")
    for attribute in ("name", "unit", "aim"):
        if not isinstance(getattr(kind, attribute, None), str):
            raise _refused(name, package, f"has no {attribute}, which is a text")
    if kind.name != name or not _NAME.fullmatch(name):
        raise _refused(name, package, f"calls itself {kind.name!r}; names are lower-case letters, digits and dashes")
    if kind.direction not in get_args(Direction):
        raise _refused(name, package, f"has the direction {kind.direction!r}, which is neither min nor max")
    try:
        return kind()
    except (Exception, SystemExit) as error:
        raise _refused(name, package, f"cannot be made: {type(error).__name__}: {error}") from error


def objective_of(request: JobRequest) -> Objective:
    """Return the objective that ``request`` asks for. Where it cannot be used here, as once its package is uninstalled,
    that is one without figures: what a job measured stays readable."""
    try:
        return objective(request.goal)
    except SpecError as error:
        return MissingObjective(request.goal, error)


def context_of(request: JobRequest, price: Price) -> Context:
    """Return what figures for ``request`` depend on, on an instance of that ``price``."""
    return Context(price=price, rate_per_s=request.sla.rate_per_s, cost_weight=request.cost_weight)


def _refused(name: str, package: str, problem: str) -> SpecError:
    return SpecError("goal", name, f"of {package} {problem}", remedy="update or uninstall that package")
