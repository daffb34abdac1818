"""Keywords of functions that have many: each is declared once, in a TypedDict, which several functions may take.

A function takes them as ``**options: Unpack[...]``, which type checkers read. ``help()`` and notebooks read the
signature that is made here, which has each of them by name and with its default.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def with_keywords(declared: type, defaults: Mapping[str, object]) -> Callable[[AnyFunction], AnyFunction]:
    """Make a decorator that fills in the ``**options`` of a function: whoever calls it gives some of the keywords that
    the TypedDict ``declared`` has, and it is given all of them. A keyword without one in ``defaults`` is None by
    default. Any other is a TypeError, as it is with every function."""

    def decorated(function: AnyFunction) -> AnyFunction:
        signature = with_named_keywords(inspect.signature(function), declared, defaults)
        usual = {name: signature.parameters[name].default for name in declared.__annotations__}

        @functools.wraps(function)
        def called(*arguments: Any, **options: Any) -> Any:
            for name in options.keys() - signature.parameters.keys():
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}")
            return function(*arguments, **{**usual, **options})

        called.__signature__ = signature  # type: ignore[attr-defined]
        return called  # type: ignore[return-value]

    return decorated


def part_of(options: Mapping[str, Any], declared: type) -> dict[str, Any]:
    """Return those of ``options`` that the TypedDict ``declared`` has."""
    return {name: options[name] for name in declared.__annotations__}


def with_named_keywords(
    signature: inspect.Signature, declared: type, defaults: Mapping[str, object]
) -> inspect.Signature:
    """Return ``signature`` with the keywords of the TypedDict ``declared`` in place of its ``**options``."""
    own = [own for own in signature.parameters.values() if own.kind is not inspect.Parameter.VAR_KEYWORD]
    named = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(name),
            annotation=hint.__forward_arg__,
        )
        for name, hint in declared.__annotations__.items()
    ]
    return signature.replace(parameters=[*own, *named])
