"""Measurements are saved and read again."""

from __future__ import annotations

import gzip
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.example_counts import examples
from tests.profiler.record.storage.conftest import spelled

from servefit.errors import StateError, UnreadableMeasurement
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.storage.measurements import load_measurement, measurement_of, save_measurement
from servefit.profiler.record.types import Measurement
from servefit.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from tests.profiler.record.storage.conftest import Anything

Change = Callable[[dict[str, Any]], None]


def rewrite(path: Path, change: Change) -> None:
    """Change the header of a file, and make its checksum right again."""
    line, _, content = gzip.decompress(path.read_bytes()).partition(b"\n")
    header = json.loads(line)
    change(header)
    path.write_bytes(gzip.compress(json.dumps(header).encode() + b"\n" + content))


@pytest.fixture
def path(tmp_path: Path, measurement: Measurement) -> Path:
    path = tmp_path / "one.measurement.gz"
    save_measurement(measurement, path)
    return path


@settings(max_examples=examples(12, drawn=25), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_was_saved_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, anything: Anything, data: st.DataObject
) -> None:
    measurement = data.draw(anything(Measurement))
    path = tmp_path_factory.getbasetemp() / "any"
    save_measurement(measurement, path)
    read = load_measurement(path)
    assert read == measurement
    assert spelled(read) == spelled(measurement), "equal, and of the same types all through"


def test_figures_can_be_recomputed_from_a_file(path: Path, measurement: Measurement) -> None:
    read = load_measurement(path)
    assert read == measurement
    for before, after in zip(measurement.runs, read.runs, strict=True):
        assert summarize(after, memory_bytes=2**30) == summarize(before, memory_bytes=2**30)
    assert summarize(read.runs[0]).latency_ms["p99"] is not None


def test_what_is_not_finite_survives(tmp_path: Path, measurement: Measurement) -> None:
    save_measurement(replace(measurement, load_s=math.nan), tmp_path / "nan")
    assert math.isnan(load_measurement(tmp_path / "nan").load_s)


def test_a_file_is_a_third_of_what_it_holds(path: Path, measurement: Measurement) -> None:
    samples = [run.samples for run in measurement.runs]
    raw = sum(len(recorded.scheduled) + len(recorded.started) + len(recorded.ended) for recorded in samples)
    raw += sum(len(run.lags) for run in measurement.runs)
    assert path.stat().st_size < raw / 3


def test_the_first_line_tells_a_stranger_what_a_file_holds(path: Path) -> None:
    header = json.loads(gzip.decompress(path.read_bytes()).partition(b"\n")[0])
    assert (header["format"], header["schema"]) == ("servefit measurement", 4)
    assert header["measurement"]["configuration"]["backend"] == "onnxruntime"
    assert header["measurement"]["runs"][0]["traffic"]["@type"] == "OpenLoop"
    assert [array["length"] for array in header["arrays"]] == [10_000, 10_000, 10_000, 5000, 100, 100, 100, 50]


def test_the_raw_samples_can_be_had_without_servefit(path: Path, measurement: Measurement) -> None:
    line, _, content = gzip.decompress(path.read_bytes()).partition(b"\n")
    first = json.loads(line)["arrays"][0]
    assert first["less"] == "element"
    planes = np.frombuffer(content[: 8 * first["length"]], dtype=np.uint8).reshape(8, first["length"])
    differences = sum(plane.astype(np.int64) << (8 * place) for place, plane in enumerate(planes))
    assert np.array_equal(np.cumsum(differences), measurement.runs[0].samples.scheduled_ns())


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in (0, 1, 9, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableMeasurement, match=r"cut short|empty"):
            load_measurement(path)


def test_a_damaged_file_is_refused_or_still_holds_the_same(path: Path, measurement: Measurement) -> None:
    whole = bytearray(path.read_bytes())
    refused = 0
    for place in [*range(30), *range(30, len(whole), len(whole) // 100), len(whole) - 1]:
        damaged = whole.copy()
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            assert load_measurement(path) == measurement, f"byte {place}"
        except UnreadableMeasurement:
            refused += 1
    assert refused > 100, "only a few bytes, gzip's time stamp for one, mean nothing"


def test_a_content_that_somebody_else_wrote_fills_no_memory() -> None:
    content = gzip.compress(bytes(2**24), mtime=0)
    with pytest.raises(UnreadableMeasurement, match="it holds more than it can"):
        measurement_of(content, "samples", most_bytes=2**20)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps({"format": "servefit measurement"}), "not gzip"),
        (gzip.compress(b"\x80\x04.", mtime=0), "does not begin with a line of JSON"),
        (gzip.compress(b'{"job": 1}\n', mtime=0), "holds something else"),
        (gzip.compress(b"[1]\n", mtime=0), "holds something else"),
        (gzip.compress(b"[" * 100_000, mtime=0), "does not begin with a line of JSON"),
    ],
)
def test_what_is_no_measurement_is_refused(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UnreadableMeasurement, match=reason):
        load_measurement(path)


def test_more_after_the_end_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(UnreadableMeasurement, match="more follows"):
        load_measurement(path)


def test_another_schema_is_refused_with_the_version_that_reads_it(path: Path) -> None:
    rewrite(path, lambda header: header.update(schema=7, servefit="9.9", news=True))
    told = r"written by servefit 9\.9, in schema 7; this is servefit .*, which reads up to 4; update servefit to 9\.9"
    with pytest.raises(UnreadableMeasurement, match=told):
        load_measurement(path)
    rewrite(path, lambda header: header.update(schema=2, servefit="0.0.3"))
    with pytest.raises(UnreadableMeasurement, match=r"in schema 2; .* reads 3 to 4; read it with servefit 0\.0\.3"):
        load_measurement(path)


def test_a_file_of_the_schema_before_is_read_as_it_was(path: Path, measurement: Measurement) -> None:
    rewrite(path, lambda header: header.update(schema=3))
    assert load_measurement(path) == measurement


def test_fields_of_a_newer_servefit_are_left_out_and_named(
    path: Path, measurement: Measurement, caplog: pytest.LogCaptureFixture
) -> None:
    def add(header: dict[str, Any]) -> None:
        header.update(servefit="9.9", colour="red")
        header["measurement"].update(altitude_m=400)
        header["measurement"]["configuration"]["settings"].update(pinned=True)
        for run in header["measurement"]["runs"]:
            run["samples"].update(size_bytes=[1, 2])

    rewrite(path, add)
    assert load_measurement(path) == measurement
    assert [record.message for record in caplog.records] == [
        f"{path} was written by servefit 9.9: left out colour, measurement.altitude_m, "
        "measurement.configuration.settings.pinned, measurement.runs.samples.size_bytes, "
        f"which servefit {__version__} does not know"
    ]


CHANGES: dict[str, Change] = {
    "measurement lacks, or should not have, 'cpus'": lambda header: header["measurement"].pop("cpus"),
    "the header lacks 'arrays'": lambda header: header.pop("arrays"),
    "measurement.load_s is '1', not": lambda header: header["measurement"].update(load_s="1"),
    "measurement.load_s is True, not": lambda header: header["measurement"].update(load_s=True),
    r"measurement.cpus\[0\] is 0.5, not": lambda header: header["measurement"].update(cpus=[0.5]),
    "measurement.containment is 'tight', not": lambda header: header["measurement"].update(containment="tight"),
    "target is 'tpu', not": lambda header: header["measurement"]["configuration"].update(target="tpu"),
    r"runs\[0\].traffic is .*'Bursts'": lambda header: header["measurement"]["runs"][0]["traffic"].update(
        {"@type": "Bursts"}
    ),
    "rate: 0 is not above zero": lambda header: header["measurement"]["runs"][0]["traffic"].update(rate_per_s=0),
    r"plateau_ns has 3 entries, not 2": lambda header: header["measurement"]["runs"][0].update(plateau_ns=[1, 2, 3]),
    "lags is in array 99": lambda header: header["measurement"]["runs"][0].update(lags={"@array": 99}),
    "more follows after the last array": lambda header: header["arrays"].pop(),
    "arrays are missing": lambda header: header["arrays"].append({"length": 1, "less": "nothing"}),
    "a length of -1": lambda header: header["arrays"][0].update(length=-1),
    "cannot be less 'array'": lambda header: header["arrays"][0].update(less="array"),
    "described as 3": lambda header: header["arrays"].append(3),
    "does not list its arrays": lambda header: header.update(arrays={}),
}


@pytest.mark.parametrize("problem", CHANGES)
def test_a_foreign_header_is_refused_with_the_field(path: Path, problem: str) -> None:
    rewrite(path, CHANGES[problem])
    with pytest.raises(UnreadableMeasurement, match=problem) as refusal:
        load_measurement(path)
    assert str(refusal.value).startswith(f"cannot read a measurement from {path}: ")
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMeasurement, match="No such file or directory"):
        load_measurement(tmp_path / "nothing")


def test_a_value_of_the_wrong_type_is_not_saved(tmp_path: Path, measurement: Measurement) -> None:
    wrong: Any = "1"
    with pytest.raises(TypeError, match="load_s is '1', not"):
        save_measurement(replace(measurement, load_s=wrong), tmp_path / "wrong")
    with pytest.raises(TypeError, match=r"runs\[0\].lags holds 7 bytes"):
        save_measurement(
            replace(measurement, runs=(replace(measurement.runs[0], lags=b"1234567"),)), tmp_path / "wrong"
        )
    assert not (tmp_path / "wrong").exists()


def test_a_folder_that_is_not_there_cannot_be_written_to(tmp_path: Path, measurement: Measurement) -> None:
    with pytest.raises(StateError, match="No such file or directory; free space, or write elsewhere"):
        save_measurement(measurement, tmp_path / "no" / "where")
    with pytest.raises(StateError, match="point SERVEFIT_HOME at a writable folder"):
        save_measurement(measurement, tmp_path / "no" / "where", variable="SERVEFIT_HOME")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(path: Path, measurement: Measurement) -> None:
    before = path.read_bytes()
    wrong: Any = [0]
    with pytest.raises(TypeError):
        save_measurement(replace(measurement, cpus=wrong), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.glob("*.gz*")] == [path.name]
