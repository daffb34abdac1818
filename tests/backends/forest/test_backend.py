"""The backend as the rest of servefit sees it. What it predicts for real models, the conformance suite checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.backends.compilation import compile_model
from servefit.backends.engines import forest as module
from servefit.backends.finding.capabilities import backend
from servefit.backends.finding.registry import imported
from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import BackendUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.model import Model


@pytest.fixture(scope="module")
def artifact(model: Model, session_home: Path) -> Artifact:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(session_home))
        return compile_model(model, "forest").artifact


@pytest.mark.integration
def test_an_artifact_is_one_file_and_what_is_known_about_it(artifact: Artifact) -> None:
    assert sorted(path.name for path in artifact.folder.iterdir()) == ["artifact.json", "model.forest"]
    facts = dict(artifact.facts)
    assert 5 <= facts.pop("code_columns") <= 10
    assert 0 <= facts.pop("folds") <= 100
    assert facts.pop("rows") == "float32", "as XGBoost rounds them"
    assert facts == {"trees": 100, "complete_heaps": 100, "linked_nodes": 0, "outputs": 1, "column": None}


@pytest.mark.integration
def test_predictions_stay_what_they_are_after_the_next_call(artifact: Artifact, training_rows: np.ndarray) -> None:
    predictor = imported("forest").load(artifact, Settings())
    first = predictor.predict(training_rows[:100])
    kept = first.copy()
    predictor.predict(training_rows[100:200])
    np.testing.assert_array_equal(first, kept)
    predictor.close()
    np.testing.assert_array_equal(first, kept)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    # Leaves are added up in another order, and in float32, for other numbers of rows.
    np.testing.assert_allclose(found, expected, rtol=3e-5)


@pytest.mark.integration
def test_predictors_of_one_artifact_do_not_disturb_each_other(artifact: Artifact, training_rows: np.ndarray) -> None:
    single, double = (imported("forest").load(artifact, Settings(threads=threads)) for threads in (1, 2))
    expected = single.predict(training_rows)
    for begin in range(0, 400, 50):
        assert_close(single.predict(training_rows[begin : begin + 50]), expected[begin : begin + 50])
        assert_close(double.predict(training_rows[: begin + 1]), expected[: begin + 1])
    single.close()
    assert_close(double.predict(training_rows), expected)
    double.close()


@pytest.mark.integration
def test_without_its_kernel_the_backend_is_unavailable_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    found = backend("forest").probe()
    assert (found.available, found.reason) == (
        False,
        "servefit was installed without its kernel, which was not built",
    )
    with pytest.raises(BackendUnavailable, match="apt install gcc"):
        compile_model(model, "forest")


def test_a_kernel_that_cannot_be_loaded_makes_the_backend_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"{name}: undefined symbol: exp")

    monkeypatch.setattr(module, "import_module", fail)
    found = backend("forest").probe()
    assert not found.available
    assert "undefined symbol: exp" in str(found.reason)
    assert found.remedy == "pip install --force-reinstall servefit"


@pytest.mark.integration
def test_the_backend_predicts_on_the_cpu_only_with_as_many_threads_as_there_are_cpus(model: Model) -> None:
    assert backend("forest").probe(Target.CUDA).reason == "its kernel is for CPUs only"
    assert [knob.name for knob in backend("forest").knobs(model, 4)] == ["threads"]
    assert set(backend("forest").knobs(model, 4)[0].values) <= {1, 2, 3, 4}
