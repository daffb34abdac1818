"""The price of an hour of an instance type, and the cost metrics that Inference Recommender tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import msgspec

from servefit.aws.services.sagemaker.instance_types import type_of
from servefit.aws.wire.errors import invalid
from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.profiler.machine.instance_profile import LOCAL, USD, InstanceProfile
from servefit.profiler.machine.prices import KnownPrice, check_one_currency
from servefit.profiler.machine.profiles import all_profiles
from servefit.quantities import parse_price_per_hour
from servefit.search.results.ranking import MIN_PER_HOUR

if TYPE_CHECKING:
    from servefit.aws.jobs.plan import Measured
    from servefit.profiler.machine.host import Host


def parse_prices(texts: Mapping[str, str]) -> dict[str, KnownPrice]:
    """Return the prices of instance types, each given as "0.21/h" or "0.21EUR/h". Raises SpecError."""
    prices = {}
    for name, text in texts.items():
        per_hour, currency = parse_price_per_hour("price", text)
        check_above_zero("price", per_hour)
        prices[name] = KnownPrice(per_hour=per_hour, currency=currency or USD, source="servefit api --price")
    return prices


@dataclass(frozen=True, slots=True)
class TypePrices:
    """The prices of instance types on ``host``: those ``given`` come first, then those of the profiles of their names.

    A type that is measured as a profile of this host, and has no price, costs what this host does. The price of another
    instance of a cloud is never told for it.
    """

    given: Mapping[str, KnownPrice]
    host: Host

    def priced(self, measured: Sequence[Measured]) -> tuple[Measured, ...]:
        """Return instance types with their prices. Raises ApiError where these are in several currencies."""
        profiles = {profile.name: profile for profile in all_profiles(self.host)}
        priced_as = [self._priced(entry, profiles) for entry in measured]
        try:
            check_one_currency(profile for profile in priced_as if profile is not None)
        except SpecError as error:
            raise invalid(str(error)) from error
        return tuple(
            entry
            if profile is None
            else msgspec.structs.replace(entry, price_per_hour=profile.price_per_hour, priced_as=profile.name)
            for entry, profile in zip(measured, priced_as, strict=True)
        )

    def _priced(self, measured: Measured, profiles: Mapping[str, InstanceProfile]) -> InstanceProfile | None:
        """Return the profile that has the price of a type that is measured, None where there is none."""
        if measured.reason is not None:
            return None
        own, profile = profiles.get(measured.instance_type), profiles.get(measured.profile)
        if (price := self.given.get(measured.instance_type)) is not None:
            return InstanceProfile(
                name=measured.instance_type,
                vcpus=1,
                memory_bytes=1,
                price_per_hour=price.per_hour,
                currency=price.currency,
            )
        if own is not None and own.price_per_hour is not None:
            return own
        is_of_host = profile is not None and profile.is_local and profile.price_per_hour is not None
        return profile if is_of_host else None


def price_note(measured: Measured) -> str | None:
    """Return what is to be said of the price of a type: that there is none, or that it is that of this host."""
    name, own = measured.instance_type, type_of(measured.profile)
    by_option = f"servefit api --price {name}=0.21/h"
    if measured.price_per_hour is None:
        remedy = by_option if name != own else f"servefit prices set {LOCAL} 0.21/h"
        return f"{name} has no price, so its CostPerHour and CostPerInference are NaN: give one with {remedy}"
    if measured.priced_as == measured.profile != name != own:
        return f"{name} has no price of its own: its costs are those of {measured.profile}; give one with {by_option}"
    return None


def cost_metrics(per_hour: float | None, invocations_per_minute: int | None) -> dict[str, float]:
    """Return CostPerHour and CostPerInference, given the price of an hour of all instances. What is not known is NaN,
    as AWS says of metrics that are not available: programs read them unasked."""
    cost_per_hour = nan if per_hour is None else per_hour
    return {
        "CostPerHour": cost_per_hour,
        "CostPerInference": cost_per_hour / (MIN_PER_HOUR * invocations_per_minute) if invocations_per_minute else nan,
    }
