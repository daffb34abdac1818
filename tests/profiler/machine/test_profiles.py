"""Instance profiles: the catalogue, the host's own, and the user's file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from servefit.errors import SpecError
from servefit.profiler.machine.cgroups import ControlGroups
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.machine.profiles import all_profiles, find_profile, gpu_for, local_profiles, why_not_measurable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.profiler.conftest import MakeHost

GIB = 2**30


@pytest.fixture
def user_file(own_state_folder: Path) -> Path:
    own_state_folder.mkdir()
    return own_state_folder / "profiles.toml"


@pytest.mark.parametrize(
    ("name", "vcpus", "memory_gib", "price"),
    [
        ("ml.m5.large", 2, 8, 0.115),
        ("ml.m5.xlarge", 4, 16, 0.23),
        ("ml.m5.2xlarge", 8, 32, 0.461),
        ("ml.m5.4xlarge", 16, 64, 0.922),
        ("ml.m5.12xlarge", 48, 192, 2.765),
        ("ml.c5.9xlarge", 36, 72, 1.836),
        ("ml.m5.24xlarge", 96, 384, None),
        ("ml.c5.18xlarge", 72, 144, None),
        ("ml.c7i.48xlarge", 192, 384, None),
    ],
)
def test_the_catalogue_has_shapes_and_the_prices_that_are_known(
    make_host: MakeHost, name: str, vcpus: int, memory_gib: int, price: float | None
) -> None:
    profile = find_profile(name, make_host())
    assert (profile.vcpus, profile.memory_bytes, profile.gpus) == (vcpus, memory_gib * GIB, 0)
    assert profile.price_per_hour == price
    assert (profile.price_source is None) == (price is None)


def test_gpu_profiles_name_their_gpus(make_host: MakeHost) -> None:
    t4s = find_profile("ml.g4dn.12xlarge", make_host())
    assert (t4s.gpus, t4s.gpu_model, t4s.vcpus) == (4, "T4", 48)
    assert find_profile("ml.g5.xlarge", make_host()).gpu_model == "A10G"


@pytest.mark.parametrize(
    ("cpus", "names"),
    [
        (1, ["local-1c"]),
        (2, ["local-1c", "local-2c"]),
        (6, ["local-1c", "local-2c", "local-4c", "local-6c"]),
        (8, ["local-1c", "local-2c", "local-4c", "local-8c"]),
    ],
)
def test_local_profiles_double_up_to_all_cpus(make_host: MakeHost, cpus: int, names: list[str]) -> None:
    profiles = local_profiles(make_host(cpus=cpus, memory_gib=cpus * 4))
    assert [profile.name for profile in profiles] == names
    assert all(profile.memory_bytes == profile.vcpus * 4 * GIB for profile in profiles)
    assert all(profile.price_per_hour is None for profile in profiles)
    assert all_profiles(make_host(cpus=cpus, memory_gib=cpus * 4))[: len(names)] == profiles


def test_every_gpu_makes_a_local_profile_with_its_share_of_the_cores(make_host: MakeHost) -> None:
    profiles = {
        profile.name: profile
        for profile in local_profiles(make_host(cpus=8, memory_gib=32, gpus=("Tesla T4", "Tesla T4")))
    }
    assert profiles["local-gpu1"] == InstanceProfile(
        name="local-gpu1", vcpus=4, memory_bytes=16 * GIB, gpus=1, gpu_model="Tesla T4"
    )


def test_a_cpu_quota_makes_the_host_smaller(make_host: MakeHost) -> None:
    quota = ControlGroups(kind="v2", writable=False, memory_limit_bytes=None, cpu_quota=2.5)
    assert [profile.name for profile in local_profiles(make_host(cpus=8, cgroups=quota))] == ["local-1c", "local-2c"]


def test_an_unknown_name_gets_the_closest_as_remedy(make_host: MakeHost) -> None:
    with pytest.raises(SpecError, match=r"profile: 'ml\.m5\.lage' is not known; did you mean 'ml\.m5\.large'\?"):
        find_profile("ml.m5.lage", make_host())


def test_why_a_profile_is_not_measurable_is_said_in_numbers(make_host: MakeHost) -> None:
    host = make_host(cpus=2, memory_gib=16)
    assert why_not_measurable(find_profile("ml.m5.12xlarge", host), host) == "needs 48 vCPUs, this host has 2"
    assert why_not_measurable(find_profile("ml.m5.large", host), host) is None
    small = make_host(cpus=8, memory_gib=6)
    assert why_not_measurable(find_profile("ml.m5.xlarge", small), small) == (
        "needs 16 GiB of memory, this host has 6 GiB"
    )


def test_the_memory_that_the_kernel_keeps_does_not_count_as_missing(make_host: MakeHost) -> None:
    real_m5_large = make_host(cpus=2, memory_gib=7.6)
    assert why_not_measurable(find_profile("ml.m5.large", real_m5_large), real_m5_large) is None


def test_a_gpu_with_hyphens_in_its_name_makes_a_measurable_profile(make_host: MakeHost) -> None:
    host = make_host(gpus=("NVIDIA A100-SXM4-80GB",))
    assert why_not_measurable(find_profile("local-gpu0", host), host) is None


def test_a_profile_is_measured_on_a_gpu_of_its_model(make_host: MakeHost) -> None:
    host = make_host(cpus=8, gpus=("NVIDIA A100-SXM4-80GB", "Tesla T4", "Tesla T4"))
    numbers = {profile.name: gpu_for(profile, host.gpus) for profile in all_profiles(host)}
    assert (numbers["local-gpu0"], numbers["local-gpu1"], numbers["local-gpu2"]) == (0, 1, 1)
    assert numbers["ml.g4dn.xlarge"] == 1
    assert numbers["local-8c"] is None


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ((), "needs 1 T4 GPU, and the NVIDIA driver is not installed"),
        (("NVIDIA A10G",), "needs 1 T4 GPU, this host has 0 (its GPUs: NVIDIA A10G)"),
        (("Tesla T4",), None),
        (("NVIDIA A10G", "Tesla T4"), None),
    ],
)
def test_a_gpu_profile_needs_gpus_of_its_model(
    make_host: MakeHost, gpus: tuple[str, ...], expected: str | None
) -> None:
    host = make_host(cpus=8, memory_gib=32, gpus=gpus)
    assert why_not_measurable(find_profile("ml.g4dn.xlarge", host), host) == expected


def test_an_a10_is_no_a10g(make_host: MakeHost) -> None:
    host = make_host(cpus=8, memory_gib=32, gpus=("NVIDIA A10",))
    assert why_not_measurable(find_profile("ml.g5.xlarge", host), host) is not None


def test_every_local_profile_is_measurable(make_host: MakeHost) -> None:
    host = make_host(cpus=6, memory_gib=10, gpus=("NVIDIA GeForce RTX 4090", "Tesla T4"))
    assert [why_not_measurable(profile, host) for profile in local_profiles(host)] == [None] * 6


def test_the_user_s_file_adds_profiles_and_replaces_single_fields(make_host: MakeHost, user_file: Path) -> None:
    user_file.write_text(
        '[profiles."ml.c5.xlarge"]\nprice_per_hour = 0.204\n'
        '[profiles."rack-7"]\nvcpus = 16\nmemory_gib = 1.5\ngpus = 1\ngpu_model = "T4"\nprice_source = "invoice"\n'
        "price_per_hour = 1\n"
    )
    host = make_host()
    changed = find_profile("ml.c5.xlarge", host)
    assert (changed.vcpus, changed.price_per_hour, changed.price_source) == (4, 0.204, "profiles.toml")
    assert all_profiles(host)[-1] == InstanceProfile(
        name="rack-7",
        vcpus=16,
        memory_bytes=3 * GIB // 2,
        gpus=1,
        gpu_model="T4",
        price_per_hour=1,
        price_source="invoice",
    )


def test_the_price_of_the_host_is_shared_out_by_cores(make_host: MakeHost, user_file: Path) -> None:
    user_file.write_text("[local]\nprice_per_hour = 0.8\n")
    prices = {
        profile.name: profile.price_per_hour
        for profile in local_profiles(make_host(cpus=8, gpus=("Tesla T4", "Tesla T4")))
    }
    assert prices == pytest.approx(
        {"local-1c": 0.1, "local-2c": 0.2, "local-4c": 0.4, "local-8c": 0.8, "local-gpu0": 0.4, "local-gpu1": 0.4}
    )


def test_a_purchase_is_written_off_over_its_lifetime_and_uses_electricity(make_host: MakeHost, user_file: Path) -> None:
    user_file.write_text("[local]\npurchase_price = 4000\nlifetime_hours = 20_000\nwatts = 200\nprice_per_kwh = 0.30\n")
    whole = local_profiles(make_host(cpus=4))[-1]
    assert whole.price_per_hour == pytest.approx(0.2 + 0.06)
    assert whole.price_source == "profiles.toml"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[profiles.x\n", "is not TOML"),
        ("[profile.x]\nvcpus = 1\n", "did you mean 'profiles'?"),
        ("[profiles.x]\nvcpu = 1\n", "did you mean 'vcpus'?"),
        ("[profiles.x]\nvcpus = 1\n", "is a new profile without memory_gib"),
        ("[profiles.x]\nvcpus = 1.5\nmemory_gib = 1\n", "profiles.x.vcpus: 1.5 is not a whole number"),
        ("[profiles.x]\nvcpus = true\nmemory_gib = 1\n", "profiles.x.vcpus: True is not a whole number"),
        ("[profiles.x]\nvcpus = 0\nmemory_gib = 1\n", "profiles.x.vcpus: 0 is not above zero"),
        ('[profiles.x]\nvcpus = 1\nmemory_gib = "8"\n', "profiles.x.memory_gib: '8' is not a number"),
        ("[profiles.x]\nvcpus = 1\nmemory_gib = inf\n", "profiles.x.memory_gib: inf is not finite"),
        ("[profiles.x]\nvcpus = 1\nmemory_gib = 1\ngpu_model = 4\n", "profiles.x.gpu_model: 4 is not a text"),
        (
            '[profiles."ml.m5.large"]\nprice_per_hour = -1\n',
            "ml.m5.large.price_per_hour: -1 is not above zero",
        ),
        ('[profiles."ml.m5.large"]\nprice_per_hour = 0\n', "profiles.ml.m5.large.price_per_hour: 0 is not above zero"),
        ('[profiles."ml.m5.large"]\nprice_per_hour = nan\n', "profiles.ml.m5.large.price_per_hour: nan is not finite"),
        ('[profiles."ml.m5.large"]\ncurrency = "euro"\n', "currency: 'euro' is not the code of a currency"),
        ('[profiles."ml.m5.large"]\ncurrency = "eur"\n', "currency: 'eur' is not in capital letters"),
        ('[profiles."ml.m5.large"]\nprice_date = "May"\n', "price_date: 'May' is not a date such as"),
        ('[profiles."ml.m5.large"]\ncloud = "asw"\n', "cloud: 'asw' is not known; did you mean 'aws'?"),
        ("[local]\npurchase_price = 0\nlifetime_hours = 9\n", "local: the price of an hour: 0.0 is not above zero"),
        ("profiles = 3\n", "profiles: 3 is not a table"),
        ("[profiles]\nx = 3\n", "profiles.x: 3 is not a table"),
        ("[local]\nprice_per_hr = 1\n", "did you mean 'price_per_hour'?"),
        ("[local]\nwatts = 1\n", "local.watts: 1 is of no use without price_per_kwh"),
        ("[local]\nlifetime_hours = 1\n", "is of no use without purchase_price"),
        (
            "[local]\nprice_per_hour = 1\nwatts = 1\nprice_per_kwh = 1\n",
            "local.price_per_hour: 1 already says it all",
        ),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_in_one_line(
    make_host: MakeHost, user_file: Path, content: str, complaint: str
) -> None:
    user_file.write_text(content)
    with pytest.raises(SpecError) as caught:
        all_profiles(make_host())
    message = str(caught.value)
    assert complaint in message
    assert "profiles.toml" in message
    assert "\n" not in message


def test_bytes_that_are_no_text_are_refused(make_host: MakeHost, user_file: Path) -> None:
    user_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="is not TOML"):
        all_profiles(make_host())


def test_profiles_are_values(make_host: MakeHost) -> None:
    profile = find_profile("ml.m5.large", make_host())
    assert profile == dataclasses.replace(profile)
    assert len({profile.name for profile in all_profiles(make_host())}) == len(all_profiles(make_host()))
