"""Checks an artifact against the model's own library, with each side's predictions made in a child process.

Reference predictions are kept in the state folder by model, library version and rows: every backend is compared with
the same ones. What counts as equal is for ``parity`` to say. Whether predictions of a payload depend on the batch is
asked here too.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit import state
from servefit.backends.checking.batch_dependence import BATCH_DEPENDENT
from servefit.backends.checking.parity import Agreement, compare
from servefit.backends.checking.steps import TIMED_REQUESTS
from servefit.backends.finding.capabilities import backend as find_backend
from servefit.backends.model.packing import join, join_predictions
from servefit.backends.model.types import Library
from servefit.backends.model.width import affordable_rows
from servefit.backends.payload.rows import nudged_rows, parity_rows, synthetic_rows
from servefit.errors import CompileFailed, OutOfMemory, OutputMismatch, RowsRefused, TimedOut, WorkerCrashed
from servefit.isolation import call_isolated
from servefit.quantities import size_text

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact

_log = logging.getLogger(__name__)

TIMEOUT_S = 300.0
"""Rows are few, but a row of a network may take a second, and a library as long to import. Chosen, not measured."""

_SCHEMA = 5
"""Raise it when predictions that are kept are not to be used any more."""
DRAWN_ROWS, MAX_PAYLOAD_ROWS = 1024, 4096
"""A longer payload is checked on so many of its rows, evenly spaced."""
_ASKED_TIMEOUT_S = 30.0
"""Of what rows of a payload show of the batch: without an answer nothing is lost but a warning."""
ROWS_WITHOUT_TREES = 32
"""In place of both where there are no trees: every row goes through all of a network, and may take a second there."""
ROWS_OF_ESTIMATORS = 256
"""In place of both for other estimators of scikit-learn: a row takes some microseconds, and it is a converter that may
be wrong, about few categories or words among many. Chosen, not measured."""


_ROWS_OF_A_SIZE = 4
"""Of those that are padded together. As few as tell, since a row may take a second. Chosen, not measured."""
_ROWS_WITHOUT_MASK = 16
"""In its place where no mask is named. Zeros change the maximum of a row only if all of it is negative, as every second
row of one place is: none of 16 is once in 65,536 times."""

_PADDED = "padding changes its predictions"
_PADDED_ZEROS = "padding with zeros changes its predictions"
_UNPADDED = "leave --pad (pad=) out: requests of each size are then a call of their own"
_NAME_MASK = f"{_UNPADDED}; or name the input that says which places count, if it has one"

_LEAVE_OUT = "leave out of the payload, or of the sizes that are drawn (--size), what the model does not take"

_OF_ARTIFACTS = ("predict_candidate", "predict_in_ways")
"""Steps that come after the model's own library has predicted the same rows."""

_ROWS_ALONE = (Library.XGBOOST, Library.LIGHTGBM, Library.CATBOOST, Library.SCRIPT)
"""Libraries whose models look at one row at a time."""

_TRIED_BYTES = 2**26
"""Of rows of a payload for a script that its child process gets, so that they fit a small disk. Chosen."""

_DOING = {
    "compile_artifact": "compiling",
    "predict_candidate": "the check of its predictions",
    "predict_reference": "predicting with the model's own library",
    "predict_reference_in_batches": "predicting the rows to judge on with the model's own library",
    "predict_in_ways": "predicting the rows to judge on",
    "reference_depends_on_batch": "predicting rows of the payload together and alone with the model's own library",
    "answer_requests": "the script's answer to the first requests",
}


@dataclass(frozen=True, slots=True)
class RowSet:
    """Rows to compare on, (n, features), as a user has them, and where each comes from, (n,) strings. The model's own
    library gets them as they are, and an artifact as an endpoint hands them to it."""

    rows: np.ndarray
    kinds: np.ndarray


class NoReference(CompileFailed):
    """The model's own library cannot be asked what it predicts, so no backend can be compared with it."""


def drawn_rows(model: Model) -> RowSet:
    """Draw rows from the model itself, such as values on its split thresholds: see ``payload.rows.parity_rows``."""
    wanted = DRAWN_ROWS if model.trees is not None else _rows_without_trees(model)
    rows = parity_rows(model, count=affordable_rows(wanted, model.signature.features))
    missing = np.isnan(rows).any(axis=1)
    return RowSet(rows, np.where(missing, "drawn rows with missing values", "drawn rows"))


def padded_rows(model: Model) -> list[RowSet]:
    """Draw rows of the usual sizes, of others, and of the shortest, of a model whose rows are padded to go into one
    call: none for any other."""
    padding = model.signature.padding
    if padding is None:
        return []
    usual = {size.name: size.usual for size in model.signature.sizes}
    least = padding.shortest or padding.others  # jobs of earlier versions do not know the shortest
    others = zip(padding.sizes * 2, (*padding.others, *least), strict=True)
    shortest = dict(zip(padding.sizes, least, strict=True))
    classes = [usual, *({**usual, name: size} for name, size in others), {**usual, **shortest}]
    wanted = _ROWS_OF_A_SIZE if padding.mask is not None else _ROWS_WITHOUT_MASK
    parts = []
    for nth, sizes in enumerate(sizes for at, sizes in enumerate(classes) if sizes not in classes[:at]):
        of_class = replace(model, signature=model.signature.of_sizes(sizes))
        parts.append(synthetic_rows(of_class, affordable_rows(wanted, of_class.signature.features), seed=nth))
    rows = join(parts)
    return [RowSet(rows, np.full(len(rows), "drawn rows of several sizes"))]


def payload_rows(model: Model, payload: Payload) -> RowSet:
    """Return the rows of ``payload`` that are checked. Rows with sizes include the smallest and the largest of each
    size, since a model may refuse some sizes."""
    limit = MAX_PAYLOAD_ROWS if model.trees is not None else _rows_without_trees(model)
    if model.signature.opaque:
        limit = max(TIMED_REQUESTS, _TRIED_BYTES // (payload.rows.itemsize * payload.rows.shape[1]))
    chosen = np.linspace(0, len(payload.rows) - 1, min(len(payload.rows), limit)).astype(np.int64)
    if model.signature.sizes and not model.signature.opaque:
        sizes = payload.rows[:, : len(model.signature.sizes)]
        chosen = np.unique([*chosen, *sizes.argmin(axis=0), *sizes.argmax(axis=0)])
    kinds = np.full(len(chosen), "payload rows")
    if model.signature.opaque:
        kinds = np.array([f"request {nth + 1} of the payload" for nth in chosen])
    return RowSet(np.ascontiguousarray(payload.rows[chosen]), kinds)


def _rows_without_trees(model: Model) -> int:
    return ROWS_OF_ESTIMATORS if model.library is Library.SKLEARN else ROWS_WITHOUT_TREES


def drawn_sets(model: Model) -> list[RowSet]:
    """Return the rows that a new artifact is checked on besides those of a payload: drawn from the model, and padded
    where it pads. Of a script nothing is drawn, since nobody else knows what it takes."""
    if model.signature.opaque:
        return [RowSet(np.empty((0, model.signature.features), np.float32), np.empty(0, str))]
    return [drawn_rows(model), *padded_rows(model)]


def verify(model: Model, artifact: Artifact, sets: Sequence[RowSet]) -> list[Agreement]:
    """Compare on each of ``sets``: all rows in one call, and the first few one by one. Predictions one by one are
    compared with the reference's predictions of rows together, or of rows alone if the model depends on the batch.
    Raises OutputMismatch if predictions differ, CompileFailed if the artifact cannot predict, NoReference if the
    model's own library cannot. A script has no other reference: it must answer, and no row counts as compared.
    """
    name = artifact.backend
    if model.library is Library.SCRIPT and name == model.reference:
        timed = in_child(
            name, "answer_requests", artifact, [(compared.rows, compared.kinds.tolist()) for compared in sets]
        )
        return [Agreement(max_abs_error=0.0, max_rel_error=0.0, rows=0, function_s=times) for times in timed]
    expected = _reference_predictions(model, name, [compared.rows for compared in sets])
    moved: Sequence[np.ndarray | None] = [None] * len(sets)
    if _may_be_nudged(model):
        moved = _reference_predictions(model, name, [nudged_rows(model, compared.rows) for compared in sets])
    served = [model.signature.as_rows(compared.rows) for compared in sets]
    got = in_child(name, "predict_candidate", artifact, served)
    agreements = []
    for compared, reference, nudged, predictions in zip(sets, expected, moved, got, strict=True):
        try:
            few = compared.rows[: len(predictions[1])]
            alone = _reference_alone(model, name, few) if model.batch_dependent else reference[: len(few)]
            agreement = _agreement(model, name, compared, reference, predictions, nudged, alone)
        except OutputMismatch:
            if not _is_of_whole_numbers(model) or model.batch_dependent:
                raise
            # Whole numbers cannot be nudged; the reference's rows alone show the effect of the order of additions.
            alone = _reference_alone(model, name, compared.rows)
            agreement = _agreement(model, name, compared, reference, predictions, alone, alone[: len(predictions[1])])
        agreements.append(agreement)
    return agreements


def _is_padded(model: Model, rows: np.ndarray) -> bool:
    """Return whether some of ``rows`` are padded when they go into one call."""
    signature = model.signature
    return signature.padding is not None and len(list(signature.packing.groups(rows))) > 1


def _agreement(
    model: Model,
    backend: str,
    compared: RowSet,
    reference: np.ndarray,
    predictions: tuple[np.ndarray, np.ndarray],
    nudged: np.ndarray | None,
    alone: np.ndarray,
) -> Agreement:
    """Compare the ``predictions`` of rows together with those of the ``reference``, and of the first few one by one
    with those that it is to give ``alone``. Raises as ``verify``."""
    together, singly = predictions
    few = len(singly)
    kinds = np.char.add(compared.kinds[:few], ", one at a time")
    of_few = None if nudged is None else nudged[:few]
    if _is_padded(model, compared.rows):
        # Single rows first: if they agree, a difference of the others comes from padding.
        compare(model, backend, alone, singly, kinds, nudged=of_few)
        masked = model.signature.padding is not None and model.signature.padding.mask is not None
        padded_kinds = np.full(len(compared.rows), _PADDED if masked else _PADDED_ZEROS)
        remedy = _UNPADDED if masked else _NAME_MASK
        return compare(model, backend, reference, together, padded_kinds, nudged=nudged, remedy=remedy)
    agreement = compare(model, backend, reference, together, compared.kinds, nudged=nudged)
    compare(model, backend, alone, singly, kinds, nudged=of_few)
    return agreement


def _may_be_nudged(model: Model) -> bool:
    """Return whether what a rounding of the input to float32 does to predictions tells how far two runtimes may differ.
    Where numbers are quantised as they come in, it does all and nothing; and estimators of scikit-learn take float64
    without rounding it."""
    rounds = _is_network(model) and model.library is not Library.SKLEARN
    return rounds and not model.batch_dependent and not _is_of_whole_numbers(model)


def _is_of_whole_numbers(model: Model) -> bool:
    """Return whether it is a network that takes whole numbers only, such as the tokens of a text."""
    signature = model.signature
    return _is_network(model) and len(signature.integer_features) == signature.features - len(signature.sizes)


def _is_network(model: Model) -> bool:
    return model.library in _OF_NETWORKS and model.trees is None


_OF_NETWORKS = (Library.ONNX, Library.SKLEARN, Library.TORCH, Library.OPENVINO)


def check_batch_dependence(model: Model, payload: Payload) -> Model:
    """Return ``model``, which says so where its own library predicts rows of ``payload`` differently together and one
    at a time. Where the library does not answer, that is for whoever compares predictions with it to say."""
    if model.batch_dependent or payload.synthetic or model.library in _ROWS_ALONE:
        return model
    rows = payload_rows(model, payload).rows
    try:
        if not in_child(model.reference, "reference_depends_on_batch", model, rows, timeout_s=_ASKED_TIMEOUT_S):
            return model
    except CompileFailed as error:
        _log.info("whether predictions of the payload depend on the batch is not known: %s", error)
        return model
    return replace(model, batch_dependent=True, warnings=(*model.warnings, BATCH_DEPENDENT))


def in_child(
    backend: str, step: str, /, *arguments: Any, timeout_s: float = TIMEOUT_S, memory_bytes: int | None = None
) -> Any:
    """Call a function of ``steps`` in a child process on behalf of ``backend``. Raises CompileFailed where it dies,
    hangs, runs out of memory or refuses the rows, and what the function raises."""
    _log.debug("%s: %s in a child process, for %g s at most", backend, step, timeout_s)
    try:
        return call_isolated(
            f"servefit.backends.checking.steps:{step}", *arguments, timeout_s=timeout_s, memory_bytes=memory_bytes
        )
    except RowsRefused as error:
        if step in _OF_ARTIFACTS:
            reason = f"its artifact refuses rows that the model's own library predicts: {error.reason}"
            raise CompileFailed(backend, reason) from error
        reason = f"the model refuses rows that predictions are compared on: {error.reason}"
        raise CompileFailed(backend, reason, remedy=_LEAVE_OUT) from error
    except WorkerCrashed as error:
        raise CompileFailed(backend, error.reason, stderr=error.stderr) from error
    except OutOfMemory as error:
        bound = "" if error.limit_bytes is None else f" (it may use {size_text(error.limit_bytes)})"
        raise CompileFailed(backend, f"{error.message}{bound}") from error
    except TimedOut as error:
        late = error.called(_DOING[step])
        raise CompileFailed(backend, late.message, remedy=late.remedy) from error


def _reference_predictions(model: Model, backend: str, sets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the predictions of the model's own library, from the state folder where it was asked before. Raises
    NoReference."""
    files = [_reference_file(model, rows) for rows in sets]
    kept = [_read(path) for path in files]
    unknown = [nth for nth, predictions in enumerate(kept) if predictions is None]
    if unknown:
        try:
            predicted = in_child(backend, "predict_reference", model, [sets[nth] for nth in unknown])
        except CompileFailed as error:
            raise NoReference(backend, error.reason, stderr=error.stderr, remedy=error.remedy) from error
        for nth, predictions in zip(unknown, predicted, strict=True):
            content = io.BytesIO()
            np.save(content, predictions, allow_pickle=False)
            state.write_sealed(files[nth], content.getvalue(), about=files[nth].name)
            kept[nth] = predictions
    return [predictions for predictions in kept if predictions is not None]


def _reference_alone(model: Model, backend: str, rows: np.ndarray) -> np.ndarray:
    """Return the predictions of the model's own library for ``rows`` one at a time."""
    return join_predictions(_reference_predictions(model, backend, np.split(rows, len(rows))))


def _reference_file(model: Model, rows: np.ndarray) -> Path:
    version = find_backend(model.reference).probe().version
    identity = f"{_SCHEMA} {model.digest} {model.reference} {version} {rows.dtype} {rows.shape} ".encode()
    return state.state_folder("references") / sha256(identity + rows.tobytes()).hexdigest()[:40]


def _read(path: Path) -> np.ndarray | None:
    content = state.read_sealed(path, about=path.name)
    if content is None:
        return None
    predictions: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return predictions
