"""Service times from recorded processes, and from a real model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from servefit.backends.types import Artifact, Target
from servefit.errors import SpecError
from servefit.profiler.drivers.inprocess.timing import CallTimes
from servefit.profiler.machine.host import describe_host
from servefit.profiler.procedures.microbenchmark.service_time import (
    ServiceTime,
    measure_p50_once,
    measure_service_time,
    service_time,
)
from servefit.profiler.record.types import Configuration

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timed

CONFIGURATION = Configuration(vcpus=1, backend="xgboost")


def recorded(durations: np.ndarray, *, calls_per_duration: int = 1) -> CallTimes:
    return CallTimes(
        durations=np.asarray(durations, dtype=np.int64).tobytes(),
        calls_per_duration=calls_per_duration,
        rows_per_call=1,
        clock_ns=50.0,
        warm_up_calls=100,
    )


def noise(number: int = 0, *, count: int = 1000, level: float = 100_000) -> np.ndarray:
    return np.random.default_rng(number).normal(level, level / 100, count)


def figures(*processes: CallTimes) -> ServiceTime:
    return figures_of([[process] for process in processes])


def figures_of(starts: list[list[CallTimes]]) -> ServiceTime:
    return service_time(starts, configuration=CONFIGURATION, host_fingerprint="aaaa")


def test_figures_are_means_over_processes_with_an_interval_around_them() -> None:
    levels = (90_000, 100_000, 110_000)
    result = figures(*(recorded(noise(number, level=level)) for number, level in enumerate(levels)))
    expected = float(np.exp(np.mean(np.log(levels))))
    assert result.p50_ns == pytest.approx(expected, rel=0.005)
    assert result.mean_ns == pytest.approx(expected, rel=0.005)
    assert [process.p50_ns for process in result.processes] == pytest.approx(levels, rel=0.005)
    low, high = result.ci95_ns["p50"]
    assert low < min(levels) < expected < max(levels) < high
    assert result.single_calls
    assert result.percentiles_ns["p50"] == result.p50_ns
    p95, p99 = result.percentiles_ns["p95"], result.percentiles_ns["p99"]
    assert p95 is not None
    assert p99 is not None
    assert result.p50_ns < p95 < p99
    assert (result.calls, result.rows_per_call, result.clock_ns) == (3000, 1, 50.0)


def test_blocks_have_a_mean_and_no_percentiles() -> None:
    result = figures(*(recorded(64 * noise(number, level=50), calls_per_duration=64) for number in range(3)))
    assert not result.single_calls
    assert set(result.percentiles_ns.values()) == {None}
    assert result.mean_ns == pytest.approx(50, rel=0.02)
    assert result.p50_ns == pytest.approx(50, rel=0.02)
    assert result.calls == 3 * 64_000


def test_one_process_that_timed_blocks_leaves_no_percentiles() -> None:
    blocks = recorded(64 * noise(), calls_per_duration=64)
    result = figures(recorded(noise(1)), recorded(noise(2)), blocks)
    assert not result.single_calls
    assert result.percentiles_ns["p50"] is None
    assert result.p50_ns == pytest.approx(100_000, rel=0.01)


def test_a_percentile_needs_enough_calls() -> None:
    result = figures(*(recorded(noise(number, count=100)) for number in range(3)))
    assert result.percentiles_ns["p95"] is not None
    assert result.percentiles_ns["p99"] is None


def test_outliers_are_counted_and_stay_in_the_mean() -> None:
    durations = noise()
    quiet = figures(*[recorded(durations)] * 3)
    low, high = np.percentile(durations, (25, 75))
    with_outliers = durations.copy()
    with_outliers[[100, 500]] = high + 2 * (high - low)
    with_outliers[[300, 700, 900]] = 10_000_000
    result = figures(recorded(with_outliers), recorded(durations), recorded(durations))
    assert result.severe_outliers == quiet.severe_outliers + 3
    assert result.mild_outliers == pytest.approx(quiet.mild_outliers + 2, abs=3)
    assert result.processes[0].mean_ns > 1.2 * quiet.processes[0].mean_ns
    assert result.processes[0].p50_ns == pytest.approx(quiet.processes[0].p50_ns, rel=0.001)


def test_no_steady_state_is_a_result_with_a_reason() -> None:
    climbing = noise() * np.linspace(1, 2, 1000)
    result = figures(recorded(noise(1)), recorded(climbing), recorded(noise(2)))
    assert not result.steady
    assert result.reason is not None
    assert result.reason.startswith("no steady state in 1 of 3 processes: it")
    assert [process.unsteady is None for process in result.processes] == [True, False, True]
    steady = figures(*(recorded(noise(number)) for number in range(3)))
    assert (steady.steady, steady.reason) == (True, None)


def test_workers_of_one_start_are_one_process_of_the_interval() -> None:
    """What the machine did to one start it did to all of its workers: 20 of them do not make the interval narrower."""
    levels = (90_000, 100_000, 110_000)
    one, many = (
        figures_of(
            [
                [recorded(noise(100 * start + n, level=level)) for n in range(workers)]
                for start, level in enumerate(levels)
            ]
        )
        for workers in (1, 20)
    )
    assert len(many.processes) == 60
    assert many.ci95_ns["mean"] == pytest.approx(one.ci95_ns["mean"], rel=0.01)
    assert many.p50_ns == pytest.approx(one.p50_ns, rel=0.01)


def test_two_processes_are_too_few(tmp_path: Path) -> None:
    artifact = Artifact(backend="", backend_version="", model_digest="", target=Target.CPU, folder=tmp_path)
    with pytest.raises(SpecError, match="below 3"):
        measure_service_time(CONFIGURATION, artifact, np.zeros((1, 4)), host=describe_host(), processes=2)


@pytest.fixture(scope="module")
def small_artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Five trees on four features, as the backend xgboost keeps them."""
    import xgboost

    folder = tmp_path_factory.mktemp("artifact")
    rows = np.random.default_rng(1).normal(size=(200, 4))
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "base_score": 0.5},
        xgboost.DMatrix(rows, rows[:, 0] > rows[:, 1]),
        num_boost_round=5,
    )
    booster.save_model(folder / "small.ubj")
    return Artifact(
        backend="xgboost",
        backend_version="",
        model_digest="",
        target=Target.CPU,
        folder=folder,
        facts={"file": "small.ubj"},
    )


def test_a_model_s_service_time_is_measured_in_fresh_processes(small_artifact: Artifact) -> None:
    host = describe_host()
    rows = np.random.default_rng(2).normal(size=(200, 4)).astype(np.float32)
    configuration = Configuration(vcpus=1, backend="xgboost", max_batch=8)
    result = measure_service_time(
        configuration, small_artifact, rows, host=host, rows_per_request=2, duration_s=0.1, warm_up_s=0.1
    )
    assert len(result.processes) == 3
    assert result.rows_per_call == 16
    assert result.single_calls
    assert 1_000 < result.p50_ns < 50_000_000
    low, high = result.ci95_ns["p50"]
    assert low < result.p50_ns < high
    assert result.host_fingerprint == host.fingerprint
    assert result.configuration == configuration
    assert psutil.Process().children(recursive=True) == []


def test_one_measurement_of_two_workers_is_a_figure_of_this_host(small_artifact: Artifact) -> None:
    host = describe_host()
    configuration = Configuration(vcpus=1, backend="xgboost", workers=2)
    rows = np.zeros((5, 4), dtype=np.float32)
    figure = measure_p50_once(configuration, small_artifact, rows, host=host, duration_s=0.05, warm_up_s=0.05)
    assert 1_000 < figure.value < 50_000_000
    assert figure.host_fingerprint == host.fingerprint
