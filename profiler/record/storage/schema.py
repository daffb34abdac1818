"""Schema numbers of what is kept: which are read, how the one before becomes this one, and what is said of others.

A field that is added needs none of it: it has a default. A number goes up with a break alone, and whoever makes one
says how a document of the schema before becomes one of this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from servefit.errors import ServefitError
from servefit.version import __version__

Upgrade: TypeAlias = Callable[[Any], Any]
"""Makes a document of the next schema of one."""

MAX_NAMED = 5
"""Fields that a remark names: more than that nobody reads, and their number says as much."""


class OtherSchema(ServefitError):
    """A document is of a schema that is not read here. ``writer`` is the version that wrote it."""

    def __init__(self, reason: str, *, writer: str, remedy: str) -> None:
        super().__init__(reason, remedy=remedy)
        self.writer = writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The one that is written, ``number``, and those before that are read, each with its ``upgrade``."""

    number: int
    upgrades: tuple[Upgrade, ...]

    @property
    def oldest(self) -> int:
        """The lowest number that is read."""
        return self.number - len(self.upgrades)

    def current(self, document: Any, schema: Any, writer: Any) -> Any:
        """Return ``document``, which ``writer`` wrote in ``schema``, as one of the present schema. Raises
        OtherSchema."""
        self.check(schema, writer)
        for upgrade in self.upgrades[schema - self.oldest :]:
            document = upgrade(document)
        return document

    def check(self, schema: Any, writer: Any) -> None:
        """Raise OtherSchema where documents of ``schema``, which ``writer`` wrote, are not read here."""
        if type(schema) is int and self.oldest <= schema <= self.number:
            return
        version = f"{writer:.40}" if isinstance(writer, str) else f"{writer!r:.40}"
        newer = type(schema) is int and schema > self.number
        read = str(self.number) if self.oldest == self.number else f"{self.oldest} to {self.number}"
        reads = f"up to {self.number}" if newer else read
        raise OtherSchema(
            f"it was written by servefit {version}, in schema {schema!r:.40}; "
            f"this is servefit {__version__}, which reads {reads}",
            writer=version,
            remedy=f"update servefit to {version} or later" if newer else f"read it with servefit {version}",
        )


def remark(left_out: Iterable[str], writer: str) -> str | None:
    """Say which fields that ``writer`` knew were left out; None where none were. Members of lists count as one."""
    names = list(dict.fromkeys(re.sub(r"\[[^]]*\]", "", name) for name in left_out))
    if not names:
        return None
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    named = ", ".join(f"{name:.80}" for name in names[:MAX_NAMED])
    return f"written by servefit {writer:.40}: left out {named}{more}, which servefit {__version__} does not know"


def unchanged(document: Any) -> Any:
    """Upgrade a document of a schema whose documents read as those of the next one do."""
    return document
