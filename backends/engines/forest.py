"""The backend that compiles tree ensembles to forests, and predicts with the kernel that is built with servefit."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.libraries.installed import thread_counts
from servefit.backends.libraries.trees import read_trees, readable
from servefit.backends.pipelines.readable import READING_S, pipelines_readable, steps_key
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target

if TYPE_CHECKING:
    from servefit.backends.model import Model

_KERNEL = "servefit.backends.forest._kernel"
_FILE = "model.forest"
_SECONDS_PER_NODE = 2e-6
"""Of compiling, which is NumPy; roughly, to leave out what would eat a job's budget."""


class ForestBackend:
    """Serves tree ensembles of xgboost, LightGBM and scikit-learn, also those at the end of a pipeline."""

    name = "forest"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("its kernel is for CPUs only")
        if find_spec(_KERNEL) is None:
            return Availability.no(
                "servefit was installed without its kernel, which was not built",
                remedy="apt install gcc, then pip install --force-reinstall --no-binary servefit servefit",
            )
        try:
            return Availability.yes(str(import_module(_KERNEL).FORMAT_VERSION))
        except ImportError as error:
            return Availability.no(
                f"its kernel cannot be loaded: {error}", remedy="pip install --force-reinstall servefit"
            )

    def supports(self, model: Model) -> Availability:
        return pipelines_readable() if model.ends_in_trees else readable(model)

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        nodes = 0 if model.trees is None else model.trees.nodes
        return (READING_S if model.ends_in_trees else 0.5) + nodes * _SECONDS_PER_NODE

    def cache_key(self) -> str:
        return f"5, {steps_key()}"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        if not model.ends_in_trees:
            from servefit.backends.forest.artifact import write_trees

            return write_trees(model, read_trees(model, self.name), workdir)
        from servefit.backends.pipelines.compiling import compile_pipeline

        return compile_pipeline(model, workdir, self.name)

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        if "steps" not in artifact.facts:
            from servefit.backends.forest.artifact import open_forest

            return open_forest(artifact.folder, artifact.facts, settings.threads)
        from servefit.backends.pipelines.compiling import open_pipeline

        return open_pipeline(artifact.folder, settings.threads)
