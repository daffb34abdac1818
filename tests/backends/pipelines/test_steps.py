"""Steps of pipelines, computed here: each gives what scikit-learn's own gives, on hard rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from tests.column_pipelines import opened, predictor
from xgboost import XGBClassifier

from servefit.backends.finding.registry import imported
from servefit.backends.payload.reading import payload_for
from servefit.backends.payload.rows import parity_rows
from servefit.backends.pipelines import readable
from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import CompileFailed, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings(
        "ignore:Found unknown categories", "ignore:Stochastic Optimizer", "ignore:overflow encountered in exp"
    ),
]

ROWS = 400
NUMBERS = ["n0", "n1", "n2"]
WORDS = ("good", "bad", "Fast", "slow", "car", "École", "İzmir", "naïve")


def _table() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    table = pd.DataFrame({name: (draw.standard_normal(ROWS) * 10**nth).round(2) for nth, name in enumerate(NUMBERS)})
    table = table.mask(draw.random(table.shape) < 0.1)
    table["city"] = draw.choice(np.array(["Rome", "Oslo", "Zürich", None, "NY"], dtype=object), ROWS)
    table["plan"] = draw.choice(["a", "b", "c", "rare", "rarer"], ROWS, p=[0.4, 0.3, 0.28, 0.01, 0.01])
    table["note"] = [" ".join(draw.choice(WORDS, draw.integers(1, 9))) for _ in range(ROWS)]
    table["zip"], table["flag"] = draw.integers(1000, 1030, ROWS), draw.random(ROWS) < 0.3
    return table


TABLE = _table()
TARGET = (TABLE["n0"].fillna(0) + (TABLE["plan"] == "a") > 0.4).astype(int)
THREE = np.arange(ROWS) % 3
VALUE = 2 * TABLE["n0"].fillna(0) + 0.1 * np.arange(ROWS) % 1
RARE = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20)


def of_numbers(*steps: Any, last: Any = None) -> Any:
    """Steps behind an imputer, of the columns of numbers."""
    columns = ColumnTransformer([("numbers", make_pipeline(SimpleImputer(strategy="median"), *steps), NUMBERS)])
    return make_pipeline(columns, Ridge() if last is None else last).fit(TABLE, VALUE)


def of_columns(*more: Any, last: Any = None, target: Any = TARGET, encoder: Any = RARE) -> Any:
    """Numbers and categories, and columns beside them."""
    columns = [
        ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), NUMBERS),
        ("categories", make_pipeline(SimpleImputer(strategy="most_frequent"), encoder), ["city", "plan"]),
        *more,
    ]
    return make_pipeline(ColumnTransformer(columns), LogisticRegression() if last is None else last).fit(TABLE, target)


def of_texts(*steps: Any, target: Any = TARGET) -> Any:
    return make_pipeline(*steps).fit(TABLE["note"], target)


PIPELINES: dict[str, Callable[[], Any]] = {
    "scalers": lambda: of_numbers(MinMaxScaler(clip=True), RobustScaler(), MaxAbsScaler()),
    "functions": lambda: of_numbers(FunctionTransformer(np.abs), FunctionTransformer(np.log1p)),
    "functions that are no ufuncs": lambda: of_numbers(FunctionTransformer(np.nan_to_num), FunctionTransformer()),
    "bins, one-hot": lambda: of_numbers(KBinsDiscretizer(5)),
    "bins, ordinal": lambda: of_numbers(KBinsDiscretizer(5, encode="ordinal"), Binarizer(threshold=2.0)),
    "products": lambda: of_numbers(StandardScaler(), PolynomialFeatures(3)),
    "products of others": lambda: of_numbers(StandardScaler(), PolynomialFeatures((2, 3), interaction_only=True)),
    "quantiles": lambda: of_numbers(QuantileTransformer(n_quantiles=50)),
    "quantiles, normal": lambda: of_numbers(QuantileTransformer(n_quantiles=50, output_distribution="normal")),
    "powers": lambda: of_numbers(PowerTransformer()),
    "powers, not scaled": lambda: of_numbers(PowerTransformer(standardize=False)),
    "powers of positive numbers": lambda: make_pipeline(
        ColumnTransformer([("powers", PowerTransformer(method="box-cox"), ["zip"])]), Ridge()
    ).fit(TABLE, VALUE),
    "logarithms": lambda: make_pipeline(FunctionTransformer(np.log), StandardScaler(), Ridge()).fit(
        TABLE[["zip"]].to_numpy(), VALUE
    ),
    "logarithms of columns": lambda: of_columns(("logarithms", FunctionTransformer(np.log10), ["zip"])),
    "splines": lambda: of_numbers(SplineTransformer(include_bias=False)),
    "norms": lambda: of_numbers(StandardScaler(), Normalizer(), Normalizer("max")),
    "indicators": lambda: make_pipeline(
        FeatureUnion([("filled", SimpleImputer()), ("missing", MissingIndicator())]), Ridge()
    ).fit(TABLE[NUMBERS].to_numpy(), VALUE),
    "rare categories": of_columns,
    "categories, one dropped": lambda: of_columns(encoder=OneHotEncoder(drop="first", handle_unknown="ignore")),
    "codes": lambda: of_columns(encoder=OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
    "means of the target": lambda: of_columns(encoder=TargetEncoder()),
    "means of three classes": lambda: of_columns(encoder=TargetEncoder(), target=THREE),
    "numbers that are categories": lambda: of_columns(
        ("codes", OneHotEncoder(handle_unknown="ignore", drop="if_binary"), ["zip", "flag"])
    ),
    "all other columns": lambda: make_pipeline(
        ColumnTransformer([("codes", RARE, ["city", "plan"]), ("dropped", "drop", "note")], remainder=SimpleImputer()),
        LogisticRegression(max_iter=500),
    ).fit(TABLE, TARGET),
    "words": lambda: of_columns(("words", TfidfVectorizer(sublinear_tf=True), "note")),
    "neighbouring words": lambda: of_texts(
        CountVectorizer(ngram_range=(1, 2), strip_accents="unicode", stop_words=["car"]), MultinomialNB()
    ),
    "letters of words": lambda: of_texts(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)), ComplementNB()),
    "letters, the best": lambda: of_texts(
        FeatureUnion(
            [
                ("words", TfidfVectorizer(norm="l1", strip_accents="ascii")),
                ("letters", TfidfVectorizer(analyzer="char", ngram_range=(1, 3))),
            ]
        ),
        SelectKBest(chi2, k=20),
        LogisticRegression(),
    ),
    "hashed words": lambda: of_columns(("hashed", HashingVectorizer(n_features=64), "note")),
    "words that are there": lambda: of_texts(CountVectorizer(binary=True), BernoulliNB()),
    "counts, then weights": lambda: of_texts(CountVectorizer(), TfidfTransformer(), TruncatedSVD(3), SGDClassifier()),
    "layers": lambda: of_columns(last=MLPClassifier((8,), max_iter=10), target=THREE),
    "rates": lambda: of_columns(last=PoissonRegressor(), target=VALUE.abs()),
    "labels": lambda: of_columns(last=LinearSVC()),
    "log loss": lambda: of_columns(last=SGDClassifier(loss="log_loss"), target=THREE),
    "soft votes": lambda: of_columns(
        last=VotingClassifier(
            [("line", LogisticRegression()), ("trees", RandomForestClassifier(5))], voting="soft", weights=[1, 2]
        )
    ),
    "normal distributions": lambda: of_columns(
        last=GaussianNB(), target=THREE, encoder=OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    ),
    "a tree": lambda: of_columns(last=DecisionTreeClassifier(max_depth=4), target=THREE),
    "trees boosted by weights": lambda: of_columns(last=AdaBoostClassifier(n_estimators=20)),
    "trees boosted by weights, of three classes": lambda: of_columns(
        last=AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=20), target=THREE
    ),
    "trees that are bagged": lambda: of_columns(last=BaggingClassifier(n_estimators=5)),
    "one against the others": lambda: of_columns(last=OneVsRestClassifier(LogisticRegression()), target=THREE),
    "one against the others, each by columns": lambda: OneVsRestClassifier(of_columns()).fit(TABLE, THREE),
    "several targets": lambda: of_columns(
        last=MultiOutputRegressor(RandomForestRegressor(5)), target=np.stack([VALUE, TARGET], axis=1)
    ),
    "curves": lambda: CalibratedClassifierCV(of_columns(last=LinearSVC()), cv=2).fit(TABLE, TARGET),
    "curves of points": lambda: CalibratedClassifierCV(of_columns(), cv=2, method="isotonic").fit(TABLE, THREE),
    "curves of trees": lambda: CalibratedClassifierCV(
        of_columns(
            last=HistGradientBoostingClassifier(max_iter=5), encoder=OneHotEncoder(sparse_output=False, drop="first")
        ),
        cv=2,
    ).fit(TABLE, TARGET),
    "stacks": lambda: of_columns(
        last=StackingRegressor([("line", Ridge()), ("trees", RandomForestRegressor(5))], passthrough=True)
    ),
    "targets by a function": lambda: TransformedTargetRegressor(
        of_columns(last=Ridge()), func=np.log1p, inverse_func=np.expm1
    ).fit(TABLE, VALUE.abs()),
    "targets that were scaled": lambda: TransformedTargetRegressor(
        of_columns(last=Ridge()), transformer=StandardScaler()
    ).fit(TABLE, VALUE),
    "targets by their power": lambda: TransformedTargetRegressor(
        of_columns(last=Ridge()), transformer=PowerTransformer()
    ).fit(TABLE, VALUE),
    "targets by their power, which is 0": lambda: TransformedTargetRegressor(
        of_columns(last=Ridge()), transformer=_OfOnePower(0.0)
    ).fit(TABLE, VALUE),
    "targets by their power, which is 2": lambda: TransformedTargetRegressor(
        of_columns(last=Ridge()), transformer=_OfOnePower(2.0)
    ).fit(TABLE, VALUE),
    "targets by their ranks": lambda: TransformedTargetRegressor(
        of_columns(last=Ridge()), transformer=QuantileTransformer(n_quantiles=50)
    ).fit(TABLE, VALUE),
    "targets by their ranks, normal": lambda: TransformedTargetRegressor(
        of_columns(last=Ridge()), transformer=QuantileTransformer(n_quantiles=50, output_distribution="normal")
    ).fit(TABLE, VALUE),
    "columns in columns": lambda: make_pipeline(
        ColumnTransformer(
            [("inner", of_columns()[0], ["plan", "city", *NUMBERS]), ("words", TfidfVectorizer(), "note")]
        ),
        LogisticRegression(),
    ).fit(TABLE, TARGET),
    "columns side by side": lambda: make_pipeline(
        FeatureUnion(
            [
                ("columns", of_columns()[0]),
                ("words", ColumnTransformer([("words", CountVectorizer(), "note")])),
                ("letters", ColumnTransformer([("letters", CountVectorizer(analyzer="char"), "note")])),
            ]
        ),
        LogisticRegression(),
    ).fit(TABLE, TARGET),
    "a threshold": lambda: make_pipeline(
        of_columns()[0], FixedThresholdClassifier(LogisticRegression(), threshold=0.3)
    ).fit(TABLE, TARGET),
}


class _OfOnePower(PowerTransformer):  # type: ignore[misc] # scikit-learn has no types
    """Finds the power that it is told."""

    def __init__(self, power: float = 0.0) -> None:
        super().__init__(standardize=False)
        self.power = power

    def fit(self, X: Any, y: Any = None) -> Any:  # noqa: N803 - scikit-learn's name
        super().fit(X, y)
        self.lambdas_ = np.array([self.power])
        return self


def served(estimator: Any, folder: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return what the artifact says of itself, and predictions of hard rows: by scikit-learn, and by us."""
    model = opened(estimator, folder)
    rows = model.signature.as_rows(parity_rows(model, count=300, seed=3))
    by = {}
    facts: Any = None
    for name in ("sklearn", "pipeline"):
        own = folder / name
        own.mkdir()
        facts = imported(name).compile(model, Target.CPU, own)
        artifact = Artifact(
            backend=name, backend_version="", model_digest="", target=Target.CPU, folder=own, facts=facts
        )
        opened_artifact = imported(name).load(artifact, Settings())
        by[name] = opened_artifact.predict(rows)
        np.testing.assert_allclose(opened_artifact.predict(rows[5:6]), by[name][5:6], rtol=1e-6, atol=1e-12)
        opened_artifact.close()
    return facts, by["sklearn"], by["pipeline"]


@pytest.mark.parametrize("kind", PIPELINES)
def test_predictions_are_those_of_scikit_learn_and_no_step_is_left_to_it(kind: str, tmp_path: Path) -> None:
    facts, expected, found = served(PIPELINES[kind](), tmp_path)
    assert facts["in_library"] == []
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_row_of_next_to_nothing_is_normalised_behind_a_sparse_step(*, sparse: bool, tmp_path: Path) -> None:
    table = pd.DataFrame({"city": ["a", "b"] * 50, "amount": np.arange(100.0)})
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=sparse)
    columns = ColumnTransformer([("city", encoder, ["city"])], remainder="passthrough", sparse_threshold=sparse)
    pipeline = make_pipeline(columns, Normalizer(), Ridge()).fit(table, table["amount"])
    tiny = pd.DataFrame({"city": ["c"] * 3, "amount": [1e-15, 1e-16, 0.0]})
    model = opened(pipeline, tmp_path)
    predicted = predictor(model, "pipeline").predict(payload_for(model, tiny).rows)
    np.testing.assert_allclose(predicted, pipeline.predict(tiny), rtol=1e-6)


def test_targets_beyond_the_ends_of_quantiles_are_the_ends(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 1))
    normal = QuantileTransformer(n_quantiles=1000, output_distribution="normal", random_state=0)
    line = make_pipeline(StandardScaler(), TransformedTargetRegressor(Ridge(), transformer=normal))
    line.fit(rows, np.exp(3 * rows[:, 0]))
    model = opened(line, tmp_path)
    beyond = np.concatenate([np.linspace(-8, -4.2, 400), np.linspace(4.2, 8, 400)])[:, np.newaxis]
    np.testing.assert_allclose(predictor(model, "pipeline").predict(beyond), line.predict(beyond), rtol=1e-9)


LEFT: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "a function of one's own": (
        lambda: of_numbers(FunctionTransformer(_halved)),
        ["functiontransformer (FunctionTransformer)"],
    ),
    "distances": (
        lambda: of_numbers(KBinsDiscretizer(3), last=KNeighborsRegressor()),
        ["kneighborsregressor (KNeighborsRegressor)"],
    ),
    "linear functions by XGBoost": (
        lambda: of_columns(last=XGBClassifier(booster="gblinear", n_estimators=5)),
        ["xgbclassifier (XGBClassifier)"],
    ),
    "linear functions in leaves": (
        lambda: of_columns(last=LGBMClassifier(linear_tree=True, n_estimators=5, verbose=-1)),
        ["lgbmclassifier (LGBMClassifier)"],
    ),
    "boosting of another's predictions": (
        lambda: of_columns(last=GradientBoostingClassifier(init=LogisticRegression(), n_estimators=5)),
        ["gradientboostingclassifier (GradientBoostingClassifier)"],
    ),
    "kernels": (lambda: of_columns(last=SVC()), ["svc (SVC)"]),
    "votes of trees": (
        lambda: of_columns(
            last=VotingClassifier([("line", LogisticRegression()), ("trees", RandomForestClassifier(5))])
        ),
        ["trees (RandomForestClassifier)"],
    ),
}


def _halved(rows: Any) -> Any:
    return rows / 2


@pytest.mark.parametrize("kind", LEFT)
def test_a_step_that_is_not_known_is_named_and_the_others_are_computed_here(kind: str, tmp_path: Path) -> None:
    made, left = LEFT[kind]
    facts, expected, found = served(made(), tmp_path)
    assert facts["in_library"] == left
    assert facts["steps"] > 0
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


MOST = SimpleImputer(strategy="most_frequent")
MOST_OF_NONE = SimpleImputer(strategy="most_frequent", missing_values=None)
OBJECTS: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "truths": ((True, False), (OneHotEncoder(),)),
    "truths or None": ((True, False, None), (OneHotEncoder(),)),
    "truths or NaN": ((True, False, np.nan), (TargetEncoder(),)),
    "numbers or None": ((1, 7, 300, None), (OrdinalEncoder(encoded_missing_value=-2),)),
    "decimals or None, of which NaN is replaced": ((0.5, 2.25, None), (MOST, OneHotEncoder())),
    "truths, a number or NaN that is replaced": ((True, 2, np.nan), (MOST, OneHotEncoder())),
    "truths or None that is replaced": ((False, True, None), (MOST_OF_NONE, OneHotEncoder(handle_unknown="ignore"))),
    "texts or None, of which NaN is replaced": (("a", "b", None), (MOST, OneHotEncoder())),
    "None most of all, of which NaN is replaced": (("a", None, None), (MOST, OneHotEncoder())),
    "texts or NaN that is replaced": (("a", "b", np.nan), (MOST, OrdinalEncoder())),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_categories_are_the_objects_that_they_were_fitted_on(kind: str, tmp_path: Path) -> None:
    values, steps = OBJECTS[kind]
    objects = pd.Series([values[nth % len(values)] for nth in range(ROWS)], dtype=object)
    table = pd.DataFrame({"member": objects, "n0": TABLE["n0"].fillna(0)})
    columns = ColumnTransformer([("members", make_pipeline(*steps), ["member"]), ("numbers", StandardScaler(), ["n0"])])
    estimator = make_pipeline(columns, LogisticRegression()).fit(table, TARGET)
    payload = tmp_path / "payload.json"
    payload.write_text(table.to_json(orient="records", double_precision=15))
    model = opened(estimator, tmp_path)
    rows = payload_for(model, payload).rows
    for backend in ("sklearn", "pipeline"):
        found = predictor(model, backend).predict(rows)
        np.testing.assert_allclose(found, estimator.predict_proba(table)[:, 1], rtol=1e-12, err_msg=backend)


def test_whole_numbers_that_are_categories_are_not_missing_among_numbers_that_may_be(tmp_path: Path) -> None:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = ColumnTransformer([("numbers", SimpleImputer(), NUMBERS), ("categories", encoder, ["zip"])])
    facts, expected, found = served(make_pipeline(columns, LinearSVC()).fit(TABLE, TARGET), tmp_path)
    assert facts["in_library"] == []
    np.testing.assert_array_equal(found, expected)


def test_categories_that_are_missing_in_two_ways_are_refused(tmp_path: Path) -> None:
    objects = np.array([(True, False, None, np.nan)[nth % 4] for nth in range(ROWS)], dtype=object)
    columns = ColumnTransformer([("members", OneHotEncoder(), [0])])
    estimator = make_pipeline(columns, LogisticRegression()).fit(objects.reshape(-1, 1), TARGET)
    with pytest.raises(UnsupportedModel, match="missing in two ways, None and NaN"):
        opened(estimator, tmp_path)


def test_outputs_of_transformers_are_weighed(tmp_path: Path) -> None:
    texts = FeatureUnion(
        [("words", TfidfVectorizer()), ("all", CountVectorizer(binary=True))], transformer_weights={"words": 0.3}
    )
    encoders = [
        ("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"]),
        ("note", texts, "note"),
        ("n0", SimpleImputer(), ["n0"]),
    ]
    columns = ColumnTransformer(encoders, transformer_weights={"plan": 2, "n0": 0.1}, remainder="drop")
    facts, expected, found = served(make_pipeline(columns, XGBClassifier(n_estimators=20)).fit(TABLE, TARGET), tmp_path)
    assert facts["in_library"] == []
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


class Shifted(StandardScaler):  # type: ignore[misc] # scikit-learn has no types
    """Has the name and the attributes of another's, and does something else."""

    def transform(self, X: Any, copy: Any = None) -> Any:  # noqa: N803 - scikit-learn's name
        return super().transform(X, copy) + 1


Shifted.__module__, Shifted.__name__, Shifted.__qualname__ = (
    "sklearn.preprocessing._data",
    "StandardScaler",
    "StandardScaler",
)


def test_a_step_that_gives_something_else_than_ours_is_left_to_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sklearn.preprocessing._data.StandardScaler", Shifted)
    facts, expected, found = served(of_numbers(Shifted()), tmp_path)
    assert facts["in_library"] == ["standardscaler (StandardScaler)"]
    np.testing.assert_allclose(found, expected)


def test_artifacts_of_steps_whose_source_was_another_are_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []
    for source in ("AT_ONCE = 1", "AT_ONCE = 1", "AT_ONCE = 2"):
        (tmp_path / "steps.py").write_text(source)
        monkeypatch.setattr(readable, "__file__", str(tmp_path / "readable.py"))
        readable.steps_key.cache_clear()
        keys.append(imported("pipeline").cache_key())
    readable.steps_key.cache_clear()
    assert keys[0] == keys[1] != keys[2]


def test_a_step_that_does_not_pickle_is_a_compilation_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = of_numbers(FunctionTransformer(_halved))
    model = opened(estimator, tmp_path)
    estimator.steps[0][1].transformers_[0][1].steps[1][1].func = lambda rows: rows / 2
    monkeypatch.setattr("servefit.backends.libraries.trees.unpickled", lambda _model: estimator)
    with pytest.raises(CompileFailed, match=r"calls a lambda or a local function \(functiontransformer \(FunctionTr"):
        imported("pipeline").compile(model, Target.CPU, tmp_path)


def test_an_estimator_of_which_no_step_is_known_is_a_compilation_that_failed(tmp_path: Path) -> None:
    model = opened(SVC().fit(TABLE[NUMBERS].fillna(0).to_numpy(), TARGET), tmp_path)
    with pytest.raises(CompileFailed, match="computes none of its steps: model"):
        imported("pipeline").compile(model, Target.CPU, tmp_path)
