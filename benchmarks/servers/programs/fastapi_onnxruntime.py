"""The demo's model, converted to ONNX by servefit, behind FastAPI: fastapi_xgboost.py with another runtime.

python fastapi_onnxruntime.py MODEL PORT
"""

# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
app = FastAPI()


class Instances(BaseModel):
    instances: list[list[float]]


class Predictions(BaseModel):
    predictions: list[float]


@app.post("/predict")
async def predict(request: Instances) -> Predictions:
    rows = np.array(request.instances, dtype=np.float32)
    (predictions,) = session.run(None, {name: rows})
    return Predictions(predictions=predictions.ravel().tolist())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
