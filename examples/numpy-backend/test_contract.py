"""The contract suite of a backend, for every kind of model that servefit reads.

From this folder, with servefit's repository at ../..:

PYTHONPATH=../.. python -m pytest -p tests.conftest -p tests.conformance.conftest test_contract.py
"""

from tests.conformance.test_backends import BackendContract


class TestNumPy(BackendContract):
    name = "numpy"
    serves = (
        "xgboost binary",
        "xgboost regression",
        "xgboost poisson",
        "xgboost ranking",
        "xgboost random forest",
        "xgboost dart",
        "xgboost logitraw",
    )
