"""Backends that calibrate are given some rows of the payload, always the same, and are judged by the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.backends.finding.test_foreign import answers, source
from tests.onnx_models import perceptron

from servefit.backends.artifacts import cache
from servefit.backends.checking.calibration import MAX_ROWS, MIN_ROWS, calibrating_and_rest, calibration_rows
from servefit.backends.compilation import is_cached
from servefit.backends.finding.capabilities import backend, of_precision
from servefit.backends.finding.registry import BUILT_IN, backend_names
from servefit.backends.model import Model
from servefit.backends.payload import Payload
from servefit.backends.types import Precision, Target
from servefit.errors import CompileFailed

CALIBRATING = ["onnxruntime/int8-static", "openvino/int8"]


def payload(rows: np.ndarray) -> Payload:
    return Payload(rows=rows, source="rows.npy")


def drawn(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 4), dtype=np.float32)


@given(st.integers(0, 5000))
def test_no_row_is_calibrated_on_and_judged_by(count: int) -> None:
    chosen, rest = calibrating_and_rest(count)
    assert sorted([*chosen, *rest]) == list(range(count))
    assert len(chosen) == 0 if count < MIN_ROWS else MIN_ROWS <= len(chosen) <= MAX_ROWS
    assert np.array_equal(chosen, calibrating_and_rest(count)[0])


def test_four_hundred_rows_leave_three_hundred_to_judge_by() -> None:
    assert [len(part) for part in calibrating_and_rest(400)] == [100, 300]


@pytest.mark.parametrize("name", CALIBRATING)
def test_fewer_than_a_hundred_rows_are_refused(name: str) -> None:
    with pytest.raises(CompileFailed, match=r"calibrates on 100 rows at least, and rows\.npy has 99") as raised:
        calibration_rows(backend(name), payload(drawn(99)))
    assert raised.value.remedy == "give more rows, as different as your traffic is"


@pytest.mark.parametrize("name", CALIBRATING)
def test_a_row_that_is_always_the_same_is_refused(name: str) -> None:
    with pytest.raises(CompileFailed, match="they are all the same") as raised:
        calibration_rows(backend(name), payload(np.ones((500, 4), dtype=np.float32)))
    assert raised.value.remedy is not None


@pytest.mark.parametrize("given", [None, Payload(rows=drawn(500), source="synthetic payload", synthetic=True)])
def test_rows_that_were_drawn_are_no_traffic_to_calibrate_on(given: Payload | None) -> None:
    with pytest.raises(CompileFailed, match="there is no payload") as raised:
        calibration_rows(backend("openvino/int8"), given)
    assert raised.value.remedy == "give 100 rows or more with --payload"


def test_a_backend_that_does_not_calibrate_is_given_no_rows() -> None:
    assert calibration_rows(backend("onnxruntime"), payload(drawn(500))) is None


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_other_rows_make_another_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    model, chosen = Model.load(perceptron(tmp_path / "m.onnx", 4, 8, 2)), backend("openvino/int8")
    rows = drawn(200)
    keys = {cache.artifact_key(model, chosen, "1", Target.CPU, each) for each in (None, rows, rows + 1, rows[:100])}
    assert len(keys) == 4
    assert not is_cached(model, "openvino/int8", payload=payload(rows))
    assert not is_cached(model, "openvino/int8")


def test_backends_that_are_less_exact_take_part_only_where_they_are_allowed() -> None:
    exact = of_precision(BUILT_IN)
    assert {"xgboost", "forest", "openvino"} <= set(exact)
    assert not any("/" in name for name in exact)
    assert of_precision(BUILT_IN, [Precision.BF16]) == ("openvino/bf16",)
    assert of_precision(BUILT_IN, tuple(Precision)) == backend_names()


def test_a_backend_of_another_package_is_exact_unless_it_says_otherwise(install: Callable[..., Any]) -> None:
    assert answers(install, source()).precision is Precision.EXACT
    assert not answers(install, source()).calibrates
    rounding = answers(install, source(rounding="precision = 'int8'\ncalibrates = True"))
    assert rounding.precision is Precision.INT8
    assert rounding.calibrates
    for attribute, told in (
        ("precision = 'fp8'", "its precision is 'fp8', and not one of exact, bf16, int8"),
        ("calibrates = 'yes'", "its calibrates is a str, and not a bool"),
    ):
        refused = answers(install, source(wrong=attribute)).targets[Target.CPU]
        assert told in str(refused.reason)
