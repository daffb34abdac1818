"""The options of a job on the command line, made from the keys of a config file, and their values from what is typed.

The meaning, the default and the description of a key are declared once, in ``JobConfig``. This module only parses the
values that a shell spells in another way than YAML; what they are then is checked where those of a file are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import msgspec
from msgspec import UNSET, Meta

from servefit.cli.completion import backend_names, goal_names, profile_names, shape_names
from servefit.cli.phases import parse_phase, parse_stairs, zero_or_text
from servefit.cli.signatures import option, with_parameters
from servefit.errors import SpecError
from servefit.search.request.config_problems import checked_config
from servefit.search.request.config_schema import NO_OPTIONS, JobConfig
from servefit.search.request.job_request import parse_batch_sizes, split_range

if TYPE_CHECKING:
    from collections.abc import Collection

REPEATABLE = frozenset({"sla", "profile", "cloud", "backend", "env", "secret_env", "phase"})
_SHORT = {"backend": ("-b",)}
_OTHERWISE_NAMED = {"http": ("--http/--no-http",)}
_COMPLETED = {"profile": profile_names, "backend": backend_names, "goal": goal_names, "arrivals": shape_names}
_SPELLED: Mapping[str, Callable[[Any], Any]] = {
    "env": lambda texts: [_range(text) for text in texts],
    "batch": lambda text: list(parse_batch_sizes(text)),
    "phase": lambda texts: [parse_phase(text) for text in texts],
    "stairs": lambda text: parse_stairs(text),
    "flat_invocations": lambda text: text.lower(),
    "wait": zero_or_text,
}
"""Parsers of the values that a shell spells in another way than YAML: those that are no text, number or list of
texts."""


def with_job_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` an option for every key of a job, in place of its ``**job``."""
    return with_parameters(command, command, added=_parameters(), in_place_of="job")


def config_with_options(
    config: JobConfig, job: Mapping[str, Any], chosen: Collection[str], *, no_wait: bool
) -> JobConfig:
    """Return ``config`` with the ``chosen`` options of ``job``, and with ``no_wait``. Raises SpecError for an invalid
    value, in the words of job files."""
    typed = {key: _SPELLED.get(key, lambda value: value)(job[key]) for key in job if key in chosen}
    checked = checked_config(msgspec.to_builtins(typed))
    changes: dict[str, Any] = {key: getattr(checked, key) for key in typed}
    if "secret_env" in changes:
        changes["secret_env"] = [*(config.secret_env or ()), *changes["secret_env"]]
    if "phase" in changes and "stairs" not in changes:
        changes["stairs"] = UNSET
    if "stairs" in changes and "phase" not in changes:
        changes["phase"] = UNSET
    if no_wait:
        if "wait" in changes:
            raise SpecError("no-wait", None, "cannot be combined with --wait", remedy="give one of them")
        changes["wait"] = 0
    return msgspec.structs.replace(config, **changes)


def of_job(key: str, about: str | None = None) -> Any:
    """Declare the option of another command that a job has for its ``key``, with a line ``about`` it where it means
    something else there."""
    described = _described(key)
    form = described["form"]
    usual = f"{described['help']} Repeatable." if key in REPEATABLE else described["help"]
    names = _OTHERWISE_NAMED.get(key, (f"--{key.replace('_', '-')}", *_SHORT.get(key, ())))
    return option(about or usual, described["panel"], form, *names, complete=_COMPLETED.get(key))


@cache
def _hints() -> Mapping[str, Any]:
    return get_type_hints(JobConfig, include_extras=True)


def _described(key: str) -> Mapping[str, Any]:
    return next(meta.extra for meta in _hints()[key].__metadata__ if isinstance(meta, Meta) and meta.extra)


def _parameters() -> Iterator[inspect.Parameter]:
    for field in msgspec.structs.fields(JobConfig):
        if field.encode_name in NO_OPTIONS:
            continue
        key = field.name
        default = None if field.default is UNSET else field.default
        kind: Any = type(default) if isinstance(default, int | float) else str
        if key in REPEATABLE:
            kind = list[str]
        elif _described(key)["form"] == "TESTS":
            kind = int
        yield inspect.Parameter(
            key,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind if default is not None else kind | None, of_job(key)],
        )


def _range(text: str) -> dict[str, Any]:
    variable, values = split_range(text)
    return {"variable": variable, "values": list(values)}
