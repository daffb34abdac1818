"""The last step, from sums of leaves to predictions: what the kernel needs for Treelite's post-processors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.libraries.trees import header
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    import treelite

_NUMBERS = {
    "identity": 0,
    "identity_multiclass": 0,
    "sigmoid": 1,
    "multiclass_ova": 1,
    "softmax": 2,
    "exponential": 3,
    "logarithm_one_plus_exp": 4,
    "signed_square": 5,
    "hinge": 6,
    "exponential_standard_ratio": 7,
}
"""The kernel's numbers by Treelite's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """``base`` (outputs,) is added, then comes the post-processor, over ``group`` outputs at a time. With an
    ``outlier_offset`` the prediction is minus the result, minus that."""

    postprocessor: int
    group: int
    base: np.ndarray
    alpha: float
    ratio: float
    outlier_offset: float | None


def read_finish(trees: treelite.Model, *, column: int | None, outlier_offset: float | None) -> Finish:
    """Return how the sums of ``trees`` become predictions; with ``column``, those of that output alone. Raises
    CompileFailed for a post-processor that is not known."""
    name = header(trees, "postprocessor")
    if name not in _NUMBERS:
        raise CompileFailed("forest", f"it ends in a post-processor that is not known: {name!r}")
    fields = trees.get_header_accessor()
    base = np.atleast_1d(fields.get_field("base_scores")).astype(np.float64)
    return Finish(
        postprocessor=_NUMBERS[name],
        group=int(fields.get_field("num_class").max()) if column is None else 1,
        base=base if column is None else base[[column]],
        alpha=float(header(trees, "sigmoid_alpha")),
        ratio=float(header(trees, "ratio_c")),
        outlier_offset=outlier_offset,
    )
