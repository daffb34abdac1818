"""The models of ``claims.forest`` and rows to ask them about. Each is trained once, in a child process, and kept in
the state folder; rows come from the generator that drew the training rows, and were not trained on.

The recipes reach from 100 trees of depth 4 to 5000 of depth 6 and from 10 to 500 features. Labels follow a sum of steps
and products of a dozen columns, with noise, so that trees find something to split on down to their last level.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.model import Model
from servefit.demo import fraud_model, fraud_rows
from servefit.isolation import call_isolated
from servefit.state import filling, state_folder

ROWS = 8192
"""Rows to predict: two different batches of the largest size, and no row twice before all were asked about."""

_VERSION = 1
"""Counts changes to the recipes and to what draws the rows."""

_TRAINING_LIMIT_S = 900.0
_FRAUD_SEED = 2014  # the model was trained on rows of another seed
_CATEGORIES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is made. ``categorical`` columns, the first ones, hold whole numbers."""

    train: Callable[[Recipe, np.ndarray, np.ndarray], bytes]
    suffix: str
    features: int
    rows: int
    trees: int
    depth: int
    leaves: int = 0
    classes: int = 2
    bins: int = 256
    parallel_trees: int = 1
    categorical: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkModel:
    """A trained model, its file, and (ROWS, features) rows to predict, as predictors take them."""

    name: str
    path: Path
    model: Model
    rows: np.ndarray


def _xgboost(recipe: Recipe, rows: np.ndarray, labels: np.ndarray) -> bytes:
    import xgboost

    several = recipe.classes > 2
    settings: dict[str, Any] = {
        "objective": "multi:softprob" if several else "binary:logistic",
        "max_depth": recipe.depth,
        "max_bin": recipe.bins,
        "min_child_weight": 0,
        "learning_rate": 0.03,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
        "num_parallel_tree": recipe.parallel_trees,
        "seed": 1,
        "nthread": _threads(),
        **({"num_class": recipe.classes} if several else {}),
    }
    rounds = recipe.trees // (recipe.parallel_trees * (recipe.classes if several else 1))
    return bytes(xgboost.train(settings, xgboost.DMatrix(rows, labels), rounds).save_raw("ubj"))


def _lightgbm(recipe: Recipe, rows: np.ndarray, labels: np.ndarray) -> bytes:
    import lightgbm

    settings = {
        "objective": "binary",
        "num_leaves": recipe.leaves,
        "max_depth": recipe.depth,
        "learning_rate": 0.03,
        "max_bin": recipe.bins,
        "seed": 1,
        "deterministic": True,
        "verbosity": -1,
        "num_threads": _threads(),
    }
    training = lightgbm.Dataset(rows, labels, categorical_feature=list(range(recipe.categorical)))
    text: str = lightgbm.train(settings, training, recipe.trees).model_to_string()
    return text.encode()


def _random_forest(recipe: Recipe, rows: np.ndarray, labels: np.ndarray) -> bytes:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(recipe.trees, max_depth=recipe.depth, random_state=1, n_jobs=_threads())
    return pickle.dumps(forest.fit(rows, labels))


def _histogram(recipe: Recipe, rows: np.ndarray, labels: np.ndarray) -> bytes:
    from sklearn.ensemble import HistGradientBoostingClassifier

    sizes = {"max_iter": recipe.trees, "max_leaf_nodes": recipe.leaves, "early_stopping": False}
    return pickle.dumps(HistGradientBoostingClassifier(**sizes, random_state=1).fit(rows.astype(np.float64), labels))


_XGBOOST = partial(Recipe, train=_xgboost, suffix=".ubj")
_LIGHTGBM = partial(Recipe, train=_lightgbm, suffix=".txt")
_FOREST = partial(Recipe, train=_random_forest, suffix=".pkl")
_HISTOGRAM = partial(Recipe, train=_histogram, suffix=".pkl")

RECIPES: Mapping[str, Recipe] = {
    "xgb-100x4": _XGBOOST(features=10, rows=10_000, trees=100, depth=4),
    "xgb-1000x8": _XGBOOST(features=30, rows=40_000, trees=1000, depth=8),
    "xgb-5000x6": _XGBOOST(features=100, rows=4000, trees=5000, depth=6, bins=64, parallel_trees=10),
    "xgb-7-classes": _XGBOOST(features=50, rows=10_000, trees=700, depth=6, classes=7, bins=64),
    "lgb-500x63": _LIGHTGBM(features=30, rows=30_000, trees=500, depth=12, leaves=63),
    "lgb-1000x31": _LIGHTGBM(features=500, rows=5000, trees=1000, depth=12, leaves=31, bins=64),
    "lgb-categories": _LIGHTGBM(features=24, rows=20_000, trees=200, depth=10, leaves=31, categorical=4),
    "hgb-300x31": _HISTOGRAM(features=30, rows=20_000, trees=300, depth=31, leaves=31),
    "rf-300x12": _FOREST(features=30, rows=20_000, trees=300, depth=12),
    "rf-5-classes": _FOREST(features=20, rows=10_000, trees=200, depth=10, classes=5),
}
FRAUD = "fraud"
NAMES = (FRAUD, *RECIPES)


def benchmark_model(name: str) -> BenchmarkModel:
    """Return the model of NAMES, trained here if it was not before. Raises the errors of child processes, and
    StateError."""
    if name == FRAUD:
        rows, _ = fraud_rows(_FRAUD_SEED)
        drawn = np.random.default_rng(_FRAUD_SEED).choice(len(rows), ROWS, replace=False)
        path = fraud_model()
        return BenchmarkModel(name=name, path=path, model=Model.load(path), rows=np.ascontiguousarray(rows[drawn]))
    recipe = RECIPES[name]
    folder = state_folder("benchmarks") / f"forest-{_VERSION}-{name}"
    if not folder.is_dir():
        with filling(folder) as unfinished:
            # Idle OpenMP threads would spin, which is disastrous beside other work on a small machine.
            call_isolated(
                "benchmarks.models.forest_models:train",
                *(name, unfinished),
                timeout_s=_TRAINING_LIMIT_S,
                environment={"OMP_WAIT_POLICY": "passive"},
            )
    path = folder / f"model{recipe.suffix}"
    model = Model.load(path, trust_pickle=True)
    rows = model.signature.as_rows(np.load(folder / "rows.npy"))
    return BenchmarkModel(name=name, path=path, model=model, rows=rows)


def one_leaf_model() -> BenchmarkModel:
    """Return a model of 30 features without comparisons: the time of its calls is not that of trees."""
    content = call_isolated("benchmarks.models.forest_models:one_leaf", timeout_s=_TRAINING_LIMIT_S)
    folder = state_folder("benchmarks") / "forest-one-leaf"
    folder.mkdir(exist_ok=True)
    (folder / "model.ubj").write_bytes(content)
    rows = np.random.default_rng(1).standard_normal((ROWS, 30), dtype=np.float32)
    path = folder / "model.ubj"
    return BenchmarkModel(name="one leaf", path=path, model=Model.load(path), rows=rows)


def one_leaf() -> bytes:
    """Train a model whose trees are single leaves. Runs in a child process."""
    import xgboost

    rows = np.random.default_rng(1).standard_normal((64, 30), dtype=np.float32)
    training = xgboost.DMatrix(rows, np.arange(64) % 2)
    settings = {"objective": "binary:logistic", "max_depth": 1, "gamma": 1e6}
    return bytes(xgboost.train(settings, training, 1).save_raw("ubj"))


def train(name: str, folder: Path) -> None:
    """Write the model called ``name`` and the rows to ask it about. Loads a native library: for a child process."""
    recipe = RECIPES[name]
    rows, labels = draw(recipe, recipe.rows + ROWS)
    (folder / f"model{recipe.suffix}").write_bytes(recipe.train(recipe, rows[ROWS:], labels[ROWS:]))
    np.save(folder / "rows.npy", rows[:ROWS])


def draw(recipe: Recipe, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``count`` rows, float32 (count, features), and their classes. The same recipe gives the same rows."""
    random = np.random.default_rng([_VERSION, recipe.features, recipe.classes])
    rows = random.standard_normal((count, recipe.features), dtype=np.float32)
    rows[:, : recipe.categorical] = random.integers(0, _CATEGORIES, (count, recipe.categorical))
    score = random.standard_normal(count)
    for column in range(recipe.categorical):
        score += random.standard_normal(_CATEGORIES)[rows[:, column].astype(np.int64)]
    ordinary = np.arange(recipe.categorical, recipe.features)
    for _ in range(12):
        first, second, third = rows[:, random.choice(ordinary, 3, replace=False)].T
        score += random.normal() * first * second + np.where(third > random.normal(), 1.0, -1.0) + np.sin(2 * first)
    edges = np.quantile(score, np.arange(1, recipe.classes) / recipe.classes)
    return rows, np.searchsorted(edges, score)


def _threads() -> int:
    return len(os.sched_getaffinity(0))
