"""The check of a job's options, wherever they come from, and the words for what is wrong with them.

A job file, the command line and Python hand over the same document, so the same mistake reads the same in all three:
the path within the document, the value, and a remedy. msgspec says what it expected; here that becomes words. A text
that does not have the form of its option is given to the option's own parser, which knows best what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, get_args

import msgspec

from servefit.backends.variables.secret import is_secret
from servefit.errors import MAX_VALUE_CHARACTERS, SpecError
from servefit.field_types import WORDS
from servefit.profiler.evidence.summary import percentile_name
from servefit.quantities import (
    parse_delay_us,
    parse_duration_ms,
    parse_duration_s,
    parse_rate_per_min,
    parse_rate_per_s,
)
from servefit.search.request.config_schema import JobConfig, PhaseConfig, RangeConfig, StairsConfig
from servefit.search.request.goals import OBJECTIVES
from servefit.search.request.job_request import Deployed, SpelledFlatInvocations, check_name, check_variable

_COMMAND_LINE_ALONE = ("trust_pickle", "trust_code", "storage", "format", "quiet", "log_level")
"""Options that the command line alone accepts: who runs a job decides them, not who wrote its file."""

_FORMS = {
    "percentile": "p95",
    "sla": "10ms or 1s",
    "rate": "500/s or 30000/min",
    "budget": "60s or 2m",
    "wait": "60s or 2m",
    "duration": "120s or 2m",
    "spawn": "2/min",
    "batch_delay": "500us or 1ms",
    "input": "zeros, a number, or float32[rows,3]",
}
"""Examples of texts that both the schema and the parser of their option take."""

_PARSERS: Mapping[str, Callable[[str, str], object]] = {
    "percentile": lambda path, text: percentile_name(text, field=path),
    "sla": parse_duration_ms,
    "rate": lambda path, text: parse_rate_per_s(text, field=path),
    "budget": parse_duration_s,
    "wait": parse_duration_s,
    "duration": parse_duration_s,
    "spawn": parse_rate_per_min,
    "batch_delay": parse_delay_us,
    "name": check_name,
    "env": check_variable,
    "secret_env": check_variable,
    "variable": check_variable,
}
_CHOICES: dict[str, Callable[[], Sequence[str]]] = {
    "goal": OBJECTIVES.names,
    "flat_invocations": lambda: get_args(SpelledFlatInvocations),
    "deploy": lambda: get_args(Deployed),
}
_TYPES = {**{kind.__name__: words for kind, words in WORDS.items()}, "array": "a list", "object": "a mapping"}
"""The words of errors for the types of msgspec's messages."""
_PLACE = re.compile(r" - at (`key` in )?`\$[^`]*`$")
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<nth>[0-9]+)\]|\[\.\.\.\]")
_LIMITS_WITHOUT_PERCENTILE = re.compile(r"sla(\[[0-9]+\])?")


def checked_config(document: Mapping[str, Any]) -> JobConfig:
    """Return ``document`` as a config. Raises SpecError for an option that is not known, or that cannot have its
    value."""
    try:
        return msgspec.convert(document, JobConfig)
    except msgspec.ValidationError as error:
        raise _config_error(document, str(error)) from error


def _config_error(document: Mapping[str, Any], message: str) -> SpecError:
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
    if of_key:
        key = path.partition(".")[2]
        kind = "percentile" if path.startswith("sla.") else "variable"
        return _parser_error(kind, path, key) or SpecError(path, key, f"does not look like {_FORMS[kind]}")
    return _problem(problem, path, value, secret=_is_secret_value(document, path))


def _is_secret_value(document: Mapping[str, Any], path: str) -> bool:
    """Return whether the value at ``path`` is that of a secret variable."""
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
        return SpecError.without_value(path)
    first, *others = re.findall(r"[^.\[\]]+", path)
    kind = others[-1] if others and first in ("phase", "stairs") else first
    shown = value if len(repr(value)) <= MAX_VALUE_CHARACTERS and not secret else None
    if key := re.fullmatch(r"Object missing required field `(.*)`", problem):
        return SpecError(path, shown, f"has no {key[1]}")
    if kind in _CHOICES:
        return SpecError.unknown(path, str(value), _CHOICES[kind]())
    has_unit = kind in _FORMS and kind in _PARSERS and not _LIMITS_WITHOUT_PERCENTILE.fullmatch(path)
    lacks_unit = type(value) in (int, float) and has_unit
    if lacks_unit or "matching regex" in problem:
        return _parser_error(kind, path, value) or SpecError(path, shown, f"does not look like {_FORMS[kind]}")
    return _type_error(problem, path, shown)


def _parser_error(kind: str, path: str, value: Any) -> SpecError | None:
    """Return what the parser of ``kind`` says of ``value``, None where it takes it."""
    if kind not in _PARSERS:
        return None
    try:
        _PARSERS[kind](path, str(value))
    except SpecError as error:
        return SpecError(path, value, error.problem, remedy=error.remedy)
    return None


def _type_error(problem: str, path: str, shown: Any) -> SpecError:
    """Return the error for a value of the wrong type or size."""
    if "of length >= 1" in problem:
        advice = "give it a value" if "`str`" in problem else "name at least one"
        return SpecError(path, shown, "is empty", remedy=f"leave it out, or {advice}")
    if isinstance(shown, float) and not isfinite(shown):
        return SpecError(path, shown, "is not finite")
    if bound := re.fullmatch(r"Expected `\w+` (>=|<=) (\S+)", problem):
        return SpecError(path, shown, _out_of_bounds(bound[1], bound[2].removesuffix(".0")))
    if types := re.fullmatch(r"Expected `(.*)`, got `(.*)`", problem):
        wanted = " or ".join(_TYPES[name] for name in types[1].split(" | "))
        quotes = "str" in types[1] and types[2] in ("int", "float", "bool")
        return SpecError.wrong_type(path, shown, wanted, in_quotes=quotes)
    return SpecError(path, shown, f"is not understood: {problem}")


def _out_of_bounds(sign: str, bound: str) -> str:
    if sign == ">=":
        return {"0": "is below zero", "1": "is not above zero"}.get(bound, f"is below {bound}")
    return f"is above {bound}"


def _unknown(path: str, key: str) -> SpecError:
    if not path and key in _COMMAND_LINE_ALONE:
        option = f"--{key.replace('_', '-')}"
        return SpecError(path, key, "is for the command line alone", remedy=f"say {option} there")
    structs = {"": JobConfig, "phase": PhaseConfig, "stairs": StairsConfig, "env": RangeConfig}
    fields = structs[path.partition("[")[0]].__struct_encode_fields__
    # "$schema" is for editors, and Python does not take it: it is suggested only for a key with "$".
    return SpecError.unknown(path, key, [name for name in fields if key.startswith("$") or not name.startswith("$")])
