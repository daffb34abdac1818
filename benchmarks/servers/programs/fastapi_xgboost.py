"""The demo's model as xgboost loads it, behind FastAPI, as its tutorial writes an endpoint with a request body.

    python fastapi_xgboost.py MODEL PORT

``async def`` because there is one core: FastAPI hands plain functions to a pool of threads, which costs more here. The
declared answer lets pydantic write the JSON.
"""

# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import sys

import numpy as np
import uvicorn
import xgboost
from fastapi import FastAPI
from pydantic import BaseModel

booster = xgboost.Booster(model_file=sys.argv[1])
booster.set_param({"nthread": 1})
app = FastAPI()


class Instances(BaseModel):
    instances: list[list[float]]


class Predictions(BaseModel):
    predictions: list[float]


@app.post("/predict")
async def predict(request: Instances) -> Predictions:
    rows = np.array(request.instances, dtype=np.float32)
    return Predictions(predictions=booster.inplace_predict(rows).tolist())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
