"""Timestamps of requests in files: CSV, JSON Lines, and access logs in the common or the combined format.

The format is told by content. Times become whole nanoseconds; what is drawn from them is for ``replay`` to say. A file
that is something else is called by its name, with the help of ``backends.model.file_kinds``.
"""

from __future__ import annotations

import csv
import json
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from math import isfinite
from pathlib import Path
from typing import IO, Literal, TypeAlias

import numpy as np

from servefit.backends.model.file_kinds import encoding_of, is_text, kind_of
from servefit.errors import SpecError
from servefit.profiler.arrivals.contract import NS_PER_S

FIELD = "arrivals"

TraceFormat: TypeAlias = Literal["CSV", "JSON Lines", "common log", "combined log"]

MAX_ENTRIES = 10_000_000
"""Entries of a trace: reading them takes some 20 s, and 0.4 GB while they are numbers of Python."""

MAX_LOG_DISORDER_S = 300
"""A server writes a line when the answer is out, many with the time at which the request came: those of a slow request
stand behind later ones. Few requests take longer than five minutes; a log that goes back further is two logs."""

_HEAD_BYTES = 65_536
"""The beginning of a file, by which its format is told: some hundred lines. Chosen, not measured."""

_MAX_LINE = 1_000_000
"""Characters. Longer lines are no lines of a trace, and may be all of a large file. Chosen, not measured."""

_SURELY_TOO_MANY = 2
"""A file that would have so many times the entries that are allowed, by its first lines, is not read at all. Its other
lines may be longer: hence twice. Chosen, not measured."""

_REMEDY = "give a CSV or JSON Lines file with timestamps, or a common or combined access log"
_NAMES = (
    "timestamp", "@timestamp", "time", "ts", "datetime", "date", "arrival", "arrived", "arrived_at", "start",
    "start_time", "request_time", "t",
)  # fmt: skip
_UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NS_PER_S}
_UNIT = re.compile(r"(?P<name>.+?)[_\s(\[]+(?P<unit>ns|us|ms|s)[)\]]?", re.IGNORECASE)
_EPOCHS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"))
"""From these on a number is the time since 1970 in that unit, and below them seconds: 1e11 s is the year 5138, and 1e11
ms, us and ns are in 1973, as are the next two."""

_LOG = re.compile(
    r'\S+ \S+ .*?\[(?P<time>\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2} [+-]\d{4})\] "(?:[^"\\]|\\.)*" \d{3} (?:\d+|-)'
    r'(?P<more> "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*")?'
)
_MONTHS = {
    name: nth
    for nth, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)  # noqa: SIM905
}
_NOT_A_TIME = "holds no time: neither a number nor a date such as 2026-03-01T12:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Timestamps of requests: ``offsets_ns`` of entries from the first one, int64, ascending. ``resolution_ns`` is how
    coarse the clock was: a second where all times are whole seconds and some the same, else 0."""

    format: TraceFormat
    offsets_ns: np.ndarray
    resolution_ns: int

    @property
    def span_ns(self) -> float:
        """The length of the trace, the gap after its last entry included, so that it can begin anew."""
        last = float(self.offsets_ns[-1])
        return last + (self.resolution_ns or last / (len(self.offsets_ns) - 1))


def read_trace(path: Path, *, column: str | None = None) -> Trace:
    """Read the timestamps in ``path``; ``column`` names theirs in CSV and JSON Lines, where its name does not tell.

    Raises SpecError for a file that cannot be read, is empty or in another format, and for times that go backwards,
    are too few, too many or all the same.
    """
    try:
        _check_regular(path)
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        _check_head(path, head, path.stat().st_size)
        with path.open(encoding="utf-8-sig", newline="") as text:
            return _parse(path, text, head, column)
    except OSError as error:
        raise _problem(path, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _problem(path, "is not UTF-8 text", remedy=_convert("ENCODING")) from error


def _problem(path: Path, problem: str, *, remedy: str | None = None) -> SpecError:
    return SpecError(FIELD, str(path), problem, remedy=remedy)


def _check_regular(path: Path) -> None:
    """Refuse what is no regular file before it is opened: a pipe may be waited for, and its lines can be read once,
    while the format is told by a first look."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise _problem(path, f"cannot be read: expected a regular file, got {kind}", remedy=_REMEDY)


def _check_head(path: Path, head: bytes, size: int) -> None:
    """Refuse what is no text, and what is far too long, before any of it is read."""
    if not head.strip():
        raise _problem(path, "is empty", remedy=_REMEDY)
    kind = kind_of(path, head)
    if kind is not None:
        remedy = "unpack it first" if "gzip" in kind.what or "ZIP" in kind.what else _REMEDY
        raise _problem(path, f"looks like {kind.what}, which is no trace", remedy=remedy)
    if not is_text(head):
        if (encoding := encoding_of(head)) == "ISO-8859-1":
            # Other encodings of one byte a character look the same.
            raise _problem(path, "is not UTF-8 text", remedy=f"{_convert(encoding)} (or whichever it is in)")
        if encoding is not None:
            raise _problem(path, f"is text in {encoding}, not in UTF-8", remedy=_convert(encoding))
        raise _problem(path, "is no text, and in no format that is known", remedy=_REMEDY)
    lines = head.count(b"\n")
    if lines and size / len(head) * lines > _SURELY_TOO_MANY * MAX_ENTRIES:
        raise _too_many(path)


def _convert(encoding: str) -> str:
    return f"convert it to UTF-8: iconv -f {encoding} -t UTF-8"


def _too_many(path: Path) -> SpecError:
    return _problem(path, f"has more than {MAX_ENTRIES:,} entries", remedy="give a part of it")


def _parse(path: Path, text: IO[str], head: bytes, column: str | None) -> Trace:
    # Nothing but a byte order mark, or spaces that are none in ASCII, is no line either.
    first = next(iter(head.decode("utf-8-sig", errors="replace").lstrip().splitlines()), None)
    if first is None:
        raise _problem(path, "is empty", remedy=_REMEDY)
    log = _LOG.match(first)
    if log is not None:
        times = _log_times(path, _lines(path, text))
        return _trace(path, "common log" if log["more"] is None else "combined log", times)
    if first.startswith("["):
        raise _problem(
            path, "looks like a JSON array", remedy="write each entry as a line of its own, without brackets"
        )
    if first.startswith("{"):
        return _trace(path, "JSON Lines", _json_times(path, _lines(path, text), column))
    return _trace(path, "CSV", _csv_times(path, _lines(path, text), first, column))


def _lines(path: Path, text: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Iterate over the lines that hold something, with their numbers."""
    for number, line in enumerate(text, start=1):
        if len(line) > _MAX_LINE:
            raise _problem(path, f"has a line of more than {_MAX_LINE:,} characters: {number}", remedy=_REMEDY)
        if line.strip():
            yield number, line


def _trace(path: Path, of_format: TraceFormat, times: Iterator[tuple[int, int]]) -> Trace:
    """Make the trace of ``times``: pairs of the number of a line and nanoseconds."""
    is_log = of_format in ("common log", "combined log")
    entries_ns: list[int] = []
    latest = None
    for line, at_ns in times:
        if latest is not None and at_ns < latest:
            back_s = (latest - at_ns) / NS_PER_S
            if not is_log or back_s > MAX_LOG_DISORDER_S:
                raise _problem(path, f"goes backwards in line {line}, by {back_s:g} s", remedy="sort it by time")
        latest = at_ns if latest is None else max(latest, at_ns)
        entries_ns.append(at_ns)
        if len(entries_ns) > MAX_ENTRIES:
            raise _too_many(path)
    if len(entries_ns) < 2:
        raise _problem(path, f"has {'one entry' if entries_ns else 'no entries'}: a rate takes two at least")
    try:
        times_ns = np.sort(np.array(entries_ns, dtype=np.int64))
    except OverflowError as error:
        raise _problem(path, "holds times that are further away than 290 years from 1970") from error
    offsets_ns = times_ns - times_ns[0]
    coarse = bool((times_ns % NS_PER_S == 0).all() and (np.diff(times_ns) == 0).any())
    if not offsets_ns[-1] and not coarse:
        raise _problem(path, "has the same time in every entry")
    if offsets_ns[-1] < 0:
        raise _problem(path, "spans more than 290 years")
    return Trace(format=of_format, offsets_ns=offsets_ns, resolution_ns=NS_PER_S if coarse else 0)


def _log_times(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, int]]:
    latest: tuple[str, int] = ("", 0)  # a second has many lines
    for number, line in lines:
        match = _LOG.match(line)
        if match is None:
            raise _problem(path, f"is an access log whose line {number} is none: {line.strip()!r:.60}")
        if match["time"] != latest[0]:
            latest = match["time"], _log_ns(path, number, match["time"])
        yield number, latest[1]


def _log_ns(path: Path, line: int, text: str) -> int:
    """Return the nanoseconds of "10/Oct/2000:13:55:36 -0700". Not by strptime, whose months are those of the locale."""
    try:
        zone = timezone(timedelta(hours=int(text[21:24]), minutes=int(text[21] + text[24:26])))
        at = datetime(
            int(text[7:11]), _MONTHS[text[3:6]], int(text[:2]), int(text[12:14]), int(text[15:17]), int(text[18:20]),
            tzinfo=zone,
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise _problem(path, f"has no such time in line {line}: {text}") from error
    return int(at.timestamp()) * NS_PER_S


def _json_times(path: Path, lines: Iterable[tuple[int, str]], column: str | None) -> Iterator[tuple[int, int]]:
    key: str | None = None
    parse: _Parser | None = None
    for number, line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _problem(path, f"looks like JSON Lines, and line {number} is no JSON", remedy=_REMEDY) from error
        if not isinstance(entry, dict):
            raise _problem(path, f"looks like JSON Lines, and line {number} is no object", remedy=_REMEDY)
        if key is None:
            key = _column(path, list(entry), column)
        value = entry.get(key)
        text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
        parse = parse or _Parser(path, key)
        yield number, parse.ns(number, text)


def _csv_times(
    path: Path, lines: Iterable[tuple[int, str]], first: str, column: str | None
) -> Iterator[tuple[int, int]]:
    delimiter = max(",;\t", key=first.count)
    numbers: list[int] = []

    def texts() -> Iterator[str]:
        for number, line in lines:
            numbers.append(number)
            yield line

    position, parse = 0, _Parser(path, "")
    try:
        for nth, row in enumerate(csv.reader(texts(), delimiter=delimiter)):
            line = numbers[-1]
            numbers.clear()
            if nth == 0 and (column is not None or not _is_time(row[0])):
                names = [name.strip() for name in row]
                position = names.index(_column(path, names, column))
                parse = _Parser(path, names[position])
                continue
            yield line, parse.ns(line, row[position].strip() if position < len(row) else "")
    except csv.Error as error:
        raise _problem(path, f"is no CSV: {error}", remedy=_REMEDY) from error


def _column(path: Path, names: list[str], asked: str | None) -> str:
    """Return the column of times among ``names``: the one ``asked`` for, else the first with a usual name. Raises
    SpecError."""
    if asked is not None:
        if asked not in names:
            raise SpecError.unknown(f"{FIELD}.column", asked, names)
        return asked
    plain = {name: match["name"] if (match := _UNIT.fullmatch(name)) else name for name in names}
    for time_name in _NAMES:
        for name, without_unit in plain.items():
            if time_name in (name.lower(), without_unit.lower()):
                return name
    shown = ", ".join(names)
    if len(names) == 1 and " " in shown:
        raise _problem(path, f"looks like plain text, which is no trace: {shown!r:.60}", remedy=_REMEDY)
    raise _problem(
        path,
        f"has no column that is known to hold times, but {shown!r:.80}",
        remedy=f"name it with column=..., or {_REMEDY}",
    )


def _is_time(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        try:
            datetime.fromisoformat(text.strip())
        except ValueError:
            return False
    return True


class _Parser:
    """A parser of the times of one column. All are of the kind of the first: numbers in one unit, or dates."""

    def __init__(self, path: Path, column: str) -> None:
        self._path = path
        unit = _UNIT.fullmatch(column)
        self._unit_ns = None if unit is None else _UNITS_NS[unit["unit"].lower()]
        self._dates: bool | None = None

    def ns(self, line: int, text: str) -> int:
        """Return the nanoseconds of ``text`` in ``line``. Raises SpecError."""
        if self._dates is None:
            self._dates = not _is_number(text)
        try:
            return self._date_ns(text) if self._dates else self._number_ns(text)
        except (ValueError, OverflowError) as error:
            raise _problem(self._path, f"{_NOT_A_TIME} in line {line}: {text!r:.40}", remedy=_REMEDY) from error

    def _number_ns(self, text: str) -> int:
        value = float(text)
        if not isfinite(value):
            raise ValueError(text)
        if self._unit_ns is None:
            self._unit_ns = _UNITS_NS[next((unit for least, unit in _EPOCHS if value >= least), "s")]
        try:
            return int(text) * self._unit_ns
        except ValueError:
            # Of large numbers the digits after the point would be lost.
            whole = int(value)
            return whole * self._unit_ns + round((value - whole) * self._unit_ns)

    @staticmethod
    def _date_ns(text: str) -> int:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        since = at - datetime(1970, 1, 1, tzinfo=UTC)
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
