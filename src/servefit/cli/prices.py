"""``servefit prices``: the prices of instance profiles, set by hand or read from the price list of a cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.checks import check_above_zero
from servefit.cli.completion import priced_names
from servefit.cli.output import FormatOption, OutputFormat, emit, print_note, warn
from servefit.cli.progress import showing_stage
from servefit.cli.signatures import option
from servefit.errors import SpecError
from servefit.option_panels import MACHINE
from servefit.quantities import given_text, parse_amount
from servefit.report.table import Table

if TYPE_CHECKING:
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.machine.prices import KnownPrice

ProfileArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROFILE", autocompletion=priced_names, help="An instance profile, or local for this whole machine."
    ),
]


def set_price(
    profile: ProfileArgument,
    price: Annotated[
        str | None,
        typer.Argument(metavar="PRICE", help="The price of an hour: 0.21/h, or 0.21EUR/h. Default currency USD."),
    ] = None,
    purchase_price: Annotated[str | None, option("In place of PRICE: what the machine cost.", MACHINE, "4200")] = None,
    years: Annotated[float | None, option("How many years it is used for.", MACHINE, "3")] = None,
    watts: Annotated[float | None, option("The power that it draws.", MACHINE, "180")] = None,
    per_kwh: Annotated[str | None, option("The price of a kWh.", MACHINE, "0.30")] = None,
    region: Annotated[str | None, option("Where that is the price.", MACHINE, "us-east-1")] = None,
) -> None:
    """Set the price of PROFILE, or what this machine costs its owner. It is kept with today's date.

    The price of local is that of the whole machine; local-1c and so on have their share of it.

    Example: servefit prices set local --purchase-price 4200 --years 3 --watts 180 --per-kwh 0.30
    """
    from servefit.profiler.machine.prices import keep_prices

    _check_may_be_set(profile)
    costs = _OwnersCosts(purchase_price=purchase_price, years=years, watts=watts, per_kwh=per_kwh)
    if price is not None and costs.given:
        name, value = next(iter(costs.given.items()))
        raise SpecError(name, value, "cannot be combined with a price of an hour", remedy="give one of them")
    _check_is_owned(profile, costs)
    kept = _owners_price(costs, region) if price is None else _stated_price(price, region)
    keep_prices({profile: kept})
    print_note(f"{profile}: {_money(kept)} an hour, {kept.date}")


def remove(profile: ProfileArgument) -> None:
    """Remove the price of PROFILE that was set or imported.

    Example: servefit prices remove local
    """
    from servefit.profiler.machine.prices import remove_price

    removed = remove_price(profile)
    print_note(f"{profile}: {_money(removed)} an hour is not kept any more")


def import_list(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A price list of AWS, Google Cloud or Azure.")],
    region: Annotated[
        str | None,
        option("Keep the prices of this region. Default: the only one of the list.", MACHINE, "us-east-1"),
    ] = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Keep the prices on demand of the known shapes that FILE has, as AWS, Google Cloud or Azure publish it. Nothing is
    downloaded.

    Read are offer files of AmazonEC2 and AmazonSageMaker (JSON or CSV) and answers of GetProducts from AWS, SKUs of
    Compute Engine from the Cloud Billing Catalog API, and items of Azure's Retail Prices API.

    Example: servefit prices import AmazonEC2-us-east-1.json --region us-east-1
    """
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.price_lists.reading import prices_in, read_price_list
    from servefit.profiler.machine.prices import keep_prices
    from servefit.profiler.machine.profiles import all_profiles, priced_by_hand

    profiles = all_profiles(describe_host())
    with showing_stage(f"reading {file}", quiet=False):
        price_list = read_price_list(file, profiles)
    prices = prices_in(price_list, region)
    by_hand = priced_by_hand() & prices.keys()
    keep_prices({name: price for name, price in prices.items() if name not in by_hand})
    _print_prices([profile for profile in all_profiles(describe_host()) if profile.name in prices], form)
    for remark in price_list.remarks:
        warn(remark)
    if by_hand:
        warn(f"prices in profiles.toml come first: {', '.join(sorted(by_hand))}")


def list_prices(
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """List the prices of all instance profiles that have one, with their currency, region, date and source.

    Example: servefit prices list
    """
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.profiles import all_profiles

    priced = [profile for profile in all_profiles(describe_host()) if profile.price_per_hour is not None]
    _print_prices(priced, form)


def _print_prices(profiles: list[InstanceProfile], form: OutputFormat) -> None:
    from servefit.profiler.machine.prices import old_prices

    fields = ("price_per_hour", "currency", "region", "price_date", "price_source")
    table = Table(
        columns=("profile", "an hour", "currency", "region", "date", "source"),
        rows=[[profile.name, *(getattr(profile, field) for field in fields)] for profile in profiles],
    )
    document = {
        "schema": 1,
        "prices": [
            {"profile": profile.name, **{field: getattr(profile, field) for field in fields}} for profile in profiles
        ],
    }
    emit(table, document, form)
    for warning in old_prices(profiles, date.today()):
        warn(warning)


def _check_is_owned(profile: str, costs: _OwnersCosts) -> None:
    """Raise SpecError if a profile with the ``costs`` of an owner is an instance of a cloud."""
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.profiles import all_profiles

    clouds = {listed.name for listed in all_profiles(describe_host()) if listed.is_of_a_cloud}
    if costs.given and profile in clouds:
        name, value = next(iter(costs.given.items()))
        raise SpecError(
            name, value, f"is what an owner pays, and {profile} is of a cloud", remedy="give a price: 0.21/h"
        )


def _check_may_be_set(profile: str) -> None:
    """Raise SpecError if no profile has that name, or if profiles.toml has a price, which takes precedence."""
    from servefit.profiler.machine.host import describe_host
    from servefit.profiler.machine.instance_profile import LOCAL
    from servefit.profiler.machine.profiles import all_profiles, priced_by_hand
    from servefit.profiler.machine.profiles_file import profiles_path

    names = [LOCAL, *(listed.name for listed in all_profiles(describe_host()))]
    if profile not in names:
        raise SpecError.unknown("profile", profile, names)
    if profile in priced_by_hand():
        raise SpecError(
            "profile",
            profile,
            f"has a price in {profiles_path()}, which comes first",
            remedy="change or remove it there",
        )


def _stated_price(price: str, region: str | None) -> KnownPrice:
    from servefit.profiler.machine.instance_profile import USD
    from servefit.profiler.machine.prices import KnownPrice
    from servefit.quantities import parse_price_per_hour

    per_hour, currency = parse_price_per_hour("price", price)
    return KnownPrice(
        per_hour=per_hour, currency=currency or USD, region=region, date=_today(), source="servefit prices set"
    )


def _today() -> str:
    return date.today().isoformat()


def _money(price: KnownPrice) -> str:
    from servefit.quantities import money_text

    return money_text(price.per_hour, price.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OwnersCosts:
    """The options as they were typed, None for those that were not: the first two and the last two belong together."""

    purchase_price: str | None
    years: float | None
    watts: float | None
    per_kwh: str | None

    @property
    def given(self) -> Mapping[str, str | float]:
        """Those that were given, by the names of the options."""
        names = ("purchase-price", "years", "watts", "per-kwh")
        values = (self.purchase_price, self.years, self.watts, self.per_kwh)
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _owners_price(costs: _OwnersCosts, region: str | None) -> KnownPrice:
    """Return the price of an hour to the owner. Raises SpecError if options are missing, not above zero, or in two
    currencies."""
    from servefit.profiler.machine.instance_profile import USD
    from servefit.profiler.machine.prices import HOURS_PER_YEAR, KnownPrice, owners_price_per_hour

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
    currency = purchase_currency or kwh_currency or USD
    return KnownPrice(per_hour=per_hour, currency=currency, region=region, date=_today(), source=" and ".join(said))


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
