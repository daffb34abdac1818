"""Errors of a config file, as a person reads them: the path within the file, the value, and a remedy.

msgspec says what it expected; here that becomes words, and a hint at what was probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from servefit.backends.secret import is_secret
from servefit.errors import SpecError
from servefit.search.request.config_schema import JobConfig, PhaseConfig, RangeConfig, StairsConfig
from servefit.search.request.goals import OBJECTIVES

_COMMAND_LINE_ALONE = ("trust_pickle", "storage", "format", "quiet", "log_level")
"""Options for whoever runs a job to give, and not for whoever wrote the file."""

_FORMS = {
    "sla": "p95: 10ms",
    "rate": "500/s or 30000/min",
    "budget": "60s or 2m",
    "duration": "120s or 2m",
    "spawn": "2/min",
    "batch_delay": "500us or 1ms",
    "name": "fraud-2: letters, digits, dots and dashes, 63 at most",
    "env": "OMP_NUM_THREADS",
    "variable": "OMP_NUM_THREADS",
}
_UNITS = {"sla": "ms", "rate": "/s", "budget": "s", "duration": "s", "spawn": "/min", "batch_delay": "ms"}
_CHOICES: dict[str, Callable[[], Sequence[str]]] = {
    "goal": OBJECTIVES.names,
    "flat_invocations": lambda: ("stop", "continue"),
}
_TYPES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_PLACE = re.compile(r" - at (`key` in )?`\$[^`]*`$")
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<nth>[0-9]+)\]|\[\.\.\.\]")
_LIMIT_WITHOUT_PERCENTILE = re.compile(r"sla(\[[0-9]+\])?")
_MAX_SHOWN = 60
"""Characters of a value that an error repeats, so that it stays on a line. Chosen, not measured."""


def config_error(document: Mapping[str, Any], message: str) -> SpecError:
    """Return the error for ``document``, of which msgspec says ``message``."""
    problem, _, place = message.rpartition(" - at ") if _PLACE.search(message) else (message, "", "")
    place, of_key = place.strip("`"), place.startswith("`key`")
    path = ""
    value: Any = document
    for step in _STEP.finditer(place.partition("$")[2] + ("[...]" if of_key else "")):
        if step["nth"]:
            path, value = f"{path}[{step['nth']}]", value[int(step["nth"])]
        else:
            name = step["name"] or _wrong_key(path, value)
            path, value = f"{path}.{name}".lstrip("."), value[name]
    return _problem(problem, path, path.partition(".")[2] if of_key else value, secret=_is_secret_value(document, path))


def _is_secret_value(document: Mapping[str, Any], path: str) -> bool:
    """Return whether the value at ``path`` is that of a variable that nobody is to read."""
    place = re.match(r"env(?:\.(?P<name>[^.\[]+)|\[(?P<nth>[0-9]+)\]\.values)", path)
    if place is None:
        return False
    name = place["name"] or str(document["env"][int(place["nth"])].get("variable", ""))
    return is_secret(name) or name in (document.get("secret_env") or ())


def _wrong_key(field: str, mapping: Mapping[str, Any]) -> str:
    """Return the first key of the mapping at ``field`` that is wrong, or has a value that is: msgspec does not say
    which."""
    for key, value in mapping.items():
        try:
            msgspec.convert({field: {key: value}}, JobConfig)
        except msgspec.ValidationError:
            return key
    raise AssertionError(f"nothing is wrong with {field}")


def _problem(problem: str, path: str, value: Any, *, secret: bool) -> SpecError:
    if key := re.fullmatch(r"Object contains unknown field `(.*)`", problem, re.DOTALL):
        return _unknown(path, key[1])
    if value is None:
        return SpecError(path, None, "has no value", remedy="give it one, or leave it out")
    first, *others = re.findall(r"[^.\[\]]+", path)
    kind = others[-1] if others and first in ("phase", "stairs") else first
    shown = value if len(repr(value)) <= _MAX_SHOWN and not secret else None
    if key := re.fullmatch(r"Object missing required field `(.*)`", problem):
        return SpecError(path, shown, f"has no {key[1]}")
    if kind in _CHOICES:
        return SpecError.unknown(path, str(value), _CHOICES[kind]())
    if kind in _UNITS and type(value) in (int, float) and not _LIMIT_WITHOUT_PERCENTILE.fullmatch(path):
        return SpecError(path, value, "has no unit", remedy=f"write {value}{_UNITS[kind]}")
    if "matching regex" in problem:
        return SpecError(path, shown, f"does not look like {_FORMS[kind]}")
    return _type_error(problem, path, shown)


def _type_error(problem: str, path: str, shown: Any) -> SpecError:
    """Return the error for a value of the wrong type or size."""
    if "of length >= 1" in problem:
        return SpecError(path, shown, "is empty", remedy="leave it out, or name at least one")
    if bound := re.fullmatch(r"Expected `\w+` (>=|<=) (\S+)", problem):
        return SpecError(path, shown, f"is {'below' if bound[1] == '>=' else 'above'} {bound[2].removesuffix('.0')}")
    if types := re.fullmatch(r"Expected `(.*)`, got `(.*)`", problem):
        wanted = " or ".join(_TYPES[name] for name in types[1].split(" | "))
        given = "a boolean" if types[2] == "bool" else _TYPES[types[2]]
        quotes = "str" in types[1] and types[2] in ("int", "float", "bool")
        return SpecError(path, shown, f"is {given}, not {wanted}", remedy="write it in quotes" if quotes else None)
    return SpecError(path, shown, f"is not understood: {problem}")


def _unknown(path: str, key: str) -> SpecError:
    if not path and key in _COMMAND_LINE_ALONE:
        option = f"--{key.replace('_', '-')}"
        return SpecError(path, key, "is for the command line alone", remedy=f"say {option} there")
    structs = {"": JobConfig, "phase": PhaseConfig, "stairs": StairsConfig, "env": RangeConfig}
    return SpecError.unknown(path, key, structs[path.partition("[")[0]].__struct_encode_fields__)
