"""Price lists in the layouts that clouds publish, with few entries and made-up prices."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

PUBLISHED = "2026-11-02T10:00:00Z"


def ec2_product(instance: str, region: str = "us-east-1", **attributes: str) -> dict[str, Any]:
    return {
        "productFamily": "Compute Instance",
        "attributes": {
            "servicecode": "AmazonEC2",
            "location": f"Somewhere ({region})",
            "instanceType": instance,
            "vcpu": "2",
            "memory": "8 GiB",
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "capacitystatus": "Used",
            "preInstalledSw": "NA",
            "regionCode": region,
            **attributes,
        },
    }


def hosting_product(instance: str, component: str = "Hosting") -> dict[str, Any]:
    return {
        "productFamily": "ML Instance",
        "attributes": {
            "servicecode": "AmazonSageMaker",
            "instanceName": instance,
            "instanceType": f"{instance}-{component}",
            "component": component,
            "regionCode": "us-east-1",
        },
    }


def on_demand(sku: str, price: str, unit: str = "Hrs", currency: str = "USD") -> dict[str, Any]:
    dimension = {"unit": unit, "pricePerUnit": {currency: price}, "description": f"{price} an hour"}
    return {f"{sku}.JRTCKXETXF": {"sku": sku, "priceDimensions": {f"{sku}.JRTCKXETXF.6YS6EN2CT7": dimension}}}


def offer_file(
    products: dict[str, dict[str, Any]], prices: dict[str, str], code: str = "AmazonEC2", **more: Any
) -> dict[str, Any]:
    """An offer file of AWS, with reserved prices behind those on demand."""
    return {
        "formatVersion": "v1.0",
        "disclaimer": "This pricing list is for informational purposes only.",
        "offerCode": code,
        "version": "20261102100000",
        "publicationDate": PUBLISHED,
        "products": {sku: {"sku": sku, **product} for sku, product in products.items()},
        "terms": {
            "OnDemand": {sku: on_demand(sku, price) for sku, price in prices.items()},
            "Reserved": {sku: {f"{sku}.RES": {"sku": sku, "priceDimensions": {}}} for sku in prices},
        },
        **more,
    }


HEADER = (
    "SKU", "OfferTermCode", "RateCode", "TermType", "PriceDescription", "EffectiveDate", "StartingRange", "EndingRange",
    "Unit", "PricePerUnit", "Currency", "Product Family", "serviceCode", "Location", "Instance Type",
    "Tenancy", "Operating System", "CapacityStatus", "Pre Installed S/W", "Region Code",
)  # fmt: skip


def offer_csv(*rows: dict[str, str], about: bool = True) -> str:
    """The same as CSV; each of ``rows`` differs in these columns from m5.large with Linux, on demand."""
    usual = {
        "SKU": "A",
        "TermType": "OnDemand",
        "Unit": "Hrs",
        "PricePerUnit": "0.1",
        "Currency": "USD",
        "Instance Type": "m5.large",
        "Tenancy": "Shared",
        "Operating System": "Linux",
        "CapacityStatus": "Used",
        "Pre Installed S/W": "NA",
        "Region Code": "us-east-1",
    }
    written = io.StringIO()
    writer = csv.writer(written, quoting=csv.QUOTE_ALL)
    if about:
        writer.writerows(
            [
                ["FormatVersion", "v1.0"],
                ["Disclaimer", "For information, only"],
                ["Publication Date", PUBLISHED],
                ["Version", "20261102100000"],
                ["OfferCode", "AmazonEC2"],
            ]
        )
    writer.writerow(HEADER)
    writer.writerows([[{**usual, **row}.get(column, "") for column in HEADER] for row in rows])
    return written.getvalue()


def answer(*entries: tuple[dict[str, Any], str]) -> dict[str, Any]:
    """An answer of GetProducts, which holds documents as texts."""
    documents = [
        {"product": {**product, "sku": "A"}, "terms": {"OnDemand": on_demand("A", price)}, "publicationDate": PUBLISHED}
        for product, price in entries
    ]
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(document) for document in documents]}


def sku(description: str, price: str, *, regions: tuple[str, ...] = ("us-central1",), **more: Any) -> dict[str, Any]:
    """A SKU of Google's catalogue."""
    units, _, nanos = price.partition(".")
    unit_price = {"currencyCode": more.pop("currency", "USD"), "units": units, "nanos": int(nanos.ljust(9, "0"))}
    return {
        "name": "services/6F81-5844-456A/skus/0000-0000-0000",
        "description": description,
        "category": {"resourceFamily": "Compute", "usageType": more.pop("usage", "OnDemand")},
        "serviceRegions": list(regions),
        "pricingInfo": [
            {
                "pricingExpression": {
                    "usageUnit": "h",
                    "tieredRates": [{"startUsageAmount": 0, "unitPrice": unit_price}],
                },
                "effectiveTime": "2026-10-20T12:00:00.000Z",
            }
        ],
    }


def item(name: str, price: float, **more: Any) -> dict[str, Any]:
    """An item of Azure's Retail Prices API."""
    return {
        "currencyCode": "USD",
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": "eastus",
        "productName": "Virtual Machines FSv2 Series",
        "skuName": name.removeprefix("Standard_").replace("_", " "),
        "meterName": name.removeprefix("Standard_").replace("_", " "),
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "armSkuName": name,
        "effectiveStartDate": "2019-05-14T00:00:00Z",
        **more,
    }
