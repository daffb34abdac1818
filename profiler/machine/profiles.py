"""Instance profiles: those of the catalogue, those made from this host, and the user's own.

The user's file is ``profiles.toml`` in the state folder. An entry adds a profile or replaces single fields of one that
exists, and ``[local]`` prices this host::

    [profiles."ml.c5.xlarge"]
    price_per_hour = 0.204

    [profiles."rack-7"]
    vcpus = 16
    memory_gib = 64

    [local]                     # either price_per_hour, or what the machine costs its owner:
    purchase_price = 4200.0
    lifetime_hours = 26280
    watts = 180                 # both or neither
    price_per_kwh = 0.30
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from servefit.checks import check_above_zero, check_at_least, check_whole
from servefit.errors import SpecError
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.quantities import size_text
from servefit.state import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from servefit.profiler.machine.gpu import Gpu
    from servefit.profiler.machine.host import Host

GIB = 2**30
"""Bytes. Providers sell memory in these."""

HIDDEN_MEMORY = 0.1
"""Firmware and kernel keep part of the memory that a machine is sold with; up to this part may be missing."""


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise SpecError(field, value, "is not a text")


_check_not_negative = partial(check_at_least, least=0)

_PROFILE_FIELDS: Mapping[str, Callable[[str, Any], None]] = {
    "vcpus": partial(check_whole, least=1),
    "memory_gib": check_above_zero,
    "gpus": partial(check_whole, least=0),
    "gpu_model": _check_text,
    "price_per_hour": _check_not_negative,
    "price_source": _check_text,
}
_LOCAL_FIELDS: Mapping[str, Callable[[str, Any], None]] = {
    "price_per_hour": _check_not_negative,
    "purchase_price": _check_not_negative,
    "lifetime_hours": check_above_zero,
    "watts": _check_not_negative,
    "price_per_kwh": _check_not_negative,
}
"""The fields of the user's file, each with its check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _UserFile:
    """The contents of the user's file, validated. ``source`` is how prices from it are labelled."""

    source: str
    profiles: Mapping[str, Mapping[str, Any]]
    local_price_per_hour: float | None


def all_profiles(host: Host) -> tuple[InstanceProfile, ...]:
    """Return every profile there is: the host's own by size, then the catalogue's, then those that the user adds.

    Raises SpecError, naming file and field, for a user's file that cannot be understood, and StateError.
    """
    user = _read_user_file()
    profiles = {profile.name: profile for profile in (*_of_host(host, user), *_catalogue())}
    for name, fields in user.profiles.items():
        profiles[name] = _with_fields(name, profiles.get(name), fields, user.source)
    return tuple(profiles.values())


def local_profiles(host: Host) -> tuple[InstanceProfile, ...]:
    """Return those of :func:`all_profiles` that are made from ``host``. Raises as that does."""
    names = {profile.name for profile in _of_host(host, _read_user_file())}
    return tuple(profile for profile in all_profiles(host) if profile.name in names)


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


def _of_host(host: Host, user: _UserFile) -> list[InstanceProfile]:
    """Return local-1c, local-2c, local-4c ... up to all vCPUs, and one per GPU, with shares of memory and price."""
    allowed = host.logical_cpus
    if host.cgroups.cpu_quota is not None:
        allowed = max(1, min(allowed, int(host.cgroups.cpu_quota)))
    sizes = [2**power for power in range(allowed.bit_length()) if 2**power < allowed] + [allowed]

    def share(name: str, vcpus: int, gpu_model: str | None) -> InstanceProfile:
        price = user.local_price_per_hour
        return InstanceProfile(
            name=name,
            vcpus=vcpus,
            memory_bytes=host.memory_bytes * vcpus // allowed,
            gpus=0 if gpu_model is None else 1,
            gpu_model=gpu_model,
            price_per_hour=None if price is None else price * vcpus / allowed,
            price_source=None if price is None else user.source,
        )

    on_cpus = [share(f"local-{size}c", size, None) for size in sizes]
    return on_cpus + [share(f"local-gpu{gpu.index}", max(1, allowed // len(host.gpus)), gpu.model) for gpu in host.gpus]


def _catalogue() -> list[InstanceProfile]:
    content = tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text())
    return [_with_fields(name, None, fields, content["price_source"]) for name, fields in content["profiles"].items()]


def _with_fields(
    name: str, known: InstanceProfile | None, fields: Mapping[str, Any], price_source: str
) -> InstanceProfile:
    """Return the profile ``known`` with ``fields`` replaced, or a new one made of them."""
    changes = {key: value for key, value in fields.items() if key != "memory_gib"}
    if "memory_gib" in fields:
        changes["memory_bytes"] = round(fields["memory_gib"] * GIB)
    if "price_per_hour" in fields:
        changes.setdefault("price_source", price_source)
    return InstanceProfile(name=name, **changes) if known is None else replace(known, **changes)


def _read_user_file() -> _UserFile:
    path = state_folder() / "profiles.toml"
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        content = {}
    except OSError as error:
        raise SpecError("profiles file", str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # TOMLDecodeError, or bytes that are not UTF-8
        raise SpecError("profiles file", str(path), f"is not TOML: {error}") from error
    _check_keys(path, "", content, ("profiles", "local"))
    profiles = _table(path, "profiles", content.get("profiles", {}))
    existing = {profile.name for profile in _catalogue()}
    for name, entry in profiles.items():
        fields = _check_fields(path, f"profiles.{name}", entry, _PROFILE_FIELDS)
        is_new = name not in existing and not name.startswith("local-")
        if is_new and (missing := [key for key in ("vcpus", "memory_gib") if key not in fields]):
            raise SpecError(f"{path}: profiles.{name}", name, f"is a new profile without {' and '.join(missing)}")
    local = _check_fields(path, "local", content.get("local", {}), _LOCAL_FIELDS)
    return _UserFile(source=path.name, profiles=profiles, local_price_per_hour=_local_price(path, local))


def _local_price(path: Path, local: Mapping[str, float]) -> float | None:
    """Return what an hour of the whole host costs: as stated, or purchase price over lifetime, and electricity."""
    for first, second in (("purchase_price", "lifetime_hours"), ("watts", "price_per_kwh")):
        for given, needed in ((first, second), (second, first)):
            if given in local and needed not in local:
                raise SpecError(f"{path}: local.{given}", local[given], f"is of no use without {needed}")
    if "price_per_hour" in local:
        if len(local) > 1:
            raise SpecError(f"{path}: local.price_per_hour", local["price_per_hour"], "already says it all")
        return local["price_per_hour"]
    if not local:
        return None
    electricity = local.get("watts", 0) * local.get("price_per_kwh", 0) / 1000
    return local.get("purchase_price", 0) / local.get("lifetime_hours", 1) + electricity


def _table(path: Path, where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SpecError(f"{path}: {where}", value, "is not a table")
    return value


def _check_keys(path: Path, where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise SpecError.unknown(f"{path}: {where or 'top level'}", key, known)


def _check_fields(
    path: Path, where: str, value: object, fields: Mapping[str, Callable[[str, Any], None]]
) -> Mapping[str, Any]:
    """Return the table ``value`` if it has no keys but ``fields``, with values that their checks accept."""
    table = _table(path, where, value)
    _check_keys(path, where, table, tuple(fields))
    for key, given in table.items():
        fields[key](f"{path}: {where}.{key}", given)
    return table
