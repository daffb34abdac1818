"""Instance profiles: those of the catalogue, those made from this host, and the user's own, with their prices.

The user's own are in ``profiles.toml`` (``profiles_file``), and prices that were set or imported in ``prices.json``
(``prices``), both in the state folder. A price that the user wrote by hand comes first, then one that was set or
imported, then that of the catalogue.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from servefit.checks import check_whole
from servefit.errors import SpecError
from servefit.profiler.machine.instance_profile import LOCAL, USD, InstanceProfile
from servefit.profiler.machine.prices import KnownPrice, read_prices
from servefit.profiler.machine.profiles_file import ProfilesFile, read_profiles_file
from servefit.quantities import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from servefit.profiler.machine.gpu import Gpu
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import Cloud

GIB = 2**30
"""Bytes. Providers sell memory in these."""

HIDDEN_MEMORY = 0.1
"""Firmware and kernel keep part of the memory that a machine is sold with; up to this part may be missing."""


def all_profiles(host: Host) -> tuple[InstanceProfile, ...]:
    """Return every profile there is: the host's own by size, then the catalogue's, then those that the user adds.

    Raises SpecError, naming file and field, for a file of the user that cannot be understood, and StateError.
    """
    catalogue = _catalogue()
    user, prices = read_profiles_file([profile.name for profile in catalogue]), read_prices()
    profiles = {profile.name: profile for profile in (*_of_host(host, _price_of_host(user, prices)), *catalogue)}
    for name, fields in user.profiles.items():
        profiles[name] = _with_fields(name, profiles.get(name), fields, {"price_source": user.source})
    return tuple(
        _priced(profile, prices[profile.name]) if profile.name in prices and not user.prices(profile.name) else profile
        for profile in profiles.values()
    )


def local_profiles(host: Host) -> tuple[InstanceProfile, ...]:
    """Return those of :func:`all_profiles` that are made from ``host``. Raises as that does."""
    names = {profile.name for profile in _of_host(host, None)}
    return tuple(profile for profile in all_profiles(host) if profile.name in names)


def local_profile(host: Host, vcpus: int) -> InstanceProfile:
    """Return the profile of so many vCPUs of ``host``, with its share of the memory and of the price. Raises SpecError
    for none, or for more than there are, and as :func:`all_profiles` does."""
    allowed = usable_cpus(host)
    check_whole("vcpus", vcpus, least=1, most=allowed)
    user, prices = read_profiles_file([profile.name for profile in _catalogue()]), read_prices()
    return _share(host, f"{LOCAL}-{vcpus}c", vcpus, price=_price_of_host(user, prices))


def priced_by_hand() -> frozenset[str]:
    """Return the profiles whose price is in the user's ``profiles.toml``, and "local" if that of this host is there.
    Raises as :func:`all_profiles` does."""
    user = read_profiles_file([profile.name for profile in _catalogue()])
    return frozenset(name for name in (*user.profiles, LOCAL) if user.prices(name))


def profiles_to_consider(host: Host, *, named: Sequence[str], clouds: tuple[Cloud, ...]) -> tuple[InstanceProfile, ...]:
    """Return the profiles that a job considers: those ``named`` and those of ``clouds``; where neither is asked for,
    those made from ``host``. Whether one fits is for :func:`why_not_measurable` to say.

    Raises SpecError for an unknown name, for ``clouds`` without a shape that fits where nothing is named, and as
    :func:`all_profiles` does.
    """
    if not named and not clouds:
        return local_profiles(host)
    considered = [find_profile(name, host) for name in named]
    considered += [profile for profile in all_profiles(host) if profile.cloud in clouds and profile not in considered]
    if clouds and not named and all(why_not_measurable(profile, host) for profile in considered):
        raise _nothing_fits(considered, host, clouds)
    return tuple(considered)


def _nothing_fits(profiles: Iterable[InstanceProfile], host: Host, clouds: tuple[Cloud, ...]) -> SpecError:
    """Return the error for ``clouds`` all of whose ``profiles`` are too large for ``host``, with the smallest."""
    smallest = min(profiles, key=lambda profile: (profile.gpus, profile.vcpus, profile.memory_bytes))
    return SpecError(
        "cloud",
        ", ".join(clouds),
        f"has no shape that fits this host: its smallest, {smallest.name}, {why_not_measurable(smallest, host)}",
        remedy="leave it out for the profiles of this host, or add a smaller shape to profiles.toml",
    )


def find_profile(name: str, host: Host) -> InstanceProfile:
    """Return the profile called ``name``. Raises SpecError with the closest name, and as :func:`all_profiles` does."""
    profiles = {profile.name: profile for profile in all_profiles(host)}
    if name not in profiles:
        raise SpecError.unknown("profile", name, list(profiles))
    return profiles[name]


def why_not_measurable(profile: InstanceProfile, host: Host) -> str | None:
    """Return why ``host`` cannot be made into ``profile``, as in "needs 48 vCPUs, this host has 2"; None if it can."""
    if profile.vcpus > host.logical_cpus:
        return f"needs {profile.vcpus} vCPUs, this host has {host.logical_cpus}"
    if profile.memory_bytes * (1 - HIDDEN_MEMORY) > host.memory_bytes:
        return f"needs {size_text(profile.memory_bytes)} of memory, this host has {size_text(host.memory_bytes)}"
    if profile.gpus == 0:
        return None
    model = profile.gpu_model or "NVIDIA"
    if not host.gpus:
        return f"needs {_count(profile.gpus, model)}, and {host.no_gpu_reason}"
    matching = sum(_is_model(gpu.model, profile.gpu_model) for gpu in host.gpus)
    if matching < profile.gpus:
        present = ", ".join(sorted({gpu.model for gpu in host.gpus}))
        return f"needs {_count(profile.gpus, model)}, this host has {matching} (its GPUs: {present})"
    return None


def gpu_for(profile: InstanceProfile, gpus: Iterable[Gpu]) -> int | None:
    """Return the number of the first of ``gpus`` that is of the profile's model, which stands for all of them; None
    for a profile without, or where there is none such."""
    if profile.gpus == 0:
        return None
    return next((gpu.index for gpu in gpus if _is_model(gpu.model, profile.gpu_model)), None)


def _count(gpus: int, model: str) -> str:
    return f"{gpus} {model} GPU{'s' if gpus > 1 else ''}"


def _is_model(installed: str, wanted: str | None) -> bool:
    """Return whether a GPU is of the model that a profile asks for: "Tesla T4" is a "T4"."""
    return wanted is None or _words(wanted) <= _words(installed)


def _words(model: str) -> set[str]:
    return set(model.lower().replace("-", " ").split())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Priced:
    """The price of the whole host, and what is known of it, as fields of a profile."""

    per_hour: float
    about: Mapping[str, Any]


def _price_of_host(user: ProfilesFile, prices: Mapping[str, KnownPrice]) -> _Priced | None:
    if user.local_price_per_hour is not None:
        about = {"price_source": user.source, "currency": user.local_currency}
        return _Priced(per_hour=user.local_price_per_hour, about=about)
    if (price := prices.get(LOCAL)) is None:
        return None
    return _Priced(per_hour=price.per_hour, about=_about(price))


def _about(price: KnownPrice) -> dict[str, Any]:
    """Return what is known of a price beside the amount, as fields of a profile."""
    return {
        "price_source": price.source,
        "currency": price.currency,
        "region": price.region,
        "price_date": price.date,
    }


def _priced(profile: InstanceProfile, price: KnownPrice) -> InstanceProfile:
    return replace(profile, price_per_hour=price.per_hour, **_about(price))


def _of_host(host: Host, price: _Priced | None) -> list[InstanceProfile]:
    """Return local-1c, local-2c, local-4c ... up to all vCPUs, and one per GPU, with shares of memory and price."""
    allowed = usable_cpus(host)
    sizes = [2**power for power in range(allowed.bit_length()) if 2**power < allowed] + [allowed]
    on_cpus = [_share(host, f"{LOCAL}-{size}c", size, price=price) for size in sizes]
    of_gpu = max(1, allowed // max(1, len(host.gpus)))
    return on_cpus + [
        _share(host, f"{LOCAL}-gpu{gpu.index}", of_gpu, gpu_model=gpu.model, price=price) for gpu in host.gpus
    ]


def usable_cpus(host: Host) -> int:
    """Return how many vCPUs of ``host`` may be used at once."""
    quota = host.cgroups.cpu_quota
    return host.logical_cpus if quota is None else max(1, min(host.logical_cpus, int(quota)))


def _share(
    host: Host, name: str, vcpus: int, *, gpu_model: str | None = None, price: _Priced | None
) -> InstanceProfile:
    allowed = usable_cpus(host)
    own = InstanceProfile(
        name=name,
        vcpus=vcpus,
        memory_bytes=host.memory_bytes * vcpus // allowed,
        gpus=0 if gpu_model is None else 1,
        gpu_model=gpu_model,
    )
    return own if price is None else replace(own, price_per_hour=price.per_hour * vcpus / allowed, **price.about)


def _catalogue() -> list[InstanceProfile]:
    content = tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text())
    return [
        _with_fields(name, None, {**fields, "cloud": cloud}, {key: of[key] for key in _ABOUT_PRICES if key in of})
        for cloud, of in content.items()
        for name, fields in of["profiles"].items()
    ]


_ABOUT_PRICES = ("price_source", "currency", "region", "price_date")
"""Fields of the catalogue on all prices of a cloud."""


def _with_fields(
    name: str, base: InstanceProfile | None, fields: Mapping[str, Any], about_price: Mapping[str, Any]
) -> InstanceProfile:
    """Return the profile ``base`` with ``fields`` replaced, or a new one made of them. ``about_price`` holds the
    currency, region and date of a price among ``fields`` that lacks them."""
    changes = {key: value for key, value in fields.items() if key != "memory_gib"}
    if "memory_gib" in fields:
        changes["memory_bytes"] = round(fields["memory_gib"] * GIB)
    if "price_per_hour" in fields:
        # Currency, region and date of the earlier price do not apply to this one.
        unknown: dict[str, Any] = {"currency": USD, "region": None, "price_date": None}
        changes = {**unknown, **about_price, **changes}
    return InstanceProfile(name=name, **changes) if base is None else replace(base, **changes)
