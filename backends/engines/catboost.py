"""CatBoost models served by CatBoost itself: the reference for them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.catboost_library import loss_of, meaning_of, open_catboost, predicted
from servefit.backends.libraries.installed import installed, thread_counts
from servefit.backends.model.types import Format, Library
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target

if TYPE_CHECKING:
    from servefit.backends.model import Model

_FILE = "model.catboost"


class CatBoostBackend:
    """Serves CatBoost models of numbers."""

    name = "catboost"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("CatBoost is served on the CPU only")
        return installed("catboost", remedy="pip install 'servefit[catboost]'")

    def supports(self, model: Model) -> Availability:
        if model.library is Library.CATBOOST:
            return Availability.yes()
        return Availability.no(f"it serves CatBoost models, and this is one of {model.library}")

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        return 1 + model.size_bytes / 1e8

    def cache_key(self) -> str:
        return "1"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        shutil.copyfile(model.file, workdir / _FILE)
        return {"format": model.format.value, "loss": loss_of(open_catboost(model.file, model.format))}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        return _Predictor(artifact, settings.threads)


class _Predictor:
    """Calls CatBoost."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        model = open_catboost(artifact.folder / _FILE, Format(artifact.facts["format"]))
        self._predicted = partial(predicted, model, meaning_of(artifact.facts["loss"]), threads=threads)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self._predicted(np.ascontiguousarray(rows, dtype=np.float32))

    def close(self) -> None:
        vars(self).clear()
