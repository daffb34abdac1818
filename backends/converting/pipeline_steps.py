"""Pipelines of scikit-learn that end in a tree ensemble, taken apart: the steps before it become an ONNX model, and the
ensemble is for whoever compiles trees. skl2onnx does not convert every ensemble, and nothing predicts trees faster than
what is made for them.
"""

from __future__ import annotations

import pickle
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.converting.sklearn_onnx import DATATYPES, write_onnx
from servefit.backends.libraries.trees import read_trees, unpickled
from servefit.backends.model import Format, Model
from servefit.backends.model.onnx_io import OnnxInterface, predict
from servefit.backends.model.sklearn_frames import frame_of
from servefit.backends.model.sklearn_steps import first_of, is_vectorizer, steps_of
from servefit.backends.payload.rows import parity_rows, synthetic_rows
from servefit.backends.types import Predictor, Settings, Target
from servefit.errors import CompileFailed, RowsRefused

if TYPE_CHECKING:
    import treelite

    from servefit.backends.model import Signature

_FILE = "steps.onnx"
_ROWS = 256
"""On which the steps are compared: as many as predictions of estimators are."""
_ROUNDING = 1e-13
"""Some hundred roundings of float64, as a share: sums over the columns of a table have no more. Chosen."""
_OF_THRESHOLDS = ("sklearn.ensemble.", "sklearn.tree.")
"""Modules of estimators whose predictions jump."""
_ROUNDING_OF_WEIGHTS = 1e-5
"""Some dozens of float32. Chosen."""


def split(model: Model, workdir: Path, backend: str) -> tuple[Mapping[str, Any], Model, treelite.Model]:
    """Write the steps before the ensemble into ``workdir``; give the facts that :class:`AfterSteps` needs, the ensemble
    as a model of its own, and its trees. Raises CompileFailed.

    On hard rows the outputs of the steps are compared with those of scikit-learn, to more digits than predictions:
    trees compare them with thresholds, so one rounding can lead to another leaf.
    """
    from servefit.backends.inspection.pickled import inspect_pickle

    pipeline = unpickled(model)
    steps, ensemble = pipeline[:-1], pipeline.steps[-1][1]
    folder = workdir / "ensemble"
    folder.mkdir()
    file = folder / "model.pkl"
    file.write_bytes(pickle.dumps(ensemble))
    inspected = inspect_pickle(file, folder)
    alone = Model(
        source=model.source,
        file=file,
        format=Format.PICKLE,
        digest=model.digest,
        size_bytes=file.stat().st_size,
        signature=inspected.signature,
        trees=inspected.trees,
    )
    interface = _written(steps, model, alone.signature, workdir / _FILE, backend)
    return interface.to_facts(), alone, read_trees(alone, backend)


def decides_by_thresholds(estimator: Any) -> bool:
    """Return whether it is of trees, or ends in them, so that a rounding of what it is given may change a
    prediction by a leaf."""
    return type(_steps(estimator)[-1]).__module__.startswith(_OF_THRESHOLDS)


def _steps(estimator: Any) -> list[Any]:
    return [step for _, step in getattr(estimator, "steps", [("", estimator)])]


def check_steps(model: Model, workdir: Path, backend: str, *, floats: str) -> None:
    """Raise CompileFailed where the steps before the last, if there are some, give other numbers as an ONNX model of
    ``floats``."""
    from servefit.backends.inspection.pickled import inspect_pickle

    pipeline = unpickled(model)
    if len(_steps(pipeline)) == 1:
        return
    with tempfile.TemporaryDirectory(dir=workdir) as folder:
        file = Path(folder) / "model.pkl"
        file.write_bytes(pickle.dumps(pipeline.steps[-1][1]))
        last = inspect_pickle(file, Path(folder)).signature
        _written(pipeline[:-1], model, last, Path(folder) / _FILE, backend, (floats,))


def _written(
    steps: Any, model: Model, ensemble: Signature, file: Path, backend: str, datatypes: Sequence[str] = DATATYPES
) -> OnnxInterface:
    """Write ``steps``, whose numbers are of the first of ``datatypes`` that skl2onnx writes rightly. Raises
    CompileFailed."""
    from servefit.backends.libraries.onnx_native import refusing
    from servefit.backends.libraries.onnx_session import open_session

    refused: CompileFailed | None = None
    for floats in datatypes:
        try:
            interface = write_onnx(steps, model.signature, file, backend, method="transform", floats=floats)
        except CompileFailed as error:
            refused = refused or error
            continue
        rows, expected = _transformed(steps, model)
        session = open_session(file, Target.CPU, Settings(threads=1))
        written = refusing(partial(predict, session, interface), backend)
        try:
            got = written(model.signature.as_rows(rows)).reshape(len(rows), -1)
        except RowsRefused as error:
            refused = refused or CompileFailed(
                backend, f"the steps before the trees, as skl2onnx writes them: {error.reason}"
            )
            continue
        if got.shape != expected.shape:
            columns = f"{got.shape[1]} columns instead of {expected.shape[1]}"
            refused = refused or CompileFailed(backend, f"of the steps before the trees, skl2onnx writes {columns}")
        elif _same(ensemble.as_rows(got.astype(np.float64)), ensemble.as_rows(expected), _weights_of_words(steps)):
            return interface
    raise refused or CompileFailed(backend, "skl2onnx rounds what the steps before the trees give")


def _transformed(steps: Any, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Return hard rows, or plausible ones where the steps do not take those, and what the steps make of them."""
    frame = frame_of(steps)

    def transformed(rows: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # rows without the names of their columns
            values = steps.transform(rows if frame is None else frame(rows))
        return np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float64)

    rows = parity_rows(model, count=_ROWS)
    try:
        return rows, transformed(rows)
    except (ValueError, TypeError):
        plausible = synthetic_rows(model, _ROWS)
        return plausible, transformed(plausible)


def _weights_of_words(steps: Any) -> slice:
    """Return which columns of the steps' output are weights of words. No threshold lies exactly on one of these, and
    skl2onnx computes them in float32."""
    first = first_of(steps)
    if is_vectorizer(first):
        return slice(None)
    places = [
        first.output_indices_[name]
        for name, transformer, _ in getattr(first, "transformers_", ())
        if not isinstance(transformer, str) and any(is_vectorizer(step) for step in steps_of(transformer))
    ]
    one_block = len(places) == 1 and steps.steps[-1][1] is first
    return places[0] if one_block else slice(0, 0)


def _same(got: np.ndarray, expected: np.ndarray, weights: slice) -> bool:
    """Return whether two arrays of float32 are equal; or, of float64, within a few roundings of the largest value of
    the column, since sums may be added up in another order. ``weights`` are within a few roundings of float32."""
    if not np.allclose(got[:, weights], expected[:, weights], rtol=_ROUNDING_OF_WEIGHTS, atol=0, equal_nan=True):
        return False
    others = np.delete(np.arange(got.shape[1]), weights)
    got, expected = got[:, others], expected[:, others]
    if got.dtype == np.float32:
        return np.array_equal(got, expected, equal_nan=True)
    size = np.abs(np.nan_to_num(expected, posinf=0, neginf=0)).max(axis=0, initial=0)
    return np.allclose(got, expected, rtol=_ROUNDING, atol=_ROUNDING * size, equal_nan=True)


class AfterSteps:
    """Computes the steps, and has what comes out predicted as rows of ``datatype``."""

    def __init__(
        self, folder: Path, facts: Mapping[str, Any], settings: Settings, ensemble: Predictor, datatype: str
    ) -> None:
        from servefit.backends.libraries.onnx_native import refusing
        from servefit.backends.libraries.onnx_session import open_session

        session = open_session(folder / _FILE, Target.CPU, settings)
        self._columns = refusing(partial(predict, session, OnnxInterface.from_facts(facts)), "forest")
        self._datatype = datatype
        self._ensemble = ensemble

    def predict(self, rows: np.ndarray) -> np.ndarray:
        columns = self._columns(rows).reshape(len(rows), -1)
        return self._ensemble.predict(np.ascontiguousarray(columns, dtype=self._datatype))

    def close(self) -> None:
        self._ensemble.close()
        vars(self).clear()
