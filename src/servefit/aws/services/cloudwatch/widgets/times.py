"""Times of a metric widget: those of ISO 8601, or how long before now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from servefit.aws.services.cloudwatch.widgets.widget_object import refused

_DAY_S = 86_400

_DURATION = re.compile(r"-?P(?:(\d+)W)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.ASCII)
_SECONDS = (7 * _DAY_S, 30 * _DAY_S, _DAY_S, 3600, 60, 1)
"""The seconds of its parts; a month has 30 days."""

_MAX_TIME_S = 32_503_680_000
"""The year 3000, in seconds since 1970."""

TIMEZONE = r"[+-](?:0\d|1[0-4])[0-5]\d"
"""An offset from UTC, such as +0130."""


def seconds_of(text: str, now_s: float, where: str) -> float:
    """Return a time in seconds since 1970. Raises ApiError.

    Example:
        >>> seconds_of("-PT1H", 7200.0, "/start"), seconds_of("1970-01-01T00:00:10Z", 7200.0, "/start")
        (3600.0, 10.0)
    """
    if text.startswith(("-P", "P")):
        at_s = now_s - _duration_s(text, where)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise refused(where, "Should be a time of ISO 8601, or a duration such as -PT3H") from error
        at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= at_s <= _MAX_TIME_S:
        raise refused(where, "Should be between the years 1970 and 3000")
    return at_s


def zone(offset: str) -> timezone:
    """Return the time zone of an offset such as +0130, that of UTC where it is empty."""
    if not offset:
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def _duration_s(text: str, where: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None or len(text) > 40 or not any(match.groups()):
        raise refused(where, "Should be a duration such as -PT3H")
    return float(sum(int(number or 0) * each_s for number, each_s in zip(match.groups(), _SECONDS, strict=True)))
