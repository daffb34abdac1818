"""Options that take numbers: what is none is refused in the words of job files, where typer would use its own."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated, get_args

from typer.models import OptionInfo

from servefit.checks import check_finite, check_whole
from servefit.errors import SpecError

_NAMES: dict[type[int] | type[float], str] = {int: "a whole number", float: "a number"}


def with_parsed_numbers(command: Callable[..., None]) -> Callable[..., None]:
    """Give the options of ``command`` that take numbers a parser each, in its signature. Returns ``command``."""
    signature = inspect.signature(command, eval_str=True)
    parameters = [_with_parser(parameter) for parameter in signature.parameters.values()]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def parse_number(field: str, kind: type[int] | type[float], least: int | None, value: str | float) -> float:
    """Return ``value`` as a finite number of ``kind``; ``least`` is the smallest whole number allowed. Raises SpecError
    for ``field``."""
    try:
        number = kind(value)
    except ValueError as error:
        raise SpecError(field, value, f"is not {_NAMES[kind]}") from error
    check_finite(field, number)
    if least is not None:
        check_whole(field, int(number), least=least)
    return number


def _with_parser(parameter: inspect.Parameter) -> inspect.Parameter:
    kinds, *metadata = get_args(parameter.annotation) or (None,)
    kind = next((kind for kind in _NAMES if kinds is kind or kinds == kind | None), None)
    if kind is None or not metadata or not isinstance(metadata[0], OptionInfo):
        return parameter
    option = copy.copy(metadata[0])
    option.parser = partial(parse_number, parameter.name, kind, None if option.min is None else int(option.min))
    return parameter.replace(annotation=Annotated[kinds, option])
