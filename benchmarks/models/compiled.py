"""A benchmark model, compiled with every backend that takes it, and ready to be measured."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.backends.compilation import compile_model
from servefit.errors import ServefitError
from servefit.profiler.drivers.start_driver import workers_for
from servefit.search.optimizer.call_timing import time_service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from benchmarks.models.forest_models import BenchmarkModel
    from servefit.backends.types import Artifact
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.machine.host import Host
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration

BACKENDS = ("forest", "onnxruntime", "treelite", "xgboost", "lightgbm")


class CompiledModel:
    """``model`` on ``host``; ``artifacts`` are by backend, without those that do not take it."""

    def __init__(self, model: BenchmarkModel, host: Host) -> None:
        self.name = model.name
        self.model, self.host = model, host
        self.artifacts: dict[str, Artifact] = {}
        for backend in BACKENDS:
            try:
                self.artifacts[backend] = compile_model(model.model, backend).artifact
            except ServefitError as error:
                print(f"{self.name}: no {backend}: {error}", file=sys.stderr, flush=True)

    def workers(self, configuration: Configuration) -> AbstractContextManager[Workers]:
        """Start fresh processes of ``configuration``. Raises as ``workers_for`` does."""
        return workers_for(configuration, self.artifacts[configuration.backend], self.model.rows, host=self.host)

    def timed(
        self, subject: Configuration, sizes: Sequence[int], *, rate_per_s: float | None = None, seed: int = 0
    ) -> ServiceTimes:
        """Time calls of ``subject`` as a search does; see ``time_service``."""
        with self.workers(replace(subject, max_batch=sizes[-1])) as workers:
            return time_service(workers, sizes, rate_per_s=rate_per_s, seed=seed)
