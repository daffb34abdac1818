"""Short names of models, for jobs and for the URLs of endpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MAX_NAME = 40
"""Letters of a model's name, which becomes part of paths and is typed. Chosen, not measured."""


_SUFFIXES = re.compile(r"(?<=.)(\.tar)?\.[A-Za-z][A-Za-z0-9]*$")
"""The ending that tells the kind of a file; the number of a version, as in timer_v0.1.onnx, is part of the name."""


def name_after(source: Any, *, keep: str = "") -> str:
    """Return the name of a model from ``source``: that of its file or of its class, of at most ``MAX_NAME`` letters,
    digits, dashes and characters of ``keep``."""
    name = Path(str(source)).name if isinstance(source, (str, Path)) else type(source).__name__
    plain = re.sub(rf"[^A-Za-z0-9{keep}]+", "-", _SUFFIXES.sub("", name)).strip(f"-{keep}")
    return plain[:MAX_NAME].strip(f"-{keep}") or "model"


def label_of(name: str) -> str:
    """Return ``name`` as Kubernetes, systemd and Docker all take it: lower case, begins with a letter, 40 characters at
    most. KServe makes longer host names of it, and a label ends at 63."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not plain[:1].isalpha():
        plain = f"model-{plain}".strip("-")
    return plain[:40].strip("-")
