"""Texts drawn for rows: plausible ones to measure with, and hard ones to compare predictions on. Where a row has
numbers too, these are for ``rows`` to draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.dates import drawn_dates
from servefit.backends.model.packing import shape_in
from servefit.backends.model.texts import TEXT_SIZE
from servefit.backends.payload.exact import objects

if TYPE_CHECKING:
    from servefit.backends.model import Input, Signature

_MAX_WORDS = 20
"""Of a drawn text. Chosen, not measured."""

_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))
_MAX_WORD_LETTERS = 8
"""Of a drawn word, in letters."""
_WORDS = 32
"""Drawn where none are known."""

_STRANGE = (
    *("", " ", "UNKNOWN", "zzz-0", "1", "1.0", "nan", "None", "École", "STRASSE straße", "\u65e5\u672c\u8a9e"),
    *("a\tb\nc", "x" * 300),
)
"""Texts that encoders and tokenizers of different libraries are known to treat differently: the empty text, space
alone, numbers, words for what is missing, letters beyond ASCII whose case changes, other scripts, and a long word."""


def plausible_texts(one: Input, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw ``count`` texts from the categories or words of the input, or dates, as an array (count,) of strings."""
    if one.is_date:
        return objects(drawn_dates(count, generator))
    if not one.joined and one.known:
        return objects([str(value) for value in generator.choice(np.array(one.known, dtype=object), count)])
    words = [str(value) for value in one.known] or _drawn_words(generator)
    lengths = generator.integers(1, _MAX_WORDS, count, endpoint=True)
    return objects([" ".join(generator.choice(words, length)) for length in lengths])


def hard_texts(one: Input, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw ``count`` texts: plausible ones, others that differ from these in case or in what is around them and, where
    the input takes them, each of the strange ones and missing ones, as far as there is room."""
    texts = plausible_texts(one, count, generator)
    order = generator.permutation(count)
    missing = order[: count // 8] if one.takes_missing else order[:0]
    if one.takes_unknown and not one.is_date:
        others = order[len(missing) :]
        strange = others[: max(len(others) // 3, len(_STRANGE))]
        for turn, nth in enumerate(strange):
            texts[nth] = _STRANGE[turn % len(_STRANGE)]
        for nth in others[len(strange) :]:
            match int(generator.integers(0, 3)):
                case 0:
                    texts[nth] = texts[nth].upper()
                case 1:
                    texts[nth] = f" {texts[nth]}, {_STRANGE[int(generator.integers(0, len(_STRANGE)))]}"
    texts[missing] = None
    return texts


def with_texts(signature: Signature, rows: np.ndarray, texts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return ``rows`` (n, features), all of the usual sizes and without texts, with ``texts`` packed into them, (n,
    values of a row) for each input of texts."""
    packing = signature.packing
    usual = {size.name: size.usual for size in signature.sizes}
    numbers = packing.unpack(rows, usual)
    blocks = [
        texts[one.name] if one.is_text else values.reshape(len(rows), -1)
        for one, values in zip(signature.inputs, numbers, strict=True)
    ]
    return packing.pack(blocks, usual, rows.dtype.name)


def drawn_texts(
    signature: Signature, count: int, generator: np.random.Generator, *, hard: bool = False
) -> dict[str, np.ndarray]:
    """Draw the texts of ``count`` rows of the usual sizes, by input."""
    draw = hard_texts if hard else plausible_texts
    usual = {size.name: size.usual for size in signature.sizes if size.name != TEXT_SIZE}
    return {
        one.name: draw(one, count * values, generator).reshape(count, values)
        for one in signature.inputs
        if one.is_text
        for values in [prod(shape_in(one.shape, usual))]
    }


def _drawn_words(generator: np.random.Generator) -> list[str]:
    return [
        "".join(generator.choice(_LETTERS, length))
        for length in generator.integers(1, _MAX_WORD_LETTERS, 32, endpoint=True)
    ]
