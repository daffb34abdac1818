"""HTTP requests with their bodies, and the answers to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import parse_qsl

MAX_FIELDS = 5000
"""Of a form. GetMetricData, the longest, has some hundreds. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """``path`` is as it was sent, with its escapes; ``headers`` have lower-case names."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def is_form(self) -> bool:
        """True if the body says that it is a form."""
        return self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form, none where the body is something else, or has more than any request."""
        if not self.is_form:
            return {}
        try:
            text = self.body.decode("utf-8", "replace")
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
        except ValueError:
            return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A whole answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAnswer:
    """An answer whose body is a part of an open file, which the sender closes: ``length`` bytes from ``start`` on."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    file: BinaryIO
    start: int = 0
    length: int
