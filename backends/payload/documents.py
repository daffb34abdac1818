"""JSON objects of a payload as they stand, for servers that take neither rows nor any known form of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from servefit.backends.payload.json_rows import json_documents
from servefit.backends.payload.table import MAX_ROWS

_MAX_BYTES = 2**28
"""All of it is read. Python's objects take several times as much memory. Chosen, not measured."""


def objects_of(source: Any) -> tuple[Any, ...]:
    """Return the JSON objects that ``source`` holds, MAX_ROWS at most: a file with one, a list of them, or one a line,
    or the same as Python has it. Empty for all that is read as rows, or not at all. Raises PayloadMismatch for broken
    JSON."""
    documents = _documents_of(Path(source)) if isinstance(source, str | Path) else [source]
    if len(documents) == 1 and isinstance(documents[0], list):
        documents = documents[0]
    return tuple(documents[:MAX_ROWS]) if all(isinstance(document, dict) for document in documents) else ()


def _documents_of(path: Path) -> list[Any]:
    """Return the JSON documents in a file. What cannot be read as such is left to those who read rows, and say why
    not."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return []
        text = path.read_text(encoding="utf-8-sig")
        return json_documents(text, path.name) if text.lstrip()[:1] in ("{", "[") else []
    except (OSError, UnicodeDecodeError, RecursionError):
        return []
