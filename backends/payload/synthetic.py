"""A payload for a model that came without one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.packing import join
from servefit.backends.model.types import row_datatype
from servefit.backends.model.width import affordable_rows
from servefit.backends.payload.rows import synthetic_rows, whole_numbers
from servefit.backends.payload.types import Payload, used_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.backends.model import Input, Model


def synthetic_payload(model: Model, rows: int = 1000, seed: int = 0) -> Payload:
    """Return ``rows`` plausible rows drawn from the model's own splits, or standard normal ones if it has none; fewer
    if they are very wide. If rows have sizes, each class of sizes has the same number of rows."""
    signature = model.signature
    if not signature.sizes:
        count = affordable_rows(rows, signature.features)
        return Payload(rows=synthetic_rows(model, count, seed), source="synthetic payload", synthetic=True)
    classes = [signature.of_sizes(sizes) for sizes in signature.size_classes]
    count = affordable_rows(rows, max(size_class.features for size_class in classes))
    parts = [
        synthetic_rows(replace(model, signature=size_class), -(-count // len(classes)), seed) for size_class in classes
    ]
    # The sizes are mixed.
    mixed = np.random.default_rng(seed).permutation(join(parts))[:count]
    sizes = used_sizes(mixed, signature)
    return Payload(rows=mixed, source="synthetic payload", synthetic=True, sizes=sizes)


def random_payload(features: int, rows: int = 1000, seed: int = 0, inputs: Sequence[Input] = ()) -> Payload:
    """Return ``rows`` rows for a model of which no more is known than how wide they are, and perhaps what ``inputs``
    they are for: zeros and ones where these take whole numbers, else standard normal; fewer where they are very
    wide."""
    rows = affordable_rows(rows, features)
    generator = np.random.default_rng(seed)
    drawn = generator.standard_normal((rows, features), dtype=np.float32).astype(row_datatype(inputs), copy=False)
    for model_input in inputs:
        if model_input.is_whole:
            drawn[:, model_input.start : model_input.stop] = whole_numbers(
                generator, model_input, (rows, model_input.stop - model_input.start)
            )
    return Payload(rows=drawn, source="synthetic payload", synthetic=True)
