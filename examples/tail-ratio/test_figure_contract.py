"""The contract suite of a figure, for tests and recommendations of every kind.

From this folder, with servefit's repository at ../..:

PYTHONPATH=../.. python -m pytest -p tests.conftest test_figure_contract.py
"""

from tests.conformance.test_figures import FigureContract


class TestTailRatio(FigureContract):
    name = "tail_ratio"
