"""Raw samples that an earlier servefit kept: read, summed up to the same figures, and written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.golden.cases import NOT_SAVED, RECORDINGS, WITH_SAMPLES, Recording
from tests.golden.kept import differences, kept

import servefit as sf

SAVED = [recording for recording in RECORDINGS if recording.name not in NOT_SAVED]
FIGURES = (
    *("loop", "throughput_per_s", "offered_per_s", "samples", "latency_ms", "latency_ms_ci95", "service_ms", "lag_ms"),
    *("saturated", "backlog", "cpu_percent", "peak_memory_bytes", "model_latency_ms", "overhead_ms", "failed"),
)

recorded = pytest.mark.parametrize("recording", SAVED, ids=lambda recording: recording.name)


def loaded(path: Path, *, endpoint: bool) -> Any:
    return sf.load_endpoint_runs(path) if endpoint else sf.load_measurement(path)


@recorded
def test_its_figures_are_what_was_printed(copy: Path, recording: Recording) -> None:
    file = copy / "measurements" / f"{recording.name}.servefit"
    measurement, printed = loaded(file, endpoint=recording.load), kept(copy, "measurements", recording.name)
    assert measurement.host_fingerprint == printed["host"]["fingerprint"]
    if recording.load:
        assert (measurement.url, measurement.form) == (printed["endpoint"], printed["protocol"])
    else:
        assert measurement.configuration.backend == printed["configuration"]["backend"]
        assert (measurement.containment, measurement.load_s) == (printed["containment"], printed["load_s"])
    percentiles = list(printed["summary"]["latency_ms"])
    sums = [sf.summarize(run, percentiles=percentiles) for run in measurement.runs]
    expected = {name: printed["summary"][name] for name in FIGURES}
    found = [{name: plain(getattr(summary, name)) for name in FIGURES} for summary in sums]
    # A measurement may consist of several runs, and the figures are of one of them.
    assert [] in [list(differences(figures, expected)) for figures in found]


def plain(value: Any) -> Any:
    """A figure as JSON has it."""
    return json.loads(json.dumps(dict(value) if hasattr(value, "items") else value))


@recorded
def test_what_was_recorded_is_all_there(copy: Path, recording: Recording) -> None:
    measurement = loaded(copy / "measurements" / f"{recording.name}.servefit", endpoint=recording.load)
    printed = kept(copy, "measurements", recording.name)
    last = measurement.runs[-1]
    assert last.driver == printed["driver"]
    assert len(last.telemetry) == len(printed["telemetry"])
    for run in measurement.runs:
        scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
        assert len(scheduled) == len(ended) == len(run.samples.response_ns()) > 0
        assert run.plateau_ns[0] < run.plateau_ns[1]


@recorded
def test_it_is_written_again_as_it_is(copy: Path, recording: Recording, tmp_path: Path) -> None:
    measurement = loaded(copy / "measurements" / f"{recording.name}.servefit", endpoint=recording.load)
    again = tmp_path / "again.servefit"
    sf.save_measurement(measurement, again)
    assert loaded(again, endpoint=recording.load) == measurement


@pytest.mark.parametrize("name", WITH_SAMPLES)
def test_the_samples_of_a_job_are_those_that_its_figures_are_of(copy: Path, name: str) -> None:
    best = kept(copy, "show", name)["recommendations"][0]
    measurement = sf.load_measurement(copy / "home" / "jobs" / name / best["measurement"])
    assert measurement.configuration.backend == best["backend"]
    found = [plain(sf.summarize(run).latency_ms) for run in measurement.runs]
    assert [] in [list(differences(latency_ms, best["model_latency_ms"])) for latency_ms in found]
