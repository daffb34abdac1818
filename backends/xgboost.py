"""XGBoost models served by xgboost itself: the reference for them.

On the CPU rows are predicted in place through xgboost's C interface. ``Booster.inplace_predict`` does the same behind
about 0.1 ms of checks in Python, which is a quarter of the time of a one-row call.
"""

from __future__ import annotations

import ctypes
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.cuda import cuda_device
from servefit.backends.installed import installed, thread_counts
from servefit.backends.model.types import Library, Model
from servefit.backends.types import Artifact, Availability, Knob, Predictor, Settings, Target
from servefit.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    import xgboost


class XGBoostBackend:
    """Serves XGBoost models of every kind, on the CPU and on CUDA. The CUDA target has not been run on a GPU yet."""

    name = "xgboost"

    def probe(self, target: Target = Target.CPU) -> Availability:
        found = installed("xgboost", "xgboost", "xgboost-cpu", remedy="pip install xgboost")
        if target is Target.CPU or not found.available:
            return found
        device = cuda_device()
        if not device.available:
            return device
        import xgboost

        if not xgboost.build_info().get("USE_CUDA"):
            return Availability.no("this xgboost was built without CUDA", remedy="pip install xgboost, not xgboost-cpu")
        return found

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
        import xgboost

        booster = xgboost.Booster(
            {"nthread": settings.threads, "verbosity": 0}, model_file=str(artifact.folder / artifact.facts["file"])
        )
        booster.set_param({"nthread": settings.threads, "device": artifact.target.value})
        config = json.loads(booster.save_config())["learner"]
        if artifact.target is Target.CUDA:
            device = config["generic_param"]["device"]
            if not device.startswith("cuda"):
                raise BackendUnavailable(self.name, f"asked for cuda, xgboost fell back to {device!r}")
            return _MatrixPredictor(booster, settings.threads)
        if config["gradient_booster"]["name"] == "gblinear":
            return _MatrixPredictor(booster, settings.threads)
        return _InPlacePredictor(booster)


class _InPlacePredictor:
    """Predicts float32 rows where they lie, through ``XGBoosterPredictFromDense``."""

    def __init__(self, booster: xgboost.Booster) -> None:
        library = _c_library()
        self._booster = booster
        self._handle = booster.handle
        self._predict = library.XGBoosterPredictFromDense
        self._last_error = library.XGBGetLastError
        arguments = {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": 0, "strict_shape": False}
        self._arguments = ctypes.c_char_p(json.dumps({**arguments, "missing": float("nan"), "cache_id": 0}).encode())
        shape = ctypes.POINTER(ctypes.c_uint64)()
        dimensions = ctypes.c_uint64()
        self._values = ctypes.POINTER(ctypes.c_float)()
        self._results = (ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(self._values))
        self._outputs: tuple[int, ...] = ()
        self._bytes_per_row = 4
        self.predict(np.zeros((2, booster.num_features()), dtype=np.float32))
        self._outputs = tuple(shape[1 : dimensions.value])
        self._bytes_per_row = 4 * math.prod(self._outputs)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        count, features = rows.shape
        interface = b'{"data": [%d, true], "shape": [%d, %d], "typestr": "<f4", "version": 3, "strides": null}' % (
            rows.ctypes.data,
            count,
            features,
        )
        if self._predict(self._handle, interface, self._arguments, None, *self._results):
            raise BackendError("xgboost", self._last_error().decode(errors="replace").splitlines()[0])
        # The memory belongs to xgboost, which overwrites it in the next call.
        content = ctypes.string_at(self._values, count * self._bytes_per_row)
        return np.frombuffer(content, dtype=np.float32).reshape(count, *self._outputs)

    def close(self) -> None:
        vars(self).clear()


class _MatrixPredictor:
    """Predicts through a DMatrix, a copy of the rows: for what in-place prediction does not take."""

    def __init__(self, booster: xgboost.Booster, threads: int) -> None:
        import xgboost

        self._booster = booster
        self._matrix = xgboost.DMatrix
        self._options = {"nthread": threads, "feature_types": booster.feature_types, "enable_categorical": True}

    def predict(self, rows: np.ndarray) -> np.ndarray:
        matrix = self._matrix(rows, **self._options)
        predictions: np.ndarray = self._booster.predict(matrix, validate_features=False)
        return predictions

    def close(self) -> None:
        vars(self).clear()


def _c_library() -> ctypes.CDLL:
    """The shared library that the imported xgboost uses, with functions typed for this module's calls."""
    from xgboost.libpath import find_lib_path

    library = ctypes.CDLL(find_lib_path()[0])
    library.XGBGetLastError.restype = ctypes.c_char_p
    return library
