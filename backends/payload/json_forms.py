"""The forms in which a JSON object holds rows: those of TensorFlow Serving, SageMaker, MLflow and the Open Inference
Protocol. What the rows are is for ``json_rows`` and ``tensors`` to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from servefit.errors import PayloadMismatch

_SPLIT, _RECORDS = "dataframe_split", "dataframe_records"
FORMS: Mapping[str, type] = {
    "instances": list,
    "data": list,
    "inputs": list,
    "features": list,
    _SPLIT: dict,
    _RECORDS: list,
}
"""The keys under which rows are, and what is there."""


def form_of(document: Mapping[str, Any], feature_names: Sequence[str], source: str) -> str | None:
    """Return the key under which an object holds its rows; None for one that is a row itself, as it has a cell for each
    of the model's ``feature_names``, or has no such key. Raises PayloadMismatch for rows under two keys.

    Example:
        >>> form_of({"data": [[1, 2]]}, ("a", "b"), "body")
        'data'
        >>> form_of({"a": 1, "b": 2, "data": []}, ("a", "b"), "body") is None
        True
    """
    keys = [key for key, kind in FORMS.items() if isinstance(document.get(key), kind)]
    if not keys or is_row(document, feature_names):
        return None
    if len(keys) > 1:
        raise PayloadMismatch(source, expected="rows under one key", got=f"rows under {keys[0]!r} and {keys[1]!r}")
    return keys[0]


def is_row(document: Mapping[str, Any], feature_names: Sequence[str]) -> bool:
    """Return whether an object has a cell for each of the model's ``feature_names``, of which there are some."""
    return bool(feature_names) and all(
        name in document and not isinstance(document[name], list | dict) for name in feature_names
    )


def without_frame(document: Any, feature_names: Sequence[str], source: str) -> Any:
    """Return what is in a data frame as MLflow's scoring server takes it; any other document as it is. Raises
    PayloadMismatch for a frame that is not one, and as :func:`form_of`."""
    if not isinstance(document, dict) or not {_SPLIT, _RECORDS} & document.keys():
        return document
    form = form_of(document, feature_names, source)
    if form == _SPLIT and not isinstance(document[_SPLIT].get("data"), list):
        raise PayloadMismatch(source, expected=f"'data', a list of rows, in {_SPLIT!r}", got="none")
    return document[form] if form in (_SPLIT, _RECORDS) else document


def names_of_columns(document: Mapping[str, Any], source: str) -> tuple[str, ...] | None:
    """Return the names in ``"columns"``, beside ``"data"``; None where they are not there. Raises PayloadMismatch."""
    columns = document.get("columns")
    if columns is None:
        return None
    if not isinstance(columns, list) or any(isinstance(name, list | dict) for name in columns):
        raise PayloadMismatch(source, expected="a list of names in 'columns'", got=f"{columns!r:.60}")
    return tuple(str(name) for name in columns)
