"""Prices that are set or imported: where they are kept, which profile has which, and when they are old."""

from __future__ import annotations

import dataclasses
from datetime import date
from typing import TYPE_CHECKING

import pytest

from servefit.errors import SpecError
from servefit.profiler.machine.instance_profile import CLOUDS, InstanceProfile
from servefit.profiler.machine.prices import (
    KnownPrice,
    check_one_currency,
    is_old,
    keep_prices,
    old_prices,
    owners_price_per_hour,
    read_prices,
    remove_price,
    where_and_when,
)
from servefit.profiler.machine.profiles import (
    all_profiles,
    find_profile,
    local_profiles,
    priced_by_hand,
    profiles_to_consider,
    why_not_measurable,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.profiler.conftest import MakeHost

    from servefit.profiler.machine.instance_profile import Cloud

SET = KnownPrice(per_hour=0.8, currency="EUR", date="2026-11-28", source="servefit prices set")


@pytest.fixture
def file(own_state_folder: Path) -> Path:
    own_state_folder.mkdir()
    return own_state_folder / "prices.json"


def test_what_is_kept_is_read_again_and_the_next_price_replaces_it() -> None:
    assert read_prices() == {}
    keep_prices({"local": SET})
    dearer = dataclasses.replace(SET, per_hour=1.0)
    keep_prices({"c5.large": SET})
    keep_prices({"local": dearer})
    assert read_prices() == {"c5.large": SET, "local": dearer}


def test_a_price_is_removed_once() -> None:
    keep_prices({"local": SET})
    assert remove_price("local") == SET
    with pytest.raises(SpecError, match=r"price: 'local' was not set or imported; those that were: none"):
        remove_price("local")


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"prices": {"local": {"per_hour": 0, "source": "x"}}}', b'{"prices": {"local": 5}}', b"\xff"],
)
def test_a_file_that_servefit_did_not_write_is_refused_with_a_remedy(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SpecError, match=r"prices.json' is not as servefit writes it: .*; remove it, and set"):
        read_prices()


def test_a_file_of_a_later_schema_is_not_read_as_if_it_were_of_this_one(file: Path) -> None:
    file.write_text('{"schema": 2, "prices": {}}')
    with pytest.raises(SpecError, match=r"is of a later servefit \(schema 2\); update servefit"):
        keep_prices({"local": SET})
    assert '"schema": 2' in file.read_text()


def test_what_a_later_servefit_writes_is_read(file: Path) -> None:
    file.write_text('{"schema": 1, "prices": {"local": {"per_hour": 1, "source": "x", "tax": 0.2}}, "more": 1}')
    assert read_prices() == {"local": KnownPrice(per_hour=1.0, source="x")}


def test_the_price_of_this_machine_is_shared_out_by_cores(make_host: MakeHost) -> None:
    keep_prices({"local": SET})
    profiles = local_profiles(make_host(cpus=8))
    assert [profile.price_per_hour for profile in profiles] == [0.1, 0.2, 0.4, 0.8]
    assert {(profile.currency, profile.price_date) for profile in profiles} == {("EUR", "2026-11-28")}


def test_a_price_written_by_hand_comes_before_one_that_is_set_and_that_before_the_catalogue(
    make_host: MakeHost, own_state_folder: Path
) -> None:
    host = make_host()
    assert find_profile("ml.m5.large", host).price_date == "2023"
    keep_prices({"ml.m5.large": dataclasses.replace(SET, region="eu-central-1"), "local": SET})
    chosen = find_profile("ml.m5.large", host)
    assert (chosen.price_per_hour, chosen.currency, where_and_when(chosen)) == (0.8, "EUR", "eu-central-1, 2026-11-28")
    (own_state_folder / "profiles.toml").write_text(
        '[profiles."ml.m5.large"]\nprice_per_hour = 0.2\n[local]\nprice_per_hour = 1.6\ncurrency = "CHF"\n'
    )
    by_hand = find_profile("ml.m5.large", host)
    assert (by_hand.price_per_hour, by_hand.currency, by_hand.price_source) == (0.2, "USD", "profiles.toml")
    assert where_and_when(by_hand) == ""
    assert local_profiles(host)[-1].currency == "CHF"
    assert priced_by_hand() == {"ml.m5.large", "local"}


def test_a_machine_costs_its_purchase_and_its_electricity() -> None:
    price = owners_price_per_hour(purchase_price=4200, lifetime_hours=3 * 8760, watts=180, price_per_kwh=0.30)
    assert price == pytest.approx(0.15982 + 0.054, abs=1e-5)


@pytest.mark.parametrize(
    ("price_date", "old"),
    [
        ("2026-11-28", False),
        ("2025-11-28", False),
        ("2025-11-27", True),
        ("2025", False),
        ("2024", True),
        (None, False),
        ("once", False),
    ],
)
def test_a_price_is_old_after_a_year(price_date: str | None, old: bool) -> None:
    assert is_old(price_date, date(2026, 11, 28)) is old


def priced(name: str, currency: str = "USD", price_date: str | None = "2026-01-01") -> InstanceProfile:
    return InstanceProfile(
        name=name, vcpus=2, memory_bytes=2**30, price_per_hour=1.0, currency=currency, region="r", price_date=price_date
    )


def test_old_prices_of_one_source_are_one_warning() -> None:
    profiles = [priced("a", price_date="2023"), priced("b"), priced("c", price_date="2023")]
    profiles.append(InstanceProfile(name="d", vcpus=1, memory_bytes=1, price_date="2020"))
    [warning] = old_prices(profiles, date(2026, 11, 28))
    assert warning.startswith("prices more than a year old (r, 2023): a, c; servefit prices import")


def test_prices_in_two_currencies_cannot_be_compared() -> None:
    check_one_currency([priced("a"), priced("b"), InstanceProfile(name="c", vcpus=1, memory_bytes=1, currency="EUR")])
    with pytest.raises(SpecError, match=r"prices are in 2 currencies, .* USD \(a\) and EUR \(b\); set them in one"):
        check_one_currency([priced("a"), priced("b", "EUR")])


def test_by_default_the_profiles_of_this_host_are_considered(make_host: MakeHost) -> None:
    host = make_host(cpus=4)
    assert [profile.name for profile in profiles_to_consider(host, named=(), clouds=())] == [
        "local-1c",
        "local-2c",
        "local-4c",
    ]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_cloud_has_its_own_shapes_alone_some_of_which_fit_two_cpus(make_host: MakeHost, cloud: Cloud) -> None:
    host = make_host(cpus=2)
    considered = profiles_to_consider(host, named=(), clouds=(cloud,))
    assert {profile.cloud for profile in considered} == {cloud}
    assert any(why_not_measurable(profile, host) is None for profile in considered)


def test_named_profiles_are_considered_beside_those_of_a_cloud(make_host: MakeHost) -> None:
    host = make_host(cpus=2)
    names = [profile.name for profile in profiles_to_consider(host, named=("local-1c", "ml.m5.large"), clouds=("aws",))]
    assert names[:2] == ["local-1c", "ml.m5.large"]
    assert names.count("ml.m5.large") == 1
    assert "c5.large" in names


def test_a_cloud_without_a_shape_that_fits_names_its_smallest_and_a_way_out(make_host: MakeHost) -> None:
    with pytest.raises(
        SpecError,
        match="cloud: 'gcp' has no shape that fits this host: its smallest, e2-highcpu-2, needs 2 vCPUs, this host "
        "has 1; leave it out for the profiles of this host",
    ):
        profiles_to_consider(make_host(cpus=1), named=(), clouds=("gcp",))


def test_a_profile_of_the_user_may_belong_to_a_cloud(make_host: MakeHost, own_state_folder: Path) -> None:
    own_state_folder.mkdir()
    (own_state_folder / "profiles.toml").write_text(
        '[profiles.t3]\nvcpus = 1\nmemory_gib = 1\ncloud = "gcp"\nprice_per_hour = 0.1\n'
    )
    considered = profiles_to_consider(make_host(cpus=1), named=(), clouds=("gcp",))
    assert considered[-1] == all_profiles(make_host(cpus=1))[-1]
    assert considered[-1].name == "t3"
