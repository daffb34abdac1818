"""Backends of other packages that have one of servefit's own do the work, and do one thing wrong."""

from __future__ import annotations

_SOURCE = """
import sys
import time
{importing}
from servefit.backends.finding.registry import imported
from servefit.backends.types import Availability, Knob

class Backend:
    name = {name!r}
    def probe(self, target):
        return Availability.yes("1.0")
    def supports(self, model):
        return Availability.yes()
    def knobs(self, model, vcpus, target):
        return {knobs}
    def compile_estimate_s(self, model):
        return 0.1
    def cache_key(self):
        return ""
    def compile(self, model, target, workdir):
        {compiling}
        return imported({to!r}).compile(model, target, workdir)
    def load(self, artifact, settings):
        return Predictor(imported({to!r}).load(artifact, settings))

class Predictor:
    def __init__(self, right):
        self.right = right
    def predict(self, rows):
        {predicting}
        return self.right.predict(rows)
    def close(self):
        self.right.close()
"""


def delegating_backend(
    name: str,
    *,
    to: str = "xgboost",
    importing: str = "",
    compiling: str = "",
    predicting: str = "",
    knobs: str = "()",
) -> str:
    """Return the source of a module whose ``Backend`` is called ``name`` and does what the backend ``to`` does, after a
    statement of a test: where the module is imported, where a model is compiled, or where ``self.right`` predicts.
    ``knobs`` is the expression that it returns as its knobs."""
    return _SOURCE.format(
        name=name, to=to, importing=importing, compiling=compiling, predicting=predicting, knobs=knobs
    )
