"""A reason not to believe a run. The rules that find one are in ``validity`` and ``client_validity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind: TypeAlias = Literal[
    "schedule lag",
    "competing load",
    "steal",
    "throttling",
    "outside the envelope",
    "Little's law",
    "client saturated",
    "client behind",
    "client on the server's CPUs",
]


@shown()
class Problem(Stored, frozen=True, kw_only=True):
    """A reason not to believe a run: one line with the figures, and what to do about it."""

    kind: Kind
    reason: str
    remedy: str

    @property
    def is_transient(self) -> bool:
        """True where another attempt may be spared it."""
        return self.kind != "client on the server's CPUs"

    @property
    def is_of_the_client(self) -> bool:
        """True where it was the load client that did not keep up, or took time from the server: with more load there
        will be more of that, and it is no disturbance by others."""
        return self.kind in ("client saturated", "client behind", "client on the server's CPUs")


def one_of_each_kind(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the last problem of every kind, in the order in which the kinds first occurred."""
    return tuple({problem.kind: problem for problem in problems}.values())
