"""Interval logs and percentile distributions, read by HdrHistogram's Python port."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from servefit.errors import SpecError, StateError
from servefit.profiler.evidence.hdr_export import save_histogram, save_histogram_log, save_percentile_distribution
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.types import Run, Samples

if TYPE_CHECKING:
    from pathlib import Path

MakeRun = Callable[..., Run]
S = 1_000_000_000
MS = 1_000_000
RESPONSE, SERVICE = None, "service"


def intervals(path: Path) -> list[HdrHistogram]:
    with closing(HistogramLogReader(str(path), HdrHistogram(1, 3600 * S, 3))) as log:
        return list(iter(log.get_next_interval_histogram, None))


def whole(path: Path, tag: str | None) -> HdrHistogram:
    """All intervals of one tag, added up."""
    total = HdrHistogram(1, 3600 * S, 3)
    for interval in intervals(path):
        if interval.get_tag() == tag:
            total.add(interval)
    return total


def run_of(make_run: MakeRun, requests: list[tuple[float, float, float]], *, plateau_s: tuple[float, float]) -> Run:
    """A run of requests, given by when they were due, started and ended, in seconds."""
    times = [(np.array(column) * S).astype(np.int64).tobytes() for column in zip(*requests, strict=True)]
    samples = Samples(scheduled=times[0], started=times[1], ended=times[2])
    return replace(make_run(), samples=samples, plateau_ns=(int(plateau_s[0] * S), int(plateau_s[1] * S)))


@pytest.mark.parametrize("tag", [RESPONSE, SERVICE])
def test_percentiles_of_a_log_agree_with_the_raw_samples(tmp_path: Path, make_run: MakeRun, tag: str | None) -> None:
    run = make_run(10_000)
    save_histogram_log(run, tmp_path / "times.hlog")
    logged = whole(tmp_path / "times.hlog", tag)
    begin = run.samples.scheduled_ns() if tag is RESPONSE else run.samples.started_ns()
    raw = np.sort(run.samples.ended_ns() - begin)
    assert logged.get_total_count() == len(raw)
    for percent in (0.01, 1, 10, 50, 90, 95, 99, 99.9, 100):
        exact = raw[round(percent * len(raw) / 100) - 1]
        assert exact <= logged.get_value_at_percentile(percent) <= exact * 1.001, f"p{percent}"


def test_a_log_agrees_with_the_printed_figures(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(10_000)
    save_histogram_log(run, tmp_path / "times.hlog")
    summary = summarize(run)
    for figures, tag in ((summary.latency_ms, RESPONSE), (summary.service_ms, SERVICE)):
        logged = whole(tmp_path / "times.hlog", tag)
        for name, value_ms in figures.items():
            assert logged.get_value_at_percentile(float(name[1:])) / MS == pytest.approx(value_ms, rel=1e-3)


def test_a_log_has_one_interval_a_second_and_tells_its_units(tmp_path: Path, make_run: MakeRun) -> None:
    requests = [(9.5, 9.5, 9.6), (10.0, 10.0, 10.001), (11.9, 11.9, 14.9), (12.2, 12.3, 12.4), (12.5, 12.5, 12.6)]
    path = tmp_path / "times.hlog"
    save_histogram_log(run_of(make_run, requests, plateau_s=(10, 12.5)), path)
    assert [(interval.get_tag(), interval.get_total_count()) for interval in intervals(path)] == [
        *((RESPONSE, 1), (SERVICE, 1)),
        *((RESPONSE, 1), (SERVICE, 1)),
        *((RESPONSE, 1), (SERVICE, 1)),
    ], "what was due before the plateau or after it is left out"
    assert [interval.get_end_time_stamp() - interval.get_start_time_stamp() for interval in intervals(path)][::2] == [
        1000,
        1000,
        500,
    ]
    text = path.read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert "#[Histogram log format version 1.3]" in comments
    assert any("nanoseconds" in line and "Interval_Max in milliseconds" in line for line in comments)
    assert '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"' in text.splitlines()
    rows = [line.split(",") for line in text.splitlines() if line[0] not in '#"']
    assert [row[:-1] for row in rows][2:4] == [
        ["1.000", "1.000", "3001.025"],
        ["Tag=service", "1.000", "1.000", "3001.025"],
    ]


def test_a_request_that_nobody_served_counts_with_its_wait(tmp_path: Path, make_run: MakeRun) -> None:
    run = run_of(make_run, [(0.5, 0.5, 0.6), (1.0, 0, 0), (3.0, 0, 0)], plateau_s=(0, 5))
    save_histogram_log(run, tmp_path / "times.hlog")
    assert "#[2 requests were not served: counted with the time they had waited]" in (
        (tmp_path / "times.hlog").read_text().splitlines()
    )
    responses = whole(tmp_path / "times.hlog", RESPONSE)
    assert responses.get_total_count() == 3
    assert responses.get_max_value() / S == pytest.approx(4, rel=1e-3)
    assert whole(tmp_path / "times.hlog", SERVICE).get_total_count() == 1


@pytest.mark.parametrize("times", ["response", "service"])
def test_rows_of_a_distribution_hold_for_the_raw_samples(
    tmp_path: Path, make_run: MakeRun, times: Literal["response", "service"]
) -> None:
    run = make_run(10_000)
    save_percentile_distribution(run, tmp_path / "times.hgrm", times=times)
    begin = run.samples.scheduled_ns() if times == "response" else run.samples.started_ns()
    raw_us = (run.samples.ended_ns() - begin) / 1000
    lines = (tmp_path / "times.hgrm").read_text().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert f"#[Values are {times} times in microseconds]" in lines
    rows = [list(map(float, line.split())) for line in lines[2:] if not line.startswith("#")]
    assert rows[-1][1:] == [1, 10_000]
    for value, share, count, *inverse in rows:
        assert count == np.count_nonzero(raw_us <= value) >= share * len(raw_us)
        assert np.count_nonzero(raw_us <= value * 0.999) < max(1, share * len(raw_us))
        assert inverse == ([] if share == 1 else [pytest.approx(1 / (1 - share), abs=0.01)])


def test_the_foot_of_a_distribution_has_mean_and_maximum(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(1000)
    save_histogram(run, tmp_path / "times.hgrm")
    raw_us = (run.samples.ended_ns() - run.samples.scheduled_ns()) / 1000
    foot = [line for line in (tmp_path / "times.hgrm").read_text().splitlines() if line.startswith("#")]
    figures = [float(part.split("=")[1].strip(" ]")) for line in foot[:3] for part in line.split(",")]
    assert figures[:3] == pytest.approx([raw_us.mean(), raw_us.std(), raw_us.max()], rel=2e-3)
    assert figures[3:] == [1000, 32, 2048]


def test_a_run_without_requests_is_exported_too(tmp_path: Path, make_run: MakeRun) -> None:
    run = replace(make_run(0), plateau_ns=(0, 2 * S))
    save_histogram(run, tmp_path / "times.hlog")
    save_histogram(run, tmp_path / "times.hgrm")
    assert [interval.get_total_count() for interval in intervals(tmp_path / "times.hlog")] == [0] * 4
    assert "TotalCount" in (tmp_path / "times.hgrm").read_text()


def test_a_name_that_says_no_format_is_refused(tmp_path: Path, make_run: MakeRun) -> None:
    with pytest.raises(SpecError, match=r"neither a .hlog nor a .hgrm; name it so: times.hlog"):
        save_histogram(make_run(10), tmp_path / "times.txt")
    assert not list(tmp_path.glob("times*"))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, make_run: MakeRun) -> None:
    for name in ("times.hlog", "times.hgrm"):
        with pytest.raises(StateError, match="No such file or directory; free space, or write elsewhere"):
            save_histogram(make_run(10), tmp_path / "nowhere" / name)
