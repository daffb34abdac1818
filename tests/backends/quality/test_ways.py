"""Rows to judge on are predicted in child processes, which may have no time for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.onnx_models import perceptron

from servefit.backends.checking.verification import in_child
from servefit.backends.model import Model
from servefit.backends.quality.ways import candidate_predictions, reference_predictions
from servefit.backends.types import Artifact, Target
from servefit.errors import CompileFailed
from servefit.time_limit import time_limit

pytestmark = pytest.mark.integration

ROWS = np.random.default_rng(0).standard_normal((400, 32)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path, own_home: Path) -> Model:
    return Model.load(perceptron(tmp_path / "m.onnx", 32, 16, 4))


def of_artifact(model: Model) -> None:
    artifact = Artifact(
        backend="onnxruntime", backend_version="1", model_digest="", target=Target.CPU, folder=model.file, facts={}
    )
    candidate_predictions(artifact, ROWS)


def of_reference(model: Model) -> None:
    reference_predictions(model, ROWS, backend="onnxruntime")


@pytest.mark.parametrize(
    ("predict", "words"), [(of_reference, "to judge on with the model's own library"), (of_artifact, "to judge on")]
)
def test_what_had_no_time_for_all_rows_says_what_helps(
    model: Model, predict: Callable[[Model], None], words: str
) -> None:
    whole = (
        rf"onnxruntime: predicting the rows {words} did not finish within 0.1 s \(400 rows\); give it more time, or a"
    )
    with time_limit(lambda: 0.1), pytest.raises(CompileFailed, match=whole):
        predict(model)


def test_whether_predictions_depend_on_the_batch_may_take_too_long_to_know(model: Model) -> None:
    with pytest.raises(CompileFailed, match="together and alone with the model's own library did not finish within"):
        in_child("onnxruntime", "reference_depends_on_batch", model, ROWS, timeout_s=0.1)
