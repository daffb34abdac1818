"""Trains the model that the workflow measures, and writes a sample of its requests. Replace it by your own training."""

import numpy as np
import xgboost

TREES = 50

random = np.random.default_rng(0)
rows = random.standard_normal((2000, 12), dtype=np.float32)
labels = rows[:, 0] * rows[:, 1] + rows[:, 2] + random.standard_normal(2000) > 0

booster = xgboost.train({"objective": "binary:logistic", "max_depth": 8}, xgboost.DMatrix(rows, labels), TREES)
booster.save_model("model.ubj")
np.savetxt("payload.csv", rows, delimiter=",", fmt="%.7g")
