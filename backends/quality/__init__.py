"""Limits for artifacts that predict less exactly than the model's own library, and verdicts on them."""
