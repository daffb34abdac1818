"""The contract suite of an objective, for tests with and without each optional measurement.

From this folder, with servefit's repository at ../..:

PYTHONPATH=../.. python -m pytest -p tests.conftest test_objective.py
"""

from tests.conformance.test_objectives import ObjectiveContract
from tests.conformance.trials import trial


class TestP95PerWatt(ObjectiveContract):
    name = "p95-per-watt"
    better = trial(backend="better", p95_ms=1.0, package_power_w=60.0)
    worse = trial(backend="worse", p95_ms=2.0, package_power_w=50.0)
