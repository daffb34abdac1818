"""Twenty-five pipelines such as people deploy, over the table of customers. Not all can be accelerated: one has
neighbours as its last step, and one a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.pipelines.customers import CATEGORIES, NUMBERS, TEXT, WHOLE, WITHOUT_GAPS, Customers


def ratio_of_calls(table: Any) -> Any:
    """Return calls a month, as a user's own function computes it."""
    return (table["calls"] / (table["tenure"] + 1)).to_frame()


def usual_pipelines(customers: Customers) -> Iterator[tuple[str, Any]]:
    """Yield the pipelines, fitted, by what they are made of."""
    for name, make, target in _made():
        yield name, make().fit(customers.table, getattr(customers, target))


def _made() -> Iterator[tuple[str, Callable[[], Any], str]]:
    from catboost import CatBoostClassifier
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline as make_sampling_pipeline
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        GradientBoostingRegressor,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        StackingClassifier,
        VotingClassifier,
    )
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import (
        FunctionTransformer,
        KBinsDiscretizer,
        OneHotEncoder,
        OrdinalEncoder,
        PolynomialFeatures,
        PowerTransformer,
        QuantileTransformer,
        SplineTransformer,
        StandardScaler,
        TargetEncoder,
    )
    from sklearn.svm import LinearSVC
    from xgboost import XGBClassifier, XGBRegressor

    def ordinal() -> Any:
        return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)

    def one_hot(**options: Any) -> Any:
        return OneHotEncoder(handle_unknown="ignore", **options)

    def words(**options: Any) -> tuple[str, Any, str]:
        return ("words", TfidfVectorizer(**options), TEXT)

    def before(*last: Any, encoder: Any = None, scaled: bool = True, more: tuple[Any, ...] = ()) -> Any:
        return make_pipeline(_columns(encoder or one_hot(), scaled, more), *last)

    def of_numbers(*last: Any, steps: tuple[tuple[str, Any], ...]) -> Any:
        return make_pipeline(ColumnTransformer([(name, step, NUMBERS) for name, step in steps]), *last)

    def boosted(trees: int = 50) -> Any:
        return HistGradientBoostingClassifier(max_iter=trees, random_state=0)

    def two() -> list[tuple[str, Any]]:
        return [("linear", LogisticRegression(max_iter=300)), ("forest", RandomForestClassifier(50, random_state=0))]

    functions = make_pipeline(_imputer(), FunctionTransformer(np.abs), FunctionTransformer(np.log1p))
    scaled_numbers = make_pipeline(_imputer(), StandardScaler())
    curves = make_pipeline(_imputer(), SplineTransformer())
    binned = make_pipeline(
        _imputer(), KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf"), PolynomialFeatures(2)
    )
    quantiles = make_pipeline(_imputer(), QuantileTransformer(n_quantiles=100))
    powers = make_pipeline(_imputer(), PowerTransformer(), StandardScaler())
    infrequent = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30)
    own = ("own", FunctionTransformer(ratio_of_calls), WITHOUT_GAPS)

    def linear() -> Any:
        return LogisticRegression(max_iter=300)

    yield "one-hot, LogisticRegression", lambda: before(linear()), "left"
    yield "infrequent categories, LogisticRegression", lambda: before(linear(), encoder=infrequent), "left"
    yield "one-hot and words, LogisticRegression", lambda: before(linear(), more=(words(),)), "left"
    yield (
        "words without accents, LinearSVC calibrated",
        lambda: CalibratedClassifierCV(before(LinearSVC(), more=(words(strip_accents="unicode", ngram_range=(1, 2)),))),
        "left",
    )
    yield (
        "letters of words, SGDClassifier",
        lambda: before(
            SGDClassifier(loss="log_loss", random_state=0),
            more=(words(analyzer="char_wb", ngram_range=(2, 4), max_features=5000),),
        ),
        "left",
    )
    yield (
        "hashed words, LogisticRegression",
        lambda: before(linear(), more=(("words", HashingVectorizer(n_features=2**14), TEXT),)),
        "left",
    )
    yield (
        "words, XGBClassifier",
        lambda: before(XGBClassifier(n_estimators=100, n_jobs=1), more=(words(max_features=500),)),
        "left",
    )
    yield "numbers: scaled, Ridge", lambda: of_numbers(Ridge(), steps=(("scaled", scaled_numbers),)), "spent"
    yield (
        "numbers: logarithms and splines, LogisticRegression",
        lambda: of_numbers(linear(), steps=(("log", functions), ("curves", curves))),
        "grade",
    )
    yield (
        "numbers: bins and products, LogisticRegression",
        lambda: of_numbers(linear(), steps=(("bins", binned),)),
        "left",
    )
    yield (
        "numbers: powers and quantiles, MLPClassifier",
        lambda: of_numbers(
            MLPClassifier((32, 16), max_iter=30, random_state=0), steps=(("powers", powers), ("quantiles", quantiles))
        ),
        "grade",
    )
    yield "one-hot, XGBClassifier", lambda: before(XGBClassifier(n_estimators=200, n_jobs=1), scaled=False), "left"
    yield (
        "ordinal, XGBRegressor",
        lambda: before(XGBRegressor(n_estimators=200, n_jobs=1), encoder=ordinal(), scaled=False),
        "spent",
    )
    yield (
        "one-hot, LGBMClassifier",
        lambda: before(LGBMClassifier(n_estimators=200, n_jobs=1, verbose=-1), scaled=False),
        "grade",
    )
    yield (
        "ordinal, LGBMRegressor",
        lambda: before(LGBMRegressor(n_estimators=200, n_jobs=1, verbose=-1), encoder=ordinal(), scaled=False),
        "spent",
    )
    yield (
        "target encoder, CatBoostClassifier",
        lambda: before(
            CatBoostClassifier(iterations=200, thread_count=1, verbose=0, allow_writing_files=False),
            encoder=TargetEncoder(random_state=0),
        ),
        "left",
    )
    yield (
        "ordinal with categories, HistGradientBoostingClassifier",
        lambda: before(
            HistGradientBoostingClassifier(
                max_iter=50,
                categorical_features=[len(NUMBERS) + nth for nth in range(len(CATEGORIES) + 1)],
                random_state=0,
            ),
            encoder=OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
            scaled=False,
        ),
        "left",
    )
    yield (
        "target encoder, HistGradientBoostingRegressor",
        lambda: before(
            HistGradientBoostingRegressor(max_iter=50, random_state=0), encoder=TargetEncoder(random_state=0)
        ),
        "spent",
    )
    yield (
        "samples drawn again, RandomForestClassifier",
        lambda: make_sampling_pipeline(
            _columns(one_hot(), True, ()),
            RandomOverSampler(random_state=0),
            RandomForestClassifier(100, random_state=0),
        ),
        "left",
    )
    yield (
        "logarithm of the target, GradientBoostingRegressor",
        lambda: TransformedTargetRegressor(
            before(GradientBoostingRegressor(random_state=0)), func=np.log1p, inverse_func=np.expm1
        ),
        "spent",
    )
    yield "two that vote", lambda: before(VotingClassifier(two(), voting="soft")), "left"
    yield "a stack of two", lambda: before(StackingClassifier(two(), linear())), "left"
    yield (
        "one against the rest, ExtraTreesClassifier",
        lambda: before(OneVsRestClassifier(ExtraTreesClassifier(30, random_state=0))),
        "grade",
    )
    yield (
        "a user's own function, HistGradientBoostingClassifier",
        lambda: before(boosted(), encoder=one_hot(sparse_output=False), more=(own,)),
        "left",
    )
    yield "one-hot, KNeighborsClassifier", lambda: before(KNeighborsClassifier()), "left"


def _imputer() -> Any:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(strategy="median")


def _columns(encoder: Any, scaled: bool, more: tuple[Any, ...]) -> Any:
    """Return the table's own columns, taken as usual."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()) if scaled else None
    return ColumnTransformer(
        [("numbers", numbers or "passthrough", NUMBERS), ("categories", encoder, [*CATEGORIES, WHOLE]), *more]
    )
