"""Members of a request: those that are not listed in ``taken`` are refused by their names, since clients count on
their effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from servefit.aws.wire.errors import invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call, Operation, Operations


@dataclass(frozen=True, kw_only=True)
class Members:
    """The members that an operation takes, as paths such as "Tags.Key", in which lists do not show. A path stands for
    all that is below it.

    ``done`` are carried out. ``kept`` change nothing here, and the documentation says so. ``only`` are taken with these
    values alone, which ask for nothing that is not done.
    """

    done: str = ""
    kept: str = ""
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @cached_property
    def taken(self) -> frozenset[str]:
        return frozenset((*self.done.split(), *self.kept.split()))

    @cached_property
    def _above(self) -> frozenset[str]:
        """Paths below which some members are taken, and others are not."""
        paths = [path.split(".") for path in (*self.taken, *self.only)]
        return frozenset(".".join(path[:length]) for path in paths for length in range(1, len(path)))

    def untaken(self, request: Mapping[str, Any], where: str = "") -> Iterator[str]:
        """Yield what is wrong with each member of a request that is not taken."""
        for name, value in request.items():
            path = f"{where}{name}"
            if path in self.taken:
                continue
            if path in self.only:
                if value not in self.only[path]:
                    values = " or ".join(str(allowed) for allowed in self.only[path])
                    yield f"{path} is not carried out here with any other value than {values}"
            elif path in self._above:
                for member in value if isinstance(value, list) else [value]:
                    yield from self.untaken(member, f"{path}.")
            else:
                yield f"{path} is not carried out here: leave it out"


def members_under(where: str, names: str) -> str:
    """Return the paths of members of a structure.

    Example:
        >>> members_under("Tags", "Key Value")
        'Tags.Key Tags.Value'
    """
    return " ".join(f"{where}.{name}" for name in names.split())


def refusing_others(operations: Operations, taken: Mapping[str, Members]) -> Operations:
    """Return operations that raise ApiError, ValidationException, for members that are not ``taken``, which has an
    entry for each of them."""
    return {name: _refusing_others(operation, taken[name]) for name, operation in operations.items()}


def _refusing_others(operation: Operation, members: Members) -> Operation:
    def carried_out(call: Call) -> Mapping[str, Any]:
        if problems := dict.fromkeys(members.untaken(call.given)):
            raise invalid(f"{'; '.join(problems)}.")
        return operation(call)

    return carried_out
