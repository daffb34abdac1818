"""The options of a command: each is declared once, by itself or as a field of a set that several commands take.

A set is a frozen dataclass, whose fields are annotated as the parameters of commands are, or are sets themselves.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from servefit.cli.completion import one_of


def option(
    about: str,
    panel: str | None = None,
    form: str | None = None,
    *names: str,
    complete: Callable[[str], list[str]] | None = None,
    least: int | None = None,
    most: int | None = None,
    variable: str | None = None,
) -> Any:
    """Declare an option by the line ``about`` it, its panel of the help, and the ``form`` of its value. Words such as
    "cpu|cuda" can be completed. Without ``names`` it has that of its parameter: --batch-delay for batch_delay. Where it
    is not given it is what the environment ``variable`` says."""
    if complete is None and form is not None and "|" in form and form.islower():
        complete = one_of(*form.split("|"))
    return typer.Option(
        *names,
        metavar=form,
        help=about,
        autocompletion=complete,
        rich_help_panel=panel,
        min=least,
        max=most,
        envvar=variable,
        show_envvar=variable is None,
    )


def with_option_sets(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` with the fields of the sets that it takes in place of its parameters for them."""
    signature = inspect.signature(command, eval_str=True)
    sets = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }

    @functools.wraps(command)
    def run(**options: Any) -> None:
        filled = {name: _filled(kind, options) for name, kind in sets.items()}
        command(**options, **filled)

    return _signed(run, (single for parameter in signature.parameters.values() for single in _singles(parameter)))


def with_parameters(
    command: Callable[..., None],
    original: Callable[..., object],
    *,
    added: Iterable[inspect.Parameter],
    in_place_of: str | None = None,
) -> Callable[..., None]:
    """Give ``command`` the signature of ``original`` with the parameters ``added``: at the end, or ``in_place_of`` one.

    Both may be the same function. Annotations become objects.
    """
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(original, eval_str=True).parameters.values():
        parameters.extend(added if parameter.name == in_place_of else [parameter])
    if in_place_of is None:
        parameters.extend(added)
    return _signed(command, sorted(parameters, key=lambda parameter: parameter.kind))


def _signed(command: Callable[..., None], parameters: Iterable[inspect.Parameter]) -> Callable[..., None]:
    """Give ``command`` these parameters, where typer looks for them."""
    signature = inspect.Signature(list(parameters), return_annotation=None)
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return command


def _singles(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """Yield a parameter of a command, or those for the fields of a set, each an option with a name."""
    if not is_dataclass(parameter.annotation):
        yield _named(parameter)
        return
    hints = get_type_hints(parameter.annotation, include_extras=True)
    for field in fields(parameter.annotation):
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        yield from _singles(parameter.replace(name=field.name, default=default, annotation=hints[field.name]))


def _named(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter whose option has a name: typer would give a switch one that switches it off, too."""
    kinds, *metadata = get_args(parameter.annotation) or (None,)
    parameter = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    if not metadata or not isinstance(metadata[0], OptionInfo) or metadata[0].default is not ...:
        return parameter
    named = copy(metadata[0])
    named.param_decls = (f"--{parameter.name.replace('_', '-')}",)
    return parameter.replace(annotation=Annotated[kinds, named])


def _filled(kind: Any, options: dict[str, Any]) -> Any:
    """Take the fields of the set ``kind`` out of ``options``, and return one that has them."""
    hints = get_type_hints(kind)
    return kind(
        **{
            field.name: _filled(hints[field.name], options)
            if is_dataclass(hints[field.name])
            else options.pop(field.name)
            for field in fields(kind)
        }
    )
