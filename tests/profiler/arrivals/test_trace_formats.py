"""Timestamps in files of several formats, and files that are something else."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.profiler.arrivals import trace_formats
from servefit.profiler.arrivals.trace_formats import read_trace

COMMON = '127.0.0.1 - frank [10/Oct/2000:13:55:{second:02} {zone}] "GET /a \\"b\\" HTTP/1.0" 200 {size}'
COMBINED = COMMON + ' "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"'


def offsets_s(file: Path, *, column: str | None = None) -> list[float]:
    return [float(offset) / 1e9 for offset in read_trace(file, column=column).offsets_ns]


def lines(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (lines("0", "0.5", "2"), [0, 0.5, 2]),
        (lines("time", "10.25", "10.75"), [0, 0.5]),
        (lines("id,timestamp,path", "1,1700000000.5,/", "2,1700000001.25,/a"), [0, 0.75]),
        (lines("id;ts_ms", "1;1500", "2;1750"), [0, 0.25]),
        (lines("time (us)\tid", "100\ta", "350\tb"), [0, 0.00025]),
        (lines("timestamp", "1700000000123", "1700000000623"), [0, 0.5]),
        (lines("timestamp", "1700000000123456", "1700000000123457"), [0, 1e-6]),
        (lines("timestamp", "1700000000123456789", "1700000000123456790"), [0, 1e-9]),
        (lines("at,start time", "x,2026-03-01T12:00:00Z", "y,2026-03-01T13:00:00.5+01:00"), [0, 0.5]),
        (lines("2026-03-01 12:00:00", "2026-03-01 12:00:01.250"), [0, 1.25]),
        (lines('"a, b",time', '"1, 2",3', '"x ""y""",4.5'), [0, 1.5]),
        ("\ufeff" + lines("time", "1", "2.5"), [0, 1.5]),
        ("\n\n" + "1\r\n\r\n2.5\r\n", [0, 1.5]),
    ],
)
def test_timestamps_of_csv_files(text: str, seconds: list[float], tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_bytes(text.encode())
    if "start time" in text:
        assert offsets_s(file, column="start time") == pytest.approx(seconds, abs=1e-12)
    else:
        assert offsets_s(file) == pytest.approx(seconds, abs=1e-12)
    assert read_trace(file, column="start time" if "start time" in text else None).format == "CSV"


@pytest.mark.parametrize("value", [1.5, "1.5", "1970-01-01T00:00:01.500Z"])
def test_timestamps_of_json_lines(value: object, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    later = "1970-01-01T00:00:04Z" if isinstance(value, str) and "T" in value else 4
    file.write_text(
        lines(*(json.dumps({"path": "/", "timestamp": timestamp, "more": {"time": 7}}) for timestamp in (value, later)))
    )
    assert offsets_s(file) == [0, 2.5]
    assert read_trace(file).format == "JSON Lines"


def test_a_column_with_a_name_of_its_own_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text(lines("came,went", "1,5", "2.5,9"))
    with pytest.raises(
        SpecError, match="no column that is known to hold times, but 'came, went'; name it with column="
    ):
        read_trace(file)
    assert offsets_s(file, column="went") == [0, 4]
    with pytest.raises(SpecError, match=r"arrivals\.column: 'cane' is not known; did you mean 'came'"):
        read_trace(file, column="cane")


@pytest.mark.parametrize(("line", "form"), [(COMMON, "common log"), (COMBINED, "combined log")])
def test_access_logs_are_timed_to_the_second(line: str, form: str, tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_text(lines(*(line.format(second=second, zone="-0700", size=second or "-") for second in (0, 0, 2, 5))))
    trace = read_trace(file)
    assert trace.format == form
    assert (trace.offsets_ns / 1e9).tolist() == [0, 0, 2, 5]
    assert trace.resolution_ns == 1_000_000_000
    assert trace.span_ns == 6e9


def test_a_log_line_of_a_slow_request_may_stand_behind_later_ones(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_text(lines(*(COMMON.format(second=second, zone="+0000", size=1) for second in (10, 40, 20, 50))))
    assert offsets_s(file) == [0, 10, 30, 40]
    hours = [COMMON.format(second=0, zone=zone, size=1) for zone in ("+0000", "+0100")]
    file.write_text(lines(*hours))
    with pytest.raises(SpecError, match="goes backwards in line 2, by 3600 s; sort it by time"):
        read_trace(file)


def test_times_that_are_finer_than_a_second_are_not_spread(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text(lines("1", "1", "2.5"))
    assert read_trace(file).resolution_ns == 0
    file.write_text(lines("1", "2", "4"))
    assert read_trace(file).resolution_ns == 0  # no two of them are the same


def _zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("trace.csv", "1\n2\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        ("\u2003".encode(), "is empty"),
        (b"PAR1\0\0", "looks like a Parquet file, which is no trace"),
        (gzip.compress(b"1\n2\n", mtime=0), "looks like a gzip file, which is no trace; unpack it first"),
        (_zip, "looks like a ZIP archive, which is no trace; unpack it first"),
        (b"\x93NUMPY\x01\0", "looks like a NumPy array"),
        (b"<!doctype html><p>1", "looks like an HTML or XML document"),
        (b"<?xml version='1.0'?><a/>", "looks like an XML document"),
        (b'[{"time": 1}]', "looks like a JSON array; write each entry as a line"),
        (bytes(range(256)), "is no text, and in no format that is known"),
        ("time\n1\n2\n".encode("utf-16"), "is text in UTF-16, not in UTF-8; convert it to UTF-8: iconv -f UTF-16"),
        ("time\n1\n2\n".encode("utf-16-le"), "is text in UTF-16LE, not in UTF-8; .*iconv -f UTF-16LE -t UTF-8"),
        ("time\n1\n2\n".encode("utf-16-be"), "is text in UTF-16BE, not in UTF-8"),
        ("time\n1\n2\n".encode("utf-32"), "is text in UTF-32, not in UTF-8"),
        ("time,städte\n1,a\n2,b\n".encode("latin-1"), "is not UTF-8 text; .*iconv -f ISO-8859-1 -t UTF-8"),
        (b"Mar  1 12:00:00 host app: hello\n", "looks like plain text, which is no trace: 'Mar  1 12:00:00"),
        (b"time\n1\n2\n1.5\n", "goes backwards in line 4, by 0.5 s; sort it by time"),
        (b"time\n", "has no entries"),
        (b"5\n", "has one entry: a rate takes two at least"),
        (b"5.5\n5.5\n", "has the same time in every entry"),
        (b"time\n1\nsoon\n", "holds no time: neither a number nor a date .* in line 3: 'soon'"),
        (b"time\n1\nnan\n", "in line 3: 'nan'"),
        (b"a,time\n1,2\n1\n", "in line 3: ''"),
        (b"1\n2026-01-01\n", "in line 2: '2026-01-01'"),
        (b"1e30\n2e30\n", "further away than 290 years|holds no time"),
        (b"-9e9\n9e9\n", "spans more than 290 years"),
        (b'{"time": 1}\n{"time"\n', "looks like JSON Lines, and line 2 is no JSON"),
        (b'{"time": 1}\n7\n', "looks like JSON Lines, and line 2 is no object"),
        (b'{"time": 1}\n{"tim": 2}\n', "in line 2: ''"),
        (b'{"time": true}\n', "in line 1: ''"),
        (COMMON.format(second=1, zone="+0000", size=1).encode() + b"\nhello\n", "an access log whose line 2 is none"),
        (COMMON.format(second=99, zone="+0000", size=1).encode() + b"\n", "has no such time in line 1: 10/Oct/2000:13"),
        (b"1\n" + b"x" * 2_000_000, "has a line of more than 1,000,000 characters: 2"),
        (b"1\n" + b"2\n" * 40_000 + b"\xff\xfe\n", "is not UTF-8 text; convert it to UTF-8"),
    ],
)
def test_what_is_no_trace_is_called_by_its_name(content: object, words: str, tmp_path: Path) -> None:
    file = tmp_path / "trace"
    if callable(content):
        content(file)
    else:
        assert isinstance(content, bytes)
        file.write_bytes(content)
    with pytest.raises(SpecError, match=words) as caught:
        read_trace(file)
    assert caught.value.field == "arrivals"
    assert caught.value.value == str(file)


def test_a_pipe_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    # Nobody writes to it: opening it would block.
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match="expected a regular file, got a pipe or a device"):
        read_trace(tmp_path / "pipe")
    with pytest.raises(SpecError, match="expected a regular file, got a pipe or a device"):
        read_trace(Path("/dev/null"))
    with pytest.raises(SpecError, match="expected a regular file, got a folder"):
        read_trace(tmp_path)


def test_a_file_of_far_too_many_entries_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    with file.open("wb") as sparse:
        sparse.write(b"1\n" * 50_000)
        sparse.truncate(10**9)
    with pytest.raises(SpecError, match="has more than 10,000,000 entries; give a part of it"):
        read_trace(file)


def test_an_entry_too_many_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_formats, "MAX_ENTRIES", 3)
    file = tmp_path / "trace"
    file.write_text(lines("1", "2", "3"))
    assert len(read_trace(file).offsets_ns) == 3
    file.write_text(lines("1", "2", "3", "4"))
    with pytest.raises(SpecError, match="has more than 3 entries"):
        read_trace(file)


@given(st.lists(st.floats(0, 9e9), min_size=2, max_size=30).map(sorted))
def test_whatever_numbers_are_written_are_read(times: list[float]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "trace"
        file.write_text(lines("time_s", *map(repr, times)))
        if times[0] == times[-1] and not float(times[0]).is_integer():
            return
        read = offsets_s(file)
    # A float of seconds since 1970 is off by 2^-20 s at the end of the range.
    np.testing.assert_allclose(read, np.array(times) - times[0], atol=3e-6)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_content_is_a_trace_or_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        for beginning in (b"", b"time\n1\n", b'{"time":1}\n', COMMON.format(second=1, zone="+0000", size=1).encode()):
            file = Path(folder) / "trace"
            file.write_bytes(beginning + content)
            with suppress(SpecError):
                assert (np.diff(read_trace(file).offsets_ns) >= 0).all()
