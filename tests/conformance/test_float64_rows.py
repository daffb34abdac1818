"""Models that compute in float64 are asked with the numbers of a user as they are: decimals, and what lies beside a
threshold by less than float32 can tell. What their own library predicts of these is what an endpoint answers."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    StackingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, QuantileTransformer, StandardScaler

from servefit.backends.checking.verification import drawn_sets, verify
from servefit.backends.compilation import compile_model
from servefit.backends.finding.registry import imported
from servefit.backends.model import Model
from servefit.backends.payload.reading import payload_for
from servefit.backends.payload.rows import parity_rows
from servefit.backends.types import Settings
from servefit.errors import CompileFailed, OutputMismatch
from servefit.serving.config import Limits
from servefit.serving.protocols.csv_rows import rows_of_csv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.usefixtures("steps_in_this_process"), pytest.mark.integration]

FEATURES = 6
BACKENDS = ("sklearn", "lightgbm", "forest", "pipeline", "treelite", "tl2cgen", "onnxruntime", "onedal")


def decimals(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 20, (count, FEATURES)).round(1)


def lightgbm_regressor() -> Any:
    from lightgbm import LGBMRegressor

    return LGBMRegressor(n_estimators=30, verbose=-1, n_jobs=1)


def histogram(**options: Any) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(max_iter=30, early_stopping=False, **options)


MODELS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "histogram": (histogram, {"sklearn", "forest", "treelite", "tl2cgen", "onnxruntime"}),
    "scaled histogram": (lambda: make_pipeline(StandardScaler(), histogram()), {"sklearn", "forest"}),
    "imputed histogram": (lambda: make_pipeline(SimpleImputer(), StandardScaler(), histogram()), {"sklearn", "forest"}),
    "random forest": (
        lambda: RandomForestRegressor(4, max_depth=7, random_state=0),
        {"sklearn", "forest", "treelite", "tl2cgen", "onnxruntime", "onedal"},
    ),
    "scaled random forest": (
        lambda: make_pipeline(StandardScaler(), RandomForestRegressor(10, random_state=0)),
        {"sklearn", "forest"},
    ),
    "scaled boosting": (
        lambda: make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=20, random_state=0)),
        {"sklearn", "forest"},
    ),
    "lightgbm": (lightgbm_regressor, {"lightgbm", "forest", "treelite", "tl2cgen", "onnxruntime"}),
    "scaled lightgbm": (lambda: make_pipeline(StandardScaler(), lightgbm_regressor()), {"sklearn", "forest"}),
    "bins": (lambda: make_pipeline(KBinsDiscretizer(6, encode="onehot-dense"), Ridge()), {"sklearn", "pipeline"}),
    "neighbours of quantiles": (
        lambda: make_pipeline(QuantileTransformer(n_quantiles=50), KNeighborsRegressor()),
        {"sklearn", "pipeline"},
    ),
    "scaled regression": (lambda: make_pipeline(StandardScaler(), Ridge()), {"sklearn", "onnxruntime", "pipeline"}),
    "stacked": (
        lambda: StackingRegressor([("line", Ridge()), ("trees", RandomForestRegressor(5, random_state=0))]),
        {"sklearn", "onnxruntime", "pipeline"},
    ),
}

DAILY = ("histogram", "random forest", "lightgbm", "scaled lightgbm")
"""One of each family: the others are thorough."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """The estimator of a name, fitted once, and the file that it is in."""
    known: dict[str, tuple[Any, Path]] = {}

    def of(name: str) -> tuple[Any, Path]:
        if name not in known:
            rows = decimals(2500, 0)
            estimator = MODELS[name][0]().fit(rows, rows[:, 0] * rows[:, 1] / 50 + rows[:, 2])
            file = tmp_path_factory.mktemp("models") / "model.pkl"
            file.write_bytes(pickle.dumps(estimator))
            known[name] = (estimator, file)
        return known[name]

    return of


# scikit-learn adds up all values of a batch to look for gaps, and extreme ones overflow.
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in DAILY else pytest.mark.thorough) for name in MODELS]
)
def test_fresh_decimals_as_csv_are_predicted_as_the_estimator_does_or_the_backend_is_refused(
    name: str, trained: Callable[[str], tuple[Any, Path]]
) -> None:
    estimator, file = trained(name)
    model = Model.load(file, trust_pickle=True)
    fresh = decimals(1000, 1)
    body = "\n".join(",".join(map(str, row)) for row in fresh.tolist()).encode()
    rows = rows_of_csv(body, model.signature, Limits(rows=10_000))
    expected = estimator.predict(fresh)
    served = set()
    for backend in (each for each in BACKENDS if imported(each).supports(model).available):
        try:
            artifact = compile_model(model, backend).artifact
        except (CompileFailed, OutputMismatch):
            continue
        served.add(backend)
        predictor = imported(backend).load(artifact, Settings())
        alone = np.concatenate([predictor.predict(rows[nth : nth + 1]) for nth in range(100)])
        np.testing.assert_allclose(predictor.predict(rows), expected, rtol=1e-5, err_msg=backend)
        np.testing.assert_allclose(alone, expected[:100], rtol=1e-5, err_msg=backend)
        predictor.close()
    assert served == MODELS[name][1]


def test_a_payload_keeps_its_decimals_up_to_the_model(trained: Callable[[str], tuple[Any, Path]]) -> None:
    model = Model.load(trained("histogram")[1], trust_pickle=True)
    fresh = decimals(50, 2)
    assert payload_for(model, fresh).rows.tobytes() == fresh.tobytes()
    rounded = Model.load(trained("random forest")[1], trust_pickle=True)
    assert payload_for(rounded, fresh).rows.tobytes() == fresh.astype(np.float32).tobytes()


def test_rows_are_drawn_around_what_the_steps_of_a_pipeline_know(trained: Callable[[str], tuple[Any, Path]]) -> None:
    for name in ("scaled histogram", "bins", "scaled regression"):
        rows = parity_rows(Model.load(trained(name)[1], trust_pickle=True), count=256)
        usual = np.abs(rows - 50) < 60
        assert usual.mean() > 0.5, name
    edges = trained("bins")[0][0].bin_edges_[0]
    rows = parity_rows(Model.load(trained("bins")[1], trust_pickle=True), count=512)
    beside = {np.nextafter(edge, side) for edge in edges for side in (-np.inf, np.inf)}
    assert len(beside & set(rows[:, 0].tolist())) > len(edges)


def test_an_artifact_that_is_given_rounded_rows_is_refused(trained: Callable[[str], tuple[Any, Path]]) -> None:
    model = Model.load(trained("histogram")[1], trust_pickle=True)
    narrowed = replace(model, signature=replace(model.signature, table_datatype="float32"))
    artifact = compile_model(model, "sklearn").artifact
    assert verify(model, artifact, drawn_sets(model))[0].max_abs_error < 1e-5
    with pytest.raises(OutputMismatch, match="predictions differ from the reference"):
        verify(narrowed, artifact, drawn_sets(narrowed))
