"""The content of a price list, the same for every publisher, and its parsing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

_CURRENCY = re.compile("[A-Z]{3}")
_MAX_PER_HOUR = 1e12
"""Prices are kept below this."""

Object: TypeAlias = Mapping[str, Any]
"""An object of a JSON document."""


class UnreadablePriceList(Exception):
    """The file is not what it seemed to be; the message says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """The price of an hour, in ``currency``."""

    per_hour: float
    currency: str


@dataclass(slots=True, kw_only=True)
class PriceList:
    """The prices of known shapes, as a price list gives them. ``prices`` are by region and name of the profile;
    ``publisher`` names the list, ``date`` is when it was published, None where it does not say, and ``remarks`` are for
    whoever reads the file."""

    publisher: str
    date: str | None = None
    prices: dict[tuple[str, str], Amount] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(self, region: str, name: str, amount: Amount | None) -> None:
        """Add a price, unless there is one of the same region and name, or it is none."""
        if amount is not None:
            self.prices.setdefault((region, name), amount)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that it has prices of."""
        return tuple(sorted({region for region, _ in self.prices}))


def amount_of(value: object, currency: object) -> Amount | None:
    """Return the price that ``value``, a number or its text, is in ``currency``; None where it is none above zero."""
    try:
        per_hour = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency) or not 0 < per_hour < _MAX_PER_HOUR:
        return None
    return Amount(per_hour=per_hour, currency=currency)


def object_of(value: Any) -> Object:
    """Return ``value`` if it is an object, else an empty one: what is missing in a list has no price."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> Iterator[Object]:
    """Iterate over the objects in a list, or over the values of an object; over nothing where ``value`` is neither."""
    items: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield from (item for item in items if isinstance(item, dict))


def text_of(value: Any) -> str:
    """Return ``value`` if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""
