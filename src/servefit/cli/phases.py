"""Traffic and deployments as they are typed: lists of name=value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.profiler.record.traffic import ClosedLoop
    from servefit.search.request.config_schema import PhaseConfig, StairsConfig

_PHASE = "does not look like users=2,spawn=2/min,duration=120s"
_STAIRS = "does not look like steps=4,users=2,duration=30s"
_AGAINST = "does not look like backend=onnxruntime,threads=2"
_COUNTS = ("threads", "workers", "batch")
_NAMES = ("model", "backend", "profile", "target")


def parse_traffic(phases: Sequence[str], stairs: str | None) -> ClosedLoop | None:
    """Parse every ``--phase``, or ``--stairs``; None where there is neither. Raises SpecError, also for both."""
    from msgspec import UNSET

    from servefit.search.request.config_schema import closed_loop

    return closed_loop(
        [parse_phase(text) for text in phases] or UNSET, UNSET if stairs is None else parse_stairs(stairs)
    )


def parse_phase(text: str) -> PhaseConfig:
    """Parse ``--phase``. Raises SpecError."""
    from servefit.search.request.config_schema import PhaseConfig

    fields = _fields("phase", text, _PHASE, ("users", "spawn", "duration"), needed=("duration",))
    return PhaseConfig(
        users=_count("phase", text, fields.get("users", "0"), _PHASE),
        spawn=zero_or_text(fields.get("spawn", "0")),
        duration=fields["duration"],
    )


def parse_stairs(text: str) -> StairsConfig:
    """Parse ``--stairs``. Raises SpecError."""
    from servefit.search.request.config_schema import StairsConfig

    names = ("steps", "users", "duration")
    fields = _fields("stairs", text, _STAIRS, names, needed=names)
    return StairsConfig(
        steps=_count("stairs", text, fields["steps"], _STAIRS),
        users=_count("stairs", text, fields["users"], _STAIRS),
        duration=fields["duration"],
    )


def parse_against(text: str) -> dict[str, Any]:
    """Parse ``--against``: the differences of the deployment to compare with. A word by itself is a backend.
    Raises SpecError."""
    if "=" not in text:
        return {"backend": text.strip()}
    fields = _fields("against", text, _AGAINST, (*_NAMES, *_COUNTS))
    return {
        name: _count("against", text, value, _AGAINST) if name in _COUNTS else value for name, value in fields.items()
    }


def zero_or_text(text: str) -> str | Literal[0]:
    """Return the number 0 for "0", which needs no unit, and any other text as it is."""
    return 0 if text.strip() == "0" else text


def _fields(field: str, text: str, form: str, names: Sequence[str], *, needed: Sequence[str] = ()) -> dict[str, str]:
    """Parse the name=value pairs of ``text``. Raises SpecError for a name that is not one of ``names``, for a repeated
    name, and for a missing one of those ``needed``."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name in fields:
            raise SpecError(field, text, form)
        fields[name] = value
    if unknown := fields.keys() - set(names):
        raise SpecError.unknown(field, sorted(unknown)[0], list(names))
    if any(name not in fields for name in needed):
        raise SpecError(field, text, form)
    return fields


def _count(field: str, text: str, number: str, form: str) -> int:
    try:
        return int(number)
    except ValueError as error:
        raise SpecError(field, text, form) from error
