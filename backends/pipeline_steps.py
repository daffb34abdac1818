"""Pipelines of scikit-learn that end in a tree ensemble, taken apart: the steps before it become an ONNX model, and the
ensemble is for whoever compiles trees. skl2onnx does not convert every ensemble, and nothing predicts trees faster than
what is made for them.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.comparisons import compare_before
from servefit.backends.model import Format, Model
from servefit.backends.model.onnx_io import OnnxInterface, predict
from servefit.backends.model.sklearn_steps import compares_float64
from servefit.backends.sklearn_onnx import write_onnx
from servefit.backends.trees import read_trees, unpickled
from servefit.backends.types import Predictor, Settings, Target
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    import treelite

_FILE = "steps.onnx"


def split(model: Model, workdir: Path, backend: str) -> tuple[Mapping[str, Any], Model, treelite.Model]:
    """Write the steps before the ensemble into ``workdir``; give the facts that :class:`AfterSteps` needs, the ensemble
    as a model of its own, and its trees. Raises CompileFailed.

    Steps are computed in float64 where skl2onnx writes them so: trees compare what comes out with thresholds, and
    scikit-learn rounds it only then, or not at all. Where it does not, the comparisons are made in float64 too, as the
    last of the steps, and the trees test what came out of them.
    """
    from servefit.backends.inspection.pickled import inspect_pickle

    pipeline = unpickled(model)
    steps, ensemble = pipeline[:-1], pipeline.steps[-1][1]
    try:
        interface = _written(steps, model, workdir, backend, "float64")
    except CompileFailed:
        interface = _written(steps, model, workdir, backend, "float32")
    folder = workdir / "ensemble"
    folder.mkdir()
    file = folder / "model.pkl"
    file.write_bytes(pickle.dumps(ensemble))
    found = inspect_pickle(file, folder)
    alone = Model(
        source=model.source,
        file=file,
        format=Format.PICKLE,
        digest=model.digest,
        size_bytes=file.stat().st_size,
        signature=found.signature,
        trees=found.trees,
    )
    trees = read_trees(alone, backend)
    if compares_float64(ensemble):
        interface = replace(interface, outputs=compare_before(trees, workdir / _FILE, interface.outputs))
    return interface.to_facts(), alone, trees


def _written(steps: Any, model: Model, workdir: Path, backend: str, floats: str) -> OnnxInterface:
    return write_onnx(steps, model.signature, workdir / _FILE, backend, method="transform", floats=floats)


class AfterSteps:
    """Computes the steps, and has what comes out predicted."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], settings: Settings, ensemble: Predictor) -> None:
        from servefit.backends.onnx_native import refusing
        from servefit.backends.onnx_session import open_session

        session = open_session(folder / _FILE, Target.CPU, settings)
        self._columns = refusing(partial(predict, session, OnnxInterface.from_facts(facts)), "forest")
        self._ensemble = ensemble

    def predict(self, rows: np.ndarray) -> np.ndarray:
        columns = self._columns(rows).reshape(len(rows), -1)
        return self._ensemble.predict(np.ascontiguousarray(columns, dtype=np.float32))

    def close(self) -> None:
        self._ensemble.close()
        vars(self).clear()
