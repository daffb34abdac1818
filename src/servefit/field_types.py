"""The check that the fields of a request hold what their annotations say, where it is made by hand.

What a person constructs in Python is not read by a parser before. Each value that is of another type is refused with a
SpecError that names the field; what a value of the right type may be is for ``checks`` and for the class itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from functools import cache
from numbers import Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from servefit.errors import SpecError

WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
"""The words of errors for the types of plain values."""


def check_types(instance: Any, *, hidden: Collection[str] = ()) -> None:
    """Raise SpecError for the first field of ``instance`` whose value does not have the annotated type. Call it first
    in ``__post_init__``. A list becomes a tuple if the annotation asks for one.

    Args:
        instance: The dataclass or Struct that is being made.
        hidden: Fields whose values may be secret: the error leaves them out.

    Example:
        >>> @dataclass(frozen=True)
        ... class Point:
        ...     x: int
        ...     __post_init__ = check_types
        >>> Point(x="1")
        Traceback (most recent call last):
        servefit.errors.SpecError: x: '1' is not a whole number
    """
    made: Any = type(instance)
    for name, kinds in _annotations(made):
        value = getattr(instance, name)
        if isinstance(value, list) and any(get_origin(kind) is tuple for kind in kinds):
            value = tuple(value)
            _set(instance, name, value)
        _check(name, value, kinds, hide=name in hidden)


def check_type(field: str, value: Any, kind: Any) -> None:
    """Raise SpecError unless ``value`` is what the annotation ``kind`` says.

    Example:
        >>> check_type("model", 5, str | None)
        Traceback (most recent call last):
        servefit.errors.SpecError: model: 5 is not text; write it in quotes
    """
    _check(field, value, _members(kind), hide=False)


def _check(field: str, value: Any, kinds: tuple[Any, ...], *, hide: bool) -> None:
    """Raise SpecError for the first value within ``value`` that is not of the kind that it should be."""
    for place, wrong, wanted in _misfits(field, value, kinds):
        raise _error(place, wrong, wanted, hide=hide)


@cache
def _annotations(kind: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Return the fields of a class with the types that each may have."""
    hints = get_type_hints(kind)
    return tuple((field.name, _members(hints[field.name])) for field in fields(kind))


@cache
def _members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union; what is none is its own only member."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _misfits(place: str, value: Any, kinds: tuple[Any, ...]) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield the place of what is of none of ``kinds``, what is there, and what was to be there."""
    if type(value) in kinds:
        return
    kind = next((kind for kind in kinds if _is_a(value, kind)), None)
    if kind is None:
        yield place, value, kinds
    elif get_origin(kind) is Mapping:
        of_keys, of_values = map(_members, get_args(kind))
        for key, item in value.items():
            yield from _misfits(f"a key of {place}", key, of_keys)
            yield from _misfits(f"{place}[{key!r}]", item, of_values)
    elif get_origin(kind) in (tuple, Collection):
        of = _members(get_args(kind)[0])
        for nth, item in enumerate(value):
            yield from _misfits(f"{place}[{nth}]", item, of)


def _is_a(value: Any, kind: Any) -> bool:
    """Return whether ``value`` is one of ``kind``; what it contains is not looked at. An int may stand for a float, as
    everywhere in Python; a bool for neither."""
    origin = get_origin(kind) or kind
    if origin is Literal:
        return any(type(value) is type(allowed) and value == allowed for allowed in get_args(kind))
    if isinstance(value, bool) and origin in (int, float):
        return False
    if isinstance(value, (str, Mapping)) and origin is Collection:
        return False
    return isinstance(value, Real if origin is float else origin)


def _error(place: str, value: Any, kinds: tuple[Any, ...], *, hide: bool) -> SpecError:
    """Return the error for ``value`` at ``place``, which is of none of ``kinds``."""
    if value is None:
        return SpecError.without_value(place)
    allowed = [text for kind in kinds if get_origin(kind) is Literal for text in get_args(kind)]
    if allowed and isinstance(value, str):
        return SpecError.unknown(place, value, allowed)
    wanted = " or ".join(dict.fromkeys(map(_word, (kind for kind in kinds if kind is not NoneType))))
    in_quotes = str in kinds and isinstance(value, (bool, int, float))
    return SpecError.wrong_type(place, value, wanted, in_quotes=in_quotes, hidden=hide)


def _word(kind: Any) -> str:
    """Return what a value of ``kind`` is called."""
    origin = get_origin(kind) or kind
    if origin is Literal:
        return "text"
    if origin in (tuple, Collection):
        return "a list"
    if origin is Mapping:
        return "a mapping"
    return WORDS.get(origin, f"of type {origin.__name__}")


def _set(instance: Any, name: str, value: Any) -> None:
    """Set a field of a frozen instance."""
    if isinstance(instance, msgspec.Struct):
        msgspec.structs.force_setattr(instance, name, value)
    else:
        object.__setattr__(instance, name, value)
