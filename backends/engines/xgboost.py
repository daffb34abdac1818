"""XGBoost models served by xgboost itself: the reference for them.

On the CPU rows are predicted in place through xgboost's C interface. ``Booster.inplace_predict`` does the same behind
about 0.1 ms of checks in Python, which is a quarter of the time of a one-row call. Its package is not imported: see
``libraries.xgboost_c``.
"""

from __future__ import annotations

import ctypes
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.inspection import first_line
from servefit.backends.libraries.cuda import cuda_device
from servefit.backends.libraries.installed import installed, thread_counts
from servefit.backends.libraries.xgboost_c import Booster, Results, XGBoostError, array_interface, prediction_options
from servefit.backends.model.types import Library
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from servefit.backends.model import Model


class XGBoostBackend:
    """Serves XGBoost models of every kind, on the CPU and on CUDA. The CUDA target has not been run on a GPU yet."""

    name = "xgboost"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        availability = installed("xgboost", "xgboost", "xgboost-cpu", remedy="pip install xgboost")
        if target is Target.CPU or not availability.available:
            return availability
        device = cuda_device()
        if not device.available:
            return device
        import xgboost

        if not xgboost.build_info().get("USE_CUDA"):
            return Availability.no("this xgboost was built without CUDA", remedy="pip install xgboost, not xgboost-cpu")
        return availability

    def supports(self, model: Model) -> Availability:
        if model.library is Library.XGBOOST:
            return Availability.yes()
        return Availability.no(f"it serves XGBoost models, and this is one of {model.library}")

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        if target is Target.CUDA:
            return ()
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        return 0.1 + model.size_bytes / 1e9

    def cache_key(self) -> str:
        return ""

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        name = f"model{model.file.suffix}"
        shutil.copyfile(model.file, workdir / name)
        return {"file": name}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        file = artifact.folder / artifact.facts["file"]
        try:
            booster = Booster.load(file, nthread=settings.threads, verbosity=0, device=artifact.target.value)
            learner = booster.learner()
            if artifact.target is Target.CUDA:
                device = learner["generic_param"]["device"]
                if not device.startswith("cuda"):
                    raise BackendUnavailable(self.name, f"asked for cuda, xgboost fell back to {device!r}")
                return _MatrixPredictor(booster, settings.threads)
            if learner["gradient_booster"]["name"] == "gblinear":
                return _MatrixPredictor(booster, settings.threads)
            return _InPlacePredictor(booster)
        except XGBoostError as error:
            raise BackendError(self.name, first_line(error)) from error


class _InPlacePredictor:
    """Predicts float32 rows where they lie, through ``XGBoosterPredictFromDense``."""

    def __init__(self, booster: Booster) -> None:
        self._booster = booster
        self._handle = booster.handle
        self._predict = booster.library.XGBoosterPredictFromDense
        self._options = ctypes.c_char_p(prediction_options(missing=math.nan, cache_id=0))
        results = Results()
        self._values, self._results = results.values, results.references
        self._outputs: tuple[int, ...] = ()
        self._bytes_per_row = 4
        self.predict(np.zeros((2, booster.features), dtype=np.float32))
        self._outputs = results.shape[1:]
        self._bytes_per_row = 4 * math.prod(self._outputs)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        if self._predict(self._handle, array_interface(rows), self._options, None, *self._results):
            raise BackendError("xgboost", first_line(self._booster.error()))
        # The memory belongs to xgboost, which overwrites it in the next call.
        count = len(rows)
        content = ctypes.string_at(self._values, count * self._bytes_per_row)
        return np.frombuffer(content, dtype=np.float32).reshape(count, *self._outputs)

    def close(self) -> None:
        vars(self).clear()


class _MatrixPredictor:
    """Predicts through a DMatrix, a copy of the rows: for what in-place prediction does not take."""

    def __init__(self, booster: Booster, threads: int) -> None:
        self._booster = booster
        self._threads = threads

    def predict(self, rows: np.ndarray) -> np.ndarray:
        try:
            return self._booster.predict(rows, threads=self._threads)
        except XGBoostError as error:
            raise BackendError("xgboost", first_line(error)) from error

    def close(self) -> None:
        vars(self).clear()
