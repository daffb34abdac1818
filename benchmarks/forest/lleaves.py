"""lleaves as a contestant of ``claims.forest``: LightGBM models compiled with LLVM, at their best.

lleaves says that blocks of trees are for many rows and no blocks for single ones, and one thread for single rows. Both
ways are compiled here, and for each batch size the fastest way and number of threads is found before it is timed. Rows
are float64 beforehand, which is what lleaves takes without a copy, and with one thread its compiled function is called
past its own Python, as the backends call their libraries. The way without blocks is compiled without inlining.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.checking.reference import reference
from servefit.backends.model.types import Library
from servefit.backends.types import Artifact, Settings, Target
from servefit.isolation import call_isolated
from servefit.state import filling, state_folder

if TYPE_CHECKING:
    from servefit.backends.model import Model

LOADER = "benchmarks.forest.lleaves:load"

_Way = Callable[[np.ndarray], np.ndarray]

_BLOCKED, _WHOLE = "blocks-of-trees.o", "all-trees.o"
_FUNCTION = "forest_root"
_TRIES = 7
_LIMIT_S = 600.0
_TOLERANCE = 1e-9


def takes(model: Model) -> bool:
    return model.library is Library.LIGHTGBM and find_spec("lleaves") is not None


def compile_lleaves(model: Model, rows: np.ndarray) -> tuple[Artifact, float]:
    """Compile the model, or find it in the state folder. Return it with the seconds that compiling it in blocks took.
    Raises WorkerCrashed if its predictions for ``rows`` differ from LightGBM's, and TimedOut."""
    installed = version("lleaves")
    folder = state_folder("benchmarks") / f"lleaves-{installed}-{model.digest[:24]}"
    if not folder.is_dir():
        with filling(folder) as unfinished:
            call_isolated("benchmarks.forest.lleaves:write", *(model, rows, unfinished), timeout_s=_LIMIT_S)
    artifact = Artifact(
        backend="lleaves",
        backend_version=installed,
        model_digest=model.digest,
        target=Target.CPU,
        folder=folder,
        facts={"model": str(model.file)},
    )
    return artifact, float((folder / "seconds").read_text())


def write(model: Model, rows: np.ndarray, folder: Path) -> None:
    """Compile ``model`` both ways into ``folder`` and compare. Runs in a child process."""
    began = time.perf_counter()
    blocked = _opened(model.file, folder / _BLOCKED)
    (folder / "seconds").write_text(str(time.perf_counter() - began))
    # With functions inlined into a single block, LLVM would take minutes and gigabytes for a few hundred trees.
    whole = _opened(model.file, folder / _WHOLE, fblocksize=max(1, blocked.num_trees()), finline=False)
    expected = reference(model)(rows)
    for each in (blocked, whole):
        error = float(np.abs(each.predict(rows.astype(np.float64), n_jobs=1) - expected).max())
        if not error <= _TOLERANCE:
            raise RuntimeError(f"lleaves is {error:g} off LightGBM")


def load(artifact: Artifact, settings: Settings) -> Lleaves:
    """Load the compiled model, in place of a backend's loader. Runs in the process of the contestant."""
    return Lleaves(artifact, settings.threads)


class Lleaves:
    """Predicts (n, features) float64 rows, every batch size in the way that was fastest when it was first seen."""

    row_type = np.float64

    def __init__(self, artifact: Artifact, threads: int) -> None:
        models = [_opened(Path(artifact.facts["model"]), artifact.folder / name) for name in (_BLOCKED, _WHOLE)]
        self._ways: list[_Way] = [partial(_call, _function(each), each) for each in models]
        if threads > 1:
            self._ways += [partial(each.predict, n_jobs=threads) for each in models]
        self._chosen: dict[int, _Way] = {}

    def predict(self, rows: np.ndarray) -> np.ndarray:
        chosen = self._chosen.get(len(rows))
        if chosen is None:
            chosen = self._chosen[len(rows)] = self._fastest(rows)
        return chosen(rows)

    def _fastest(self, rows: np.ndarray) -> _Way:
        spent: list[list[int]] = [[] for _ in self._ways]
        for _, (nth, way) in product(range(_TRIES), enumerate(self._ways)):
            way(rows)
            began = time.perf_counter_ns()
            way(rows)
            spent[nth].append(time.perf_counter_ns() - began)
        return self._ways[int(np.argmin(np.median(spent, axis=1)))]


def _opened(model: Path, cache: Path, **options: Any) -> Any:
    opened = import_module("lleaves").Model(str(model))
    opened.compile(cache=str(cache), froot_func_name=_FUNCTION, **options)
    return opened


def _function(model: Any) -> Callable[..., None]:
    address = model._execution_engine.get_function_address(_FUNCTION)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32)(address)


def _call(function: Callable[..., None], _owner: Any, rows: np.ndarray) -> np.ndarray:
    """Call ``function``, whose code ``_owner`` keeps in memory. All LightGBM models here have one output."""
    result = np.zeros(len(rows))
    function(rows.ctypes.data, result.ctypes.data, 0, len(rows))
    return result
