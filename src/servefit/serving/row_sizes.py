"""The limit of the sizes that the rows of a request have for themselves, such as the length of a text.

The memory and the time of a network grow with the square of a text's length where it attends, so the length of the body
bounds neither. A row may be four times as large as the largest that the model was tried with: the payload of a job, the
sizes that the user named, or the one that the model was seen to take.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.texts import TEXT_SIZE
from servefit.serving.messages import Refused

if TYPE_CHECKING:
    from servefit.backends.model.types import Signature
    from servefit.serving.config import Limits

_MIN_LIMIT = 4096
"""As long as the texts of usual encoders for long documents. Smaller sizes that a model was tried with say little of
what it is sent: a network is inspected with a few places. An encoder of six layers takes some seconds and 1 GB for
it."""

_TIMES_TRIED = 4
"""By the square, sixteen times the time and the memory of what was tried."""


class RowSizeLimit:
    """The most that the product of the sizes of a row may be, of a model of that ``signature``; ``limits`` may name
    another."""

    def __init__(self, signature: Signature, limits: Limits) -> None:
        names = [] if signature.opaque else [size.name for size in signature.sizes if size.name != TEXT_SIZE]
        self._names = names
        tried = max((prod(sizes[name] for name in names) for sizes in signature.size_classes), default=1)
        self._most = limits.row_size or max(_MIN_LIMIT, _TIMES_TRIED * tried)

    def check(self, rows: np.ndarray) -> None:
        """Raise Refused for ``rows`` of which one is too large."""
        if not self._names:
            return
        sizes = rows[:, : len(self._names)].astype(np.float64)
        products = sizes.prod(axis=1)
        if products.max() > self._most:
            at = int(products.argmax())
            named = " x ".join(map(repr, self._names))
            got = " x ".join(f"{size:.0f}" for size in sizes[at])
            raise Refused(
                413,
                f"row {at + 1}: expected at most {self._most} for {named:.200}, got {got}: send shorter rows, or serve "
                f"with --max-size {products[at]:.0f}",
            )
