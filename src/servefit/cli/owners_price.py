"""The price of an hour of a machine to its owner, from the options of ``servefit prices set``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.quantities import given_text, parse_amount


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnersCosts:
    """The options as they were typed, None for those that were not: the first two and the last two belong together."""

    purchase_price: str | None
    years: float | None
    watts: float | None
    per_kwh: str | None

    @property
    def given(self) -> Mapping[str, str | float]:
        """Those that were given, by the names of the options."""
        every = {
            "purchase-price": self.purchase_price,
            "years": self.years,
            "watts": self.watts,
            "per-kwh": self.per_kwh,
        }
        return {name: value for name, value in every.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnersPrice:
    """The price of an hour. ``currency`` is None where no option says any, and ``source`` is how it was worked out."""

    per_hour: float
    currency: str | None
    source: str


def owners_price(costs: OwnersCosts) -> OwnersPrice:
    """Return the price of an hour. Raises SpecError for options that do not suffice, are not above zero, or are in two
    currencies."""
    from servefit.profiler.machine.prices import HOURS_PER_YEAR, owners_price_per_hour

    _check_pairs(costs.given)
    purchase, purchase_currency = _amount("purchase-price", costs.purchase_price)
    kwh, kwh_currency = _amount("per-kwh", costs.per_kwh)
    if purchase_currency and kwh_currency and purchase_currency != kwh_currency:
        raise SpecError(
            "price",
            None,
            f"is in two currencies: {purchase_currency} (--purchase-price) and {kwh_currency} (--per-kwh)",
            remedy="give both in one",
        )
    years, watts = costs.years or 0.0, costs.watts or 0.0
    said = []
    if purchase:
        check_above_zero("years", years)
        said.append(f"{given_text(purchase)} over {given_text(years)} years")
    if kwh:
        check_above_zero("watts", watts)
        said.append(f"{given_text(watts)} W at {given_text(kwh)} a kWh")
    per_hour = owners_price_per_hour(
        purchase_price=purchase, lifetime_hours=(years or 1.0) * HOURS_PER_YEAR, watts=watts, price_per_kwh=kwh
    )
    return OwnersPrice(per_hour=per_hour, currency=purchase_currency or kwh_currency, source=" and ".join(said))


def _check_pairs(options: Mapping[str, str | float]) -> None:
    """Raise SpecError if there are no ``options``, or if one lacks the option that belongs to it."""
    if not options:
        raise SpecError("price", None, "is not given", remedy="say 0.21/h, or --purchase-price 4200 --years 3")
    for first, second in (("purchase-price", "years"), ("watts", "per-kwh")):
        for name, needed in ((first, second), (second, first)):
            if name in options and needed not in options:
                raise SpecError(name, options[name], f"is of no use without --{needed}")


def _amount(name: str, text: str | None) -> tuple[float, str | None]:
    return (0.0, None) if text is None else parse_amount(name, text)
