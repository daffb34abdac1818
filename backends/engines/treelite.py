"""Tree ensembles served by Treelite's own inference library (GTIL), from Treelite's checkpoint format.

Rows are predicted through Treelite's C interface: ``treelite.gtil.predict`` does the same behind some 80 us of Python.
"""

from __future__ import annotations

import ctypes
import json
import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.installed import installed, package_folder, thread_counts
from servefit.backends.libraries.trees import (
    Outputs,
    WholeCategories,
    category_facts,
    output_facts,
    read_trees,
    readable,
)
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import BackendError

if TYPE_CHECKING:
    from servefit.backends.model import Model


class TreeliteBackend:
    """Serves tree ensembles of xgboost, LightGBM and scikit-learn."""

    name = "treelite"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("Treelite's inference library runs on the CPU only")
        return installed("treelite", remedy="pip install treelite")

    def supports(self, model: Model) -> Availability:
        return readable(model)

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        return 0.5 + model.size_bytes / 1e8

    def cache_key(self) -> str:
        return "2"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        trees = read_trees(model, self.name)
        trees.serialize(workdir / "model.treelite")
        return {**category_facts(model), **output_facts(model, trees)}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        return _Predictor(artifact.folder / "model.treelite", artifact.facts, settings.threads)


class _Predictor:
    """Holds a Treelite model and a GTIL configuration."""

    def __init__(self, model: Path, facts: Mapping[str, Any], threads: int) -> None:
        library = _c_library()
        self._predict, self._last_error = library.TreeliteGTILPredict, library.TreeliteGetLastError
        self._handle = ctypes.c_void_p()
        self._check(library.TreeliteDeserializeModelFromFile(os.fsencode(model), ctypes.byref(self._handle)))
        self._free_model = weakref.finalize(self, library.TreeliteFreeModel, self._handle)
        self._delete_config = library.TreeliteGTILDeleteConfig
        _set_openmp_threads(library, threads)
        self._config = ctypes.c_void_p()
        config = json.dumps({"predict_type": "default", "nthread": threads}).encode()
        self._check(library.TreeliteGTILParseConfig(config, ctypes.byref(self._config)))
        input_type = self._ask(library.TreeliteGetInputType)
        self._type = input_type.encode()
        self._input_type = np.dtype(input_type)
        self._output_type = np.dtype(self._ask(library.TreeliteGetOutputType))
        self._whole = WholeCategories(facts) if facts["categorical_features"] else None
        self._outputs = Outputs(facts)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        if self._whole is not None:
            rows = self._whole(rows)
        rows = rows.astype(self._input_type, copy=False)
        values = np.zeros(len(rows) * self._outputs.values, dtype=self._output_type)
        failed = self._predict(self._handle, rows.ctypes.data, self._type, len(rows), values.ctypes.data, self._config)
        if failed:
            self._check(failed)
        return self._outputs(values)

    def close(self) -> None:
        if self._config:
            self._check(self._delete_config(self._config))
            self._config = ctypes.c_void_p()
        self._free_model()

    def _ask(self, function: Callable[..., int]) -> str:
        """Return the text that a function of the C interface gives for the model."""
        text = ctypes.c_char_p()
        self._check(function(self._handle, ctypes.byref(text)))
        return (text.value or b"").decode()

    def _check(self, status: int) -> None:
        if status:
            raise BackendError("treelite", self._last_error().decode(errors="replace").splitlines()[0])


def _set_openmp_threads(library: ctypes.CDLL, threads: int) -> None:
    """Let OpenMP start ``threads`` by itself: GTIL refuses more than that, and the environment may have set fewer. The
    OpenMP that Treelite calls is the one that it is linked with, or one that another library, such as PyTorch, has made
    known to all of the process before."""
    for openmp in (library, ctypes.CDLL(None)):
        with suppress(AttributeError):  # the process as a whole may know of none
            openmp.omp_set_num_threads(ctypes.c_int(threads))


def _c_library() -> ctypes.CDLL:
    """Return Treelite's shared library, with typed functions; the package that brings it is not imported."""
    library = ctypes.CDLL(str(next(package_folder("treelite").rglob("libtreelite.*"))))
    pointer = ctypes.c_void_p
    library.TreeliteGetLastError.restype = ctypes.c_char_p
    library.TreeliteGTILParseConfig.argtypes = [ctypes.c_char_p, pointer]
    library.TreeliteGTILDeleteConfig.argtypes = [pointer]
    library.TreeliteGTILPredict.argtypes = [pointer, pointer, ctypes.c_char_p, ctypes.c_uint64, pointer, pointer]
    return library
