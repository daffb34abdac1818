"""The schedules of scheduled actions: once, at intervals, or as cron has it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from servefit.aws.wire.errors import invalid

_FORM = re.compile(r"(at|rate|cron)\((.*)\)")
_RATE = re.compile(r"[1-9][0-9]{0,8} (minute|minutes|hour|hours|day|days)")
_CRON_FIELD = re.compile(r"[A-Za-z0-9*?,/#\-]+")
_CRON_FIELDS = 6
"""Minutes, hours, day of the month, month, day of the week, year."""


def check_schedule(schedule: str) -> None:
    """Raise ApiError, ValidationException, for what is not at(...), rate(...) or cron(...)."""
    found = _FORM.fullmatch(schedule)
    if found is None or not _IS_ONE[found[1]](found[2]):
        raise invalid(
            f"Schedule {schedule[:80]!r} is none of at(yyyy-mm-ddThh:mm:ss), rate(value unit) and cron(fields), with "
            "six fields."
        )


def check_time_zone(name: str) -> None:
    """Raise ApiError, ValidationException, for a time zone that nobody knows."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise invalid(f"Timezone {name[:80]!r} is not known.") from error


def _is_time(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return False
    return True


def _is_cron(text: str) -> bool:
    fields = text.split()
    return len(fields) == _CRON_FIELDS and all(_CRON_FIELD.fullmatch(field) for field in fields)


_IS_ONE: Mapping[str, Callable[[str], bool]] = {
    "at": _is_time,
    "rate": lambda text: _RATE.fullmatch(text) is not None,
    "cron": _is_cron,
}
