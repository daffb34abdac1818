"""Classifiers of several targets, and of labels of which a row has several or none: each target's probabilities are
those of scikit-learn, in the order of the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from catboost import CatBoostClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.feature_selection import RFE, RFECV
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from tests.backends.pipelines.test_steps import TABLE, of_columns, served
from tests.column_pipelines import opened, predictor
from xgboost import XGBClassifier

from servefit.backends.model import Model
from servefit.backends.model.types import Task
from servefit.backends.quality.scored import scored_columns
from servefit.errors import SpecError, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.standard_normal((300, 4))
NOISY = ROWS + 0.3 * GENERATOR.standard_normal(ROWS.shape)
LABELS = (NOISY[:, :3] > [0.0, 0.5, -0.5]).astype(int)
"""Of three labels a row has several or none."""
TWO = LABELS[:, :2]
TARGETS = np.column_stack([NOISY[:, 0] > 0, np.digitize(NOISY[:, 1], [-0.5, 0.5])]).astype(int)
"""A target of two classes and one of three."""
NAMES = np.column_stack([np.array(["no", "yes"])[TARGETS[:, 0]], np.array(["a", "b", "c"])[TARGETS[:, 1]]])


def behind_a_scaler(last: Any, target: np.ndarray) -> Any:
    return make_pipeline(StandardScaler(), last).fit(ROWS, target)


def boosted() -> Any:
    return XGBClassifier(n_estimators=5, n_jobs=1)


def cat_boosted(loss: str) -> Any:
    return CatBoostClassifier(iterations=5, loss_function=loss, verbose=0, thread_count=1, allow_writing_files=False)


SEVERAL: dict[str, tuple[Any, np.ndarray]] = {
    "targets of two and three classes": (MultiOutputClassifier(LogisticRegression()), TARGETS),
    "targets of names": (MultiOutputClassifier(LogisticRegression()), NAMES),
    "targets by pipelines": (MultiOutputClassifier(make_pipeline(StandardScaler(), GaussianNB())), TARGETS),
    "targets by boosting": (MultiOutputClassifier(boosted()), TWO),
    "targets by forests": (MultiOutputClassifier(RandomForestClassifier(5, random_state=0)), TARGETS),
    "labels one by one": (OneVsRestClassifier(LogisticRegression()), LABELS),
    "two labels one by one": (OneVsRestClassifier(LogisticRegression()), TWO),
    "labels by a network": (MLPClassifier((3,), max_iter=500, random_state=0, solver="lbfgs"), LABELS),
    "two labels by a network": (MLPClassifier((3,), max_iter=500, random_state=0, solver="lbfgs"), TWO),
}
"""Of which nothing is left to scikit-learn."""

OTHERS: dict[str, tuple[Any, np.ndarray]] = {
    "a forest of several targets": (RandomForestClassifier(5, random_state=0), TARGETS),
    "a tree of several targets": (DecisionTreeClassifier(max_depth=4), TARGETS),
    "neighbours": (KNeighborsClassifier(3), TARGETS),
    "two labels by boosting": (boosted(), TWO),
    "three labels by boosting": (boosted(), LABELS),
    "two labels by CatBoost": (cat_boosted("MultiLogloss"), TWO),
    "three labels by CatBoost": (cat_boosted("MultiLogloss"), LABELS),
    "shares of two labels by CatBoost": (cat_boosted("MultiCrossEntropy"), TWO * 0.9),
    "two labels by boosting of chosen columns": (RFE(boosted(), n_features_to_select=2), TWO),
    "labels by a ridge of chosen columns": (RFECV(RidgeClassifier(), cv=2), TWO),
    "a chain": (ClassifierChain(LogisticRegression()), LABELS),
    "labels without probabilities": (OneVsRestClassifier(LinearSVC()), LABELS),
    "labels by a ridge": (RidgeClassifier(), LABELS),
    "a target of one class": (MultiOutputClassifier(DecisionTreeClassifier()), TARGETS * [0, 1]),
    "a label that all rows have": (OneVsRestClassifier(LogisticRegression()), np.maximum(LABELS, [1, 0, 0])),
    "targets that are stacked": (
        StackingClassifier([("forest", RandomForestClassifier(5, random_state=0))], KNeighborsClassifier(), cv=2),
        LABELS,
    ),
    "a search": (GridSearchCV(OneVsRestClassifier(LogisticRegression()), {"estimator__C": [1.0]}, cv=2), TWO),
}


def shares_of(estimator: Any, rows: Any) -> np.ndarray:
    """What scikit-learn says, put together here: of a target of two classes the probability of the second."""
    if not hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict(rows), dtype=np.float64)
    shares = estimator.predict_proba(rows)
    if isinstance(shares, list):
        return np.column_stack([one[:, 1] if one.shape[1] == 2 else one for one in shares])
    return np.asarray(shares)


@pytest.mark.filterwarnings("ignore::UserWarning:sklearn")
@pytest.mark.parametrize("kind", [*SEVERAL, *OTHERS])
def test_each_target_has_the_probabilities_of_scikit_learn(kind: str, tmp_path: Path) -> None:
    estimator = behind_a_scaler(*(SEVERAL | OTHERS)[kind])
    model = opened(estimator, tmp_path)
    rows = np.random.default_rng(1).standard_normal((64, 4))
    expected = shares_of(estimator, rows)
    assert (model.signature.task, model.signature.outputs) == (Task.LABELS, expected.shape[1])
    for backend in ("sklearn", "pipeline"):
        np.testing.assert_allclose(predictor(model, backend).predict(rows), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", SEVERAL)
def test_estimators_of_each_target_are_computed_here(kind: str, tmp_path: Path) -> None:
    facts, predicted, expected = served(behind_a_scaler(*SEVERAL[kind]), tmp_path)
    assert facts["in_library"] == []
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)


def test_targets_are_told_apart_behind_columns_of_several_kinds(tmp_path: Path) -> None:
    target = GENERATOR.integers(0, 2, (len(TABLE), 2))
    facts, predicted, expected = served(
        of_columns(last=MultiOutputClassifier(LogisticRegression()), target=target), tmp_path
    )
    assert (facts["in_library"], predicted.shape[1]) == ([], 2)
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)


def test_a_single_forest_of_several_targets_is_served_by_scikit_learn(tmp_path: Path) -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(ROWS, TARGETS)
    model = opened(forest, tmp_path)
    assert (model.signature.task, model.signature.outputs, model.trees) == (Task.LABELS, 4, None)
    np.testing.assert_array_equal(predictor(model, "sklearn").predict(ROWS), shares_of(forest, ROWS))


def test_names_without_probabilities_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="without predict_proba whose classes are not numbers"):
        opened(behind_a_scaler(MultiOutputClassifier(LinearSVC()), NAMES), tmp_path)


def test_names_of_one_target_without_probabilities_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="without predict_proba whose classes are not numbers"):
        opened(behind_a_scaler(MultiOutputClassifier(LinearSVC()), NAMES[:, 1:]), tmp_path)


class OfTwoLabels(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of another library that says of its labels nothing but what it predicts."""

    def fit(self, rows: np.ndarray, _target: np.ndarray) -> OfTwoLabels:
        self.classes_, self.n_features_in_ = np.arange(2), rows.shape[1]
        return self

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        return np.full((len(rows), 2), 0.75)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.ones((len(rows), 2))


def test_targets_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="a OfTwoLabels that predicts 2 targets, in a way that is not known"):
        opened(behind_a_scaler(OfTwoLabels(), TWO), tmp_path)


@pytest.mark.integration
@pytest.mark.parametrize("target", [TWO, LABELS])
@pytest.mark.parametrize("estimator", [boosted(), cat_boosted("MultiLogloss")])
def test_boosters_of_labels_alone_are_compiled_as_trees(estimator: Any, target: np.ndarray) -> None:
    model = Model.load(estimator.fit(ROWS, target))
    assert (model.signature.task, model.signature.outputs) == (Task.LABELS, target.shape[1])
    for backend in ("forest", "onnxruntime", "treelite"):
        np.testing.assert_allclose(
            predictor(model, backend).predict(ROWS.astype(np.float32)), estimator.predict_proba(ROWS), rtol=1e-5
        )
    with pytest.raises(SpecError, match="predicts several targets"):
        scored_columns(model.signature)


def test_labels_of_one_target_do_not_score_several(tmp_path: Path) -> None:
    model = opened(behind_a_scaler(*SEVERAL["two labels one by one"]), tmp_path)
    with pytest.raises(SpecError, match="predicts several targets"):
        scored_columns(model.signature)
