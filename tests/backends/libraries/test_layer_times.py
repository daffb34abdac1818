"""The times of layers are those of calls as they are served, and of all that were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.onnx_models import perceptron

from servefit.backends.compilation import compile_model
from servefit.backends.finding.registry import imported
from servefit.backends.libraries import layer_times, openvino_session
from servefit.backends.libraries.layer_times import calls_for
from servefit.backends.model import Model
from servefit.backends.types import Settings

if TYPE_CHECKING:
    from pathlib import Path

ROW = np.ones((1, 64), np.float32)


def test_no_more_calls_are_made_than_a_profile_holds() -> None:
    called: list[int] = []
    calls, _ = calls_for(lambda rows: called.append(len(rows)), [ROW], duration_s=60, most=7)
    assert calls == len(called) == 7


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_onnx_runtime_is_called_as_often_as_its_profile_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = compile_model(Model.load(perceptron(tmp_path / "m.onnx", 64, 256, 8)), "onnxruntime").artifact
    monkeypatch.setattr(layer_times, "_MAX_EVENTS", 500)
    runtime: Any = imported("onnxruntime")
    times = runtime.layer_times(artifact, Settings(), [ROW], 60)
    assert 5 < times.calls < 500
    assert 0 < sum(layer.mean_us for layer in times.layers) < times.call_us


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_layers_of_openvino_are_those_of_the_network_that_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = compile_model(Model.load(perceptron(tmp_path / "m.onnx", 64, 256, 8)), "openvino").artifact
    made: list[Any] = []
    make = openvino_session._CallsOfOneShape.make

    def counted(calls: Any, feeds: Any) -> None:
        made.append(feeds)
        make(calls, feeds)

    monkeypatch.setattr(openvino_session._CallsOfOneShape, "make", counted)
    runtime: Any = imported("openvino")
    times = runtime.layer_times(artifact, Settings(), [ROW], 0.05)
    assert len(made) >= times.calls
    assert 0 < sum(layer.mean_us for layer in times.layers) < 10 * times.call_us
