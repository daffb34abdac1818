"""Values held against the constraints of a service model, at every depth: what is required, lengths and ranges,
patterns, and enumerations. botocore's client checks the first two alone, and sends the rest.

Messages are in AWS's words, since clients and people look for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from servefit.aws.wire.errors import ApiError, invalid

if TYPE_CHECKING:
    from botocore.model import Shape

_MAX_SHOWN = 10
"""Problems that are named; a request may have thousands."""

_MAX_COUNTED = 1000
"""No more are looked for: each is some hundred bytes, and a request has room for millions. Chosen, not measured."""

_VALUE_CHARACTERS = 256
"""A longer value is cut."""

Extension = Callable[[str, Any], bool]
"""Says of the name of a shape and a value whether it is taken beside what the service model allows."""


def check(shape: Shape, value: Mapping[str, Any], *, extension: Extension = lambda _name, _value: False) -> None:
    """Raise ApiError, ValidationException, with what a request breaks.

    Args:
        shape: The input of the operation.
        value: What was sent, as ``values.read`` or the parser of the query protocol gives it.
        extension: What is taken besides.
    """
    problems = list(islice(_problems(shape, value, "", extension), _MAX_COUNTED))
    if not problems:
        return
    shown = "; ".join(problems[:_MAX_SHOWN])
    count = len(problems)
    counted = f"{count} validation error{'s' if count > 1 else ''}"
    raise invalid(f"{counted}{' or more' if count == _MAX_COUNTED else ''} detected: {shown}")


def _problems(shape: Any, value: Any, where: str, extension: Extension) -> Iterator[str]:
    if shape.type_name == "structure":
        yield from _of_members(shape, value, where, extension)
        return
    if extension(shape.name, value):
        return
    for constraint in _broken(shape, value):
        yield f"Value '{str(value)[:_VALUE_CHARACTERS]}' at '{where}' failed to satisfy constraint: {constraint}"
    if shape.type_name == "list":
        for nth, member in enumerate(value, start=1):
            yield from _problems(shape.member, member, f"{where}.{nth}.member", extension)
    elif shape.type_name == "map":
        for key, member in value.items():
            yield from _problems(shape.key, key, f"{where}.{key}.key", extension)
            yield from _problems(shape.value, member, f"{where}.{key}.value", extension)


def _of_members(shape: Any, value: Any, where: str, extension: Extension) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_below(where, name)}' failed to satisfy constraint: Member must not be null"
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from _problems(member, value[name], _below(where, name), extension)


def _broken(shape: Any, value: Any) -> Iterator[str]:
    """Yield the constraints of a shape that a value breaks by itself."""
    bounds = shape.metadata
    # A value that is too long is not tried against a pattern: some take long for what does not fit them.
    if shape.type_name in ("string", "list", "map", "blob"):
        if "min" in bounds and len(value) < bounds["min"]:
            yield f"Member must have length greater than or equal to {bounds['min']}"
        if "max" in bounds and len(value) > bounds["max"]:
            yield f"Member must have length less than or equal to {bounds['max']}"
            return
    elif shape.type_name in ("integer", "long", "float", "double"):
        if "min" in bounds and value < bounds["min"]:
            yield f"Member must have value greater than or equal to {bounds['min']}"
        if "max" in bounds and value > bounds["max"]:
            yield f"Member must have value less than or equal to {bounds['max']}"
    if shape.type_name == "string":
        if "pattern" in bounds and pattern_of(bounds["pattern"]).fullmatch(value) is None:
            yield f"Member must satisfy regular expression pattern: {bounds['pattern']}"
        if "enum" in bounds and value not in bounds["enum"]:
            yield f"Member must satisfy enum value set: [{', '.join(bounds['enum'])}]"


def _below(where: str, name: str) -> str:
    first = name[:1].lower() + name[1:]
    return f"{where}.{first}" if where else first


_JAVA = (
    ("\\p{L}", "\\w"),
    ("\\p{M}", "\\w"),
    ("\\p{N}", "\\d"),
    ("\\p{Zs}", " "),
    ("\\p{Z}", "\\s"),
    ("\\p{S}", "!-/:-@[-`{-~\u00a1-\u2bff"),
    ("\\p{P}", "!-/:-@[-`{-~\u00a1-\u2bff"),
    ("\\p{Alnum}", "A-Za-z0-9"),
    ("\\p{Print}", "[^\\x00-\\x1f\\x7f]"),
    ("\\uD800\\uDC00-\\uDBFF\\uDFFF", "\\U00010000-\\U0010ffff"),
    ("${", "{"),
    ("\\w-_", "\\w\\-_"),
)
"""Parts of patterns of service models that Python does not know, and their replacements: the same, or more."""


@cache
def pattern_of(java: str) -> re.Pattern[str]:
    """Return a pattern of a service model, which is one of Java, for Python. Classes of Unicode become classes that
    Python has and that hold them."""
    python = java
    for theirs, ours in _JAVA:
        python = python.replace(theirs, ours)
    return re.compile(python)


def refuse_unknown(operation: str) -> ApiError:
    """Return the error for an operation that is not carried out here."""
    return ApiError("UnknownOperationException", f"{operation} is not an operation of this server")
