"""The inspection of an estimator whose columns are of different kinds. What they are is a guess of ``sklearn_frames``,
until it predicts rows that are drawn so. Runs in the inspection's child process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.inspection.batches import with_batch_dependence
from servefit.backends.model import Model
from servefit.backends.model.inspection_record import Inspection
from servefit.backends.model.types import Format, Signature, Signs, Task
from servefit.backends.model.width import check_width
from servefit.backends.payload.rows import columns_of_any_number, synthetic_rows
from servefit.backends.payload.text_rows import with_texts
from servefit.errors import UnsupportedModel

if TYPE_CHECKING:
    from servefit.backends.model import Input
    from servefit.backends.model.sklearn_frames import Frame


def inspect_frame(frame: Frame, task: Task, path: Path, predicted: Callable[[np.ndarray], np.ndarray]) -> Inspection:
    """Return the inspection of an estimator of columns of different kinds. What they are is a guess until it predicts
    rows that are drawn so."""
    signature = Signature(
        task=task,
        outputs=1,
        feature_names=tuple(column.name for column in frame.columns),
        accepts_missing=False,
        **frame.signature_parts,
    )
    check_width(signature.features)

    signature, rows, predictions = _as_it_predicts(signature, path, predicted)

    def takes(changed: np.ndarray) -> bool:
        try:
            return bool(np.isfinite(predicted(changed)).all())
        except _DOES_NOT_TAKE:
            return False

    numbers = _float_columns(signature)
    accepts_missing = bool(numbers) and takes(_with_missing_numbers(rows, numbers))
    inputs = tuple(
        replace(
            one,
            takes_missing=not one.is_whole and takes(_with_missing(signature, rows, one)),
            takes_unknown=one.takes_unknown
            and (one.joined or not one.known or takes(_with_unknown(signature, rows, one))),
            takes_truths=one.takes_digits and _knows_digits_alone(signature, rows, one, predicted),
        )
        for one in signature.inputs
    )
    signature = replace(
        signature,
        outputs=1 if predictions.ndim == 1 else predictions.shape[1],
        accepts_missing=accepts_missing,
        inputs=inputs,
    )
    return with_batch_dependence(Inspection(format=Format.PICKLE, signature=signature), path, predicted)


def _as_it_predicts(
    signature: Signature, path: Path, predicted: Callable[[np.ndarray], np.ndarray]
) -> tuple[Signature, np.ndarray, np.ndarray]:
    """Return the signature with the signs of numbers that the estimator takes, rows drawn by it, and their predictions.
    Raises UnsupportedModel."""
    first: Exception | None = None
    for signs in Signs:
        tried = replace(signature, signs=signs)
        model = Model(source=str(path), file=path, format=Format.PICKLE, digest="", size_bytes=0, signature=tried)
        rows = synthetic_rows(model, _ROWS)
        if signs is not Signs.POSITIVE:
            rows[0, columns_of_any_number(tried)] = 0
        try:
            return tried, rows, predicted(rows)
        except ImportError as error:
            raise UnsupportedModel(
                "it takes columns by name, for which pandas is missing", remedy="pip install 'servefit[dataframe]'"
            ) from error
        except _DOES_NOT_TAKE as error:
            first = first or error
    texts = {one.name for one in signature.inputs if one.is_text}
    kinds = ", ".join(f"{name!r:.40} ({'text' if name in texts else 'numbers'})" for name in signature.feature_names)
    reason = (str(first).splitlines() or [type(first).__name__])[0]
    raise UnsupportedModel(f"it does not predict rows of {kinds:.600}: {reason:.200}") from first


def _knows_digits_alone(
    signature: Signature, rows: np.ndarray, one: Input, predicted: Callable[[np.ndarray], np.ndarray]
) -> bool:
    """Return whether the words for truths are unknown categories of an input, and a digit for one is not."""
    true, false, one_, zero, unknown = (
        predicted(_with_text(signature, rows, one.name, text)) for text in ("True", "False", "1", "0", "another")
    )
    words_are_unknown = np.array_equal(true, unknown) and np.array_equal(false, unknown)
    return words_are_unknown and not (np.array_equal(one_, unknown) and np.array_equal(zero, unknown))


def _with_missing(signature: Signature, rows: np.ndarray, one: Input) -> np.ndarray:
    """Return ``rows`` of which the values of an input are missing."""
    if one.is_text:
        return _with_text(signature, rows, one.name, None)
    return _with_missing_numbers(rows, range(one.start, one.stop))


def _with_unknown(signature: Signature, rows: np.ndarray, one: Input) -> np.ndarray:
    """Return ``rows`` of which the values of an input are none of its categories."""
    if one.is_text:
        return _with_text(signature, rows, one.name, "".join(str(value) for value in one.known[:2]) + "?")
    unknown = rows.copy()
    unknown[:, one.start : one.stop] = max(value for value in one.known if not isinstance(value, str)) + 1
    return unknown


def _with_missing_numbers(rows: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    missing = rows.copy()
    missing[:, list(columns)] = np.nan
    return missing


def _float_columns(signature: Signature) -> list[int]:
    """Return the columns that take other numbers than whole ones."""
    if not signature.inputs:
        return list(range(signature.features))
    return [column for one in signature.inputs if not one.is_whole for column in range(one.start, one.stop)]


def _with_text(signature: Signature, rows: np.ndarray, name: str, text: str | None) -> np.ndarray:
    """Return ``rows`` with one ``text`` for all of an input; None is a missing one."""
    usual = {size.name: size.usual for size in signature.sizes}
    values = zip(signature.inputs, signature.packing.unpack(rows, usual), strict=True)
    texts = {one.name: block.reshape(len(rows), -1) for one, block in values if one.is_text}
    texts[name][:] = text
    return with_texts(signature, rows[:, : signature.features], texts)


_ROWS = 16
"""Numbers are of either sign: so many of one sign are drawn once in 65,536 times."""

_DOES_NOT_TAKE = (ValueError, TypeError, AttributeError, KeyError, IndexError)
"""Errors that transformers raise on rows that are not of their kind."""
