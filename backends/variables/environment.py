"""The environment of a process that is about to load an artifact, from before it imports anything."""

from __future__ import annotations

from collections.abc import Iterable

from servefit.isolation import REPORTS_NOTHING

_THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def worker_environment(
    threads: int, users: Iterable[tuple[str, str]] = (), *, gpu: int | None = None
) -> dict[str, str]:
    """Return the variables of a process that predicts with so many threads, on one ``gpu`` if on any; the user's own
    variables come last."""
    return {
        **REPORTS_NOTHING,
        **dict.fromkeys(_THREAD_COUNTS, str(threads)),
        # CUDA numbers devices by speed unless told to number them as NVML does.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)}),
        **dict(users),
    }
