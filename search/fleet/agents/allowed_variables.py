"""The environment variables that an agent lets a job set in what it measures.

A variable can do more than tune: LD_PRELOAD and PYTHONPATH have a process load code. So none is allowed but those that
are known to tune numerical libraries and memory allocation, and those that the owner of the host names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from servefit.errors import SpecError

PREFIXES = ("BLIS_", "DNNL_", "GOMP_", "KMP_", "MKL_", "NUMEXPR_", "OMP_", "ONEDNN_", "OPENBLAS_", "VECLIB_")
"""Those of OpenMP and of libraries that compute. Their values are numbers, sets of CPUs, and words."""

NAMES = (
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MODEL_SERVER_WORKERS",
)

PATHS = ("DNNL_JIT_DUMP", "MKL_VERBOSE_OUTPUT_FILE", "ONEDNN_JIT_DUMP")
"""They have the prefix, and have a library write files."""


def check_variables(names: Iterable[str], allowed: Collection[str]) -> None:
    """Raise SpecError where one of the variables is neither known to be harmless nor ``allowed``."""
    for name in names:
        usual = (name.startswith(PREFIXES) or name in NAMES) and name not in PATHS
        if not usual and name not in allowed:
            raise SpecError(
                "env",
                name,
                "is not a variable that the agent lets jobs set",
                remedy=f"start the agent with --allow-env {name}",
            )
