"""Values of the JSON protocols, from JSON and into it, by the shapes of a service model."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import isnan
from typing import TYPE_CHECKING, Any

from servefit.aws.wire.errors import unreadable

if TYPE_CHECKING:
    from botocore.model import Shape


_HUGE = 1e300
"""Beyond any number that means something; NaN is not below it."""


def read(shape: Shape, value: Any, where: str = "") -> Any:
    """Return a decoded JSON value as Python has it: times as datetimes in UTC, blobs as bytes. Members that are null or
    not in the service model are left out, as AWS does. ``where`` is the place of the value in the request.

    Raises ApiError, SerializationException, for a value of another type.
    """
    reader = _READERS.get(shape.type_name)
    return value if reader is None else reader(shape, value, where)


def write(shape: Shape, value: Any, not_a_number: Any = "NaN") -> Any:
    """Return a value as what JSON has: times as seconds since 1970 with their fraction, no member that is None, and
    what is ``not_a_number`` as that."""
    if shape.type_name == "structure":
        members = shape.members
        return {
            name: write(members[name], value[name], not_a_number) for name in members if value.get(name) is not None
        }
    if shape.type_name == "list":
        return [write(shape.member, member, not_a_number) for member in value]
    if shape.type_name == "map":
        return {key: write(shape.value, member, not_a_number) for key, member in value.items()}
    if shape.type_name in ("float", "double") and isnan(value):
        return not_a_number
    if shape.type_name == "timestamp":
        seconds = value.timestamp() if isinstance(value, datetime) else float(value)
        return round(seconds, 3)
    if shape.type_name == "blob":
        return base64.b64encode(value).decode()
    return value


def _structure(shape: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(value, "a structure", where)
    return {
        name: read(member, value[name], f"{where}.{name}" if where else name)
        for name, member in shape.members.items()
        if value.get(name) is not None
    }


def _list(shape: Any, value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(value, "a list", where)
    return [read(shape.member, member, f"{where}[{nth}]") for nth, member in enumerate(value)]


def _map(shape: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(value, "a map", where)
    return {_string(None, key, where): read(shape.value, member, f"{where}.{key}") for key, member in value.items()}


def _string(_: Any, value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a string", where)
    try:
        value.encode()
    except UnicodeEncodeError as error:  # half a character, which JSON can spell
        raise _wrong("", "text", where) from error
    return value


def _whole(shape: Any, value: Any, where: str) -> int:
    bits = 63 if shape.type_name == "long" else 31
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**bits) <= value < 2**bits:
        raise _wrong(value, f"a whole number of {bits + 1} bits", where)
    return value


def _number(_: Any, value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_HUGE < value < _HUGE:
        raise _wrong(value, "a number", where)
    return value


def _boolean(_: Any, value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "true or false", where)
    return value


def _timestamp(_: Any, value: Any, where: str) -> datetime:
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(_number(None, value, where), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise _wrong(value, "a time", where) from error


def _blob(_: Any, value: Any, where: str) -> bytes:
    try:
        return base64.b64decode(_string(None, value, where), validate=True)
    except binascii.Error as error:
        raise _wrong(value, "base64", where) from error


_READERS: Mapping[str, Callable[[Any, Any, str], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": _whole,
    "long": _whole,
    "float": _number,
    "double": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "blob": _blob,
}


def _wrong(value: Any, wanted: str, where: str) -> Exception:
    return unreadable(f"{where or 'the request'} is not {wanted}: {_shown(value)}")


def _shown(value: Any) -> str:
    """Return the beginning of a value; a number of thousands of digits cannot be written."""
    return type(value).__name__ if isinstance(value, int) and abs(value) > _HUGE else ascii(value)[:60]
