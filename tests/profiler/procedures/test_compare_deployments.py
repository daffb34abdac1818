"""Comparisons of two deployments. That they take turns in fresh processes is tested with ``comparing``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost
from tests.in_this_process import call_all_here
from tests.onnx_models import FLOAT, node, save, text, texts

from servefit.cli.profiling_output import comparison_document, comparison_table
from servefit.errors import MeasurementError, SpecError
from servefit.profiler.evidence.problem import Problem
from servefit.profiler.procedures.compare_deployments import compare_deployments
from servefit.profiler.procedures.comparing.comparison import ComparedFigure
from servefit.profiler.procedures.prepare import Deployment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.profiler.made_runs import MakeRun

    from servefit.backends.types import Artifact
    from servefit.profiler.machine.host import Host
    from servefit.profiler.record.types import Configuration, Run

pytestmark = pytest.mark.integration

ROWS = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)


def booster(rounds: int = 3) -> xgboost.Booster:
    return xgboost.train({"max_depth": 2, "nthread": 1}, xgboost.DMatrix(ROWS, ROWS[:, 0]), num_boost_round=rounds)


@pytest.fixture(autouse=True)
def _steps_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    call_all_here(monkeypatch)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Configuration, Artifact, np.ndarray]]:
    """What was measured; onnxruntime takes half as long as any other backend."""
    calls: list[tuple[Configuration, Artifact, np.ndarray]] = []

    def measure(
        configuration: Configuration, artifact: Artifact, rows: np.ndarray, *, host: Host, **limits: Any
    ) -> ComparedFigure:
        assert limits["memory_bytes"]
        calls.append((configuration, artifact, rows))
        noise = 1 + 0.001 * (len(calls) % 3)
        return ComparedFigure(
            value=noise * (50.0 if configuration.backend == "onnxruntime" else 100.0), host_fingerprint=host.fingerprint
        )

    monkeypatch.setattr("servefit.profiler.procedures.compare_deployments.measure_p50_once", measure)
    return calls


def test_two_backends_are_compared_by_the_time_of_a_call(timed: list[Any]) -> None:
    found = compare_deployments(booster(), Deployment(), {"backend": "onnxruntime"}, payload=ROWS)
    assert found.metric == "service time p50"
    assert found.comparison is not None
    assert found.outcome == "b is faster"
    assert found.comparison.ratio == pytest.approx(0.5, rel=0.01)
    assert {configuration.backend for configuration, _, _ in timed} == {"xgboost", "onnxruntime"}


def test_two_models_answer_the_same_requests(timed: list[Any]) -> None:
    found = compare_deployments(booster(), Deployment(), {"model": booster(rounds=9)})
    assert found.outcome == "no difference"
    assert found.one.model.digest != found.other.model.digest
    payloads = [rows for _, _, rows in timed]
    assert all(np.array_equal(payloads[0], payload) for payload in payloads[1:])


def test_a_rate_that_saturates_one_of_them_cannot_be_compared() -> None:
    asked: dict[str, Any] = {"payload": ROWS, "rate": 2_000_000.0, "budget_s": 1.0, "allow_noise": True}
    with pytest.raises(
        MeasurementError, match=r"(xgboost|onnxruntime) cannot be compared: it is saturated; ask for a lower rate"
    ):
        compare_deployments(booster(), Deployment(), {"backend": "onnxruntime"}, **asked)


@pytest.mark.thorough
def test_a_disturbed_measurement_goes_into_no_ratio(monkeypatch: pytest.MonkeyPatch, make_run: MakeRun) -> None:
    """Whatever was measured beside a neighbour looks as if it had been found under one."""
    busy = Problem(kind="competing load", reason="other processes used a CPU", remedy="stop them")

    def disturbed(*_: Any, **__: Any) -> tuple[Run, tuple[Problem, ...]]:
        return make_run(), (busy,)

    monkeypatch.setattr("servefit.profiler.procedures.compare_deployments.run_valid", disturbed)
    asked: dict[str, Any] = {"payload": ROWS, "users": 1, "budget_s": 60.0}
    found = compare_deployments(booster(), Deployment(), {"backend": "onnxruntime"}, **asked)
    assert (found.outcome, found.comparison, found.problems) == ("INVALID", None, (busy,))
    assert found.warnings == (
        "the machine got in the way of 4 measurements (competing load), which do not count: "
        "other processes used a CPU; stop them",
    )
    document = comparison_document(found)
    assert (document["outcome"], document["ratio"], document["ci95"]) == ("INVALID", None, None)
    rows = dict(map(tuple, comparison_table(found).rows))
    assert rows["outcome"] == "INVALID: other processes used a CPU"
    assert "b / a" not in rows


@pytest.mark.parametrize(
    ("difference", "traffic", "field"),
    [
        ({"colour": "green"}, {}, "against"),
        ({}, {}, "against"),
        ({"threads": 2}, {"rate": 5.0, "users": 1}, "users"),
        ({"threads": 2}, {"budget_s": 0}, "budget"),
        ({"threads": 2}, {"budget_s": float("inf")}, "budget"),
        ({"threads": 2}, {"rate": -1.0}, "rate"),
        ({"threads": 2}, {"rate": 0.0}, "rate"),
        ({"threads": 2}, {"rate": 1.0}, "rate"),
        ({"workers": 0}, {}, "workers"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    difference: dict[str, Any], traffic: dict[str, Any], field: str
) -> None:
    with pytest.raises(SpecError, match=rf"^{field}: "):
        compare_deployments(booster(), Deployment(), difference, **traffic)


def test_a_model_is_compared_with_one_of_another_library_where_both_take_the_same_rows(
    timed: list[tuple[Configuration, Artifact, np.ndarray]], tmp_path: Path
) -> None:
    network = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4])}, [node("Relu", ["x"], ["y"])], {"y": FLOAT})
    found = compare_deployments(
        booster(), Deployment(), {"model": network, "backend": "onnxruntime"}, payload=ROWS, budget_s=5
    )
    assert found.comparison is not None
    assert all(np.array_equal(rows, ROWS) for _, _, rows in timed)


def test_requests_that_have_sizes_are_for_models_that_read_them_alike(
    timed: list[tuple[Configuration, Artifact, np.ndarray]], tmp_path: Path
) -> None:
    one, other = texts(tmp_path / "one.onnx"), texts(tmp_path / "other.onnx", states=False)
    requests = [{name: values[0] for name, values in text(length).items()} for length in (2, 5)]
    compare_deployments(one, Deployment(), {"model": other}, payload=requests, budget_s=5)
    assert np.array_equal(timed[0][2], timed[1][2])
    fixed = save(tmp_path / "m.onnx", {"x": (FLOAT, ["n", 4])}, [node("Relu", ["x"], ["y"])], {"y": FLOAT})
    with pytest.raises(SpecError, match="takes other tensors, or sizes of other names"):
        compare_deployments(one, Deployment(), {"model": fixed}, budget_s=5)
