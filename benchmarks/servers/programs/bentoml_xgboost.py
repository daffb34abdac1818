"""The demo's model as xgboost loads it, as BentoML services: with adaptive batching and without.

MODEL=... bentoml serve bentoml_xgboost:Fraud --port PORT
MODEL=... bentoml serve bentoml_xgboost:BatchedFraud --port PORT
"""

# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import os

import bentoml
import numpy as np
import xgboost

QUIET = {"logging": {"access": {"enabled": False}}, "metrics": {"enabled": False}}


def load() -> xgboost.Booster:
    booster = xgboost.Booster(model_file=os.environ["MODEL"])
    booster.set_param({"nthread": 1})
    return booster


@bentoml.service(workers=1, **QUIET)
class Fraud:
    def __init__(self) -> None:
        self.booster = load()

    @bentoml.api
    async def predict(self, instances: np.ndarray) -> np.ndarray:
        predictions: np.ndarray = self.booster.inplace_predict(instances.astype(np.float32))
        return predictions


@bentoml.service(workers=1, **QUIET)
class BatchedFraud:
    def __init__(self) -> None:
        self.booster = load()

    @bentoml.api(batchable=True, batch_dim=(0, 0), max_batch_size=64, max_latency_ms=1000)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        predictions: np.ndarray = self.booster.inplace_predict(instances.astype(np.float32))
        return predictions
