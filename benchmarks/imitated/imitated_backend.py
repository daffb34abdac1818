"""A backend that predicts as forest does, and takes $IMITATED_MS for every row, waiting and not computing: hosts that
are imitated so side by side on one machine are hardly in each other's way.

With xgboost's predictor a request of 1 ms would compute for 0.8 ms; two workers and a load client then want more than
two CPUs have, and the host carries less than its 1 ms says."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.finding.registry import imported
from servefit.backends.types import Availability, Target

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.model import Model
    from servefit.backends.types import Artifact, Knob, Predictor, Settings

VARIABLE = "IMITATED_MS"


class ImitatedBackend:
    """Delegates to the backend of xgboost, and takes its time."""

    name = "imitated"

    def probe(self, target: Target = Target.CPU) -> Availability:
        return Availability.yes("1.0") if target is Target.CPU else Availability.no("it imitates CPUs")

    def supports(self, model: Model) -> Availability:
        return imported("forest").supports(model)

    def knobs(self, _model: Model, _vcpus: int, _target: Target = Target.CPU) -> tuple[Knob, ...]:
        return ()

    def compile_estimate_s(self, _model: Model) -> float:
        return 0.1

    def cache_key(self) -> str:
        return ""

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        return imported("forest").compile(model, target, workdir)

    def load(self, artifact: Artifact, settings: Settings) -> SlowPredictor:
        right = imported("forest").load(artifact, settings)
        return SlowPredictor(right, float(os.environ[VARIABLE]) * 1e-3)


class SlowPredictor:
    """A predictor that takes so many seconds for each row of a call, on the mean: what one call overslept is taken off
    the next."""

    def __init__(self, right: Predictor, row_s: float) -> None:
        self._right = right
        self._row_s = row_s
        self._overslept_s = 0.0

    def predict(self, rows: np.ndarray) -> np.ndarray:
        began_s = time.monotonic()
        found = self._right.predict(rows)
        wanted_s = self._row_s * len(rows) - self._overslept_s
        time.sleep(max(0.0, began_s + wanted_s - time.monotonic()))
        # A call that lasted much longer was kept from its CPU, which no other makes good.
        self._overslept_s = min(time.monotonic() - began_s - wanted_s, self._row_s)
        return found

    def close(self) -> None:
        self._right.close()
