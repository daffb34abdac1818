"""Price lists of Azure: items as the Retail Prices API has them.

Read are virtual machines that are paid by the hour, with Linux: no Windows, spot, low-priority or reserved ones.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from servefit.profiler.machine.price_lists.types import Object, PriceList, amount_of, object_of, text_of

if TYPE_CHECKING:
    from servefit.profiler.machine.price_lists.json_stream import JsonStream

_OTHER_PRODUCTS = ("Windows", "Cloud Services", "CloudServices")
_DATE_LETTERS = len("YYYY-MM-DD")
_OTHER_METERS = ("Spot", "Low Priority")


def new_list() -> PriceList:
    """Return a list without prices."""
    return PriceList(publisher="Azure Retail Prices, pay as you go")


def read_items(stream: JsonStream, wanted: Collection[str], into: PriceList) -> None:
    """Read the list of items that comes next."""
    for _ in stream.elements():
        add_item(object_of(stream.value()), wanted, into)


def add_item(item: Object, wanted: Collection[str], into: PriceList) -> None:
    """Add what an item says, if it is the price of a machine that is ``wanted``."""
    name, region, product = (text_of(item.get(key)) for key in ("armSkuName", "armRegionName", "productName"))
    meter = f"{text_of(item.get('skuName'))} {text_of(item.get('meterName'))}"
    if (
        name in wanted
        and region
        and item.get("type") == "Consumption"
        and item.get("unitOfMeasure") == "1 Hour"
        and not any(other in product for other in _OTHER_PRODUCTS)
        and not any(other in meter for other in _OTHER_METERS)
    ):
        into.add(region, name, amount_of(item.get("retailPrice"), item.get("currencyCode")))
        since = text_of(item.get("effectiveStartDate"))[:_DATE_LETTERS]
        into.date = max(filter(None, (into.date, since)), default=None)
