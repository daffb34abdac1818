"""The steps that ``compilation`` has done in child processes: each function loads native libraries and may die of
them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.checking.batch_dependence import SINGLE_ROWS, depends_on_batch
from servefit.backends.checking.calibration import MAX_ROWS_TOGETHER
from servefit.backends.checking.reference import Predict, reference
from servefit.backends.finding.registry import imported
from servefit.backends.model.keeping import digest_in_name, unchanged
from servefit.backends.model.packing import join_predictions
from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import CompileFailed, RowsRefused, UnsupportedModel

if TYPE_CHECKING:
    from servefit.backends.model import Model, Signature


def compile_artifact(
    name: str,
    model: Model,
    target: Target,
    folder: Path,
    calibration: np.ndarray | None = None,
    spared: Sequence[str] = (),
) -> Mapping[str, Any]:
    """Have the backend ``name`` compile ``model`` into ``folder``, calibrated on these rows if on any, with the layers
    ``spared`` as they were; give the artifact's facts, plain JSON values. Raises CompileFailed, and CorruptModel where
    the model's file is not what it was, or does not stay so."""
    options: dict[str, Any] = {} if calibration is None else {"calibration": calibration}
    options |= {"spared": spared} if spared else {}
    with _intact(model):
        facts = imported(name).compile(model, target, folder, **options)
    if not isinstance(facts, Mapping):
        raise CompileFailed(name, f"its compile gave a {type(facts).__name__}, and not a mapping of facts")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(facts), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise CompileFailed(name, f"its facts are no JSON values: {error}") from error
    return plain


def predict_reference(model: Model, sets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the predictions of the model's own library for each set of rows. Raises CorruptModel as
    ``compile_artifact``, and RowsRefused."""
    with _intact(model):
        predict = reference(model)
        return [_predicted(predict, rows, model.signature) for rows in sets]


def _predicted(predict: Predict, rows: np.ndarray, signature: Signature) -> np.ndarray:
    """Return the predictions of ``rows``. Raises RowsRefused, which names the sizes of the first row refused."""
    try:
        return predict(rows)
    except RowsRefused:
        for nth in range(len(rows) if signature.sizes else 0):
            row = rows[nth : nth + 1]
            try:
                predict(row)
            except RowsRefused as error:
                [(_, sizes)] = signature.packing.groups(row)
                described = ", ".join(f"{name} {size}" for name, size in sizes.items())
                raise RowsRefused(error.backend, f"{error.reason}, in a request of {described}") from error
        raise


def reference_depends_on_batch(model: Model, rows: np.ndarray) -> bool:
    """Return whether the model's own library predicts ``rows`` differently together and one at a time. Raises
    CorruptModel as ``compile_artifact``."""
    with _intact(model):
        signature = model.signature
        return depends_on_batch(
            rows, reference(model), row_sizes=len(signature.sizes), sizes=len(signature.output_sizes)
        )


def predict_candidate(artifact: Artifact, sets: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the predictions of ``artifact`` on one thread for each set: of all its rows in one call, and of the first
    ones one by one, since some runtimes take another path for a single row. Raises BackendError, and CompileFailed if
    the predictor modifies its input or returns no array of numbers."""
    predictor = imported(artifact.backend).load(artifact, Settings(threads=1))
    predictions = []
    for rows in sets:
        copy = rows.copy()
        together = _numbers(artifact.backend, predictor.predict(copy))
        if copy.tobytes() != rows.tobytes():
            raise CompileFailed(artifact.backend, "its predictor modifies the rows it is given")
        singly = [
            _numbers(artifact.backend, predictor.predict(rows[nth : nth + 1]))
            for nth in range(min(SINGLE_ROWS, len(rows)))
        ]
        predictions.append((together, join_predictions(singly)))
    return predictions


def predict_reference_in_batches(model: Model, rows: np.ndarray) -> np.ndarray:
    """Return the predictions of the model's own library for ``rows``, a few at a time, or one where they depend on the
    batch. Raises CorruptModel as ``compile_artifact``."""
    with _intact(model):
        predict = reference(model)
        size = 1 if model.batch_dependent else MAX_ROWS_TOGETHER
        return join_predictions([np.asarray(predict(rows[nth : nth + size])) for nth in range(0, len(rows), size)])


def predict_in_ways(artifact: Artifact, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the predictions of ``artifact`` on one thread for ``rows``: in batches ("together"), in batches of another
    order ("shuffled"), and one at a time ("alone") of the first rows, for ALONE_S. Raises as ``predict_candidate``."""
    predictor = imported(artifact.backend).load(artifact, Settings(threads=1))

    def predicted(chosen: np.ndarray) -> np.ndarray:
        return _numbers(artifact.backend, predictor.predict(np.ascontiguousarray(chosen)))

    order = np.random.default_rng(0).permutation(len(rows))
    by_way = {}
    for way, places in (("together", np.arange(len(rows))), ("shuffled", order)):
        batches = np.split(places, range(MAX_ROWS_TOGETHER, len(rows), MAX_ROWS_TOGETHER))
        predictions = join_predictions([predicted(rows[batch]) for batch in batches])
        by_way[way] = np.empty_like(predictions)
        by_way[way][places] = predictions
    alone: list[np.ndarray] = []
    end_s = time.monotonic() + ALONE_S
    while len(alone) < len(rows) and (len(alone) < SINGLE_ROWS or time.monotonic() < end_s):
        alone.append(predicted(rows[len(alone) : len(alone) + 1]))
    return {**by_way, "alone": join_predictions(alone)}


ALONE_S = 20.0
"""Ten thousand rows of a small network take less, a thousand of a text encoder too. Chosen, not measured."""


TIMED_REQUESTS = 8
"""Of a payload for a script, evenly spaced: one may take a second. Chosen, not measured."""

OTHERS_S = 2.0
"""The time for trying the others, of which one may be refused as well. Chosen, not measured."""


def answer_requests(artifact: Artifact, sets: Sequence[tuple[np.ndarray, Sequence[str]]]) -> list[dict[str, float]]:
    """Have the script of ``artifact`` answer some requests of each of ``sets`` twice, and the others once, as long as
    OTHERS_S are not over; return for each set the median seconds that its functions took the second time, by name. Sets
    are of requests and of what messages call them. Raises CompileFailed for a request that it does not answer, and
    BackendError where the script cannot be loaded."""
    from servefit.backends.libraries.script.predictor import UNPACKED, ScriptPredictor

    try:
        predictor = ScriptPredictor(artifact.folder / UNPACKED, 1)
    except UnsupportedModel as error:
        raise CompileFailed(artifact.backend, str(error)) from error

    def answer(request: np.ndarray, called: str) -> dict[str, float]:
        predictor.script.seconds.clear()
        try:
            predictor.predict(request)
        except RowsRefused as error:
            raise CompileFailed(artifact.backend, f"{called}: {error.told}") from error
        return dict(predictor.script.seconds)

    timed: list[dict[str, float]] = []
    for requests, names in sets:
        chosen = np.linspace(0, len(requests) - 1, min(len(requests), TIMED_REQUESTS)).astype(np.int64).tolist()
        taken: dict[str, list[float]] = {}
        for nth in chosen:
            answer(requests[nth : nth + 1], names[nth])
            for name, seconds in answer(requests[nth : nth + 1], names[nth]).items():
                taken.setdefault(name, []).append(seconds)
        timed.append({name: median(seconds) for name, seconds in taken.items()})
        end_s = time.monotonic() + OTHERS_S
        for nth in sorted(set(range(len(requests))) - set(chosen)):
            if time.monotonic() > end_s:
                break
            answer(requests[nth : nth + 1], names[nth])
    return timed


@contextmanager
def _intact(model: Model) -> Iterator[None]:
    """Make sure that the files of ``model`` are what they were when it was opened, as long as the block runs."""
    with ExitStack() as stack:
        stack.enter_context(unchanged(model.file, model.digest))
        if model.converted is not None:
            stack.enter_context(unchanged(model.converted, digest_in_name(model.converted) or ""))
        yield


def _numbers(backend: str, predictions: Any) -> np.ndarray:
    """Return ``predictions`` as a plain array, that anybody may unpickle."""
    if not isinstance(predictions, np.ndarray):
        raise CompileFailed(backend, f"its predictor gives a {type(predictions).__name__}, and not an array of numbers")
    if predictions.dtype.kind not in "fiu":
        raise CompileFailed(backend, f"its predictor gives an array of {predictions.dtype}, and not of numbers")
    return np.asarray(predictions)
