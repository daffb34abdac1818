"""Parameters of traffic shapes: fields of a dataclass that are spelled "period=10s,amplitude=50%", and read back.

A field is declared with its kind, which parses, spells and checks its values. Names of fields end in their units, those
that people type do not: ``period_s`` is typed ``period=10s``. What the parameters mean is for the shapes to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

from servefit.errors import SpecError
from servefit.quantities import parse_duration_s, parse_rate_per_s, parse_share

FIELD = "arrivals"

_KIND, _ALONE = "kind", "alone"
_PAIR = re.compile(r"\s*([a-z][a-z_]*)\s*=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterKind:
    """The kind of a parameter's values: ``parse`` is given the field for errors and a text, and ``spell`` writes a
    value so that it reads back the same. ``admits`` says which values there are, and ``what`` names them in errors."""

    parse: Callable[[str, str], Any]
    spell: Callable[[Any], str]
    admits: Callable[[Any], bool]
    what: str


def parameter(kind: ParameterKind, *, default: Any = MISSING, alone: bool = False) -> Any:
    """Declare a parameter of a shape.

    Args:
        kind: The kind of its values.
        default: Its value where none is given; None is spelled by leaving it out.
        alone: It is typed first and without its name, as FILE in "replay:FILE,speed=2".

    Returns:
        A dataclass field.

    Example:
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Saw:
        ...     period_s: float = parameter(DURATION, default=10.0)
    """
    return field(default=default, metadata={_KIND: kind, _ALONE: alone})


def check_parameters(shape: Any) -> None:
    """Raise SpecError for a parameter of ``shape`` that its kind does not admit."""
    for declared in fields(shape):
        value, kind = getattr(shape, declared.name), _kind(declared)
        if value is None and declared.default is None:
            continue
        if not kind.admits(value):
            raise SpecError(f"{FIELD}.{_typed_name(declared)}", value, f"is not {kind.what}")


def spell_parameters(shape: Any, *, with_defaults: bool = True, folder: Path | None = None) -> str:
    """Return the parameters of ``shape`` as they are typed, all but those that are None, and without
    ``with_defaults`` those that have their defaults. Paths below ``folder`` become relative to it."""
    parts = []
    for declared in fields(shape):
        value = getattr(shape, declared.name)
        if value is not None and (with_defaults or value != declared.default):
            kind = _kind(declared)
            text = kind.spell(value)
            if kind is FILE and folder is not None and Path(text).is_relative_to(folder.absolute()):
                text = str(Path(text).relative_to(folder.absolute()))
            parts.append(text if declared.metadata.get(_ALONE) else f"{_typed_name(declared)}={text}")
    return ",".join(parts)


def parse_parameters(shape: type[Any], name: str, text: str, folder: Path | None) -> dict[str, Any]:
    """Return the values in ``text`` for the fields of ``shape``, called ``name``; paths are relative to ``folder``.

    Raises SpecError for a parameter that is unknown, repeated or missing, and for a value of another kind.
    """
    parameters = {_typed_name(declared): declared for declared in fields(shape)}
    texts = _given_texts(parameters, name, text)
    for typed, declared in parameters.items():
        if typed not in texts and declared.default is MISSING:
            like = f"{name}:{typed.upper()}" if declared.metadata.get(_ALONE) else f"{name}:{typed}=..."
            raise SpecError(FIELD, name if not text else f"{name}:{text}", f"lacks {typed}", remedy=f"say {like}")
    values = {}
    for typed, value in texts.items():
        declared = parameters[typed]
        kind = _kind(declared)
        values[declared.name] = kind.parse(f"{FIELD}.{typed}", value)
        if kind is FILE and folder is not None and not Path(values[declared.name]).is_absolute():
            values[declared.name] = str(folder.absolute() / values[declared.name])
    return values


def _given_texts(parameters: dict[str, Field[Any]], name: str, text: str) -> dict[str, str]:
    """Return the texts of the values in ``text``, by the name of their field. Raises SpecError."""
    alone = next((typed for typed, declared in parameters.items() if declared.metadata.get(_ALONE)), None)
    parts = text.split(",") if text.strip() else []
    texts: dict[str, str] = {}
    if alone is not None:
        # A path may have commas: it ends at the next parameter, known or misspelt.
        is_named = [_name_in(part) is not None for part in parts]
        ends = (
            0
            if parts and _name_in(parts[0]) in parameters
            else is_named.index(True, 1)
            if any(is_named[1:])
            else len(parts)
        )
        if ends:
            texts[alone] = ",".join(parts[:ends])
            parts = parts[ends:]
    for part in parts:
        typed = _name_in(part)
        if not parameters:
            raise SpecError(FIELD, f"{name}:{text}", f"has parameters, and {name} takes none")
        if typed is None:
            like = f"{next(iter(parameters))}=..."
            raise SpecError(FIELD, f"{name}:{text}", f"holds {part.strip()!r}, which does not look like {like}")
        if typed not in parameters:
            raise SpecError.unknown(f"{FIELD}.{name}", typed, list(parameters))
        if typed in texts:
            raise SpecError(FIELD, f"{name}:{text}", f"gives {typed} twice")
        texts[typed] = part.partition("=")[2].strip()
    return texts


def _name_in(part: str) -> str | None:
    """Return the name before the equals sign; None where there is none."""
    pair = _PAIR.fullmatch(part)
    return None if pair is None else pair[1]


def _kind(declared: Field[Any]) -> ParameterKind:
    if _KIND not in declared.metadata:
        raise TypeError(f"the field {declared.name} is not declared with parameter()")
    kind: ParameterKind = declared.metadata[_KIND]
    return kind


def _typed_name(declared: Field[Any]) -> str:
    """Return the name of a field as it is typed: without its unit."""
    return re.sub(r"(_per)?_s$", "", declared.name)


def _digits(number: float) -> str:
    """Return ``number`` as text that reads back the same, without an exponent."""
    text = f"{Decimal(repr(float(number))):f}"
    return text.removesuffix(".0")


def _parse_flag(field: str, text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise SpecError(field, text, "is neither yes nor no")
    return text.lower() == "yes"


def _parse_factor(field: str, text: str) -> float:
    try:
        return float(Decimal(text.strip()))
    except ArithmeticError:
        raise SpecError(field, text, "is not a number such as 2 or 0.5") from None


def _parse_rate(field: str, text: str) -> float:
    return 0.0 if text.strip() == "0" else parse_rate_per_s(text, field=field)


def _parse_rates(field: str, text: str) -> tuple[float, ...]:
    return tuple(_parse_rate(field, part) for part in text.split("+"))


def _parse_text(field: str, text: str) -> str:
    if not text.strip():
        raise SpecError(field, text, "is empty")
    return text.strip()


def _spell_rate(value: float) -> str:
    return f"{_digits(value)}/s" if value else "0"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


DURATION = ParameterKind(
    parse=parse_duration_s,
    spell=lambda value: f"{_digits(value)}s",
    admits=lambda value: _is_number(value) and value > 0,
    what="a time above zero",
)
RATE = ParameterKind(
    parse=_parse_rate,
    spell=_spell_rate,
    admits=lambda value: _is_number(value) and value >= 0,
    what="a rate, zero or more",
)
RATES = ParameterKind(
    parse=_parse_rates,
    spell=lambda values: "+".join(map(_spell_rate, values)),
    admits=lambda values: bool(isinstance(values, tuple) and values and all(map(RATE.admits, values))),
    what="a tuple of rates, zero or more",
)
SHARE = ParameterKind(
    parse=parse_share,
    spell=_digits,
    admits=lambda value: _is_number(value) and 0 <= value <= 1,
    what="a share, 0 to 1",
)
FACTOR = ParameterKind(
    parse=_parse_factor,
    spell=_digits,
    admits=lambda value: _is_number(value) and value > 0,
    what="a number above zero",
)
FLAG = ParameterKind(
    parse=_parse_flag,
    spell=lambda value: "yes" if value else "no",
    admits=lambda value: isinstance(value, bool),
    what="yes or no",
)
FILE = ParameterKind(
    parse=_parse_text, spell=str, admits=lambda value: isinstance(value, str) and bool(value), what="a path"
)
TEXT = ParameterKind(
    parse=_parse_text,
    spell=str,
    admits=lambda value: isinstance(value, str) and bool(value.strip()) and "," not in value,
    what="a text without commas",
)
