"""A script as a predictor: for the backend that serves it, and for the check of its answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

UNPACKED = "model"
"""The folder of an artifact that is what the script's archive holds."""


class ScriptPredictor:
    """Calls the script row by row. Libraries read the number of threads from the environment of the worker; those that
    do not are told here, once the model is loaded. ``script`` has the times of its functions."""

    def __init__(self, model_dir: Path, threads: int) -> None:
        from servefit.backends.libraries.script.answering import Script
        from servefit.backends.model.packing import join

        self.script = Script(model_dir)
        self._join = join
        _limit_threads(threads)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the answers to the requests in ``rows``, packed. Raises ScriptFailed for the first that has none."""
        return self._join([self.script.answer_row(row)[None] for row in rows])

    def close(self) -> None:
        vars(self).clear()


def _limit_threads(threads: int) -> None:
    """Have the libraries that the script has loaded use so many threads."""
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(threads)
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        return
    threadpool_limits(limits=threads)
