"""Price lists of AWS, Google Cloud and Azure, read from files of any size."""

from __future__ import annotations

import json
import os
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from tests.profiler.machine.price_lists.lists import (
    answer,
    ec2_product,
    hosting_product,
    item,
    offer_csv,
    offer_file,
    sku,
)

from servefit.errors import SpecError
from servefit.profiler.machine.price_lists.reading import prices_in, read_price_list
from servefit.profiler.machine.prices import KnownPrice
from servefit.profiler.machine.profiles import all_profiles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.profiler.conftest import MakeHost

    Read = Callable[..., dict[str, KnownPrice]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list"


@pytest.fixture
def read(path: Path, make_host: MakeHost) -> Read:
    """Writes a list as JSON, or as it is if that is a text, and reads the prices of a region from it."""

    def read(content: Any, region: str | None = None) -> dict[str, KnownPrice]:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return prices_in(read_price_list(path, all_profiles(make_host())), region)

    return read


def amounts(prices: dict[str, KnownPrice]) -> dict[str, float]:
    return {name: price.per_hour for name, price in prices.items()}


def test_an_offer_file_has_prices_on_demand_with_their_region_and_date(read: Read) -> None:
    products = {"A": ec2_product("m5.large"), "B": ec2_product("c5.large")}
    prices = read(offer_file(products, {"A": "0.0960", "B": "0.085"}))
    assert prices["m5.large"] == KnownPrice(
        per_hour=0.096, currency="USD", region="us-east-1", date="2026-11-02", source="AWS AmazonEC2, on demand"
    )
    assert amounts(prices) == {"m5.large": 0.096, "c5.large": 0.085}


OTHERS: tuple[dict[str, str], ...] = (
    {"operatingSystem": "Windows"},
    {"tenancy": "Dedicated"},
    {"capacitystatus": "UnusedCapacityReservation"},
    {"preInstalledSw": "SQL Std"},
    {"locationType": "AWS Outposts"},
    {"marketoption": "CapacityBlock"},
)
"""Products that are called m5.large, too."""


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_only_linux_that_is_shared_and_without_software_counts(read: Read, other: dict[str, str]) -> None:
    products = {"A": ec2_product("m5.large", **other), "B": ec2_product("m5.large")}
    assert amounts(read(offer_file(products, {"A": "9", "B": "0.1"}))) == {"m5.large": 0.1}


def test_of_sagemaker_the_price_of_hosting_counts(read: Read) -> None:
    products = {"A": hosting_product("ml.m5.large", "Training"), "B": hosting_product("ml.m5.large")}
    listed = offer_file(products, {"A": "9", "B": "0.115"}, code="AmazonSageMaker")
    assert amounts(read(listed)) == {"ml.m5.large": 0.115}


def test_a_price_of_nothing_or_of_another_unit_is_none(read: Read) -> None:
    listed = offer_file({"A": ec2_product("m5.large"), "B": ec2_product("c5.large")}, {"A": "0.0000000000", "B": "0.1"})
    assert amounts(read(listed)) == {"c5.large": 0.1}


def test_reserved_prices_may_come_first(read: Read) -> None:
    listed = offer_file({"A": ec2_product("m5.large")}, {"A": "0.1"})
    listed["terms"] = {"Reserved": listed["terms"]["Reserved"], "OnDemand": listed["terms"]["OnDemand"]}
    assert amounts(read(listed)) == {"m5.large": 0.1}


def test_what_comes_behind_the_prices_on_demand_is_not_read(path: Path, make_host: MakeHost) -> None:
    listed = json.dumps(offer_file({"A": ec2_product("m5.large")}, {"A": "0.1"}))
    path.write_text(listed[: listed.index('"Reserved"')] + '"Reserved": {"A": ')
    assert read_price_list(path, all_profiles(make_host())).regions == ("us-east-1",)


@pytest.mark.parametrize("about", [True, False])
def test_an_offer_file_may_be_csv(read: Read, about: bool) -> None:
    rows = (
        {"TermType": "Reserved", "PricePerUnit": "0.01"},
        {"Operating System": "Windows", "PricePerUnit": "0.5"},
        {"Unit": "Quantity", "PricePerUnit": "700"},
        {"PricePerUnit": "0.096"},
        {"Instance Type": "c5.large", "PricePerUnit": "0.085", "Region Code": "eu-west-1"},
    )
    prices = read(offer_csv(*rows, about=about), "us-east-1")
    assert amounts(prices) == {"m5.large": 0.096}
    assert (prices["m5.large"].date == "2026-11-02") is about


def test_an_answer_of_get_products_is_read(read: Read) -> None:
    listed = answer((ec2_product("m5.large"), "0.096"), (ec2_product("m5.large", tenancy="Host"), "0"))
    assert amounts(read(listed)) == {"m5.large": 0.096}


N2 = (
    sku("N2 Instance Core running in Americas", "0.03", regions=("us-central1", "us-east1")),
    sku("N2 Instance Ram running in Americas", "0.004", regions=("us-central1", "us-east1")),
)
NOT_N2 = (
    sku("Spot Preemptible N2 Instance Core running in Americas", "0.001", usage="Preemptible"),
    sku("N2 Custom Instance Core running in Americas", "9.0"),
    sku("Commitment v1: N2 Cpu in Americas for 1 Year", "0.002", usage="Commit1Yr"),
    sku("N2D AMD Instance Core running in Americas", "9.0"),
)


@pytest.mark.parametrize(
    "listed",
    [{"skus": [*NOT_N2, *N2], "nextPageToken": ""}, [*NOT_N2, *N2], [{"skus": [*NOT_N2]}, {"skus": [*N2]}]],
    ids=["a page", "SKUs", "pages"],
)
def test_a_machine_of_google_costs_its_cores_and_its_memory(read: Read, listed: Any) -> None:
    prices = read(listed, "us-central1")
    assert prices["n2-standard-4"] == KnownPrice(
        per_hour=4 * 0.03 + 16 * 0.004,
        currency="USD",
        region="us-central1",
        date="2026-10-20",
        source="Google Cloud Billing Catalog, on demand",
    )
    assert all(name.startswith("n2-") for name in prices)


def test_a_machine_of_google_with_a_gpu_costs_that_too_and_nothing_is_known_where_a_part_is_not(read: Read) -> None:
    g2 = (sku("G2 Instance Core running in Americas", "0.02"), sku("G2 Instance Ram running in Americas", "0.002"))
    gpu = sku("Nvidia L4 GPU running in Americas", "0.5")
    assert read({"skus": [*g2, gpu]})["g2-standard-4"].per_hour == pytest.approx(4 * 0.02 + 16 * 0.002 + 0.5)
    assert "g2-standard-4" not in read({"skus": [*g2, *N2]}, "us-central1")
    core = sku("Compute optimized Core running in Americas", "0.1")
    memory = sku("Compute optimized Ram running in Americas", "0.01")
    assert read({"skus": [core, memory]})["c2-standard-4"].per_hour == pytest.approx(4 * 0.1 + 16 * 0.01)


@pytest.mark.parametrize("pages", [True, False])
def test_items_of_azure_are_those_with_linux_that_are_paid_by_the_hour(read: Read, pages: bool) -> None:
    items = [
        item("Standard_F2s_v2", 0.02, meterName="F2s v2 Spot"),
        item("Standard_F2s_v2", 0.2, productName="Virtual Machines FSv2 Series Windows"),
        item("Standard_F2s_v2", 700, type="Reservation", reservationTerm="1 Year"),
        item("Standard_F2s_v2", 0.0846),
        item("Standard_X9", 1.0),
    ]
    page = {"BillingCurrency": "USD", "Items": items, "NextPageLink": None, "Count": len(items)}
    prices = read([page, page] if pages else page)
    assert amounts(prices) == {"Standard_F2s_v2": 0.0846}
    assert prices["Standard_F2s_v2"].region == "eastus"


def test_prices_keep_their_currency(read: Read) -> None:
    assert read({"Items": [item("Standard_F2s_v2", 0.08, currencyCode="EUR")]})["Standard_F2s_v2"].currency == "EUR"


def test_a_list_of_azure_is_as_old_as_its_newest_price(path: Path, make_host: MakeHost) -> None:
    old, new = (item("Standard_F2s_v2", 0.08, effectiveStartDate=f"20{year}-03-01T00:00:00Z") for year in (19, 21))
    path.write_text(json.dumps({"Items": [old, new]}))
    assert read_price_list(path, all_profiles(make_host())).date == "2021-03-01"


def test_a_list_without_a_date_has_that_of_its_file(path: Path, make_host: MakeHost) -> None:
    undated = item("Standard_F2s_v2", 0.08, effectiveStartDate=None)
    path.write_text(json.dumps({"Items": [undated], "NextPageLink": "https://next"}))
    os.utime(path, (1_750_000_000, 1_750_000_000))
    found = read_price_list(path, all_profiles(make_host()))
    assert found.date == "2025-06-15"
    assert [remark.partition(":")[0] for remark in found.remarks] == [
        "this is one page of several",
        "the list has no date; that of the file is kept, 2025-06-15",
    ]


def test_of_several_regions_one_has_to_be_named(read: Read) -> None:
    listed = {"skus": [*N2]}
    with pytest.raises(SpecError, match="region is needed: the list has prices of 2 regions, such as us-c"):
        read(listed)
    with pytest.raises(SpecError, match=r"region: 'us-east-1' is not known; did you mean 'us-east1'"):
        read(listed, "us-east-1")
    assert read(listed, "us-east1")["n2-standard-2"].region == "us-east1"


LONG = "x" * (40 * 2**20)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"{}", "has none of the layouts that are read; known are AWS offer files of AmazonEC2"),
        (b"[]", "Google Cloud Billing Catalog (JSON with skus), Azure Retail Prices (JSON with Items)"),
        (b'{"prices": [1, {"a": [2.5, null]}], "more": true}', "has none of the layouts"),
        (b"name,price\nm5.large,0.1\n", "has none of the layouts"),
        (b"\0" * 100, "has none of the layouts"),
        (b"SKU,Price\nA,1\n", "has no columns termtype, unit, priceperunit, currency"),
        (b"\x1f\x8b\x08\x00", "is compressed; unpack it with gunzip"),
        (b"\xff\xfe{\x00}\x00", "is not UTF-8 text"),
        (b'{"Items": [', "is cut off"),
        (b'{"Items": [{"a": 1} {"b": 2}]}', "is no JSON from '{\"b\": 2}]}' on"),
        (b'{"skus": ' + b"[" * 100_000, "is nested too deeply"),
        (f'{{"a": "{LONG}"}}'.encode(), "has a piece of more than 16,777,216 characters"),
        (b'{"Items": [{"armSkuName": "Standard_X9"}]}', "has no price of a shape that servefit knows"),
        (b'{"products": {"A": 5}, "terms": {"OnDemand": {"A": [1]}}}', "has no price of a shape"),
        (b'{"PriceList": ["{"]}', "has an entry in its PriceList that is no JSON"),
        (b'[{"skus": []}, {"Items": []}]', "has prices of Google Cloud and of Azure in one list"),
    ],
)
def test_what_is_no_price_list_is_refused_in_one_line(
    path: Path, make_host: MakeHost, content: bytes, words: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        prices_in(read_price_list(path, all_profiles(make_host())), None)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused(path: Path, make_host: MakeHost) -> None:
    profiles = all_profiles(make_host())
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        read_price_list(path, profiles)
    os.mkfifo(path)
    with pytest.raises(SpecError, match="is not a file"):
        read_price_list(path, profiles)
    with pytest.raises(SpecError, match="is not a file"):
        read_price_list(path.parent, profiles)


BEGINNINGS = (b"", b'{"offerCode": "AmazonEC2", ', b'{"products": {"A": ', b'{"a": "', offer_csv().encode())


@pytest.mark.timeout(30)
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_five_gigabytes_of_nothing_are_refused_at_once(path: Path, make_host: MakeHost, beginning: bytes) -> None:
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(5 * 10**9)
    with pytest.raises(SpecError) as caught:
        read_price_list(path, all_profiles(make_host()))
    assert len(str(caught.value)) < 600


@pytest.mark.integration
@pytest.mark.thorough
def test_a_long_list_is_read_in_little_memory(path: Path, make_host: MakeHost) -> None:
    one = json.dumps({f"U{nth}": ec2_product(f"u{nth}.large") for nth in range(200)})[1:-1]
    reserved = json.dumps({"Z": {"a": ["0.1"] * 50_000}})[1:-1]
    with path.open("w") as file:
        file.write('{"offerCode": "AmazonEC2", "publicationDate": "2026-11-02T00:00:00Z", "products": {')
        file.writelines(f"{one}, " for _ in range(450))
        file.write(f'"A": {json.dumps(ec2_product("m5.large"))}}}, "terms": {{"Reserved": {{')
        file.write(", ".join([reserved] * 40))
        file.write(f'}}, "OnDemand": {json.dumps(offer_file({}, {"A": "0.1"})["terms"]["OnDemand"])}}}}}')
    assert path.stat().st_size > 40e6
    profiles = all_profiles(make_host())
    tracemalloc.start()
    found = read_price_list(path, profiles)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert amounts(prices_in(found, None)) == {"m5.large": 0.1}
    assert most_bytes < 20e6
