"""The form in which a result shows itself: in a line where Python prints it, and as a small table at the end of a
notebook's cell.

Results hold all that was recorded, which is more than anybody reads and more than a notebook bears. So a value takes as
much room as it is worth: numbers three digits, raw samples and long lists their size, results in results their
beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from servefit.quantities import number_text

MAX_LETTERS = 500
"""Of a result on a line."""

_MAX_LETTERS_OF_A_VALUE = 160
"""Of one of its fields there."""

_MAX_LETTERS_OF_A_CELL = 300
"""Of one of its fields in the table: a sentence or two."""

_MIN_LETTERS = 8
"""A value with less room than this would say nothing."""

_MAX_SHOWN = 8
"""Members of a list; of a longer one only the number is told."""

_NAMES = "_servefit_shown"

_UNPRINTABLE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
"""Control sequences of terminals [ECMA-48], characters that are not text, and those that turn the direction of what
follows [UAX #9]."""

_Result = TypeVar("_Result")


def shown(*names: str) -> Callable[[type[_Result]], type[_Result]]:
    """Make a dataclass show itself so; to be written above ``@dataclass``.

    A line has the attributes ``names``, or without any the fields that differ from their defaults; a table has all
    fields, after those named.
    """

    def decorate(cls: type[_Result]) -> type[_Result]:
        def line(self: _Result) -> str:
            return _line(self, MAX_LETTERS)

        def table(self: _Result) -> str:
            return _table(self)

        line.__name__, line.__qualname__ = "__repr__", f"{cls.__qualname__}.__repr__"
        table.__name__, table.__qualname__ = "_repr_html_", f"{cls.__qualname__}._repr_html_"
        setattr(cls, _NAMES, names)
        setattr(cls, "__repr__", line)  # noqa: B010 - a type checker takes an assignment for a mistake
        setattr(cls, "_repr_html_", table)  # noqa: B010
        return cls

    return decorate


def cut(text: str, room: int) -> str:
    """Return ``text``, with an end in place of what is beyond ``room`` letters."""
    return text if len(text) <= room else f"{text[: max(0, room - 3)]}..."[:room]


def printable(text: str) -> str:
    """Return ``text`` without control characters and without the control sequences of terminals, and with the escape of
    every byte of a file name that is no text."""
    return _UNPRINTABLE.sub("", text).encode(errors="backslashreplace").decode()


def one_line(text: str) -> str:
    """Return ``text``, whoever wrote it, as a line: printable characters, with single spaces for all white space.

    Names of files, columns and hosts, errors of libraries and answers of servers may hold anything. All that people are
    shown goes through here: what is printed, logged, and written into reports.
    """
    return "".join(filter(str.isprintable, " ".join(printable(text).split())))


def _differing_fields(result: Any) -> tuple[str, ...]:
    """Return the fields that differ from their defaults."""
    return tuple(
        field.name for field in fields(result) if not _is_default(getattr(result, field.name, MISSING), field.default)
    )


def _is_default(value: Any, default: Any) -> bool:
    # Whatever is compared here is of one type, so arrays are not.
    return value is default or (type(value) is type(default) and bool(value == default))


def _line(result: Any, room: int) -> str:
    names: tuple[str, ...] = getattr(result, _NAMES, ())
    differing = _differing_fields(result)
    parts: list[str] = []
    left = room - len(f"{type(result).__name__}(, ...)")
    for name in names or differing:
        part = f"{name}={_brief(getattr(result, name, MISSING), min(_MAX_LETTERS_OF_A_VALUE, room // 3))}"
        left -= len(part) + 2
        if left < 0:
            break
        parts.append(part)
    if left < 0 or (names and not {*differing} <= {*names}):
        parts.append("...")
    return cut(f"{type(result).__name__}({', '.join(parts)})", room)


def _table(result: Any) -> str:
    names: tuple[str, ...] = getattr(result, _NAMES, ())
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(_readable(getattr(result, name, MISSING)))}</td></tr>'
        for name in dict.fromkeys((*names, *(field.name for field in fields(result))))
    )
    return f"<table><caption>{escape(type(result).__name__)}</caption><tbody>{rows}</tbody></table>"


def _readable(value: Any) -> str:
    """Return a value in a table: text as it is, numbers with their thousands apart."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return cut(value, _MAX_LETTERS_OF_A_CELL)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return cut(number_text(value), _MAX_LETTERS_OF_A_CELL)
    return "-" if value is None else _brief(value, _MAX_LETTERS_OF_A_CELL)


def _brief(value: Any, room: int) -> str:
    """Return a value on a line, in ``room`` letters."""
    return cut(_text(value, room), room) if room >= _MIN_LETTERS else "..."[:room]


def _text(value: Any, room: int) -> str:
    if isinstance(value, Enum):
        return repr(value.value)
    if isinstance(value, (str, Path)):
        # What is beyond the room is not written first: it may be a file.
        return repr(str(value)[: room + 1])
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, float):
        return number_text(value).replace(",", "")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value):,} bytes>"
    if isinstance(value, Mapping):
        pairs = (f"{_brief(key, room)}: {_brief(member, room)}" for key, member in islice(value.items(), _MAX_SHOWN))
        return f"{{{_joined(pairs, len(value))}}}"
    if isinstance(value, (tuple, list, set, frozenset)):
        return _of_many(value, room)
    if hasattr(value, "__dataclass_fields__"):
        return _line(value, room)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{value.dtype} of shape {value.shape}>"
    return f"<{type(value).__name__}>"


def _of_many(values: Any, room: int) -> str:
    """Return few short members as they are, else how many of what there are."""
    few = list(islice(values, _MAX_SHOWN))
    text = f"({', '.join(_brief(member, room) for member in few)}{',' if len(few) == 1 else ''})"
    if len(values) <= _MAX_SHOWN and len(text) <= room:
        return text
    return f"<{len(values):,} x {' or '.join(sorted({type(member).__name__ for member in few}))}>"


def _joined(parts: Iterator[str], count: int) -> str:
    written = list(parts)
    return ", ".join([*written, "..."] if count > len(written) else written)
