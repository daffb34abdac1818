"""The labels of a payload's rows: read from a file or an array, and held against the rows, the model and the metric."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.backends.payload import Payload
    from servefit.backends.quality.metrics import Metric

MAX_BYTES = 50_000_000
"""Ten thousand rows take a few hundred kilobytes; what is longer is some other file."""

_MAX_CLASSES = 2**31
"""No model tells more of them apart, and every number below is a whole one of 64 bits."""

_NAMES = ("label", "labels", "target", "y", "class")
"""The column of the labels in a table that has several."""


def read_labels(path: str | Path) -> tuple[float, ...]:
    """Return the labels in a file: an NPY array, or CSV with one column, or with one called label. A first line that
    holds no number is a name. Raises SpecError."""
    path = Path(path)
    try:
        if not path.is_file():
            raise SpecError("quality", str(path), "is no file" if path.exists() else "does not exist")
        if path.stat().st_size > MAX_BYTES:
            raise SpecError("quality", str(path), f"is no file of labels: it has more than {MAX_BYTES:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise SpecError("quality", str(path), f"cannot be read: {error.strerror}") from error
    if content.startswith(b"\x93NUMPY"):
        try:
            array: np.ndarray = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise SpecError("quality", str(path), "cannot be read as an NPY array") from error
        return label_values(array, source=str(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError("quality", str(path), "is neither CSV nor NPY", remedy="give labels as one of these") from error
    return _column(list(filter(None, csv.reader(text.splitlines()))), str(path))


def label_values(labels: Any, *, source: str = "array") -> tuple[float, ...]:
    """Return labels as numbers. Raises SpecError for what is no line of finite numbers."""
    try:
        array = np.asarray(labels.to_numpy() if hasattr(labels, "to_numpy") else labels)
    except ValueError as error:  # lists of several lengths
        raise SpecError("quality", source, "is no array of numbers", remedy="give one label for each row") from error
    if array.size == 0:
        raise SpecError("quality", source, "is empty", remedy="give one label for each row")
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise SpecError("quality", source, f"has the shape {array.shape}, and not one label a row")
    if array.dtype.kind not in "biuf":
        raise _no_number(source, 1, str(array[0]))
    if not np.isfinite(array.astype(np.float64)).all():
        row = int(np.flatnonzero(~np.isfinite(array.astype(np.float64)))[0]) + 1
        raise SpecError("quality", source, f"has no label in row {row}", remedy="leave out rows that have none")
    return tuple(array.astype(np.float64).tolist())


def fitting_labels(
    labels: tuple[float, ...], payload: Payload, source: str, metric: Metric | None, classes: int | None
) -> np.ndarray:
    """Return the label of each row of ``payload``, class numbers as whole numbers. ``metric`` is None for the user's
    own function, ``classes`` if the model's number of classes is unknown. Raises SpecError if the labels do not fit the
    payload, the metric or the model."""
    rows = len(payload.rows)
    whole = payload.truncated_from or rows
    if len(labels) not in (rows, whole):
        raise SpecError(
            "quality",
            source,
            f"has {len(labels):,} labels, and {payload.source} has {whole:,} rows",
            remedy="give one label for each row, in the same order",
        )
    values = np.array(labels[:rows])
    if metric is None or metric.labels == "numbers":
        return values
    if (values != np.floor(values)).any() or (values < 0).any():
        wrong = int(np.flatnonzero((values != np.floor(values)) | (values < 0))[0])
        raise SpecError(
            "quality",
            source,
            f"has the label {values[wrong]:g} in row {wrong + 1}, which is no class number (metric {metric.name})",
            remedy="number classes from 0, as the outputs of the model are",
        )
    number_of_classes = 2 if classes is None and metric.labels == "two classes" else classes
    largest = values.max(initial=0)
    if largest >= (_MAX_CLASSES if number_of_classes is None else number_of_classes):
        has = f"and the model has {number_of_classes}" if number_of_classes is not None else "which is no class number"
        raise SpecError(
            "quality",
            source,
            f"has the class {largest:.15g}, {has}",
            remedy="number classes from 0, as the outputs of the model are",
        )
    return values.astype(np.int64)


def _column(lines: list[list[str]], source: str) -> tuple[float, ...]:
    """Return the numbers in the column of the labels."""
    if not lines:
        raise SpecError("quality", source, "is empty")
    head = [cell.strip() for cell in lines[0]]
    named = not any(map(_is_number, head))
    column = 0
    if len(head) > 1:
        places = [nth for nth, name in enumerate(head) if name.lower() in _NAMES]
        if not named or len(places) != 1:
            raise SpecError(
                "quality",
                source,
                f"has {len(head)} columns, and none of them is called label" if not places else "has several labels",
                remedy="give a file of one column",
            )
        column = places[0]
    elif named and head[0].lower() not in _NAMES and len(lines) > 1 and not _is_number(lines[1][0].strip()):
        raise _no_number(source, 1, head[0])
    numbers = []
    for nth, line in enumerate(lines[1:] if named else lines, start=1):
        cell = line[column].strip() if column < len(line) else ""
        if not _is_number(cell):
            raise _no_number(source, nth, cell)
        numbers.append(float(cell))
    return label_values(numbers, source=source)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _no_number(source: str, row: int, cell: str) -> SpecError:
    shown = " ".join(cell.split())[:40]
    return SpecError(
        "quality",
        source,
        f"has {shown!r} in row {row}, which is no number",
        remedy="give class numbers from 0, as the outputs of the model are, or the true values",
    )
