"""Texts in rows of numbers: the bytes of each as UTF-8, one text after the other, each with a byte at its end that
UTF-8 does not have. ``packing`` says where in a row they are. Completion in shells comes here for a name, so NumPy is
loaded where texts are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

TEXT = "str"
"""The datatype of a tensor of texts, as Python calls it."""

TEXT_SIZE = "text bytes"
"""The name of the size that tells how many numbers the texts of a row take."""

_END = b"\xff"
_MISSING = b"\xfe"
"""Neither byte occurs in UTF-8 (RFC 3629, section 1)."""


def encoded(texts: Iterable[str | None]) -> bytes:
    """Return ``texts`` one after the other; None is a missing one. Raises UnicodeEncodeError for half of a surrogate
    pair, which is no text."""
    return b"".join((_MISSING if text is None else text.encode()) + _END for text in texts)


def decoded(values: np.ndarray, count: int) -> list[str | None]:
    """Return the ``count`` texts that lie in a part of a row, (values,). Where there are fewer, as in a row of zeros,
    the others are empty. Raises UnicodeDecodeError for bytes that are no text."""
    import numpy as np

    parts = values.astype(np.uint8).tobytes().split(_END)[:-1][:count]
    texts: list[str | None] = [None if part == _MISSING else part.decode() for part in parts]
    return texts + [""] * (count - len(texts))


def object_array(texts: Sequence[str | None], shape: tuple[int, ...]) -> np.ndarray:
    """Return ``texts`` as an array of Python's own strings, of ``shape``."""
    import numpy as np

    return np.array(texts, dtype=object).reshape(shape)
