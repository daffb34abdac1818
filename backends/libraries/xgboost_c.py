"""XGBoost's boosters through its C interface, without importing the Python package.

That import takes 0.3 s, and over a second where scikit-learn is installed, which it imports too; opening the library
takes some milliseconds. Every measurement worker and child process would pay for it when it starts.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.libraries.installed import package_folder
from servefit.errors import BackendUnavailable

_LIBRARY = "libxgboost.so"
_REMEDY = "pip install --force-reinstall xgboost"


class XGBoostError(Exception):
    """A call of the library failed; the text is the library's own."""


class Booster:
    """A model in the library's memory, which is freed with this object. Methods raise XGBoostError."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self.library = library
        self.handle = handle
        weakref.finalize(self, library.XGBoosterFree, handle)

    @classmethod
    def load(cls, file: Path, **parameters: str | int) -> Booster:
        """Read a JSON or UBJSON model, and set the library's ``parameters``, such as nthread, in this order.

        Raises XGBoostError, and BackendUnavailable where the library cannot be opened.
        """
        library, handle = open_library(), ctypes.c_void_p()
        status = library.XGBoosterCreate(None, ctypes.c_uint64(0), ctypes.byref(handle))
        booster = cls(library, handle)
        booster._check(status)
        booster._call("XGBoosterLoadModel", os.fsencode(file))
        for name, value in parameters.items():
            booster._call("XGBoosterSetParam", name.encode(), str(value).encode())
        return booster

    @property
    def features(self) -> int:
        count = ctypes.c_uint64()
        self._call("XGBoosterGetNumFeature", ctypes.byref(count))
        return count.value

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names, or nothing where the model holds none."""
        return tuple(name.decode() for name in self._of_features("feature_name"))

    @property
    def iterations(self) -> int:
        count = ctypes.c_int()
        self._call("XGBoosterBoostedRounds", ctypes.byref(count))
        return count.value

    def attribute(self, name: str) -> str | None:
        value, is_set = ctypes.c_char_p(), ctypes.c_int()
        self._call("XGBoosterGetAttr", name.encode(), ctypes.byref(value), ctypes.byref(is_set))
        return value.value.decode() if is_set.value and value.value is not None else None

    def learner(self) -> dict[str, Any]:
        """Return the configuration of the model, as the library's JSON describes it."""
        length, text = ctypes.c_uint64(), ctypes.c_char_p()
        self._call("XGBoosterSaveJsonConfig", ctypes.byref(length), ctypes.byref(text))
        learner: dict[str, Any] = json.loads(text.value or b"")["learner"]
        return learner

    def first(self, iterations: int) -> Booster:
        """Return a copy with the first ``iterations`` only."""
        handle = ctypes.c_void_p()
        self._call("XGBoosterSlice", 0, iterations, 1, ctypes.byref(handle))
        return Booster(self.library, handle)

    def save(self, file: Path) -> None:
        """Write the model in the format that the file's suffix names."""
        self._call("XGBoosterSaveModel", os.fsencode(file))

    def predict(self, rows: np.ndarray, *, threads: int = 1) -> np.ndarray:
        """Predict C-contiguous float32 or float64 ``rows`` (n, features) through a DMatrix, a copy of them which the
        library rounds to float32, as ``Booster.predict`` of the Python package does: (n,) or (n, outputs) float32."""
        matrix = ctypes.c_void_p()
        options = b'{"missing": NaN, "nthread": %d}' % threads
        self._check(self.library.XGDMatrixCreateFromDense(array_interface(rows), options, ctypes.byref(matrix)))
        results = Results()
        try:
            if kinds := self._of_features("feature_type"):
                named = (b"feature_type", (ctypes.c_char_p * len(kinds))(*kinds), ctypes.c_uint64(len(kinds)))
                self._check(self.library.XGDMatrixSetStrFeatureInfo(matrix, *named))
            self._call("XGBoosterPredictFromDMatrix", matrix, prediction_options(), *results.references)
            return np.ctypeslib.as_array(results.values, results.shape).copy()
        finally:
            self.library.XGDMatrixFree(matrix)

    def error(self) -> XGBoostError:
        """Return the library's words on the call that failed last."""
        return XGBoostError(self.library.XGBGetLastError().decode(errors="replace"))

    def _of_features(self, field: str) -> list[bytes]:
        count, texts = ctypes.c_uint64(), ctypes.POINTER(ctypes.c_char_p)()
        self._call("XGBoosterGetStrFeatureInfo", field.encode(), ctypes.byref(count), ctypes.byref(texts))
        return [texts[nth] or b"" for nth in range(count.value)]

    def _call(self, function: str, *arguments: Any) -> None:
        self._check(getattr(self.library, function)(self.handle, *arguments))

    def _check(self, status: int) -> None:
        if status:
            raise self.error()


class Results:
    """The variables in which the library says of what shape predictions are and where they lie. The memory is its own:
    it overwrites it in the next call of the same booster."""

    def __init__(self) -> None:
        self.values = ctypes.POINTER(ctypes.c_float)()
        self._shape, self._dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        self.references = tuple(ctypes.byref(result) for result in (self._shape, self._dimensions, self.values))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._shape[: self._dimensions.value])


def array_interface(rows: np.ndarray) -> bytes:
    """Return the description of C-contiguous float32 or float64 ``rows`` that the library reads."""
    return b'{"data": [%d, true], "shape": [%d, %d], "typestr": "<f%d", "version": 3, "strides": null}' % (
        rows.ctypes.data,
        *rows.shape,
        rows.itemsize,
    )


def prediction_options(**more: Any) -> bytes:
    """Return the options of plain predictions of all iterations, as the library takes its options."""
    options = {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": 0, "strict_shape": False}
    return json.dumps({**options, **more}).encode()


def open_library() -> ctypes.CDLL:
    """Open XGBoost's shared library. Raises BackendUnavailable where it is missing, does not open, or is not of the
    version of the Python package."""
    package = package_folder("xgboost")
    # Where the package looks: in itself, beside itself in its own repository, and where conda installs libraries.
    folders = (package / "lib", package.parents[1] / "lib", Path(sys.base_prefix) / "lib")
    file = next((path for folder in folders if (path := folder / _LIBRARY).is_file()), None)
    if file is None:
        raise BackendUnavailable("xgboost", f"its package has no {_LIBRARY}", remedy=_REMEDY)
    try:
        library = ctypes.CDLL(str(file))
    except OSError as error:
        raise BackendUnavailable("xgboost", f"its library does not open: {error}", remedy=_REMEDY) from error
    library.XGBGetLastError.restype = ctypes.c_char_p
    _check_version(library, package)
    return library


def _check_version(library: ctypes.CDLL, package: Path) -> None:
    numbers = [ctypes.c_int() for _ in range(3)]
    library.XGBoostVersion(*map(ctypes.byref, numbers))
    version = ".".join(str(number.value) for number in numbers)
    expected = (package / "VERSION").read_text(encoding="ascii").strip()
    if not re.match(rf"{re.escape(version)}(?!\d)", expected):
        raise BackendUnavailable(
            "xgboost", f"its package is version {expected} and its library version {version}", remedy=_REMEDY
        )
