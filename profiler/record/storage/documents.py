"""Structs and frozen dataclasses as JSON documents and back, led by their annotations; arrays of int64 are kept beside.

Known are Structs, dataclasses, tuples, mappings from str, unions, Literals, enums, str, int, float, bool, None, paths,
and bytes that hold int64. What does not fit its annotation raises Misfit, and so does a field that is missing. A field
with a default may be missing: an earlier version did not know it. A field that is foreign is one of a later version: it
is left out, and named for whoever is to be told. A value that was read equals the one that was written. Fields that a
record works out itself (those of a dataclass are ``init=False``) are not written, and worked out again.

msgspec reads and writes no numbers that are infinite, no arrays beside, and does not say what it leaves out.

Annotations are looked up in their module when a document is made, so a module with dataclasses that are stored imports
their types for run time too. Paths and enums are written as what they hold: a union with str is told apart by nothing,
and reads as the member named first. Where documents go is for their callers to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from servefit.stored import TAG, Stored

_ARRAY = "@array"
_FLOAT = "@float"
_MAPPING = "@mapping"
"""Holds the object that a mapping becomes, whose keys may be called anything."""

_BYTES_PER_VALUE = 8  # int64

_WORDS: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
    Path: "a path",
    bytes: "an array of integers",
}


class Misfit(TypeError):
    """Something is not what the annotation of its field says. The message names the field."""


def to_document(value: Any, kind: Any, arrays: list[bytes], where: str = "") -> Any:
    """Return ``value``, of the annotation ``kind``, in JSON's types; its bytes are appended to ``arrays``. Raises
    Misfit."""
    kind = _member(kind, lambda member: _is_a(value, member), value, where)
    if kind is bytes:
        return _kept_beside(value, arrays, where)
    if _is_record(kind):
        document = {TAG: _tag(kind)}
        for name, annotation in _annotations(kind).items():
            document[name] = to_document(getattr(value, name), annotation, arrays, f"{where}.{name}")
        return document
    if _is_tuple(kind):
        kinds = _kinds_in_tuple(kind, len(value), where)
        return [to_document(item, kinds[nth], arrays, f"{where}[{nth}]") for nth, item in enumerate(value)]
    if _is_mapping(kind):
        if odd := [key for key in value if type(key) is not str]:
            raise Misfit(f"{where} has the key {odd[0]!r:.80}, which is no str")
        of = get_args(kind)[1]
        return {_MAPPING: {key: to_document(item, of, arrays, f"{where}[{key!r}]") for key, item in value.items()}}
    if isinstance(value, Enum):
        return value.value
    if kind is Path:
        return str(value)
    if isinstance(value, float) and not isfinite(value):
        return {_FLOAT: repr(float(value))}
    return value


def from_document(
    document: Any, kind: Any, arrays: Sequence[bytes], where: str = "", left_out: list[str] | None = None
) -> Any:
    """Return the value of the annotation ``kind`` that became ``document`` and ``arrays``.

    Unknown fields are appended to ``left_out``; without that list they are a Misfit. Raises Misfit, and the errors of a
    record for values that it refuses.
    """
    kind = _member(kind, lambda member: _reads_as(document, member), document, where)
    if kind is bytes:
        place = document[_ARRAY]
        if type(place) is not int or not 0 <= place < len(arrays):
            raise Misfit(f"{where} is in array {place!r}, and there are {len(arrays)}")
        return arrays[place]
    if _is_record(kind):
        kinds_of_fields = _annotations(kind)
        lacking = kinds_of_fields.keys() - document.keys() - _optional(kind)
        foreign = document.keys() - kinds_of_fields.keys() - {TAG}
        if left_out is not None:
            left_out.extend(f"{where}.{name}" for name in sorted(foreign))
            foreign = set()
        if odd := sorted(lacking | foreign):
            raise Misfit(f"{where} lacks, or should not have, {', '.join(map(repr, odd))}")
        there = {name: of for name, of in kinds_of_fields.items() if name in document}
        return kind(
            **{
                name: from_document(document[name], of, arrays, f"{where}.{name}", left_out)
                for name, of in there.items()
            }
        )
    if _is_tuple(kind):
        kinds = _kinds_in_tuple(kind, len(document), where)
        return tuple(
            from_document(item, kinds[nth], arrays, f"{where}[{nth}]", left_out) for nth, item in enumerate(document)
        )
    if _is_mapping(kind):
        of = get_args(kind)[1]
        return {
            key: from_document(item, of, arrays, f"{where}[{key!r}]", left_out)
            for key, item in document[_MAPPING].items()
        }
    if _is_enum(kind) or kind is Path:
        return kind(document)
    return float(document[_FLOAT]) if isinstance(document, dict) else document


def _kept_beside(value: bytes, arrays: list[bytes], where: str) -> Mapping[str, int]:
    if len(value) % _BYTES_PER_VALUE:
        raise Misfit(f"{where} holds {len(value)} bytes, which are no int64")
    arrays.append(value)
    return {_ARRAY: len(arrays) - 1}


@cache
def _annotations(kind: Any) -> Mapping[str, Any]:
    """Return the fields that are written, with their annotations."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


@cache
def _tag(kind: Any) -> str:
    """Return the name of a record in documents."""
    tag = kind.__struct_config__.tag if issubclass(kind, Stored) else None
    return kind.__name__ if tag is None else str(tag)


@cache
def _optional(kind: Any) -> frozenset[str]:
    """Return the fields that have a default."""
    return frozenset(
        field.name for field in fields(kind) if field.default is not MISSING or field.default_factory is not MISSING
    )


def _member(kind: Any, takes: Callable[[Any], bool], value: Any, where: str) -> Any:
    """Return the first member of a union that ``takes`` says yes to; what is not a union is its own only member."""
    for member in _members(kind):
        if takes(member):
            return member
    raise Misfit(f"{where} is {value!r:.80}, not {_in_words(kind)}")


def _in_words(kind: Any) -> str:
    """Return what a document of ``kind`` is, for people who do not know the types of this code."""
    return " or ".join(dict.fromkeys(map(_member_in_words, _members(kind))))


def _member_in_words(kind: Any) -> str:
    if _is_record(kind):
        return "a record of the kind that belongs there"
    if kind in _WORDS:
        return _WORDS[kind]
    allowed = [member.value for member in kind] if _is_enum(kind) else _literals(kind)
    if allowed:
        return " or ".join(map(repr, allowed))
    return "a list" if _is_tuple(kind) else "a mapping"


@cache
def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _kinds_in_tuple(kind: Any, length: int, where: str) -> Sequence[Any]:
    kinds = get_args(kind)
    if kinds[-1] is Ellipsis:
        return (kinds[0],) * length
    if len(kinds) != length:
        raise Misfit(f"{where} has {length} entries, not {len(kinds)}")
    return kinds


def _is_a(value: Any, kind: Any) -> bool:
    """Return whether ``value`` is one of ``kind``; what it contains is not looked at."""
    if _is_tuple(kind):
        return isinstance(value, tuple)
    if _is_mapping(kind):
        return isinstance(value, Mapping)
    if kind is Path:
        return isinstance(value, Path)
    return type(value) is kind or _is_plain(value, kind)


def _reads_as(document: Any, kind: Any) -> bool:
    """Return whether ``document`` was made from a value of ``kind``; what it contains is not looked at."""
    if isinstance(document, list):
        return _is_tuple(kind)
    if isinstance(document, dict):
        if kind is bytes:
            return document.keys() == {_ARRAY}
        if kind is float:
            return document in ({_FLOAT: "inf"}, {_FLOAT: "-inf"}, {_FLOAT: "nan"})
        if _is_mapping(kind):
            return document.keys() == {_MAPPING} and isinstance(document[_MAPPING], dict)
        return _is_record(kind) and bool(document.get(TAG) == _tag(kind))
    if _is_enum(kind):
        return any(_same(document, member.value) for member in kind)
    return isinstance(document, str) if kind is Path else _is_plain(document, kind)


def _is_plain(value: Any, kind: Any) -> bool:
    """Return the same for what JSON knows itself. An int may stand for a float, as everywhere in Python; a bool may
    not."""
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in (str, int):
        return isinstance(value, kind) and not isinstance(value, bool)
    if kind in (bool, NoneType):
        return isinstance(value, kind)
    return any(_same(value, allowed) for allowed in _literals(kind))


@cache
def _literals(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _same(first: Any, second: Any) -> bool:
    return type(first) is type(second) and first == second


@cache
def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


@cache
def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping and get_args(kind)[0] is str


@cache
def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


@cache
def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)
