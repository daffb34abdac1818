"""Price lists of Google Cloud: SKUs of Compute Engine as the Cloud Billing Catalog API has them (services.skus.list).

It has prices of a core, of a GiB of memory and of a GPU, by family of machines; what an instance costs is worked out
from its shape. Read are those on demand: no spot, committed, custom or sole-tenant ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from servefit.profiler.machine.price_lists.types import (
    Amount,
    Object,
    PriceList,
    amount_of,
    object_of,
    objects_of,
    text_of,
)

if TYPE_CHECKING:
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.machine.price_lists.json_stream import JsonStream

_Part: TypeAlias = tuple[str, str]
"""The subject of a price: a family with "core" or "ram", or "gpu" with a model."""

_INSTANCE = re.compile(r"(?P<family>[A-Z][0-9]) Instance (?P<part>Core|Ram) running in .+")
_OPTIMISED = re.compile(r"Compute optimized (?P<part>Core|Ram) running in .+")
_GPU = re.compile(r"Nvidia (Tesla )?(?P<model>[A-Z][0-9]+) GPU running in .+")

_OPTIMISED_FAMILY = "c2"
"""The family that SKUs call compute optimized."""

_GIB = 2**30
_NANO = 1e-9


class Rates:
    """The prices of parts by region, as far as a list was read."""

    def __init__(self) -> None:
        self._amounts: dict[tuple[str, _Part], Amount] = {}
        self.date: str | None = None

    def add(self, sku: Object) -> None:
        """Add what a SKU says, if it is one of those that are read."""
        part = _part_of(sku)
        if part is None:
            return
        pricing = next(iter(objects_of(sku.get("pricingInfo"))), {})
        tiers = list(objects_of(object_of(pricing.get("pricingExpression")).get("tieredRates")))
        price = object_of(tiers[-1].get("unitPrice")) if tiers else {}
        try:
            value = float(price.get("units") or 0) + float(price.get("nanos") or 0) * _NANO
        except (TypeError, ValueError):
            return
        amount = amount_of(value, price.get("currencyCode"))
        regions = sku.get("serviceRegions")
        if amount is None or not isinstance(regions, list):
            return
        for region in filter(None, map(text_of, regions)):
            self._amounts.setdefault((region, part), amount)
        self.date = max(filter(None, (self.date, text_of(pricing.get("effectiveTime"))[:10])), default=None)

    def into(self, prices: PriceList, profiles: Iterable[InstanceProfile]) -> None:
        """Add the prices of ``profiles`` in every region that has prices of all their parts."""
        regions = {region for region, _ in self._amounts}
        for profile in profiles:
            for region in regions:
                prices.add(region, profile.name, self._price(region, profile))
        prices.date = self.date

    def _price(self, region: str, profile: InstanceProfile) -> Amount | None:
        family = profile.name.partition("-")[0]
        parts: list[tuple[float, _Part]] = [
            (profile.vcpus, (family, "core")),
            (profile.memory_bytes / _GIB, (family, "ram")),
        ]
        if profile.gpus:
            parts.append((profile.gpus, ("gpu", profile.gpu_model or "")))
        amounts = [(count, self._amounts.get((region, part))) for count, part in parts]
        priced = [(count, amount) for count, amount in amounts if amount is not None]
        if len(priced) < len(parts) or len({amount.currency for _, amount in priced}) > 1:
            return None
        # A sum of products is exact to the price of a part, which has nine digits behind the point.
        per_hour = round(sum(count * amount.per_hour for count, amount in priced), 9)
        return Amount(per_hour=per_hour, currency=priced[0][1].currency)


def read_skus(stream: JsonStream, into: Rates) -> None:
    """Read the list of SKUs that comes next."""
    for _ in stream.elements():
        into.add(object_of(stream.value()))


def new_list() -> PriceList:
    """Return a list without prices."""
    return PriceList(publisher="Google Cloud Billing Catalog, on demand")


def _part_of(sku: Object) -> _Part | None:
    """Return what a SKU is the price of; None for all that is not read."""
    if object_of(sku.get("category")).get("usageType") != "OnDemand":
        return None
    description = text_of(sku.get("description"))
    if match := _INSTANCE.fullmatch(description):
        return match["family"].lower(), match["part"].lower()
    if match := _OPTIMISED.fullmatch(description):
        return _OPTIMISED_FAMILY, match["part"].lower()
    if match := _GPU.fullmatch(description):
        return "gpu", match["model"]
    return None
