"""Price lists of AWS: offer files of AmazonEC2 and AmazonSageMaker in JSON and in CSV, of all regions or of one, and
answers of GetProducts.

An offer file names products first and then what they cost on demand, and reserved behind that; of EC2, all regions, it
has 5 GB. Read are instances on demand: of EC2 with Linux, shared and without software, of SageMaker for hosting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from servefit.profiler.machine.price_lists.types import (
    Amount,
    Object,
    PriceList,
    UnreadablePriceList,
    amount_of,
    object_of,
    objects_of,
    text_of,
)

if TYPE_CHECKING:
    from servefit.profiler.machine.price_lists.json_stream import JsonStream

_HOURS = ("hrs", "hours", "hour")
_NO_SOFTWARE = ("", "NA")
_DEFAULT_CURRENCY = "USD"
_CSV_BEGINS_WITH = ("formatversion", "sku")
"""The first cells of a CSV file: it begins with five lines about itself, or, where somebody cut them off, with its
header."""


def new_list(offer: str | None) -> PriceList:
    """Return a list without prices of the ``offer`` with that code."""
    return PriceList(publisher=f"AWS {offer or 'price list'}, on demand")


def read_products(stream: JsonStream, wanted: Collection[str]) -> dict[str, tuple[str, str]]:
    """Read the products of an offer file. Return region and name of those that are ``wanted``, by SKU."""
    products: dict[str, tuple[str, str]] = {}
    for sku in stream.members():
        product = _region_and_name(_plain(object_of(object_of(stream.value()).get("attributes"))), wanted)
        if product is not None:
            products[sku] = product
    return products


def read_terms(stream: JsonStream, products: Mapping[str, tuple[str, str]], into: PriceList) -> None:
    """Read the terms of an offer file as far as those on demand go; what is behind them is not read."""
    for kind in stream.members():
        if kind != "OnDemand":
            stream.skip()
            continue
        for sku in stream.members():
            offers = stream.value()
            if sku in products:
                region, name = products[sku]
                into.add(region, name, _on_demand(offers))
        return


def read_answers(stream: JsonStream, wanted: Collection[str], into: PriceList) -> None:
    """Read the list of an answer of GetProducts, each of whose entries is a document of its own."""
    for _ in stream.elements():
        entry = stream.value()
        if isinstance(entry, str):
            try:
                entry = json.loads(entry)
            except ValueError as error:
                raise UnreadablePriceList("has an entry in its PriceList that is no JSON") from error
        document = object_of(entry)
        product = _region_and_name(_plain(object_of(object_of(document.get("product")).get("attributes"))), wanted)
        if product is not None:
            into.add(*product, _on_demand(object_of(document.get("terms")).get("OnDemand")))
        into.date = text_of(document.get("publicationDate"))[:10] or into.date


def is_csv(first: Sequence[str]) -> bool:
    """Return whether a CSV file that begins with the row ``first`` is an offer file."""
    return bool(first) and _letters(first[0]) in _CSV_BEGINS_WITH


def read_csv(first: Sequence[str], rows: Iterator[list[str]], wanted: Collection[str]) -> PriceList:
    """Read an offer file in CSV, of which ``first`` is the first row. Raises UnreadablePriceList."""
    about: dict[str, str] = {}
    header: list[str] = []
    for row in chain([list(first)], rows):
        if row and _letters(row[0]) == "sku":
            header = [_letters(cell) for cell in row]
            break
        if len(row) == 2:
            about[_letters(row[0])] = row[1]
        if len(about) > 20:
            break
    if missing := [name for name in ("termtype", "unit", "priceperunit", "currency") if name not in header]:
        raise UnreadablePriceList(f"begins as a price list of AWS does, and has no columns {', '.join(missing)}")
    prices = new_list(about.get("offercode"))
    prices.date = about.get("publicationdate", "")[:10] or None
    for cells in rows:
        row_of = dict(zip(header, cells, strict=False))
        if row_of.get("termtype") != "OnDemand" or row_of.get("unit", "").lower() not in _HOURS:
            continue
        product = _region_and_name(row_of, wanted)
        if product is not None:
            prices.add(*product, amount_of(row_of.get("priceperunit"), row_of.get("currency") or _DEFAULT_CURRENCY))
    return prices


def _region_and_name(product: Mapping[str, object], wanted: Collection[str]) -> tuple[str, str] | None:
    """Return region and name of a product, given its plain attributes, if it is an instance that is ``wanted``."""
    hosting = product.get("component") == "Hosting" or product.get("platoinstancetype") == "Hosting"
    typed = text_of(product.get("instancetype"))
    name = text_of(product.get("instancename")) or re.sub("-hosting$", "", typed, flags=re.IGNORECASE)
    if not hosting:
        name = typed
        if (
            product.get("operatingsystem") != "Linux"
            or product.get("tenancy") != "Shared"
            or product.get("capacitystatus") not in (None, "", "Used")
            or product.get("locationtype") not in (None, "", "AWS Region")
            or product.get("marketoption") not in (None, "", "OnDemand")
            or (product.get("preinstalledsw") or "") not in _NO_SOFTWARE
        ):
            return None
    region = text_of(product.get("regioncode")) or text_of(product.get("location"))
    return (region, name) if region and name in wanted else None


def _on_demand(offers: object) -> Amount | None:
    """Return the price of an hour among ``offers`` of one product."""
    for dimension in _dimensions(objects_of(offers)):
        if text_of(dimension.get("unit")).lower() not in _HOURS:
            continue
        per_unit = object_of(dimension.get("pricePerUnit"))
        currency = _DEFAULT_CURRENCY if _DEFAULT_CURRENCY in per_unit else next(iter(per_unit), None)
        amount = None if currency is None else amount_of(per_unit[currency], currency)
        if amount is not None:
            return amount
    return None


def _dimensions(offers: Iterable[Object]) -> Iterator[Object]:
    for offer in offers:
        yield from objects_of(offer.get("priceDimensions"))


def _plain(attributes: Object) -> dict[str, object]:
    return {_letters(name): value for name, value in attributes.items()}


@lru_cache(maxsize=1024)
def _letters(name: str) -> str:
    """Return the letters of a name: "Instance Type" of CSV and "instanceType" of JSON are the same."""
    return re.sub("[^a-z0-9]", "", name.lower())
