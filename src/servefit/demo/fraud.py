"""The fraud model, its payload and the facts about both. They are made together on first use, and then kept.

They are in a folder of the state folder that is named by the digest of the recipe below, so a changed recipe makes a
new folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.isolation import call_isolated
from servefit.state import filling, state_folder, writing

if TYPE_CHECKING:
    import numpy as np

# All inputs of the files. Raise "version" when the code that draws the rows changes.
_RECIPE: dict[str, Any] = {
    "version": 1,
    "seed": 2013,
    "held_out_share": 0.2,
    "legitimate_rows_trained_on": 20_000,
    "payload_rows": 4000,
    "rounds": 1300,
    "parameters": {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": 8,
        "max_bin": 64,
        "min_child_weight": 0,
        "learning_rate": 0.008,
        "subsample": 0.8,
        "seed": 2013,
    },
}
_TRAINING_LIMIT_S = 600.0
"""Time limit of the training, for slow and busy machines: thirty times the 20 s that it usually takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FraudFacts:
    """The facts about the model. ``auc`` and ``median_score`` are those of the ``held_out_rows``, which the model was
    not trained on, and from which the payload is drawn."""

    rows: int
    frauds: int
    features: int
    trees: int
    size_bytes: int
    auc: float
    median_score: float
    held_out_rows: int
    payload_rows: int
    payload_frauds: int


def fraud_model(progress: Callable[[str], None] | None = None) -> Path:
    """Return the path of an XGBoost binary classifier of about 10 MB, as UBJSON. ``progress`` is called with a sentence
    if the model has to be trained.

    Raises StateError, and the errors of a child process: TimedOut, OutOfMemory, WorkerCrashed.
    """
    return _folder(progress) / "fraud.ubj"


def fraud_payload(progress: Callable[[str], None] | None = None) -> Path:
    """Return the path of a CSV file with a header: a random sample of held-out transactions, with the natural rate of
    frauds. Raises as ``fraud_model`` does."""
    return _folder(progress) / "payload.csv"


def fraud_rows_per_request(size_bytes: int) -> int:
    """Return how many rows of the payload make a request of about ``size_bytes``, as the Open Inference Protocol writes
    them in JSON, in which endpoints are loaded. Raises as ``fraud_model`` does."""
    import numpy as np

    from servefit.profiler.drivers.http.bodies import bodies

    rows = np.loadtxt(fraud_payload(), delimiter=",", dtype=np.float32, skiprows=1)
    _, all_at_once = next(bodies("open-inference", rows, rows_per_request=len(rows)))
    return max(1, round(size_bytes * len(rows) / len(all_at_once)))


def fraud_facts(progress: Callable[[str], None] | None = None) -> FraudFacts:
    """Return the facts about the model. Raises as ``fraud_model`` does."""
    return FraudFacts(**json.loads((_folder(progress) / "facts.json").read_text()))


def _folder(progress: Callable[[str], None] | None) -> Path:
    digest = hashlib.sha256(json.dumps(_RECIPE, sort_keys=True).encode()).hexdigest()
    folder = state_folder("demo") / f"fraud-{digest[:16]}"
    if folder.is_dir():
        return folder
    if progress is not None:
        progress("Training the fraud model; this happens once and takes about 20 s")
    # Idle OpenMP threads would spin, and slow down all other work on a small machine.
    model, payload, facts = call_isolated(
        "servefit.demo.fraud:train_fraud_model",
        timeout_s=_TRAINING_LIMIT_S,
        environment={"OMP_WAIT_POLICY": "passive"},
    )
    with filling(folder) as unfinished, writing(folder):
        (unfinished / "fraud.ubj").write_bytes(model)
        (unfinished / "payload.csv").write_text(payload)
        (unfinished / "facts.json").write_text(json.dumps(asdict(facts), indent=2))
    return folder


def train_fraud_model() -> tuple[bytes, str, FraudFacts]:
    """Draw the transactions and train the model. Return the model as UBJSON, the payload as CSV, and the facts.

    The model is trained on all frauds outside the held-out rows and on a sample of the legitimate rows, weighted so
    that scores reflect the natural rate. Loads xgboost, so call it in a child process.
    """
    import numpy as np
    import xgboost

    from servefit.demo.transactions import FEATURE_NAMES, fraud_rows

    rows, labels = fraud_rows(_RECIPE["seed"])
    random = np.random.default_rng(_RECIPE["seed"])
    order = random.permutation(len(rows))
    held_out, rest = np.split(order, [int(len(rows) * _RECIPE["held_out_share"])])
    frauds, legitimate = rest[labels[rest] == 1], rest[labels[rest] == 0]
    sampled = legitimate[: _RECIPE["legitimate_rows_trained_on"]]
    trained_on = np.concatenate([frauds, sampled])
    weights = np.where(labels[trained_on] == 1, 1.0, len(legitimate) / len(sampled))

    threads = len(os.sched_getaffinity(0))
    training = xgboost.DMatrix(rows[trained_on], labels[trained_on], weight=weights, nthread=threads)
    booster = xgboost.train({**_RECIPE["parameters"], "nthread": threads}, training, _RECIPE["rounds"])
    model = bytes(booster.save_raw("ubj"))
    scores = booster.predict(xgboost.DMatrix(rows[held_out], nthread=threads))

    sent = held_out[: _RECIPE["payload_rows"]]
    facts = FraudFacts(
        rows=len(rows),
        frauds=int(labels.sum()),
        features=rows.shape[1],
        trees=_RECIPE["rounds"],
        size_bytes=len(model),
        auc=area_under_curve(labels[held_out], scores),
        median_score=float(np.median(scores)),
        held_out_rows=len(held_out),
        payload_rows=len(sent),
        payload_frauds=int(labels[sent].sum()),
    )
    lines = (",".join(map(str, row)) for row in rows[sent])
    return model, "\n".join([",".join(FEATURE_NAMES), *lines, ""]), facts


def area_under_curve(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve: the share of (positive, negative) pairs in which the positive has the higher
    score; ties count half [Mann-Whitney]."""
    import numpy as np

    negatives = np.sort(scores[labels == 0])
    positives = scores[labels == 1]
    below = np.searchsorted(negatives, positives, side="left")
    not_above = np.searchsorted(negatives, positives, side="right")
    return float((below + not_above).sum() / (2 * len(negatives) * len(positives)))
