"""A price list of any cloud, read from a file: whose it is follows from what the file holds.

Whatever is wrong with a file is a SpecError with its path. A file of any size is read in bounded memory, from its
beginning to where its prices end.
"""

from __future__ import annotations

import csv
import stat
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from servefit.errors import SpecError
from servefit.profiler.machine.price_lists import aws, azure, gcp
from servefit.profiler.machine.price_lists.json_stream import JsonStream
from servefit.profiler.machine.price_lists.types import PriceList, UnreadablePriceList, object_of, text_of
from servefit.profiler.machine.prices import KnownPrice

if TYPE_CHECKING:
    from servefit.profiler.machine.instance_profile import InstanceProfile

LAYOUTS = (
    "AWS offer files of AmazonEC2 and AmazonSageMaker (JSON with products and terms, or CSV with SKU and TermType), "
    "AWS answers of GetProducts (JSON with PriceList), Google Cloud Billing Catalog (JSON with skus), "
    "Azure Retail Prices (JSON with Items)"
)
"""The layouts that are looked for, for people."""

_COMPRESSED = {b"\x1f\x8b": "gunzip", b"PK": "unzip", b"BZ": "bunzip2", b"\xfd7": "unxz", b"\x28\xb5": "unzstd"}
"""First bytes of compressed files, and the programs that unpack them."""

_MAX_NAMED = 5
"""Regions that are named as examples."""

_MAX_LINE_CHARACTERS = 2**16
"""The longest line of CSV, so that memory is bounded. One of a price list has two thousand characters."""


def read_price_list(path: Path, profiles: Sequence[InstanceProfile]) -> PriceList:
    """Return the prices in the file at ``path`` of those of ``profiles`` whose cloud published it.

    Raises:
        SpecError: The file cannot be read, is empty or compressed, or has none of the known layouts.
    """
    try:
        described = path.stat()
        if not stat.S_ISREG(described.st_mode):
            raise SpecError("price list", str(path), "is not a file")
        with path.open("rb") as beginning:
            first = beginning.read(2)
        if not first:
            raise SpecError("price list", str(path), "is empty")
        if first in _COMPRESSED:
            raise SpecError("price list", str(path), "is compressed", remedy=f"unpack it with {_COMPRESSED[first]}")
        with path.open(encoding="utf-8-sig", newline="") as file:
            price_list = _read(file, profiles)
    except OSError as error:
        raise SpecError("price list", str(path), f"cannot be read: {error.strerror}") from error
    except UnreadablePriceList as error:
        raise SpecError("price list", str(path), str(error)) from error
    if price_list is None:
        raise SpecError("price list", str(path), "has none of the layouts that are read", remedy=f"known are {LAYOUTS}")
    if price_list.date is None:
        price_list.date = f"{datetime.fromtimestamp(described.st_mtime):%Y-%m-%d}"
        price_list.remarks.append(f"the list has no date; that of the file is kept, {price_list.date}")
    return price_list


def prices_in(price_list: PriceList, region: str | None) -> dict[str, KnownPrice]:
    """Return the prices of ``price_list`` in ``region``, by profile; by default those of the only region.

    Raises:
        SpecError: There are none, or of several regions.
    """
    if not price_list.prices:
        raise SpecError(
            "price list", price_list.publisher, "has no price of a shape that servefit knows",
            remedy="servefit profiles --all lists the shapes; profiles.toml takes others, with their cloud",
        )  # fmt: skip
    if region is None and len(price_list.regions) > 1:
        some = ", ".join(islice(price_list.regions, _MAX_NAMED))
        raise SpecError(
            "region", None, f"is needed: the list has prices of {len(price_list.regions)} regions, such as {some}",
            remedy="give one with --region",
        )  # fmt: skip
    if region is not None and region not in price_list.regions:
        raise SpecError.unknown("region", region, price_list.regions)
    asked = price_list.regions[0] if region is None else region
    return {
        name: KnownPrice(
            per_hour=amount.per_hour,
            currency=amount.currency,
            region=where,
            date=price_list.date,
            source=price_list.publisher,
        )
        for (where, name), amount in price_list.prices.items()
        if where == asked
    }


def _read(file: TextIO, profiles: Sequence[InstanceProfile]) -> PriceList | None:
    """Return what the list in ``file`` says, None where it is none. Raises UnreadablePriceList."""
    stream = JsonStream(file)
    opening = stream.peek()
    if opening == "":
        raise UnreadablePriceList("is empty")
    if opening == "{":
        return _read_object(stream, profiles)
    if opening == "[":
        return _read_elements(stream, profiles)
    file.seek(0)
    rows = _csv_rows(file)
    try:
        first = next(rows, [])
    except UnreadablePriceList:
        return None
    return aws.read_csv(first, rows, _names(profiles, "aws")) if aws.is_csv(first) else None


def _read_object(stream: JsonStream, profiles: Sequence[InstanceProfile]) -> PriceList | None:
    """Read the next object and return its price list, by its members; None if it has none."""
    about: dict[str, str] = {}
    products: dict[str, tuple[str, str]] = {}
    price_list: PriceList | None = None
    for name in stream.members():
        if name == "products" and stream.peek() == "{":
            products = aws.read_products(stream, _names(profiles, "aws"))
            price_list = aws.new_list(about.get("offerCode"))
        elif name == "terms" and price_list is not None and stream.peek() == "{":
            aws.read_terms(stream, products, price_list)
            price_list.date = about.get("publicationDate", "")[:10] or None
            # The rest is not read: in EC2's file it is the largest part.
            return price_list
        elif name == "PriceList" and stream.peek() == "[":
            price_list = aws.new_list(None)
            aws.read_answers(stream, _names(profiles, "aws"), price_list)
        elif name == "skus" and stream.peek() == "[":
            rates = gcp.Rates()
            gcp.read_skus(stream, rates)
            rates.into(price_list := gcp.new_list(), _of(profiles, "gcp"))
        elif name == "Items" and stream.peek() == "[":
            azure.read_items(stream, _names(profiles, "azure"), price_list := azure.new_list())
        elif stream.peek() == '"':
            about[name] = text_of(stream.value())
        else:
            stream.skip()
    if price_list is not None and any(about.get(key) for key in ("nextPageToken", "NextPageLink", "NextToken")):
        price_list.remarks.append("this is one page of several: import the others too, or a list of all pages")
    return price_list


def _read_elements(stream: JsonStream, profiles: Sequence[InstanceProfile]) -> PriceList | None:
    """Read the next list, whose elements are pages, SKUs or items, and return its price list. Such a list results from
    writing the pages of an API into one file."""
    rates, items = gcp.Rates(), azure.new_list()
    seen: set[str] = set()
    wanted = _names(profiles, "azure")
    for _ in stream.elements():
        element = object_of(stream.value())
        if isinstance(element.get("skus"), list) or "pricingInfo" in element:
            seen.add("gcp")
            for sku in element.get("skus", [element]):
                rates.add(object_of(sku))
        elif isinstance(element.get("Items"), list) or "armSkuName" in element:
            seen.add("azure")
            for item in element.get("Items", [element]):
                azure.add_item(object_of(item), wanted, items)
    if len(seen) > 1:
        raise UnreadablePriceList(
            "has prices of Google Cloud and of Azure in one list; import them one after the other"
        )
    if seen == {"azure"}:
        return items
    if not seen:
        return None
    rates.into(price_list := gcp.new_list(), _of(profiles, "gcp"))
    return price_list


def _of(profiles: Sequence[InstanceProfile], cloud: str) -> list[InstanceProfile]:
    return [profile for profile in profiles if profile.cloud == cloud]


def _names(profiles: Sequence[InstanceProfile], cloud: str) -> Collection[str]:
    return frozenset(profile.name for profile in _of(profiles, cloud))


def _csv_rows(file: TextIO) -> Iterator[list[str]]:
    """Iterate over the rows of ``file``. Raises UnreadablePriceList for what is no CSV."""
    try:
        yield from csv.reader(_lines(file), strict=True)
    except csv.Error as error:
        raise UnreadablePriceList(f"is no CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise UnreadablePriceList("is not UTF-8 text") from error


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_MAX_LINE_CHARACTERS):
        if len(line) == _MAX_LINE_CHARACTERS:
            raise UnreadablePriceList(
                f"has a line of more than {_MAX_LINE_CHARACTERS:,} characters, as no price list has"
            )
        yield line
