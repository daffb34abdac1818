"""Values of a metric widget, read with the checks and the words that CloudWatch has for widgets of dashboards. A value
that is null counts as one that is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from servefit.aws.services.cloudwatch.errors import bad_request

if TYPE_CHECKING:
    from servefit.aws.wire.errors import ApiError

_T = TypeVar("_T")

MAX_NUMBER = 2.0**360
"""Of AWS: the largest value of a sample. Nothing larger can be put into a picture of samples."""


def refused(where: str, message: str) -> ApiError:
    """Return the error for what is wrong at a place of a widget."""
    problem = json.dumps([{"dataPath": where, "message": message}])
    return bad_request(f"The metric widget is invalid, there are 1 validation errors: {problem}")


@dataclass(frozen=True, slots=True)
class WidgetObject:
    """An object of a widget, and where it is in it. Methods raise ApiError, ValidationError."""

    values: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, value: Any, where: str) -> WidgetObject:
        if not isinstance(value, dict):
            raise refused(where, "Should be object")
        return cls(value, where)

    def text(self, name: str, default: str = "", *, pattern: str | None = None) -> str:
        value = self._of_type(name, str, "Should be string", default)
        if value != default and pattern is not None and re.fullmatch(pattern, value, re.ASCII) is None:
            raise refused(self.at(name), f'Should match pattern "^{pattern}$"')
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        return self._of_type(name, bool, "Should be boolean", default)

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """Return one of the values that are allowed, the first where there is none."""
        value = self.text(name, allowed[0])
        if value not in allowed:
            raise refused(self.at(name), f"Should be equal to one of the allowed values: {', '.join(allowed)}")
        return value

    def whole(self, name: str, default: int, *, least: int = 1, most: int) -> int:
        value = self.number(name)
        if value is None:
            return default
        if value != int(value):
            raise refused(self.at(name), "Should be integer")
        if not least <= value <= most:
            raise refused(self.at(name), f"Should be >= {least}" if value < least else f"Should be <= {most}")
        return int(value)

    def number(self, name: str) -> float | None:
        """Return a number, None where there is none."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refused(self.at(name), "Should be number")
        if not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise refused(self.at(name), "Should be between -2^360 and 2^360")
        return float(value)

    def inner(self, name: str) -> WidgetObject:
        """Return an object, an empty one where there is none."""
        return WidgetObject.of({} if self.values.get(name) is None else self.values[name], self.at(name))

    def items(self, name: str, *, most: int) -> list[tuple[Any, str]]:
        """Return the members of an array, each with its place; none where there is none."""
        members: list[Any] = self._of_type(name, list, "Should be array", [])
        if len(members) > most:
            raise refused(self.at(name), f"Should NOT have more than {most} items")
        return [(member, f"{self.at(name)}/{nth}") for nth, member in enumerate(members)]

    def at(self, name: str) -> str:
        return f"{self.where}/{name}"

    def _of_type(self, name: str, kind: type[_T], otherwise: str, default: _T) -> _T:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise refused(self.at(name), otherwise)
        return value
