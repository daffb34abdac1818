"""The user's own profiles and prices: ``profiles.toml`` in the state folder, which people write by hand.

An entry adds a profile or replaces single fields of one that exists, and ``[local]`` prices this host::

    [profiles."ml.c5.xlarge"]
    price_per_hour = 0.204
    currency = "USD"            # the default
    region = "us-east-1"
    price_date = "2026-11-28"

    [profiles."rack-7"]
    vcpus = 16
    memory_gib = 64

    [local]                     # either price_per_hour, or what the machine costs its owner:
    purchase_price = 4200.0
    lifetime_hours = 26280
    watts = 180                 # both or neither
    price_per_kwh = 0.30
    currency = "EUR"

What becomes of it is in ``profiles``.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from servefit.checks import check_above_zero, check_at_least, check_whole
from servefit.errors import SpecError
from servefit.profiler.machine.instance_profile import CLOUDS, USD
from servefit.profiler.machine.prices import owners_price_per_hour
from servefit.quantities import parse_currency
from servefit.state import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise SpecError(field, value, "is not a text")


def _check_currency(field: str, value: object) -> None:
    _check_text(field, value)
    if parse_currency(field, str(value)) != value:
        raise SpecError(field, value, "is not in capital letters")


def _check_date(field: str, value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}(-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01]))?", value):
        raise SpecError(field, value, 'is not a date such as "2026-11-28" or "2026"')


def _check_cloud(field: str, value: object) -> None:
    if value not in CLOUDS:
        raise SpecError.unknown(field, value, CLOUDS)


_check_not_negative = partial(check_at_least, least=0)

_PROFILE_FIELDS: Mapping[str, Callable[[str, Any], None]] = {
    "vcpus": partial(check_whole, least=1),
    "memory_gib": check_above_zero,
    "gpus": partial(check_whole, least=0),
    "gpu_model": _check_text,
    "cloud": _check_cloud,
    "price_per_hour": check_above_zero,
    "price_source": _check_text,
    "currency": _check_currency,
    "region": _check_text,
    "price_date": _check_date,
}
_LOCAL_FIELDS: Mapping[str, Callable[[str, Any], None]] = {
    "price_per_hour": check_above_zero,
    "purchase_price": _check_not_negative,
    "lifetime_hours": check_above_zero,
    "watts": _check_not_negative,
    "price_per_kwh": _check_not_negative,
    "currency": _check_currency,
}
"""The fields of the file, each with its check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilesFile:
    """The contents of the file, validated. ``source`` is how prices from it are labelled."""

    source: str
    profiles: Mapping[str, Mapping[str, Any]]
    local_price_per_hour: float | None
    local_currency: str

    def prices(self, name: str) -> bool:
        """Return whether the file has a price for the profile ``name``, or for this host if that is "local"."""
        if name == "local":
            return self.local_price_per_hour is not None
        return "price_per_hour" in self.profiles.get(name, {})


def profiles_path() -> Path:
    """Return where the file is, or would be. Raises StateError."""
    return state_folder() / "profiles.toml"


def read_profiles_file(existing: Collection[str]) -> ProfilesFile:
    """Return the contents of the file; ``existing`` are the names of the profiles of the catalogue. Raises SpecError,
    naming file and field, for one that cannot be understood, and StateError."""
    path = profiles_path()
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
    for name, entry in profiles.items():
        fields = _check_fields(path, f"profiles.{name}", entry, _PROFILE_FIELDS)
        is_new = name not in existing and not name.startswith("local-")
        if is_new and (missing := [key for key in ("vcpus", "memory_gib") if key not in fields]):
            raise SpecError(f"{path}: profiles.{name}", name, f"is a new profile without {' and '.join(missing)}")
    local = _check_fields(path, "local", content.get("local", {}), _LOCAL_FIELDS)
    return ProfilesFile(
        source=path.name,
        profiles=profiles,
        local_price_per_hour=_local_price(path, local),
        local_currency=local.get("currency", USD),
    )


def _local_price(path: Path, local: Mapping[str, Any]) -> float | None:
    """Return the price of an hour of the whole host: as stated, or from purchase price, lifetime and electricity."""
    amounts = {key: value for key, value in local.items() if key != "currency"}
    for first, second in (("purchase_price", "lifetime_hours"), ("watts", "price_per_kwh")):
        for name, needed in ((first, second), (second, first)):
            if name in amounts and needed not in amounts:
                raise SpecError(f"{path}: local.{name}", amounts[name], f"is of no use without {needed}")
    if "price_per_hour" in amounts:
        if len(amounts) > 1:
            raise SpecError(f"{path}: local.price_per_hour", amounts["price_per_hour"], "already says it all")
        return float(amounts["price_per_hour"])
    if not amounts:
        return None
    price = owners_price_per_hour(**amounts)
    check_above_zero(f"{path}: local: the price of an hour", price)
    return price


def _table(path: Path, where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SpecError(f"{path}: {where}", value, "is not a table")
    return value


def _check_keys(path: Path, where: str, table: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in table:
        if key not in keys:
            raise SpecError.unknown(f"{path}: {where or 'top level'}", key, keys)


def _check_fields(
    path: Path, where: str, value: object, fields: Mapping[str, Callable[[str, Any], None]]
) -> Mapping[str, Any]:
    """Return the table ``value`` if it has no keys but ``fields``, with values that their checks accept."""
    table = _table(path, where, value)
    _check_keys(path, where, table, tuple(fields))
    for key, entry in table.items():
        fields[key](f"{path}: {where}.{key}", entry)
    return table
