"""The datatypes of the Open Inference Protocol, and NumPy's, which have other names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

DTYPES: Mapping[str, np.dtype[Any]] = {
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    "BOOL": np.dtype(np.bool_),
}
"""The form of values in binary data, by the protocol's name for their datatype."""

_NAMES = {dtype.name: name for name, dtype in DTYPES.items()}


def datatype_of(name: str) -> str:
    """Return the protocol's name for a datatype of numbers that NumPy calls ``name``, such as "float32"."""
    return _NAMES[name]
