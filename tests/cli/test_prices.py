"""``servefit prices``: prices that are set, imported, listed and removed."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from tests.profiler.machine.price_lists.lists import ec2_product, item, offer_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Finished, Servefit

    Prices = Callable[..., Finished]

pytestmark = pytest.mark.integration


@pytest.fixture
def prices(servefit: Servefit, tmp_path: Path) -> Prices:
    """Carries a subcommand of prices out, with a state folder of its own."""
    return lambda *words: servefit("prices", *words, SERVEFIT_HOME=str(tmp_path / "home"))


def listed(prices: Prices) -> dict[str, dict[str, Any]]:
    ended = prices("list", "--format", "json")
    assert ended.status == 0, ended.stderr
    return {price["profile"]: price for price in ended.document["prices"]}


def test_the_price_of_this_machine_is_set_listed_and_removed(prices: Prices) -> None:
    assert "local-1c" not in listed(prices)
    ended = prices("set", "local", "0.21EUR/h")
    assert (ended.status, ended.stdout) == (0, "")
    assert ended.stderr == f"local: 0.21 EUR an hour, {date.today()}\n"
    found = listed(prices)
    whole = max(
        (price for name, price in found.items() if name.startswith("local-")), key=lambda price: price["price_per_hour"]
    )
    assert (whole["price_per_hour"], whole["currency"], whole["region"]) == (pytest.approx(0.21), "EUR", None)
    assert (whole["price_date"], whole["price_source"]) == (date.today().isoformat(), "servefit prices set")
    assert prices("remove", "local").status == 0
    assert "local-1c" not in listed(prices)
    assert prices("remove", "local").status == 2


def test_what_a_machine_costs_its_owner_is_worked_out_and_said(prices: Prices) -> None:
    ended = prices("set", "local", "--purchase-price", "4200", "--years", "3", "--watts", "180", "--per-kwh", "0.30")
    assert ended.status == 0, ended.stderr
    whole = list(listed(prices).values())
    assert max(price["price_per_hour"] for price in whole if price["profile"].startswith("local")) == pytest.approx(
        4200 / (3 * 8760) + 0.180 * 0.30
    )
    assert whole[0]["price_source"] == "4,200 over 3 years and 180 W at 0.3 a kWh"


def test_the_price_of_a_profile_is_set_with_its_region(prices: Prices) -> None:
    assert prices("set", "c5.large", "0.115/h", "--region", "eu-central-1").status == 0
    price = listed(prices)["c5.large"]
    assert (price["price_per_hour"], price["currency"], price["region"]) == (0.115, "USD", "eu-central-1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("local", "0/h"), "price: '0/h' is not above zero"),
        (("local", "--", "-1/h"), "price: '-1/h' is not above zero"),
        (("local", "nan/h"), "price: 'nan/h' is not finite"),
        (("local", "inf/h"), "price: 'inf/h' is not finite"),
        (("local", "$1EUR/h"), "price: '$1EUR/h' is in two currencies: USD and EUR; give one of them"),
        (("local", "0.21"), "price: '0.21' has no unit; say 0.21/h"),
        (
            ("local", "1ERU/h"),
            "price: '1ERU/h' is in ERU, which is no currency of ISO 4217; give one such as USD or EUR",
        ),
        (("local", "cheap"), "price: 'cheap' is not a price such as 0.21/h or 0.21EUR/h"),
        (("local",), "price is not given; say 0.21/h, or --purchase-price 4200 --years 3"),
        (("c5.larg", "1/h"), "profile: 'c5.larg' is not known; did you mean 'c5.large'?"),
        (("local", "1/h", "--watts", "3"), "watts: 3.0 cannot be combined with a price of an hour"),
        (("local", "--watts", "3"), "watts: 3.0 is of no use without --per-kwh"),
        (
            ("ml.m5.large", "--purchase-price", "4000", "--years", "3"),
            "purchase-price: '4000' is what an owner pays, and ml.m5.large is of a cloud; give a price: 0.21/h",
        ),
        (("local", "--purchase-price", "1", "--years", "0"), "years: 0.0 is not above zero"),
        (("local", "--purchase-price", "0", "--years", "1"), "purchase-price: '0' is not above zero"),
        (
            ("local", "--purchase-price", "1EUR", "--years", "1", "--watts", "1", "--per-kwh", "1USD"),
            "price is in two currencies: EUR (--purchase-price) and USD (--per-kwh); give both in one",
        ),
    ],
)
def test_what_is_no_price_is_refused_in_a_line(prices: Prices, words: tuple[str, ...], said: str) -> None:
    ended = prices("set", *words)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"servefit: {said}")
    assert ended.stderr.count("\n") == 1


def test_a_price_in_the_users_file_is_changed_there(prices: Prices, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "profiles.toml").write_text("[local]\nprice_per_hour = 1\n# kept\n")
    ended = prices("set", "local", "2/h")
    assert (ended.status, "profiles.toml, which comes first; change or remove it there" in ended.stderr) == (2, True)
    assert (tmp_path / "home" / "profiles.toml").read_text().endswith("# kept\n")


def test_a_price_list_is_imported_for_a_region(prices: Prices, tmp_path: Path) -> None:
    path = tmp_path / "AmazonEC2.json"
    products = {"A": ec2_product("c5.large"), "B": ec2_product("c5.large", "eu-west-1"), "C": ec2_product("u9.large")}
    path.write_text(json.dumps(offer_file(products, {"A": "0.085", "B": "0.096", "C": "1"})))
    refused = prices("import", path)
    assert (refused.status, "such as eu-west-1, us-east-1; give one with --region" in refused.stderr) == (2, True)
    ended = prices("import", path, "--region", "eu-west-1", "--format", "json")
    assert ended.status == 0, ended.stderr
    [price] = ended.document["prices"]
    assert price == {
        "profile": "c5.large",
        "price_per_hour": 0.096,
        "currency": "USD",
        "region": "eu-west-1",
        "price_date": "2026-11-02",
        "price_source": "AWS AmazonEC2, on demand",
    }
    assert listed(prices)["c5.large"] == price


def test_prices_that_are_older_than_a_year_are_said_to_be(prices: Prices, tmp_path: Path) -> None:
    assert "warning: prices more than a year old (us-east-1, 2023): ml.m5.large" in prices("list").stderr
    path = tmp_path / "azure.json"
    path.write_text(json.dumps({"Items": [item("Standard_F2s_v2", 0.08)]}))
    assert "more than a year old (eastus, 2019-05-14)" in prices("import", path).stderr
    path.write_text(json.dumps({"Items": [item("Standard_F2s_v2", 0.08, effectiveStartDate=None)]}))
    ended = prices("import", path)
    assert "the list has no date; that of the file is kept" in ended.stderr
    assert "more than a year old" not in ended.stderr


def test_a_file_that_is_no_price_list_leaves_all_as_it_was(prices: Prices, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("Dear customer,\n")
    ended = prices("import", path)
    assert (ended.status, ended.stdout) == (2, "")
    assert "has none of the layouts that are read; known are AWS offer files" in ended.stderr
    assert not (tmp_path / "home" / "prices.json").exists()
