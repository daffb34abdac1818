"""The demo's model as xgboost loads it, behind LitServe, as its documentation writes an API.

    python litserve_xgboost.py MODEL PORT Fraud|BatchedFraud

One API server and one inference worker, which is the least that LitServe runs; they share the core.
"""

# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np
import xgboost


class Fraud(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.booster = xgboost.Booster(model_file=sys.argv[1])
        self.booster.set_param({"nthread": 1})

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads the annotations
        return np.array(request["instances"], dtype=np.float32)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        predictions: np.ndarray = self.booster.inplace_predict(rows)
        return predictions

    def encode_response(self, predictions: np.ndarray) -> dict[str, Any]:
        return {"predictions": predictions.tolist()}


class BatchedFraud(Fraud):
    """Its ``predict`` gets what ``batch`` makes of many requests, and ``unbatch`` takes it apart again."""

    def batch(self, requests: list[np.ndarray]) -> np.ndarray:
        self.sizes = [len(rows) for rows in requests]
        return np.concatenate(requests)

    def unbatch(self, predictions: np.ndarray) -> list[np.ndarray]:
        return np.split(predictions, np.cumsum(self.sizes)[:-1])


if __name__ == "__main__":
    port, name = int(sys.argv[2]), sys.argv[3]
    api = Fraud() if name == "Fraud" else BatchedFraud(max_batch_size=16, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, log_level="warning", access_log=False, generate_client_file=False)
