"""Figures of other packages: read so that whatever one does is a line to a person, and no more.

One that cannot be imported, is offered twice, raises, or gives what is no number is unknown everywhere it would be
shown, and a warning names it and its package. The others, and the tables, are as they would be without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite
from numbers import Integral, Real
from traceback import format_exception_only
from typing import Any

from servefit.errors import SpecError
from servefit.plug_ins import Package
from servefit.search.figures.contract import MAX_TITLE_CHARACTERS, Figure, Subject, Value
from servefit.search.figures.registry import BUILT_IN, FIGURES, figure_names
from servefit.showing import cut, one_line

MAX_TEXT_CHARACTERS = 200
"""The longest text that is a figure, or that is repeated of an error: a cell or a line, and no report. Chosen, not
measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideFigure:
    """A figure of another package.

    ``declared`` is what the package says of it, and ``figure`` the same with reading that never raises. ``package``
    names who offers it. ``problem`` says why it cannot be read at all; ``figure`` is then unknown everywhere.
    """

    name: str
    package: str
    declared: Figure | None
    figure: Figure
    problem: str | None = None

    def problem_with(self, subject: Subject) -> str | None:
        """Return why this figure of ``subject`` cannot be told, None where it can or is simply not known."""
        if self.declared is None:
            return self.problem
        try:
            _read(self.declared, self.package, subject)
        except SpecError as error:
            return str(error)
        return None


def outside_figures() -> tuple[OutsideFigure, ...]:
    """Return the figures that other packages offer, in alphabetical order. Whatever is wrong with one is its
    ``problem``."""
    return _load_all(tuple(sys.path))


def outside_values(subject: Subject) -> dict[str, Value]:
    """Return the figures of other packages of ``subject`` by name, None for those that are not known."""
    return {outside.name: outside.figure.of(subject) for outside in outside_figures()}


def outside_problems(subjects: Iterable[Subject]) -> tuple[str, ...]:
    """Return what is wrong with figures of other packages when they are read from ``subjects``: a line a figure."""
    subjects = tuple(subjects)
    return tuple(filter(None, (_first_problem(outside, subjects) for outside in outside_figures())))


def _first_problem(outside: OutsideFigure, subjects: tuple[Subject, ...]) -> str | None:
    return outside.problem or next(filter(None, map(outside.problem_with, subjects)), None)


# What is installed does not change while a process runs, but for the path that it is looked up on.
@lru_cache(maxsize=1)
def _load_all(_path: tuple[str, ...]) -> tuple[OutsideFigure, ...]:
    return tuple(_load(name) for name in figure_names() if name not in BUILT_IN)


def _load(name: str) -> OutsideFigure:
    try:
        package = Package.of(FIGURES.entry_point(name).dist)
    except SpecError as error:
        return _unusable(name, error)
    try:
        declared = FIGURES.imported(name)
        _check(declared, name, package)
    except SpecError as error:
        return _unusable(name, error, package)
    guards = {
        field: None if reader is None else _guarded_reader(declared, str(package))
        for field in ("of_summary", "of_trial", "of_recommendation")
        for reader in (getattr(declared, field),)
    }
    return OutsideFigure(name=name, package=str(package), declared=declared, figure=replace(declared, **guards))


def _check(declared: Any, name: str, package: Package) -> None:
    """Make sure that what a package offers is a figure, under its own name, with a field of JSON to itself."""
    if not isinstance(declared, Figure):
        raise _refusal(name, package, f"of {package} is no Figure but of the type {type(declared).__name__}")
    if declared.name != name:
        raise _refusal(name, package, f"of {package} calls itself {declared.name!r}")
    if not name.isidentifier() or len(name) > MAX_TITLE_CHARACTERS:
        raise _refusal(name, package, f"of {package} is not called like a field, such as tail_ratio")


def _unusable(name: str, error: SpecError, package: Package | None = None) -> OutsideFigure:
    """Return a figure that stands where the one that cannot be used would."""
    title = "".join(filter(str.isprintable, name))[:MAX_TITLE_CHARACTERS].strip() or "unnamed"
    unknown = Figure(name="unknown", title=title, unit=None, meaning="Cannot be used.", of_summary=lambda _: None)
    problem = str(error)
    return OutsideFigure(
        name=name, package="" if package is None else str(package), declared=None, figure=unknown, problem=problem
    )


def _guarded_reader(figure: Figure, package: str) -> Callable[[Any], Value]:
    def read(subject: Subject) -> Value:
        try:
            return _read(figure, package, subject)
        except SpecError:
            # outside_problems tells it, once for all subjects.
            return None

    return read


def _read(figure: Figure, package: str, subject: Subject) -> Value:
    """Return the figure of ``subject``. Raises SpecError where reading fails, and where the value is none."""
    remedy = f"update or uninstall {package.partition(' ')[0]}"
    try:
        value = figure.of(subject)
        return _plain(value, figure)
    except (Exception, SystemExit) as error:
        # An error of another package may be one that cannot even be written.
        error_text = cut(one_line(format_exception_only(error)[-1]), MAX_TEXT_CHARACTERS)
        problem = str(error) if isinstance(error, _InvalidValue) else f"raised {error_text}"
        raise SpecError("figure", figure.name, f"of {package} is unknown: it {problem}", remedy=remedy) from error


class _InvalidValue(Exception):
    """A figure gave what is no value."""


def _plain(value: Any, figure: Figure) -> Value:
    """Return ``value`` as Python's own number or text: NumPy's do not go into JSON. Raises _InvalidValue."""
    if value is None:
        return None
    if figure.digits is None:
        if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS:
            raise _InvalidValue(f"gave {_shown(value)}, which is no text of {MAX_TEXT_CHARACTERS} characters or less")
        return one_line(value)
    if not isinstance(value, Real) or isinstance(value, bool):
        raise _InvalidValue(f"gave {_shown(value)}, which is no number")
    if not isfinite(float(value) * figure.scale):
        raise _InvalidValue(f"gave {_shown(value)}, which is not finite")
    return int(value) if isinstance(value, Integral) else float(value)


def _shown(value: Any) -> str:
    return cut(repr(value), MAX_TITLE_CHARACTERS)


def _refusal(name: str, package: Package, problem: str) -> SpecError:
    return SpecError("figure", name, problem, remedy=f"update or uninstall {package.name}")
