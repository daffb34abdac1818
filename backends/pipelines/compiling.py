"""Compiles a pipeline: reads it, and writes its steps as a pickle of our own beside the forests of its trees; and opens
what was written."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.sklearn_io import prediction_method, set_jobs
from servefit.backends.pipelines.categories import NUMBER, TEXT, ColumnAt
from servefit.backends.pipelines.source import RowSource
from servefit.backends.pipelines.trees import Trees
from servefit.backends.pipelines.values import PipelineStep, dense
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.pipelines.sample import Sample
    from servefit.backends.types import Predictor

STEPS = "steps.pickle"
"""The file of an artifact."""
_ROWS = 256
"""On which steps are compared: as many as predictions of estimators are."""


def compile_pipeline(model: Model, workdir: Path, backend: str) -> Mapping[str, Any]:
    """Write the steps of ``model`` into ``workdir`` on behalf of ``backend``; give facts about them. Raises
    CompileFailed."""
    from servefit.backends.libraries.trees import unpickled
    from servefit.backends.pipelines.reading import Reader

    estimator = unpickled(model)
    set_jobs(estimator, 1)
    source, sample = _source_and_sample(estimator, model, backend)
    reader = Reader(workdir)
    step = reader.last(estimator, prediction_method(estimator, model.signature.task), sample, "model")
    if not reader.own:
        raise CompileFailed(backend, f"it computes none of its steps: {', '.join(reader.foreign)[:300]}")
    if model.ends_in_trees and not reader.has_trees:
        raise CompileFailed(backend, f"it does not predict its trees as its own library does: {reader.foreign[-1]}")
    stream = BytesIO()
    try:
        _Pickler(stream, protocol=5).dump((source, step))
    except (pickle.PicklingError, AttributeError, TypeError) as error:  # a lambda, mostly
        left = ", ".join(reader.foreign)[:200]
        if "<lambda>" in str(error) or "<locals>" in str(error):
            reason = f"a step that stays in scikit-learn calls a lambda or a local function ({left})"
            raise CompileFailed(backend, f"{reason}: define it in a module that the host can import") from error
        raise CompileFailed(backend, f"what stays in scikit-learn does not pickle ({left}): {error!s:.200}") from error
    (workdir / STEPS).write_bytes(stream.getvalue())
    return {"steps": reader.own, "in_library": reader.foreign, "loaded": sorted(reader.loaded)}


def open_pipeline(folder: Path, threads: int) -> Predictor:
    """Open what ``compile_pipeline`` wrote into ``folder``, with so many threads for each forest."""
    return _Predictor(folder, threads)


def _source_and_sample(estimator: Any, model: Model, backend: str) -> tuple[RowSource, Sample]:
    """Return the way of rows into ``estimator``, and hard rows, or plausible ones where it does not take those."""
    from servefit.backends.model.sklearn_frames import frame_of
    from servefit.backends.payload.rows import parity_rows, synthetic_rows
    from servefit.backends.pipelines.sample import Sample, predicted

    frame, signature = frame_of(estimator), model.signature
    places: list[ColumnAt | None] | None = None
    source = RowSource(0, signature.features)
    if frame is not None:
        places = [None] * frame.width
        texts = 0
        starts = [one.start for one in signature.inputs] or range(len(frame.columns))
        first = min(
            [start for start, column in zip(starts, frame.columns, strict=True) if not column.is_text],
            default=len(signature.sizes),
        )
        for start, column in zip(starts, frame.columns, strict=True):
            if column.is_text:
                places[column.position] = ColumnAt(TEXT, texts, missing=column.missing, is_date=column.is_date)
                texts += 1
            else:
                places[column.position] = ColumnAt(NUMBER, start - first, column.is_whole, column.missing)
        if frame.has_texts:
            source = RowSource(first, first + len(frame.columns) - texts, texts)
    method = prediction_method(estimator, signature.task)
    hard = parity_rows(model, count=_ROWS)
    for rows in (hard, synthetic_rows(model, _ROWS)):
        theirs = rows if frame is None else frame(rows)
        try:
            predicted(estimator, method, theirs)
        except (ValueError, TypeError):
            continue
        return source, Sample(theirs, source(signature.as_rows(rows)), None if places is None else tuple(places))
    raise CompileFailed(backend, "scikit-learn refuses the rows that are drawn to compare its steps on")


class _Pickler(pickle.Pickler):
    """Writes steps; forests are in files of their own, which workers share."""

    def persistent_id(self, written: Any) -> Any:
        return written.facts if isinstance(written, Trees) else None


class _Unpickler(pickle.Unpickler):
    """Reads what was compiled here, of a model that was trusted when it was opened."""

    def __init__(self, content: bytes, folder: Path, threads: int) -> None:
        super().__init__(BytesIO(content))
        self._folder, self._threads = folder, threads
        self.trees: list[Trees] = []

    def persistent_load(self, facts: Any) -> Trees:
        self.trees.append(Trees(self._folder, facts, self._threads))
        return self.trees[-1]


class _Predictor:
    """Computes all steps for the rows of a call."""

    def __init__(self, folder: Path, threads: int) -> None:
        unpickler = _Unpickler((folder / STEPS).read_bytes(), folder, threads)
        source, step = unpickler.load()
        self._trees = unpickler.trees
        self._source: RowSource = source
        self._step: PipelineStep = step

    def predict(self, rows: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):  # logarithms of what has none are not a number, as in scikit-learn
            return dense(self._step(self._source(rows)))

    def close(self) -> None:
        for trees in self._trees:
            trees.close()
        vars(self).clear()
