"""Phases of closed-loop traffic as they are typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.profiler.traffic import ClosedLoop, Phase

_FORM = "does not look like users=2,spawn=2/min,duration=120s"


def parse_phases(texts: Sequence[str]) -> ClosedLoop | None:
    """Parse every ``--phase``; None where there are none. Raises SpecError."""
    from servefit.profiler.traffic import ClosedLoop

    return ClosedLoop(phases=tuple(_parse_phase(text) for text in texts)) if texts else None


def _parse_phase(text: str) -> Phase:
    from servefit.profiler.traffic import Phase
    from servefit.search.sla import parse_duration_s

    fields: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name in fields:
            raise SpecError("phase", text, _FORM)
        fields[name] = value
    if unknown := fields.keys() - {"users", "spawn", "duration"}:
        raise SpecError.unknown("phase", sorted(unknown)[0], ["users", "spawn", "duration"])
    if "duration" not in fields:
        raise SpecError("phase", text, _FORM)
    try:
        users = int(fields.get("users", "0"))
        spawn_per_minute = float(fields.get("spawn", "0").removesuffix("/min"))
    except ValueError as error:
        raise SpecError("phase", text, _FORM) from error
    return Phase(
        initial_users=users,
        spawn_per_minute=spawn_per_minute,
        duration_s=parse_duration_s("phase", fields["duration"]),
    )
