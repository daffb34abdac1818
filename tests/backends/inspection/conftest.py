"""The small models of ``tests.backends.model``, which are opened here in this process."""

from tests.backends.model.conftest import booster, labels, rows, xgboost_json

__all__ = ["booster", "labels", "rows", "xgboost_json"]
