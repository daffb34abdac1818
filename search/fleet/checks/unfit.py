"""The refusal of an answer that does not fit its order, raised where the two differ in a name."""

from __future__ import annotations

from typing import Any


class Unfit(Exception):
    """An answer does not fit its order; the text says what about it, to go on after "is refused: "."""


def same(what: str, got: Any, asked: Any) -> None:
    """Raise Unfit where ``what`` an answer is about is not what was asked for."""
    if got != asked:
        raise Unfit(f"its {what} is {_text(got)}, and {_text(asked)} was asked for")


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


_MAX_SHOWN = 80
"""Letters of a value that another process wrote."""
