"""Networks of which ONNX Runtime's own optimisations change predictions of drawn rows."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.onnx_models import FLOAT, node, save

from servefit.backends.compilation import compile_again, compile_model, is_cached, load_predictor
from servefit.backends.model import Model
from servefit.backends.payload import Payload
from servefit.backends.types import Settings, Target
from servefit.errors import OutputMismatch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("own_home", "in_this_process")]


def payload(values: np.ndarray) -> Payload:
    return Payload(rows=values.astype(np.float32), source="rows.npy")


SILENCE, NOISE = payload(np.zeros((4, 8))), payload(np.random.default_rng(1).standard_normal((4, 8)))


@pytest.fixture
def sensitive(tmp_path: Path) -> Model:
    """A convolution whose normalisation becomes part of its weights when it is optimised, and a sine that makes
    everything of the rounding of that, and nothing of silence."""
    generator = np.random.default_rng(0)
    names = ("scale", "shift", "mean", "variance")
    nodes = [
        node("Conv", ["x", "weights"], ["heard"]),
        node("BatchNormalization", ["heard", *names], ["normal"]),
        node("Mul", ["normal", "much"], ["large"]),
        node("Sin", ["large"], ["y"]),
    ]
    constants = {
        "weights": generator.standard_normal((3, 2, 1)).astype(np.float32),
        "scale": generator.uniform(0.3, 3, 3).astype(np.float32),
        "shift": np.zeros(3, np.float32),
        "mean": np.zeros(3, np.float32),
        "variance": generator.uniform(0.3, 3, 3).astype(np.float32),
        "much": np.float32(1e7),
    }
    return Model.load(save(tmp_path / "noise.onnx", {"x": (FLOAT, ["n", 2, 4])}, nodes, {"y": FLOAT}, constants))


def test_rows_of_a_payload_decide_and_drawn_ones_are_a_warning(
    sensitive: Model, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        compiled = compile_model(sensitive, "onnxruntime", payload=SILENCE)
    assert compiled.rows_checked == 4
    [warning] = [each.getMessage() for each in caplog.records if each.name == "servefit.backends.artifacts.unoptimised"]
    assert "(drawn rows): largest error" in warning
    assert warning.endswith("; rows of the payload are predicted rightly, and decide")
    assert compile_model(sensitive, "onnxruntime", payload=SILENCE).cached
    assert not is_cached(sensitive, "onnxruntime")
    again = compile_again(sensitive, "onnxruntime", payload=None, target=Target.CPU, precision=None, quality=None)
    assert again.artifact == compiled.artifact  # what a job measured is what is deployed
    with pytest.raises(OutputMismatch, match="payload rows"):
        compile_model(sensitive, "onnxruntime", payload=NOISE)


@pytest.mark.parametrize("given", [None, NOISE, replace(SILENCE, synthetic=True)])
def test_without_rows_that_decide_the_optimisations_are_left_out(
    given: Payload | None, sensitive: Model, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        compiled = compile_model(sensitive, "onnxruntime", payload=given)
    assert compiled.max_abs_error == 0
    [warning] = [each.getMessage() for each in caplog.records if each.name == "servefit.backends.artifacts.unoptimised"]
    assert "so it is served without ONNX Runtime's optimisations, which is slower" in warning
    assert ("(--payload)" in warning) == (given is not NOISE)
    found = load_predictor(compiled.artifact, Settings()).predict(NOISE.rows)
    assert found.shape == (4, 12)
    assert compile_model(sensitive, "onnxruntime", payload=given).cached
