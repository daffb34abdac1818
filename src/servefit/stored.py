"""The types that are kept for later versions: frozen msgspec Structs, whose fields may become more.

A field that is added has a default, so that a document from before reads as it did; what a newer version added is left
out with a remark, which ``profiler.record.storage.documents`` collects. Names and meanings of fields stay. What cannot
be said so is a break, and whoever keeps the documents counts it in a schema number.

Where kept values go and how they are written is not told here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, field, make_dataclass
from typing import Any, ClassVar

import msgspec

TAG = "@type"
"""Says in a document what kind of value it is. No field can be called so."""


class _FieldsOfDataclass:
    """The fields of a Struct as :mod:`dataclasses` describes those of its own, made when they are first asked for."""

    def __init__(self) -> None:
        self._known: dict[type[Stored], dict[str, Field[Any]]] = {}

    def __get__(self, _: Stored | None, kind: type[Stored]) -> dict[str, Field[Any]]:
        if kind not in self._known:
            described = [
                (info.name, info.type, _described(info, kind.derived)) for info in msgspec.structs.fields(kind)
            ]
            twin: Any = make_dataclass(kind.__name__, described, kw_only=True)
            self._known[kind] = twin.__dataclass_fields__
        return self._known[kind]


def _described(info: msgspec.structs.FieldInfo, derived: frozenset[str]) -> Any:
    if info.name in derived:
        return field(init=False)
    if info.default is not msgspec.NODEFAULT:
        return field(default=info.default)
    if info.default_factory is not msgspec.NODEFAULT:
        return field(default_factory=info.default_factory)
    return field()


class Stored(msgspec.Struct, frozen=True):
    """The base of what is kept.

    ``dataclasses.fields``, ``replace`` and ``asdict`` take it as they take the dataclasses that results are otherwise:
    a result is not treated differently because it is kept. What sets a field in ``__post_init__`` does so with
    ``msgspec.structs.force_setattr``.

    Example:
        >>> class Point(Stored, frozen=True, kw_only=True):
        ...     x: int
        ...     y: int = 0
        >>> dataclasses.replace(Point(x=1), y=2)
        Point(x=1, y=2)
    """

    derived: ClassVar[frozenset[str]] = frozenset()
    """Fields that ``__post_init__`` works out from the others, whatever it is given: they are in no document."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]] = _FieldsOfDataclass()  # type: ignore[assignment]


class StoredMember(Stored, frozen=True, tag_field=TAG):
    """The base of what is kept as one of several kinds: under TAG a document says which."""


def left_out(document: Any, read: Any, where: str = "") -> Iterator[str]:
    """Yield the fields that are in ``document``, in JSON's types, and were not read by whoever knows less of it.

    Args:
        document: What was read.
        read: What became of it, in JSON's types again.
        where: The name of the field that holds both.

    Returns:
        The names of fields, with those of the fields that hold them before a dot.

    Example:
        >>> list(left_out({"port": 80, "limits": {"rows": 1, "colour": "red"}}, {"port": 80, "limits": {"rows": 1}}))
        ['limits.colour']
    """
    if not (isinstance(document, dict) and isinstance(read, dict)):
        return
    for name, value in document.items():
        inner = f"{where}.{name}" if where else name
        if name in read:
            yield from left_out(value, read[name], inner)
        else:
            yield inner
