"""Pipelines drawn at random: for some of the columns of the table one to three branches of steps, and a last step.

pipeline  = ColumnTransformer(branches), [selection], last
branches  = numbers+, categories?, text?
numbers   = imputer?, one to three steps of numbers
categories = imputer?, encoder
text      = vectorizer, [decomposition]
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from benchmarks.pipelines.customers import CATEGORIES, NUMBERS, TEXT, WHOLE, Customers


def drawn_pipeline(customers: Customers, seed: int) -> tuple[str, Any]:
    """Return a pipeline and what it is made of. One that does not fit the table is drawn again."""
    draw = np.random.default_rng(seed)
    while True:
        target = str(draw.choice(["left", "grade", "spent", "left and grade"]))
        last = _last(draw, target)
        pipeline = _pipeline(draw, last)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                targets = [getattr(customers, name) for name in target.split(" and ")]
                pipeline.fit(customers.table, targets[0] if len(targets) == 1 else np.column_stack(targets))
        except (ValueError, TypeError):
            continue
        return _told(pipeline), pipeline


def _pick(draw: np.random.Generator, options: list[Any]) -> Any:
    return options[int(draw.integers(len(options)))]


def _pipeline(draw: np.random.Generator, last: Any) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_selection import SelectPercentile, VarianceThreshold
    from sklearn.pipeline import make_pipeline

    branches: list[tuple[str, Any, Any]] = []
    for nth in range(int(draw.integers(1, 3))):
        some = sorted(draw.choice(NUMBERS, int(draw.integers(1, len(NUMBERS))), replace=False).tolist())
        branches.append((f"numbers {nth}", _numbers(draw), some))
    if draw.random() < 0.8:
        some = sorted(draw.choice([*CATEGORIES, WHOLE], int(draw.integers(1, 5)), replace=False).tolist())
        branches.append(("categories", _categories(draw, texts=WHOLE not in some), some))
    if draw.random() < 0.35:
        branches.append(("text", _text(draw), TEXT))
    columns = ColumnTransformer(branches, sparse_threshold=float(_pick(draw, [0, 0.3, 1])))
    if draw.random() < 0.2:
        return make_pipeline(columns, _pick(draw, [VarianceThreshold(), SelectPercentile(percentile=70)]), last)
    return make_pipeline(columns, last)


def _numbers(draw: np.random.Generator) -> Any:
    from sklearn import preprocessing as steps
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    chain: list[Any] = []
    if draw.random() < 0.85:
        strategy = str(_pick(draw, ["mean", "median", "most_frequent", "constant"]))
        chain.append(SimpleImputer(strategy=strategy, add_indicator=bool(draw.random() < 0.4)))
    options = [
        lambda: steps.StandardScaler(),
        lambda: steps.MinMaxScaler(clip=bool(draw.random() < 0.5)),
        lambda: steps.RobustScaler(),
        lambda: steps.MaxAbsScaler(),
        lambda: steps.PowerTransformer(),
        lambda: steps.QuantileTransformer(n_quantiles=50, output_distribution=str(_pick(draw, ["normal", "uniform"]))),
        lambda: steps.KBinsDiscretizer(
            int(draw.integers(2, 8)),
            encode=str(_pick(draw, ["ordinal", "onehot", "onehot-dense"])),
            quantile_method="averaged_inverted_cdf",
        ),
        lambda: steps.SplineTransformer(int(draw.integers(3, 6))),
        lambda: steps.PolynomialFeatures(2, interaction_only=bool(draw.random() < 0.5)),
        lambda: steps.FunctionTransformer(_pick(draw, [np.abs, np.cbrt, np.arctan, np.log1p, np.sign])),
        lambda: steps.Normalizer(),
        lambda: steps.Binarizer(threshold=float(draw.random())),
        lambda: PCA(1),
    ]
    chain += [_pick(draw, options)() for _ in range(int(draw.integers(0, 3)))]
    return make_pipeline(*chain) if chain else "passthrough"


def _categories(draw: np.random.Generator, *, texts: bool) -> Any:
    from sklearn import preprocessing as steps
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    encoder = _pick(
        draw,
        [
            steps.OneHotEncoder(handle_unknown="ignore", sparse_output=bool(draw.random() < 0.5)),
            steps.OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=int(draw.integers(2, 60))),
            steps.OneHotEncoder(handle_unknown="ignore", drop="if_binary"),
            steps.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            steps.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-2),
            steps.TargetEncoder(random_state=0),
        ],
    )
    imputer = _pick(draw, [None, SimpleImputer(strategy="most_frequent"), SimpleImputer(strategy="constant")])
    return encoder if imputer is None or not texts else make_pipeline(imputer, encoder)


def _text(draw: np.random.Generator) -> Any:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    options = {
        "strip_accents": _pick(draw, [None, "unicode", "ascii"]),
        "lowercase": bool(draw.random() < 0.8),
        **_pick(
            draw,
            [
                {"ngram_range": (1, 2)},
                {"stop_words": ["good", "word7"]},
                {"token_pattern": r"(?u)\b\w+\b"},
                {"analyzer": "char", "ngram_range": (2, 3)},
                {"analyzer": "char_wb", "ngram_range": (1, 4)},
                {},
            ],
        ),
    }
    vectorizer = _pick(
        draw,
        [
            TfidfVectorizer(sublinear_tf=bool(draw.random() < 0.5), max_features=400, **options),
            CountVectorizer(binary=bool(draw.random() < 0.5), max_features=400, **options),
            HashingVectorizer(n_features=512, alternate_sign=bool(draw.random() < 0.5), **options),
        ],
    )
    return make_pipeline(vectorizer, TruncatedSVD(5, random_state=0)) if draw.random() < 0.2 else vectorizer


def _last(draw: np.random.Generator, target: str) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn import ensemble, linear_model, naive_bayes, neighbors, svm, tree
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from xgboost import XGBClassifier, XGBRegressor

    depth = int(draw.integers(2, 7))
    boosted = {"n_estimators": int(draw.integers(5, 60)), "max_depth": depth, "n_jobs": 1}
    quiet = {"iterations": 30, "thread_count": 1, "verbose": 0, "allow_writing_files": False, "depth": depth}
    grown = {"n_estimators": 20, "max_depth": depth, "random_state": 0}
    if target == "spent":
        options = [
            lambda: XGBRegressor(**boosted),
            lambda: LGBMRegressor(verbose=-1, **boosted),
            lambda: CatBoostRegressor(**quiet),
            lambda: ensemble.HistGradientBoostingRegressor(max_iter=20, random_state=0),
            lambda: ensemble.RandomForestRegressor(**grown),
            lambda: ensemble.GradientBoostingRegressor(**grown),
            lambda: tree.DecisionTreeRegressor(max_depth=depth),
            lambda: linear_model.Ridge(),
            lambda: linear_model.PoissonRegressor(),
            lambda: MLPRegressor((8,), max_iter=20, random_state=0),
            lambda: svm.SVR(),
            lambda: TransformedTargetRegressor(
                ensemble.GradientBoostingRegressor(**grown), func=np.log1p, inverse_func=np.expm1
            ),
            lambda: ensemble.BaggingRegressor(n_estimators=5, random_state=0),
        ]
    elif target == "left and grade":
        options = [
            lambda: MultiOutputClassifier(linear_model.LogisticRegression(max_iter=200)),
            lambda: MultiOutputClassifier(XGBClassifier(**boosted)),
            lambda: MultiOutputClassifier(LGBMClassifier(verbose=-1, **boosted)),
            lambda: MultiOutputClassifier(ensemble.HistGradientBoostingClassifier(max_iter=20, random_state=0)),
            lambda: MultiOutputClassifier(ensemble.AdaBoostClassifier(n_estimators=10, random_state=0)),
            lambda: ensemble.RandomForestClassifier(**grown),
            lambda: neighbors.KNeighborsClassifier(),
        ]
    else:
        options = [
            lambda: XGBClassifier(**boosted),
            lambda: LGBMClassifier(verbose=-1, **boosted),
            lambda: CatBoostClassifier(**quiet),
            lambda: ensemble.HistGradientBoostingClassifier(max_iter=20, random_state=0),
            lambda: ensemble.RandomForestClassifier(**grown),
            lambda: ensemble.ExtraTreesClassifier(**grown),
            lambda: ensemble.GradientBoostingClassifier(**grown),
            lambda: tree.DecisionTreeClassifier(max_depth=depth),
            lambda: ensemble.AdaBoostClassifier(n_estimators=20, random_state=0),
            lambda: ensemble.BaggingClassifier(n_estimators=5, random_state=0),
            lambda: linear_model.LogisticRegression(max_iter=200),
            lambda: linear_model.SGDClassifier(loss="log_loss", random_state=0),
            lambda: svm.LinearSVC(),
            lambda: naive_bayes.GaussianNB(),
            lambda: naive_bayes.BernoulliNB(),
            lambda: MLPClassifier((8,), max_iter=20, random_state=0),
            lambda: CalibratedClassifierCV(ensemble.RandomForestClassifier(**grown), cv=2),
            lambda: OneVsRestClassifier(linear_model.LogisticRegression(max_iter=200)),
            lambda: ensemble.VotingClassifier(
                [("a", linear_model.LogisticRegression(max_iter=200)), ("b", ensemble.RandomForestClassifier(**grown))],
                voting="soft",
            ),
            lambda: neighbors.KNeighborsClassifier(),
        ]
    return _pick(draw, options)()


def _told(pipeline: Any) -> str:
    """Return what a pipeline is made of, in a line."""
    first = pipeline.steps[0][1]
    branches = [_chain(step) for name, step, _ in first.transformers_ if name != "remainder"]
    rest = " > ".join(type(step).__name__ for _, step in pipeline.steps[1:])
    return f"[{' | '.join(branches)}] > {rest}"


def _chain(step: Any) -> str:
    if isinstance(step, str):
        return step
    return " > ".join(type(inner).__name__ for _, inner in getattr(step, "steps", [("", step)]))
