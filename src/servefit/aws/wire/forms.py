"""Forms of the query protocol, whose fields are named as "Dimensions.member.1.Name". Reading one takes time in
proportion to its length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from servefit.aws.wire import values
from servefit.aws.wire.errors import unreadable

if TYPE_CHECKING:
    from botocore.model import Shape

_MAX_DOTS = 16
"""In the name of a field; those of GetMetricData, the longest, have eight. Chosen, not measured."""

_Node: TypeAlias = dict[str | None, Any]
"""Fields whose names begin alike: under None the text of the field of just that name, else the rest."""


def read_form(shape: Shape, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the input of an operation, as ``values.read`` gives it. Fields that are not in the service model are left
    out, as AWS does. Raises ApiError, SerializationException, for a text that is no value of its shape."""
    root: _Node = {}
    for name, text in form.items():
        node = root
        for part in name.split(".", _MAX_DOTS):
            node = node.setdefault(part, {})
        node[None] = text
    parameters: dict[str, Any] = _read(shape, root, "")
    return parameters


def _read(shape: Any, node: _Node, where: str) -> Any:
    """Return the value of a node, None where its fields say nothing of a value."""
    if shape.type_name == "structure":
        read = {
            name: _read(member, node[name], f"{where}.{name}" if where else name)
            for name, member in shape.members.items()
            if name in node
        }
        return {name: value for name, value in read.items() if value is not None}
    if shape.type_name == "list":
        return _list(shape, node, where)
    text = node.get(None)
    return None if text is None else values.read(shape, _parsed(shape.type_name, text, where), where)


def _list(shape: Any, node: _Node, where: str) -> list[Any] | None:
    members: _Node = node.get("member", {})
    if not members:
        return [] if node.get(None) == "" else None
    numbered = [(_whole(key, where), member) for key, member in members.items() if key is not None]
    numbered.sort(key=lambda entry: entry[0])
    read = [_read(shape.member, member, f"{where}.member.{number}") for number, member in numbered]
    return [value for value in read if value is not None]


def _whole(text: str, where: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise unreadable(f"{where} has a member with the number {text[:60]!a}")
    return int(text)


def _parsed(type_name: str, text: str, where: str) -> Any:
    """Return a text as JSON would have the value. Raises ApiError."""
    try:
        return _PARSERS.get(type_name, str)(text)
    except (ValueError, KeyError) as error:
        raise unreadable(f"{where} is not a value of the type {type_name}: {text[:60]!a}") from error


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _time(text: str) -> float | str:
    """Return a time, which is seconds since 1970 or ISO 8601."""
    try:
        return float(text)
    except ValueError:
        return text.replace("Z", "+00:00")


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": _boolean,
    "timestamp": _time,
}
