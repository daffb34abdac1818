"""How much faster ONNX Runtime answers for a pipeline of scikit-learn than scikit-learn itself, and how far their
predictions are apart.

    python -m benchmarks.claims.pipelines [--budget-s 30]

Six pipelines of numbers are fitted to 600 rows of 30 features. A call of one row is timed in fresh processes, one
thread each, in turns of A B B A. Prints one JSON object: the ratio of the medians with its 95 % interval, and the
largest difference of predictions on the 600 rows. The aims are a tenth of scikit-learn's time, and 1e-5.

It takes about six minutes.
"""

from __future__ import annotations

import argparse
import json
import pickle
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import servefit as sf
from benchmarks.synthetic import machine
from servefit.backends.compilation import load_predictor
from servefit.backends.types import Settings
from servefit.profiler.machine.host import describe_host

TIMES_FASTER, APART = 10.0, 1e-5


def pipelines(rows: np.ndarray) -> dict[str, Any]:
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


def compared(path: Path, rows: np.ndarray, budget_s: float) -> dict[str, Any]:
    """Return how the two backends compare on one pipeline."""
    model = sf.Model.load(path, trust_pickle=True)
    found = sf.compare_deployments(
        model,
        sf.Deployment(backend="onnxruntime", threads=1),
        {"backend": "sklearn"},
        payload=rows,
        budget_s=budget_s,
        allow_noise=True,
    )
    predictions = [
        load_predictor(sf.compile_model(model, name).artifact, Settings()).predict(rows)
        for name in ("onnxruntime", "sklearn")
    ]
    comparison = found.comparison
    return {
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
        for nth, (name, fitted) in enumerate(pipelines(rows).items()):
            path = Path(folder, f"{nth}.pkl")
            path.write_bytes(pickle.dumps(fitted))
            document["pipelines"][name] = compared(path, rows, asked.budget_s)
    found = document["pipelines"].values()
    document["met"] = all(
        (each["times faster"] or 0) >= TIMES_FASTER and each["largest difference"] <= APART for each in found
    )
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
