"""Inventory files: ``hosts.toml``, checked once, here. Each error names the file, the table and the key.

::

    [defaults]
    python = "/opt/sf/bin/python"

    [host.rack3-07]
    ssh = "root@10.0.3.7"
    address = "10.0.3.7"
    labels = {rack = "3"}
    cost = {per_hour = 0.21}
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from servefit.errors import SpecError
from servefit.field_types import check_type
from servefit.quantities import parse_duration_s
from servefit.search.fleet.launching.agent_options import (
    AgentOptions,
    check_agent_name,
    check_cost,
    check_labels,
)
from servefit.search.fleet.launching.inventory import (
    DEFAULT_PYTHON,
    InventoryHost,
    address_of,
    check_destination,
    check_line,
    check_port,
    check_python,
    check_ssh_options,
)
from servefit.search.fleet.plan.balancers.servers import check_address
from servefit.search.request.job_request import check_variable

MAX_BYTES = 1_000_000
"""A host takes about a hundred bytes; what is longer is some other file."""

_EXAMPLE = 'write [host.NAME] and ssh = "user@address" for each host'

_Check = Callable[[str, Any], object]


def _check_variables(field: str, names: list[Any]) -> None:
    for number, name in enumerate(names):
        check_type(f"{field}[{number}]", name, str)
        check_variable(f"{field}[{number}]", name)


_KEYS: Mapping[str, tuple[type, _Check | None]] = {
    "ssh": (str, check_destination),
    "address": (str, check_address),
    "python": (str, check_python),
    "port": (int, check_port),
    "identity": (str, check_line),
    "options": (dict, check_ssh_options),
    "labels": (dict, check_labels),
    "cost": (dict, check_cost),
    "idle_exit": (str, parse_duration_s),
    "allow_env": (list, _check_variables),
    "trust_pickle": (bool, None),
    "trust_code": (bool, None),
}
"""The keys of a table: the type of each, and the check of its value."""

_FORMS = {dict: ("table", '{name = "value"}'), list: ("list", '["NAME"]')}

_DEFAULTS = "defaults"
_HOST = "host"
_OWN = ("ssh", "address")
"""Keys that are not one for all hosts."""

_JOINED = ("options", "labels")
"""Keys whose tables are joined with those of the defaults, the host's own entries first."""


def read_inventory(path: Path) -> tuple[InventoryHost, ...]:
    """Return the hosts in the file at ``path``, in its order. Paths of identities are relative to its folder. Raises
    SpecError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError("hosts", str(path), f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SpecError("hosts", str(path), f"is no inventory: it has more than {MAX_BYTES:,} bytes")
    return parse_inventory(content, str(path), folder=path.parent)


def parse_inventory(content: bytes, source: str, *, folder: Path = Path()) -> tuple[InventoryHost, ...]:
    """Return the hosts in ``content``; ``source`` names it in errors. Raises SpecError."""
    try:
        document = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SpecError("hosts", source, "is not UTF-8 text") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SpecError("hosts", source, f"cannot be read as TOML: {error}") from error
    for key in document:
        if key not in (_DEFAULTS, _HOST):
            raise SpecError.unknown(source, key, (_DEFAULTS, _HOST))
    defaults = _table(f"{source}: {_DEFAULTS}", document.get(_DEFAULTS, {}))
    for key in _OWN:
        if key in defaults:
            raise SpecError(f"{source}: {_DEFAULTS}.{key}", defaults[key], "is not one for all", remedy=_EXAMPLE)
    hosts = document.get(_HOST, {})
    if not isinstance(hosts, dict) or not hosts:
        raise SpecError("hosts", source, "names no host", remedy=_EXAMPLE)
    return tuple(_host(f"{source}: {_HOST}.{name}", name, defaults, own, folder) for name, own in hosts.items())


def _table(place: str, table: Any) -> dict[str, Any]:
    """Return ``table``, at ``place`` in a file, with its keys and their values checked."""
    if not isinstance(table, dict):
        raise SpecError(place, table, "is no table", remedy=_EXAMPLE)
    for key, value in table.items():
        if key not in _KEYS:
            raise SpecError.unknown(place, key, tuple(_KEYS))
        field, (kind, check) = f"{place}.{key}", _KEYS[key]
        if kind in _FORMS and not isinstance(value, kind):
            what, like = _FORMS[kind]
            raise SpecError(field, value, f"is no {what}", remedy=f"write {key} = {like}")
        if kind not in _FORMS:
            check_type(field, value, kind)
        if key in _JOINED:
            for name, text in value.items():
                check_type(f"{field}.{name}", text, str)
        if check is not None:
            check(field, value)
    return table


def _host(place: str, name: str, defaults: Mapping[str, Any], own: Any, folder: Path) -> InventoryHost:
    check_agent_name(place, name)
    own = _table(place, own)
    if "ssh" not in own:
        raise SpecError(place, None, "has no ssh", remedy='write where it is, as in ssh = "user@address"')
    settings = {**defaults, **own}
    joined = {key: {**defaults.get(key, {}), **own.get(key, {})} for key in _JOINED}
    identity, idle_exit = settings.get("identity"), settings.get("idle_exit")
    return InventoryHost(
        name=name,
        destination=settings["ssh"],
        python=settings.get("python", DEFAULT_PYTHON),
        port=settings.get("port"),
        identity=None if identity is None else _identity(f"{place}.identity", identity, folder),
        options=joined["options"],
        agent=AgentOptions(
            name=name,
            address=settings.get("address", address_of(settings["ssh"])),
            labels=joined["labels"],
            cost=settings.get("cost", {}),
            idle_exit_s=None if idle_exit is None else parse_duration_s("idle_exit", idle_exit),
            allow_env=tuple(settings.get("allow_env", ())),
            trust_pickle=settings.get("trust_pickle", False),
            trust_code=settings.get("trust_code", False),
        ),
    )


def _identity(field: str, text: str, folder: Path) -> Path:
    """Return the absolute path of a key that is there."""
    try:
        path = folder.absolute() / Path(text).expanduser()
    except RuntimeError as error:
        raise SpecError(field, text, "names the home folder of an unknown user") from error
    if not path.is_file():
        raise SpecError(field, text, "is no file", remedy="write a path from the folder of the inventory, or from ~")
    return path
