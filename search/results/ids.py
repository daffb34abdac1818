"""The names of recommendations: hashes of what is recommended, the same wherever and whenever they are computed.

A hash is that of a canonical JSON text, with sorted keys and without fields that have their defaults, so that a field
that is added later changes no name. While jobs were of schema 2 it was that of how Python showed a configuration then.
Those names are in people's scripts, and still find what they name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from servefit.stored import Stored

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration

_DIGITS = 8
"""Hexadecimal ones of the hash: of 30 recommendations, two share a name in one job of ten million."""

_LINE_LETTERS = 500
_VALUE_LETTERS = 160
_MAX_MEMBERS = 8
"""The letters of a configuration and of a value in it, and the members of a list, that were shown when names were made
of that."""


def recommendation_id(profile: str, configuration: Configuration) -> str:
    """Return the name of the recommendation of ``configuration`` for the profile of that name."""
    document = {"profile": profile, "configuration": canonical(configuration)}
    return _hash(json.dumps(document, sort_keys=True, separators=(",", ":")))


def former_id(profile: str, configuration: Configuration) -> str:
    """Return the name that it had while jobs were of schema 2."""
    return _hash(f"({profile!r}, {_shown_configuration(configuration)})")


def canonical(value: Any) -> Any:
    """Return ``value`` in JSON's types, without the fields that have their defaults."""
    if isinstance(value, Stored):
        held = {field.name: (getattr(value, field.name), field.default) for field in fields(value) if field.init}
        return {name: canonical(kept) for name, (kept, default) in held.items() if kept != default}
    if isinstance(value, tuple):
        return [canonical(member) for member in value]
    return value.value if isinstance(value, Enum) else value


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_DIGITS]


def _shown_configuration(configuration: Configuration) -> str:
    """Return ``repr`` as it was, of the fields that there were, which are these for good."""
    settings = configuration.settings
    inner = [("threads", settings.threads, 1), ("options", settings.options, ())]
    shown_settings = _line("Settings", _written_fields(inner, _VALUE_LETTERS), _VALUE_LETTERS)
    held = [
        ("vcpus", configuration.vcpus, None),
        ("backend", configuration.backend, None),
        ("target", configuration.target.value, "cpu"),
        ("settings", shown_settings, "Settings()"),
        ("workers", configuration.workers, 1),
        ("max_batch", configuration.max_batch, 1),
        ("batch_delay_us", configuration.batch_delay_us, 0),
        ("environment", configuration.environment, ()),
        ("gpu", configuration.gpu, None),
    ]
    written = dict(_written_fields(held, _LINE_LETTERS))
    if "settings" in written:
        # It was a line of its own, not a text.
        written["settings"] = shown_settings
    return _line("Configuration", list(written.items()), _LINE_LETTERS)


def _written_fields(held: Iterable[tuple[str, Any, Any]], room: int) -> list[tuple[str, str]]:
    """Return the fields that differ from their defaults, with what was written of them on a line of ``room``
    letters."""
    limit = min(_VALUE_LETTERS, room // 3)
    return [(name, _cut(_text(value, limit), limit)) for name, value, default in held if value != default]


def _line(kind: str, written: Sequence[tuple[str, str]], room: int) -> str:
    parts: list[str] = []
    left = room - len(f"{kind}(, ...)")
    for name, text in written:
        part = f"{name}={text}"
        left -= len(part) + 2
        if left < 0:
            parts.append("...")
            break
        parts.append(part)
    return _cut(f"{kind}({', '.join(parts)})", room)


def _text(value: Any, room: int) -> str:
    if isinstance(value, tuple):
        few = value[:_MAX_MEMBERS]
        text = f"({', '.join(_cut(_text(member, room), room) for member in few)}{',' if len(few) == 1 else ''})"
        if len(value) <= _MAX_MEMBERS and len(text) <= room:
            return text
        return f"<{len(value):,} x {' or '.join(sorted({type(member).__name__ for member in few}))}>"
    return repr(str(value)[: room + 1]) if isinstance(value, str) else repr(value)


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 3]}..."
