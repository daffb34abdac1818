"""LightGBM models served by LightGBM itself: the reference for them.

Rows are predicted through LightGBM's C interface, with a prepared call for single rows. ``Booster.predict`` does the
same behind 30 us or more of checks in Python, several times what a small model takes.
"""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.installed import installed, package_folder, thread_counts
from servefit.backends.model.types import Library
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import BackendError

if TYPE_CHECKING:
    from servefit.backends.model import Model

_FLOAT64, _NORMAL_PREDICTION, _ROW_MAJOR, _ALL_ITERATIONS = 1, 0, 1, -1  # constants of LightGBM's c_api.h


class LightGBMBackend:
    """Serves LightGBM models of every kind."""

    name = "lightgbm"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("LightGBM predicts on the CPU only")
        return installed("lightgbm", remedy="pip install 'servefit[lightgbm]'")

    def supports(self, model: Model) -> Availability:
        if model.library is Library.LIGHTGBM:
            return Availability.yes()
        return Availability.no(f"it serves LightGBM models, and this is one of {model.library}")

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        return 0.1 + model.size_bytes / 1e9

    def cache_key(self) -> str:
        return "rows of float64"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        shutil.copyfile(model.file, workdir / "model.txt")
        return {"features": model.signature.features, "outputs": model.signature.outputs}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        return _Predictor(artifact.folder / "model.txt", artifact.facts, settings.threads)


class _Predictor:
    """Holds a booster of the C interface, and a prepared configuration for single rows."""

    def __init__(self, model: Path, facts: Mapping[str, Any], threads: int) -> None:
        library = _c_library()
        self._last_error = library.LGBM_GetLastError
        self._free_booster, self._free_single = library.LGBM_BoosterFree, library.LGBM_FastConfigFree
        self._predict_many = library.LGBM_BoosterPredictForMat
        self._predict_one = library.LGBM_BoosterPredictForMatSingleRowFast
        features, self._outputs = facts["features"], facts["outputs"]
        self._options = f"num_threads={threads} verbosity=-1".encode()
        self._booster, self._single = ctypes.c_void_p(), ctypes.c_void_p()
        iterations = ctypes.c_int()
        self._check(
            library.LGBM_BoosterCreateFromModelfile(
                str(model).encode(), ctypes.byref(iterations), ctypes.byref(self._booster)
            )
        )
        self._check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                *(self._booster, _NORMAL_PREDICTION, 0, _ALL_ITERATIONS, _FLOAT64, features),
                *(self._options, ctypes.byref(self._single)),
            )
        )
        self._written = ctypes.byref(ctypes.c_int64())

    def predict(self, rows: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(rows, dtype=np.float64)  # the library reads so many bytes of any array
        count, features = rows.shape
        predictions = np.empty(count if self._outputs == 1 else (count, self._outputs))
        if count == 1:
            failed = self._predict_one(self._single, rows.ctypes.data, self._written, predictions.ctypes.data)
        else:
            failed = self._predict_many(
                *(self._booster, rows.ctypes.data, _FLOAT64, count, features, _ROW_MAJOR),
                *(_NORMAL_PREDICTION, 0, _ALL_ITERATIONS, self._options, self._written, predictions.ctypes.data),
            )
        if failed:
            self._check(failed)
        return predictions

    def close(self) -> None:
        if self._booster:
            self._check(self._free_single(self._single))
            self._check(self._free_booster(self._booster))
            self._booster = ctypes.c_void_p()

    def _check(self, status: int) -> None:
        if status:
            raise BackendError("lightgbm", self._last_error().decode(errors="replace").splitlines()[0])


def _c_library() -> ctypes.CDLL:
    """Return LightGBM's shared library, with typed functions; the package that brings it is not imported."""
    # The package looks for its library in several places, under a name of each system.
    path = next(path for path in package_folder("lightgbm").rglob("lib_lightgbm.*") if path.is_file())
    library = ctypes.CDLL(str(path))
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    library.LGBM_GetLastError.restype = text
    library.LGBM_BoosterFree.argtypes = library.LGBM_FastConfigFree.argtypes = [pointer]
    library.LGBM_BoosterCreateFromModelfile.argtypes = [text, pointer, pointer]
    library.LGBM_BoosterPredictForMatSingleRowFastInit.argtypes = [
        *(pointer, integer, integer, integer, integer, ctypes.c_int32, text, pointer)
    ]
    library.LGBM_BoosterPredictForMatSingleRowFast.argtypes = [pointer] * 4
    library.LGBM_BoosterPredictForMat.argtypes = [
        *(pointer, pointer, integer, ctypes.c_int32, ctypes.c_int32, integer),
        *(integer, integer, integer, text, pointer, pointer),
    ]
    return library
