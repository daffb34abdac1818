"""Prices that the user has set or imported, by profile, in ``prices.json`` in the state folder.

``servefit prices`` writes that file, and nobody else: what people write by hand is ``profiles.toml``, whose prices come
first. Which profile has which price in the end is for ``profiles`` to say; price lists are read in ``price_lists``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated

import msgspec

from servefit.errors import SpecError
from servefit.profiler.machine.instance_profile import USD
from servefit.state import state_folder, write_atomically
from servefit.stored import Stored

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.profiler.machine.instance_profile import InstanceProfile

HOURS_PER_YEAR = 8760
"""Hours in which a machine is paid for, whether it is used or not."""

OLD_AFTER_DAYS = 365
"""A price this old may not be today's any more. Chosen: clouds change some prices every year."""

SCHEMA = 1
"""It rises when a name in the file changes."""


class KnownPrice(Stored, frozen=True, kw_only=True):
    """The price of an hour, with its place and time. ``date`` is YYYY-MM-DD, and ``source`` says where the price is
    from."""

    per_hour: Annotated[float, msgspec.Meta(gt=0, lt=1e12)]
    currency: str = USD
    region: str | None = None
    date: str | None = None
    source: str


class _PricesFile(msgspec.Struct, frozen=True, kw_only=True):
    schema: int = SCHEMA
    prices: dict[str, KnownPrice] = msgspec.field(default_factory=dict)


def read_prices() -> dict[str, KnownPrice]:
    """Return the prices that were set or imported, by profile; that of this host under "local". Raises SpecError for a
    file that is not as servefit writes it, and StateError."""
    path = prices_path()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SpecError("prices file", str(path), f"cannot be read: {error.strerror}") from error
    try:
        kept = msgspec.json.decode(content, type=_PricesFile)
    except msgspec.DecodeError as error:
        remedy = "remove it, and set or import the prices again"
        raise SpecError("prices file", str(path), f"is not as servefit writes it: {error}", remedy=remedy) from error
    if kept.schema > SCHEMA:
        raise SpecError(
            "prices file", str(path), f"is of a later servefit (schema {kept.schema})", remedy="update servefit"
        )
    return kept.prices


def keep_prices(new: Mapping[str, KnownPrice]) -> None:
    """Add these to the prices that are kept, in place of those that the profiles had. Raises as :func:`read_prices`."""
    _write({**read_prices(), **new})


def remove_price(name: str) -> KnownPrice:
    """Remove the price of a profile, and return it. Raises SpecError where none is kept, and as :func:`read_prices`."""
    prices = read_prices()
    if name not in prices:
        kept = ", ".join(sorted(prices)) or "none"
        raise SpecError("price", name, f"was not set or imported; those that were: {kept}")
    removed = prices.pop(name)
    _write(prices)
    return removed


def prices_path() -> Path:
    """Return where the prices are kept. Raises StateError."""
    return state_folder() / "prices.json"


def _write(prices: Mapping[str, KnownPrice]) -> None:
    document = msgspec.json.encode(_PricesFile(prices=dict(sorted(prices.items()))))
    write_atomically(prices_path(), msgspec.json.format(document, indent=2) + b"\n")


def owners_price_per_hour(
    *,
    purchase_price: float = 0.0,
    lifetime_hours: float = 1.0,
    watts: float = 0.0,
    price_per_kwh: float = 0.0,
) -> float:
    """Return what an hour of a machine costs its owner: the purchase price over its lifetime, and electricity."""
    return purchase_price / lifetime_hours + watts * price_per_kwh / 1000


def is_old(price_date: str | None, today: date) -> bool:
    """Return whether a price is more than a year old on the day ``today``. A price without a date is not old; a year
    without a day counts as its last day."""
    if price_date is None:
        return False
    try:
        day = date.fromisoformat(price_date if len(price_date) > len("YYYY") else f"{price_date}-12-31")
    except ValueError:
        return False
    return (today - day).days > OLD_AFTER_DAYS


def old_prices(profiles: Iterable[InstanceProfile], today: date) -> tuple[str, ...]:
    """Return a warning for each source of prices of ``profiles`` that are more than a year old."""
    names: dict[str, list[str]] = {}
    for profile in profiles:
        if profile.price_per_hour is not None and is_old(profile.price_date, today):
            names.setdefault(where_and_when(profile), []).append(profile.name)
    return tuple(
        f"prices more than a year old ({where}): {', '.join(dict.fromkeys(of))}; "
        "servefit prices import reads a newer list, servefit prices set takes one price"
        for where, of in names.items()
    )


def where_and_when(profile: InstanceProfile) -> str:
    """Return the region and the date of a price, as far as they are known: "us-east-1, 2023"; empty where neither
    is."""
    return ", ".join(filter(None, (profile.region, profile.price_date)))


def check_one_currency(profiles: Iterable[InstanceProfile]) -> None:
    """Raise SpecError where prices of ``profiles`` are in several currencies, which cannot be compared."""
    examples: dict[str, str] = {}
    for profile in profiles:
        if profile.price_per_hour is not None:
            examples.setdefault(profile.currency, profile.name)
    if len(examples) > 1:
        named = " and ".join(f"{currency} ({name})" for currency, name in examples.items())
        raise SpecError(
            "profile",
            None,
            f"prices are in {len(examples)} currencies, which cannot be compared: {named}",
            remedy="set them in one with servefit prices set, or leave out the profiles of one",
        )
