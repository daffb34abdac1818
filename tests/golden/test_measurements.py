"""Raw samples that an earlier servefit kept are read, give the same figures, and are written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.golden.kept import differences, kept, of_each

import servefit as sf

pytestmark = pytest.mark.integration

FIGURES = (
    *("loop", "throughput_per_s", "offered_per_s", "samples", "latency_ms", "service_ms", "lag_ms"),
    *("saturated", "backlog", "cpu_percent", "peak_memory_bytes", "model_latency_ms", "overhead_ms", "failed"),
)
"""Without intervals: a later servefit may know better how far off a percentile may be."""

recorded = of_each("measurements/*.servefit")


def loaded(path: Path, printed: dict[str, Any]) -> Any:
    return sf.load_endpoint_runs(path) if "endpoint" in printed else sf.load_measurement(path)


@recorded
def test_the_figures_of_a_measurement_are_those_that_were_printed(copy: Path, name: str) -> None:
    file = copy / "measurements" / f"{name}.servefit"
    printed = kept(copy, "measurements", name)
    measurement = loaded(file, printed)
    assert measurement.host_fingerprint == printed["host"]["fingerprint"]
    if "endpoint" in printed:
        assert (measurement.url, measurement.form) == (printed["endpoint"], printed["protocol"])
    else:
        assert measurement.configuration.backend == printed["configuration"]["backend"]
        assert (measurement.containment, measurement.load_s) == (printed["containment"], printed["load_s"])
    percentiles = list(printed["summary"]["latency_ms"])
    sums = [sf.summarize(run, percentiles=percentiles) for run in measurement.runs]
    expected = {figure: printed["summary"][figure] for figure in FIGURES}
    found = [{figure: plain(getattr(summary, figure)) for figure in FIGURES} for summary in sums]
    # A measurement may consist of several runs, and the figures are of one of them.
    assert [] in [list(differences(figures, expected)) for figures in found]


def plain(value: Any) -> Any:
    """A figure as JSON has it."""
    return json.loads(json.dumps(dict(value) if hasattr(value, "items") else value))


@recorded
def test_nothing_is_missing_of_what_was_recorded(copy: Path, name: str) -> None:
    printed = kept(copy, "measurements", name)
    measurement = loaded(copy / "measurements" / f"{name}.servefit", printed)
    # As above, one of the runs is printed.
    seen_ns = [[point.at_ns for point in run.telemetry] for run in measurement.runs]
    assert [point["at_ns"] for point in printed["telemetry"]] in seen_ns
    for run in measurement.runs:
        assert run.driver == printed["driver"]
        scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
        assert len(scheduled) == len(ended) == len(run.samples.response_ns()) > 0
        assert run.plateau_ns[0] < run.plateau_ns[1]


@recorded
def test_a_measurement_is_written_and_read_again_unchanged(copy: Path, name: str, tmp_path: Path) -> None:
    printed = kept(copy, "measurements", name)
    measurement = loaded(copy / "measurements" / f"{name}.servefit", printed)
    again = tmp_path / "again.servefit"
    sf.save_measurement(measurement, again)
    assert loaded(again, printed) == measurement


@of_each("home/jobs/*/measurements/*.servefit", name_of=lambda path: path.parents[1].name)
def test_the_figures_of_a_job_are_those_of_its_samples(copy: Path, name: str) -> None:
    best = kept(copy, "show", name)["recommendations"][0]
    measurement = sf.load_measurement(copy / "home" / "jobs" / name / best["measurement"])
    assert measurement.configuration.backend == best["backend"]
    found = [plain(sf.summarize(run).latency_ms) for run in measurement.runs]
    assert [] in [list(differences(latency_ms, best["model_latency_ms"])) for latency_ms in found]
