"""Models of CatBoost are opened as it reads them itself, or refused with what to do."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from catboost import CatBoost, CatBoostClassifier, CatBoostRegressor, Pool

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Format, Library, Model
from servefit.backends.model.formats import model_format
from servefit.backends.payload.reading import payload_for
from servefit.backends.types import Settings
from servefit.errors import CorruptModel, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]

ROWS = np.random.default_rng(0).standard_normal((80, 3))
TARGET = (ROWS[:, 0] > 0).astype(int)
QUIET = {"iterations": 4, "depth": 3, "thread_count": 1, "verbose": 0, "allow_writing_files": False}


def classifier(**options: Any) -> Any:
    return CatBoostClassifier(**QUIET, **options).fit(ROWS, TARGET)


@pytest.mark.parametrize(("suffix", "kind"), [("cbm", Format.CATBOOST_CBM), ("json", Format.CATBOOST_JSON)])
def test_files_are_recognised_by_their_content(suffix: str, kind: Format, tmp_path: Path) -> None:
    path = tmp_path / "model"
    classifier().save_model(str(path), format=suffix)
    assert model_format(path) is kind
    model = Model.load(path)
    assert (model.library, model.signature.features, model.signature.outputs) == (Library.CATBOOST, 3, 1)
    assert model.trees is not None
    assert (model.trees.trees, model.trees.max_depth, model.trees.objective) == (4, 3, "Logloss")


def test_a_live_model_and_a_pickle_of_it_are_the_same_model(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(classifier()))
    for model in (Model.load(classifier()), Model.load(path, trust_pickle=True)):
        assert model.library is Library.CATBOOST
        assert model.signature.feature_names == ()


OF_CATEGORIES = [[str(nth % 3), float(nth)] for nth in range(30)]
"""A category, of which CatBoost keeps hashes alone, and a number."""


@pytest.mark.parametrize("kind", [CatBoostClassifier, CatBoostRegressor])
@pytest.mark.parametrize("form", ["cbm", "live", "pickle"])
def test_a_model_of_categories_takes_them_as_texts_and_is_predicted_by_catboost(
    kind: Any, form: str, tmp_path: Path
) -> None:
    source = kind(**QUIET, cat_features=[0]).fit(OF_CATEGORIES, np.arange(30) % 2)
    path = tmp_path / "model"
    if form == "cbm":
        source.save_model(str(path))
    else:
        path.write_bytes(pickle.dumps(source))
    model = Model.load(source if form == "live" else path, trust_pickle=True)
    assert [(one.is_text, one.takes_missing) for one in model.signature.inputs] == [(True, False), (False, True)]
    artifact = compile_model(model, "sklearn").artifact
    rows = [*OF_CATEGORIES, ["another", 0.5]]
    expected = source.predict(rows) if kind is CatBoostRegressor else source.predict_proba(rows)[:, 1]
    found = load_predictor(artifact, Settings(threads=1)).predict(payload_for(model, rows).rows)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("as_sent", [int, str, np.int64])
def test_whole_numbers_that_are_categories_of_catboost_are_their_digits(as_sent: Any) -> None:
    rows = [[nth % 3, bool(nth % 2), float(nth)] for nth in range(60)]
    source = CatBoostClassifier(**QUIET, cat_features=[0, 1]).fit(
        rows, [(nth % 3 == 1) ^ (nth % 2) for nth in range(60)]
    )
    model = Model.load(source)
    artifact = compile_model(model, "sklearn").artifact
    sent = [[as_sent(first), str(int(second)) if as_sent is str else second, third] for first, second, third in rows]
    found = load_predictor(artifact, Settings(threads=1)).predict(payload_for(model, sent).rows)
    np.testing.assert_allclose(found, source.predict_proba(rows)[:, 1], rtol=1e-6)


@pytest.mark.parametrize("form", ["live", "pickle", "cbm"])
@pytest.mark.parametrize("loss", ["Logloss", "Poisson"])
def test_a_model_of_catboosts_own_class_predicts_as_its_loss_says(loss: str, form: str, tmp_path: Path) -> None:
    pool = Pool(OF_CATEGORIES, np.arange(30) % 2, cat_features=[0])
    source = CatBoost({**QUIET, "loss_function": loss}).fit(pool)
    path = tmp_path / "model"
    if form == "cbm":
        source.save_model(str(path))
    else:
        path.write_bytes(pickle.dumps(source))
    model = Model.load(source if form == "live" else path, trust_pickle=True)
    artifact = compile_model(model, "sklearn").artifact
    found = load_predictor(artifact, Settings(threads=1)).predict(payload_for(model, OF_CATEGORIES).rows)
    asked = "Probability" if loss == "Logloss" else "Exponent"
    expected = source.predict(pool, prediction_type=asked)
    np.testing.assert_allclose(found, expected[:, 1] if expected.ndim == 2 else expected, rtol=1e-6)


@pytest.mark.parametrize("words", [str, lambda truth: str(truth).lower(), bool, int])
def test_truths_that_are_categories_of_catboost_are_taken_in_words_too(words: Any) -> None:
    truths = np.random.default_rng(0).random(60) < 0.5
    rows = [[bool(truth), float(nth)] for nth, truth in enumerate(truths)]
    source = CatBoostClassifier(**QUIET, cat_features=[0]).fit(rows, truths)
    model = Model.load(source)
    artifact = compile_model(model, "sklearn").artifact
    sent = [[words(truth), number] for truth, number in rows]
    found = load_predictor(artifact, Settings(threads=1)).predict(payload_for(model, sent).rows)
    np.testing.assert_allclose(found, source.predict_proba(rows)[:, 1], rtol=1e-6)


def test_words_for_truths_that_are_categories_themselves_stay_as_they_are() -> None:
    rows = [[str(nth % 2 == 0), float(nth)] for nth in range(60)]
    source = CatBoostClassifier(**QUIET, cat_features=[0]).fit(rows, [nth % 2 for nth in range(60)])
    model = Model.load(source)
    artifact = compile_model(model, "sklearn").artifact
    found = load_predictor(artifact, Settings(threads=1)).predict(payload_for(model, rows).rows)
    np.testing.assert_allclose(found, source.predict_proba(rows)[:, 1], rtol=1e-6)


def test_a_model_of_words_is_refused_with_what_to_do(tmp_path: Path) -> None:
    rows = [["good car" if nth % 2 else "bad car", float(nth)] for nth in range(30)]
    model = CatBoostClassifier(**QUIET, text_features=[0]).fit(rows, np.arange(30) % 2)
    path = tmp_path / "model.cbm"
    model.save_model(str(path))
    with pytest.raises(UnsupportedModel, match="text features") as refused:
        Model.load(path)
    assert "in a pipeline of scikit-learn" in str(refused.value)


def test_a_loss_whose_predictions_have_no_task_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="of the loss RMSEWithUncertainty"):
        Model.load(CatBoostRegressor(**QUIET, loss_function="RMSEWithUncertainty").fit(ROWS, TARGET))


def test_a_model_that_was_not_fitted_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="has not been fitted"):
        Model.load(CatBoostClassifier())


def test_a_damaged_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "model.cbm"
    classifier().save_model(str(path))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptModel):
        Model.load(path)


def test_json_without_trees_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    classifier().save_model(str(path), format="json")
    document = json.loads(path.read_bytes())
    del document["oblivious_trees"]
    path.write_text(json.dumps(document))
    with pytest.raises(CorruptModel):
        Model.load(path)
