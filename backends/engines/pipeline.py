"""The backend that computes pipelines of scikit-learn step by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.model.types import Library
from servefit.backends.pipelines.readable import READING_S, pipelines_readable, steps_key
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target

if TYPE_CHECKING:
    from servefit.backends.model import Model


class PipelineBackend:
    """Serves pipelines of scikit-learn, and estimators that are no trees, or join some. A pipeline that ends in trees
    is the forest's."""

    name = "pipeline"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("it computes on the CPU only")
        return pipelines_readable()

    def supports(self, model: Model) -> Availability:
        if model.library is not Library.SKLEARN:
            return Availability.no(f"it serves pipelines of scikit-learn, and this is a model of {model.library}")
        if model.trees is not None or model.ends_in_trees:
            return Availability.no("the backend 'forest' serves what ends in trees")
        return Availability.yes()

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return ()

    def compile_estimate_s(self, model: Model) -> float:
        return READING_S

    def cache_key(self) -> str:
        return steps_key()

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        from servefit.backends.pipelines.compiling import compile_pipeline

        return compile_pipeline(model, workdir, self.name)

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        from servefit.backends.pipelines.compiling import open_pipeline

        return open_pipeline(artifact.folder, settings.threads)
