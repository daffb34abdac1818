"""The contract suite of a traffic shape.

From this folder, with servefit's repository at ../..:

PYTHONPATH=../.. python -m pytest -p tests.conftest test_arrivals_contract.py
"""

from tests.conformance.test_arrivals import ArrivalsContract


class TestCosine(ArrivalsContract):
    texts = ("cosine", "cosine:amplitude=100%,period=300ms", "cosine:amplitude=0")
