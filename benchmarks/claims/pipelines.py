"""How much faster servefit's backends answer for a pipeline of scikit-learn than scikit-learn itself, and how far their
predictions are apart.

    python -m benchmarks.claims.pipelines [--budget-s 30]

Six pipelines of numbers are fitted to 600 rows of 30 features, and four of columns of different kinds to a table of as
many rows: by ONNX Runtime, or by the forest where a pipeline ends in trees. A call of one row is timed in fresh
processes, one thread each, in turns of A B B A. Prints one JSON object: the ratio of the medians with its 95 %
interval, and the largest difference of predictions on the 600 rows. The aims are a tenth of scikit-learn's time for
numbers, a hundredth for columns, and 1e-5.

It takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import pickle
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import servefit as sf
from benchmarks.synthetic import machine
from servefit.backends.compilation import load_predictor
from servefit.backends.payload.reading import payload_for
from servefit.backends.types import Settings
from servefit.profiler.machine.host import describe_host

APART = 1e-5


@dataclass(frozen=True, slots=True)
class Case:
    """A fitted pipeline, rows for it, the backend, and how many times faster it should be."""

    pipeline: Any
    rows: Any
    backend: str
    aim: float


def of_columns() -> dict[str, Case]:
    """Return pipelines of columns of different kinds, by what they are made of."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    generator = np.random.default_rng(0)
    words = np.array([f"word{nth}" for nth in range(500)])
    table = pd.DataFrame({f"number{nth}": generator.standard_normal(600) for nth in range(10)})
    for nth, count in enumerate((3, 12, 50, 200)):
        table[f"category{nth}"] = generator.choice([f"value {each}" for each in range(count)], 600)
    table["text"] = [" ".join(generator.choice(words, 20)) for _ in range(600)]
    target = (table["number0"] + generator.standard_normal(600) > 0).astype(int)
    numbers, categories = list(table.columns[:10]), list(table.columns[10:14])
    scaled, encoded = ("scaled", StandardScaler(), numbers), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    imputed = make_pipeline(SimpleImputer(strategy="most_frequent"), encoded)
    trees = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    made = {
        "scaled and one-hot columns, LogisticRegression": (
            [scaled, ("codes", encoded, categories)],
            LogisticRegression(),
        ),
        "the same and TfidfVectorizer": (
            [scaled, ("codes", imputed, categories), ("words", TfidfVectorizer(), "text")],
            LogisticRegression(),
        ),
        "scaled and ordinal columns, Ridge": ([scaled, ("codes", OrdinalEncoder(), categories)], Ridge()),
        "scaled and one-hot columns, HistGradientBoostingClassifier(50)": (
            [scaled, ("codes", encoded, categories)],
            trees,
        ),
    }
    return {
        name: Case(
            make_pipeline(ColumnTransformer(columns), last).fit(table, target),
            table,
            "forest" if last is trees else "onnxruntime",
            100.0,
        )
        for name, (columns, last) in made.items()
    }


def of_numbers(rows: np.ndarray) -> dict[str, Any]:
    """Return six fitted pipelines by what they are made of."""
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler
    from sklearn.svm import SVC

    noise = np.random.default_rng(1).standard_normal(len(rows))
    two = (rows[:, :5].sum(axis=1) + noise > 0).astype(int)
    three = np.digitize(rows[:, 0], [-0.5, 0.5])
    layers = MLPClassifier(hidden_layer_sizes=(64, 64), max_iter=30, random_state=0)
    return {
        "StandardScaler, LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, two),
        "the same, three classes": make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, three),
        "StandardScaler, MLPClassifier(64, 64)": make_pipeline(StandardScaler(), layers).fit(rows, two),
        "SimpleImputer, PCA(10), LogisticRegression": make_pipeline(SimpleImputer(), PCA(10), LogisticRegression()).fit(
            rows, two
        ),
        "MinMaxScaler, Ridge": make_pipeline(MinMaxScaler(), Ridge()).fit(rows, rows[:, 0]),
        "StandardScaler, SVC": make_pipeline(StandardScaler(), SVC()).fit(rows, two),
    }


def compared(path: Path, case: Case, budget_s: float) -> dict[str, Any]:
    """Return how the two backends compare on one pipeline."""
    model = sf.Model.load(path, trust_pickle=True)
    payload = payload_for(model, case.rows)
    found = sf.compare_deployments(
        model,
        sf.Deployment(backend=case.backend, threads=1),
        {"backend": "sklearn"},
        payload=payload,
        budget_s=budget_s,
        allow_noise=True,
    )
    predictions = [
        load_predictor(sf.compile_model(model, name, payload=payload).artifact, Settings()).predict(payload.rows)
        for name in (case.backend, "sklearn")
    ]
    comparison = found.comparison
    return {
        "backend": case.backend,
        "aim": case.aim,
        "times faster": None if comparison is None else round(comparison.ratio, 1),
        "95 %": None if comparison is None else [round(each, 1) for each in comparison.ci95],
        "largest difference": float(np.abs(predictions[0] - predictions[1]).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget-s", type=float, default=30)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = np.random.default_rng(0).standard_normal((600, 30)).astype(np.float32)
    document: dict[str, Any] = {"machine": machine(describe_host()), "pipelines": {}}
    with tempfile.TemporaryDirectory() as folder:
        cases = {name: Case(fitted, rows, "onnxruntime", 10.0) for name, fitted in of_numbers(rows).items()}
        for nth, (name, case) in enumerate({**cases, **of_columns()}.items()):
            path = Path(folder, f"{nth}.pkl")
            path.write_bytes(pickle.dumps(case.pipeline))
            document["pipelines"][name] = compared(path, case, asked.budget_s)
    found = document["pipelines"].values()
    document["met"] = all(
        (each["times faster"] or 0) >= each["aim"] and each["largest difference"] <= APART for each in found
    )
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
