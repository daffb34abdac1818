"""Pipelines of scikit-learn whose columns are of different kinds, and the table that they are fitted on."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from servefit.backends.compilation import load_predictor
from servefit.backends.finding.registry import imported
from servefit.backends.inspection import inspect
from servefit.backends.model import Format, Model
from servefit.backends.types import Artifact, Settings, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.backends.types import Predictor

ROWS = 200
WORDS = ("good", "bad", "fast", "slow", "car", "École")
CITIES = np.array(["Paris", "Rome", "Oslo", None], dtype=object)


def _table() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": generator.integers(18, 90, ROWS),
            "income": (generator.standard_normal(ROWS) * 1e4).round(1),
            "city": generator.choice(CITIES, ROWS),
            "note": [" ".join(generator.choice(WORDS, generator.integers(1, 6))) for _ in range(ROWS)],
            "zip": generator.integers(1, 5, ROWS),
        }
    )


TABLE = _table()
TARGET = (TABLE["income"] + 2e3 * TABLE["note"].str.count("good") > 0).astype(int)
GRADES = TABLE["note"].str.split().str[0]
"""A column of few texts, of which none is missing."""


def fitted(*columns: tuple[str, Any, Any], last: Any = None, table: pd.DataFrame = TABLE) -> Any:
    return make_pipeline(ColumnTransformer(list(columns)), LogisticRegression() if last is None else last).fit(
        table, TARGET
    )


def mixed() -> Any:
    """Numbers, categories and words."""
    return fitted(
        ("scaled", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
        ("encoded", OneHotEncoder(handle_unknown="ignore"), ["city", "zip"]),
        ("words", TfidfVectorizer(), "note"),
    )


def closed() -> Any:
    """Categories, of which no others are taken."""
    return fitted(
        ("scaled", StandardScaler(), ["age", "income"]),
        ("encoded", OneHotEncoder(), ["zip"]),
        ("ordered", OrdinalEncoder(), ["note"]),
        table=TABLE.assign(note=GRADES),
    )


def words() -> Any:
    """One column of texts."""
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TABLE["note"], TARGET)


PIPELINES: dict[str, Callable[[], Any]] = {
    "numbers by name": lambda: fitted(
        ("scaled", StandardScaler(), ["age", "income"]), ("shifted", MinMaxScaler(), ["zip"])
    ),
    "categories": lambda: fitted(
        ("scaled", StandardScaler(), ["age", "income"]),
        ("encoded", OneHotEncoder(handle_unknown="ignore"), ["city"]),
    ),
    "categories that are imputed": lambda: fitted(
        ("scaled", StandardScaler(), ["age", "income"]),
        (
            "encoded",
            make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
            ["city"],
        ),
    ),
    "closed categories": closed,
    "numbers, categories and words": mixed,
    "a regression": lambda: fitted(
        ("scaled", StandardScaler(), ["age"]),
        ("encoded", OneHotEncoder(handle_unknown="ignore"), ["city"]),
        last=Ridge(),
    ),
    "words alone": words,
    "a matrix of categories": lambda: make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(
        TABLE[["city", "note"]].fillna("none").to_numpy(), TARGET
    ),
}


def hashed() -> Any:
    """A pipeline that skl2onnx does not convert, and that knows no words."""
    return make_pipeline(HashingVectorizer(n_features=64), LogisticRegression()).fit(TABLE["note"], TARGET)


def opened(estimator: Any, folder: Path) -> Model:
    """The model that an estimator is, as the inspection's child process finds it, and without one."""
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps(estimator))
    found = inspect(path, Format.PICKLE, folder)
    return Model(
        source=str(path),
        file=path,
        format=Format.PICKLE,
        digest="",
        size_bytes=1,
        signature=found.signature,
        ends_in_trees=found.ends_in_trees,
        ends_in_sum=found.ends_in_sum,
    )


def predictor(model: Model, backend: str) -> Predictor:
    """What a backend makes of a model, without a child process and unchecked."""
    folder = Path(tempfile.mkdtemp(dir=model.file.parent))
    facts = imported(backend).compile(model, Target.CPU, folder)
    artifact = Artifact(
        backend=backend, backend_version="", model_digest="", target=Target.CPU, folder=folder, facts=facts
    )
    return load_predictor(artifact, Settings())
