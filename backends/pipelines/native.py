"""The kernel of pipelines, which is built where there is a compiler."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_KERNEL = "servefit.backends.pipelines._kernel"


@cache
def kernel() -> Any:
    """Return the module, or None where it was not built: then Python does what it does."""
    return None if find_spec(_KERNEL) is None else import_module(_KERNEL)
