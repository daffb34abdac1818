"""``profile`` with a real model and real backends."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import servefit
from servefit.backends.compilation import compile_model
from servefit.errors import PayloadMismatch, SpecError
from servefit.profiler.drivers.start_driver import workers_for
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.procedures.prepare import Deployment
from servefit.profiler.procedures.profile import Profiled, profile
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.profiler.record.types import Configuration

if TYPE_CHECKING:
    from pathlib import Path

    from tests.profiler.conftest import MakeHost

pytestmark = pytest.mark.integration

CPUS = len(os.sched_getaffinity(0))


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XGBoost classifier of five trees on four features."""
    import xgboost

    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, 4)).astype(np.float32)
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "base_score": 0.5},
        xgboost.DMatrix(rows, rows[:, 0] > rows[:, 1]),
        num_boost_round=5,
    )
    path = tmp_path_factory.mktemp("model") / "small.ubj"
    booster.save_model(path)
    return path


@pytest.fixture(scope="session")
def shared_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One state folder for the tests of this module, so that the model is opened and compiled once."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _use_shared_state(shared_state: Path, own_state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(shared_state))


def profiled(model: Any, **options: Any) -> Profiled:
    brief: dict[str, Any] = {"duration_s": 0.4, "payload": [[0.1, 0.2, 0.3, 0.4], [1, -1, 0, 2]]}
    return profile(model, **brief | options)


@pytest.mark.timed
def test_by_default_one_worker_of_the_model_s_own_library_serves_one_user_on_the_whole_host(small_model: Path) -> None:
    result = profiled(small_model)
    configuration = result.measurement.configuration
    assert (configuration.backend, configuration.workers, configuration.max_batch) == ("xgboost", 1, 1)
    assert configuration.settings.threads == 1
    assert result.profile.name == f"local-{CPUS}c"
    assert len(result.measurement.cpus) == configuration.vcpus == CPUS
    (run,) = result.measurement.runs
    assert run.traffic == ClosedLoop.constant(users=1, duration_s=0.4)
    assert result.measurement.host_fingerprint == result.host.fingerprint
    contained = result.measurement.envelope != "affinity"
    assert result.measurement.containment == ("cgroup" if contained else "uncontained")
    assert (result.measurement.memory_limit_bytes is not None) == contained
    summary = result.summary
    assert summary.samples >= 100
    p50, p95 = summary.latency_ms["p50"], summary.latency_ms["p95"]
    assert p50 is not None
    assert p95 is not None
    assert 0.001 < p50 <= p95
    # One user who waits for every answer: throughput and latency are two views of one thing (Little's law).
    mean_ms = float(np.mean(run.samples.ended_ns() - run.samples.scheduled_ns())) / 1e6
    assert summary.throughput_per_s * mean_ms / 1000 == pytest.approx(1, abs=0.1)
    assert any("closed loop" in warning for warning in result.warnings)
    assert any("uncontained" in warning for warning in result.warnings) != contained


def test_a_rate_makes_an_open_loop_and_few_samples_a_warning(small_model: Path) -> None:
    result = profiled(small_model, rate=100, backend="onnxruntime", profile="local-1c", seed=5, allow_noise=True)
    assert result.measurement.runs[0].traffic == OpenLoop(rate_per_s=100, duration_s=0.4, seed=5)
    assert result.measurement.configuration.backend == "onnxruntime"
    assert result.summary.loop == "open"
    assert result.summary.latency_ms["p99"] is None
    assert any("too few for" in warning and "p99 takes 459" in warning for warning in result.warnings)
    assert not any("closed loop" in warning for warning in result.warnings)


def test_percentiles_that_are_limited_are_shown(small_model: Path) -> None:
    limits = [LatencyThreshold(percentile=name, limit_ms=5000) for name in ("p75", "p99.9")]
    result = profiled(small_model, rate=400, profile="local-1c", thresholds=limits, allow_noise=True)
    assert list(result.summary.latency_ms) == ["p50", "p75", "p90", "p95", "p99", "p99.9"]
    p50, p75, p90 = (result.summary.latency_ms[name] for name in ("p50", "p75", "p90"))
    assert p50 is not None
    assert p75 is not None
    assert p90 is not None
    assert p50 <= p75 <= p90
    assert any("too few for" in warning and "p99.9 takes 4603" in warning for warning in result.warnings)
    assert result.decision is not None
    assert result.decision.verdict == "UNDECIDED"


def test_users_are_workers_times_batch_unless_given(small_model: Path) -> None:
    result = profiled(small_model, workers=2, batch=3, profile="local-1c", allow_noise=True)
    assert result.measurement.runs[0].traffic == ClosedLoop.constant(users=6, duration_s=0.4)
    assert len(result.measurement.runs[0].threads_per_worker) == 2
    given = profiled(small_model, users=4, profile="local-1c", allow_noise=True)
    assert given.measurement.runs[0].traffic == ClosedLoop.constant(users=4, duration_s=0.4)


def test_more_threads_than_vcpus_are_allowed_with_a_warning(small_model: Path) -> None:
    result = profiled(small_model, workers=2, threads=2, profile="local-1c", allow_noise=True)
    assert "2 workers x 2 threads share 1 vCPU: expect long tails" in result.warnings
    assert result.summary.samples > 0


@pytest.mark.thorough
def test_more_work_than_can_be_done_is_saturation(small_model: Path) -> None:
    result = profiled(small_model, rate=200_000, duration_s=0.2, profile="local-1c", allow_noise=True)
    assert result.summary.saturated
    assert result.summary.offered_per_s == pytest.approx(200_000, rel=0.05)
    assert any("saturated" in warning for warning in result.warnings)


def test_an_opened_model_and_its_own_rows_will_do(small_model: Path) -> None:
    result = profile(servefit.Model.load(small_model), duration_s=0.2, allow_noise=True)
    assert "synthetic" in result.payload_source
    assert result.summary.samples > 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"duration_s": 0}, "duration"),
        ({"duration_s": -1}, "duration"),
        ({"rate": 0}, "rate"),
        ({"rate": -3}, "rate"),
        ({"users": 0}, "users"),
        ({"users": 2, "rate": 10}, "users"),
        ({"workers": 0}, "workers"),
        ({"threads": 0}, "threads"),
        ({"batch": 0}, "batch"),
        ({"rate": 10, "workers": -1}, "workers"),
        ({"rows_per_request": 0}, "rows_per_request"),
        ({"workers": 1.5, "users": 1}, "workers"),
        ({"batch_delay_us": 100}, "batch_delay_us"),
        ({"batch_delay_us": -1, "batch": 4}, "batch_delay_us"),
        ({"rate": "fast"}, "rate"),
        ({"rate": 10, "arrivals": "constnat"}, "arrivals"),
        ({"arrivals": "constant"}, "arrivals"),
        ({"thresholds": ["p95=1ms"]}, "thresholds[0]"),
        ({"thresholds": [LatencyThreshold(percentile="p95", limit_ms=1)], "duration_s": 0.1}, "duration"),
        ({"thresholds": [LatencyThreshold(percentile="p95", limit_ms=1)], "duration_s": float("inf")}, "duration"),
        ({"thresholds": [LatencyThreshold(percentile="p95", limit_ms=1)], "users": 1}, "sla"),
        ({"traffic": ClosedLoop.constant(users=1, duration_s=1), "users": 1}, "phases"),
        ({"environment": {"A": 1}}, "environment['A']"),
        ({"options": {"x": 1}, "backend": "treelite"}, "options"),
        ({"options": {"allow_spining": False}, "backend": "onnxruntime"}, "options"),
        ({"seed": "x"}, "seed"),
        ({"profile": "local-1000c"}, "profile"),
        ({"profile": "ml.c7i.48xlarge"}, "profile"),
        ({"backend": "xgbost"}, "backend"),
        ({"environment": {"A=B": "1"}}, "environment"),
    ],
)
def test_nonsense_is_refused_with_the_field(small_model: Path, options: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        profiled(small_model, **options)
    assert caught.value.field == field


def test_a_payload_that_does_not_fit_is_refused_before_anything_is_measured(small_model: Path) -> None:
    with pytest.raises(PayloadMismatch, match="4"):
        profiled(small_model, payload=[[1.0, 2.0]])


def test_an_instance_that_this_host_is_too_small_for_is_refused_with_the_reason(small_model: Path) -> None:
    with pytest.raises(SpecError, match=r"ml\.c7i\.48xlarge' cannot be measured here: it needs 192 vCPUs"):
        profiled(small_model, profile="ml.c7i.48xlarge")


def test_an_envelope_bigger_than_the_host_is_refused(make_host: MakeHost, small_model: Path) -> None:
    artifact = compile_model(small_model, "xgboost").artifact
    rows = np.zeros((1, 4), dtype=np.float32)
    with (
        pytest.raises(SpecError, match="is more than this host has"),
        workers_for(Configuration(vcpus=9, backend="xgboost"), artifact, rows, host=make_host(cpus=8)),
    ):
        pass


@pytest.mark.timed
def test_a_configuration_is_measured_through_a_real_endpoint(small_model: Path) -> None:
    result = profiled(small_model, driver="http", batch=4, allow_noise=True)
    run, summary = result.run, result.summary
    assert (run.driver, run.stopped) == ("http", None)
    assert run.client is not None
    assert summary.errors == {}
    assert summary.throughput_per_s > 100
    assert summary.model_latency_ms is not None
    assert summary.overhead_ms is not None
    assert 0 < (summary.model_latency_ms["p50"] or 0) < (summary.latency_ms["p50"] or 0)
    assert 0 < (summary.overhead_ms["p50"] or 0) < (summary.latency_ms["p50"] or 0)
    assert (summary.service_ms["p50"] or 0) <= (summary.model_latency_ms["p50"] or 0)
    assert 0 < (summary.cpu_percent or 0) < 110 * CPUS
    shared = set(run.client.cpus) & set(result.measurement.cpus)
    assert bool(shared) == run.client.shares_cpus == (CPUS == 1)


@pytest.mark.thorough
@pytest.mark.timed
def test_a_rate_with_a_limit_is_decided_through_a_real_endpoint(small_model: Path) -> None:
    limit = LatencyThreshold(percentile="p95", limit_ms=2000)
    result = profiled(
        small_model,
        driver="http",
        rate=200,
        thresholds=[limit],
        duration_s=1.5,
        profile=f"local-{CPUS}c",
        allow_noise=True,
    )
    assert result.decision is not None
    assert result.decision.verdict == "PASS"
    assert result.run.client is not None
    assert result.run.client.shares_cpus, "the profile is all of this host"
    assert any("no CPU was left for the load client" in warning for warning in result.warnings)


def test_a_driver_that_nobody_knows_is_refused(small_model: Path) -> None:
    with pytest.raises(SpecError, match="driver"):
        profiled(small_model, driver="grpc")


def test_a_deployment_and_its_own_fields_are_not_given_at_once() -> None:
    with pytest.raises(SpecError, match="deployment cannot be combined with its own fields"):
        profile("model.ubj", Deployment(backend="xgboost"), threads=2)
