"""What is kept of a job, as texts of JSON, and how old and damaged texts are told apart.

Texts are documents of :mod:`servefit.profiler.storage.documents`. The header's has a ``schema``, which is that of all
texts of the job. Keys begin with ``servefit:``; an Optuna study that has a header is a job.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from servefit.errors import ServefitError, SpecError
from servefit.profiler.storage.documents import Misfit, from_document, to_document
from servefit.search.header import JobHeader

SCHEMA = 2
"""Goes up with every change of the fields of what is kept, new ones with defaults left out, or of how they are
written."""

HEADER = "servefit:header"
STATE = "servefit:state"
OWNER = "servefit:owner"
STOP = "servefit:stop"
STEPS = "servefit:step:"

NOTHING = "null"


class Unreadable(ServefitError):
    """A text is damaged, or of another schema. Whoever knows which job it is of turns this into a StorageError."""


def missing(key: str) -> Unreadable:
    return Unreadable(f"{key} is gone", remedy="was the job deleted?")


def step_key(number: int) -> str:
    return f"{STEPS}{number:04}"


def step_number(key: str) -> int:
    """Raises Unreadable."""
    digits = key.removeprefix(STEPS)
    if not digits.isdecimal():
        raise Unreadable(f"{key!r:.80} is not the key of a step")
    return int(digits)


def write(value: Any, kind: Any) -> str:
    """``value``, of the annotation ``kind``. Raises Misfit, and ValueError where it holds raw samples, which are kept
    in files."""
    arrays: list[bytes] = []
    document = to_document(value, kind, arrays, "value")
    if arrays:
        raise ValueError("raw samples are too big for the database of jobs")
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def read(text: str | None, kind: Any, key: str) -> Any:
    """What :func:`write` made ``text`` of; None stands for nothing under ``key``. Raises Unreadable."""
    if text is None:
        raise missing(key)
    return _from_document(_parse(text, key), kind, key)


def write_header(header: JobHeader) -> str:
    document = {"schema": SCHEMA, "servefit": version("servefit"), "header": json.loads(write(header, JobHeader))}
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def read_header(text: str) -> JobHeader:
    """Raises Unreadable, also for a header of another schema."""
    document = _parse(text, HEADER)
    if not isinstance(document, dict) or document.keys() != {"schema", "servefit", "header"}:
        raise Unreadable(f"{HEADER} is damaged")
    if document["schema"] != SCHEMA:
        raise Unreadable(
            f"it has schema {document['schema']!r:.40}, and this servefit reads {SCHEMA}",
            remedy=f"read it with the servefit that wrote it, {document['servefit']!r:.40}",
        )
    header: JobHeader = _from_document(document["header"], JobHeader, HEADER)
    return header


def _parse(text: str, key: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{key} is damaged: it is not JSON") from error


def _from_document(document: Any, kind: Any, key: str) -> Any:
    try:
        return from_document(document, kind, (), key)
    except (Misfit, SpecError, ValueError, OverflowError) as error:
        raise Unreadable(f"{key} is damaged: {error}") from error
