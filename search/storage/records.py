"""The texts of JSON that are kept of a job, and how old and damaged ones are told apart.

Texts are documents of :mod:`servefit.profiler.record.storage.documents`. The header's has a ``schema``, which is that
of all texts of the job. Keys begin with ``servefit:``.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import TYPE_CHECKING, Any

from servefit.errors import ServefitError, SpecError
from servefit.profiler.record.storage.documents import Misfit, from_document, to_document
from servefit.profiler.record.storage.schema import OtherSchema, Schema, unchanged
from servefit.search.storage.header import JobHeader
from servefit.version import __version__

if TYPE_CHECKING:
    from servefit.backends.types import KnobValue


def _of_a_library(document: Any) -> Any:
    """Upgrade a header from before jobs asked what is deployed: they were about the model in process, at full load."""
    if isinstance(document, dict) and isinstance(document.get("request"), dict):
        return {**document, "request": {"deploy": "library", "decided_at": "capacity", **document["request"]}}
    return document


SCHEMA = Schema(number=5, upgrades=(unchanged, _of_a_library, unchanged))
"""Of schema 2 are jobs that are kept in the attributes of an Optuna study, where readers refuse fields that they do not
know. From 3 on they are left out, and jobs are in tables of their own; the documents are the same. From 4 on jobs say
what is deployed, and tests may be of an endpoint, or predicted. From 5 on a job may measure on several hosts of a
fleet, each with a state of its own."""

PREFIX = "servefit:"
HEADER = "servefit:header"
STATE = "servefit:state"
OWNER = "servefit:owner"
STOP = "servefit:stop"
STEPS = "servefit:step:"
CHOICES = "servefit:choices"

NOTHING = "null"

STUDY_OBJECTIVES = 2
"""The study of a job minimises vCPU-seconds an inference and latency."""

_MAX_DIGITS = 9
_TIMES = ("began_at", "ended_at", "created_at", "since", "renewed_at")
_MAX_TIME_S = 32_503_680_000
"""The year 3000, in seconds since 1970."""


class Unreadable(ServefitError):
    """A text is damaged, or of another schema. Callers that know its job turn this into a StorageError."""


def missing(key: str) -> Unreadable:
    remedy = "unless the job was deleted, restore the database from a backup, or run the job again under another name"
    return Unreadable(f"the job is damaged: {key} is gone", remedy=remedy)


def state_key(nth: int) -> str:
    """Return the key of the state of what a job does on the ``nth`` of its hosts."""
    return f"{STATE}:{nth:04}"


def study_name(job: str, host: str) -> str:
    """Return the name of the study of what ``job`` tests on ``host``, which no job can have."""
    return f"{job} on {host}"


def step_key(number: int) -> str:
    return f"{STEPS}{number:04}"


def step_number(key: str) -> int:
    """Return the number of the step with this ``key``. Raises Unreadable."""
    digits = key.removeprefix(STEPS) if isinstance(key, str) else ""
    if not (digits.isdecimal() and len(digits) <= _MAX_DIGITS):
        raise Unreadable(f"{key!r:.80} is not the key of a step")
    return int(digits)


def write(value: Any, kind: Any) -> str:
    """Return ``value``, of the annotation ``kind``, as JSON text. Raises Misfit, and ValueError where it holds raw
    samples, which are kept in files."""
    arrays: list[bytes] = []
    document = to_document(value, kind, arrays, "value")
    if arrays:
        raise ValueError("raw samples are too big for the database of jobs")
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def read(text: str | None, kind: Any, key: str, left_out: list[str] | None = None) -> Any:
    """Return the value that :func:`write` made ``text`` of; None stands for nothing under ``key``. Fields that only a
    newer servefit knows are appended to ``left_out``. Raises Unreadable."""
    if text is None:
        raise missing(key)
    return _from_document(_parse(text, key), kind, key, [] if left_out is None else left_out)


def write_header(header: JobHeader) -> str:
    document = {"schema": SCHEMA.number, "servefit": __version__, "header": json.loads(write(header, JobHeader))}
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def read_header(text: str | None, left_out: list[str] | None = None) -> tuple[JobHeader, str]:
    """Return the header, and the version that wrote it; otherwise as :func:`read`. Raises Unreadable, also for a header
    of a schema that is not read here."""
    if text is None:
        raise missing(HEADER)
    document = _parse(text, HEADER)
    if not isinstance(document, dict) or not document.keys() >= {"schema", "servefit"}:
        raise Unreadable(f"{HEADER} is damaged")
    writer = document["servefit"]
    try:
        SCHEMA.check(document["schema"], writer)
    except OtherSchema as error:
        raise Unreadable(error.message, remedy=error.remedy) from error
    if "header" not in document or not isinstance(writer, str):
        raise Unreadable(f"{HEADER} is damaged")
    left_out = [] if left_out is None else left_out
    left_out.extend(f"{HEADER}.{name}" for name in sorted(document.keys() - {"schema", "servefit", "header"}))
    kept = SCHEMA.current(document["header"], document["schema"], writer)
    header: JobHeader = _from_document(kept, JobHeader, HEADER, left_out)
    return header, writer


def checked_choices(document: Any) -> dict[str, list[KnobValue | None]]:
    """Return the values of every parameter that a study has, as its attribute says. Raises Unreadable."""
    values = document.values() if isinstance(document, dict) else [None]
    if all(isinstance(row, list) and all(isinstance(value, str | int | None) for value in row) for row in values):
        choices: dict[str, list[KnobValue | None]] = document
        return choices
    raise Unreadable(f"{CHOICES} is damaged: it holds no lists of values by name")


def _parse(text: Any, key: str) -> Any:
    """Parse ``text``, which is what the database holds, and may be anything. Raises Unreadable."""
    if not is_whole(text):
        raise Unreadable(f"{key} is damaged: it is no text in UTF-8")
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{key} is damaged: it is not JSON") from error


def is_whole(text: Any) -> bool:
    """Return whether ``text`` is a text, and all of it UTF-8."""
    try:
        return isinstance(text, str) and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


def _finite(number: str) -> float:
    """Refuse a number that is infinite or none: those are written otherwise. Raises ValueError."""
    value = float(number)
    if not isfinite(value):
        raise ValueError(f"{number} is not finite")
    return value


def _from_document(document: Any, kind: Any, key: str, left_out: list[str]) -> Any:
    try:
        value = from_document(document, kind, (), key, left_out)
    except (Misfit, SpecError, ValueError, OverflowError) as error:
        raise Unreadable(f"{key} is damaged: {error}") from error
    for name in _TIMES:
        seconds = getattr(value, name, None)
        if seconds is not None and not 0 <= seconds <= _MAX_TIME_S:
            raise Unreadable(f"{key} is damaged: {name} is {seconds:.3g} seconds since 1970")
    return value
