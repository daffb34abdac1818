"""Find a deployment for a model from Python: a newly trained XGBoost model, and a sample of its rows.

python examples/recommend.py
"""

import numpy as np
import xgboost

import servefit as sf

random = np.random.default_rng(0)
rows = random.standard_normal((2000, 12), dtype=np.float32)
labels = rows[:, 0] * rows[:, 1] + rows[:, 2] > 0.3
booster = xgboost.train({"objective": "binary:logistic", "max_depth": 6}, xgboost.DMatrix(rows, labels), 200)

# First measure one configuration, with the model's own library.
measured = sf.profile(booster, payload=rows, threads=1, users=1, duration_s=2)
print(f"xgboost, one request after the other: {measured.summary.throughput_per_s:,.0f} requests/s")

# 500 requests a second, 95 % of them answered within 5 ms.
job = sf.recommend(booster, payload=rows, sla="p95<=5ms", rate="500/s", budget="30s")
for recommendation in job.recommendations:
    trial = recommendation.trial
    latency_ms = trial.judged.latency_ms["p95"]
    print(
        f"{recommendation.profile.name}: {trial.configuration.backend} with {recommendation.environment}, "
        f"p95 {'not known' if latency_ms is None else f'{latency_ms:.3f} ms'}, {trial.verdict}, "
        f"up to {recommendation.max_invocations:,.0f} requests a minute"
    )
