"""The backend that compiles tree ensembles to forests, and predicts with the kernel that is built with servefit."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.converting.sklearn_onnx import CONVERTING_S, converter, convertible
from servefit.backends.libraries.installed import thread_counts
from servefit.backends.libraries.trees import category_facts, header, output_facts, read_trees, readable
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import BackendError, CompileFailed

if TYPE_CHECKING:
    import treelite

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
        return convertible(model) if model.ends_in_trees else readable(model)

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        nodes = 0 if model.trees is None else model.trees.nodes
        return (CONVERTING_S if model.ends_in_trees else 0.5) + nodes * _SECONDS_PER_NODE

    def cache_key(self) -> str:
        return f"3, {converter()}"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        if not model.ends_in_trees:
            return self._compile_trees(model, read_trees(model, self.name), workdir)
        from servefit.backends.converting.pipeline_steps import split

        steps, ensemble, trees = split(model, workdir, self.name)
        return {**self._compile_trees(ensemble, trees, workdir), "steps": steps}

    def _compile_trees(self, model: Model, trees: treelite.Model, workdir: Path) -> Mapping[str, Any]:
        from servefit.backends.forest.ensemble import read_ensemble
        from servefit.backends.forest.finish import read_finish
        from servefit.backends.forest.layout import write_forest

        outputs, categories = output_facts(model, trees), category_facts(model)
        # An output that nobody asks for is not computed, unless the others depend on it.
        alone = outputs["column"] if header(trees, "postprocessor").startswith("identity") else None
        rows = model.signature.row_datatype
        ensemble = read_ensemble(trees, column=alone, wide_values=rows == "float64")
        if ensemble.outputs != (1 if alone is not None else outputs["values"]):
            raise CompileFailed(self.name, "its targets have different numbers of classes")
        facts = write_forest(
            workdir / _FILE,
            ensemble,
            read_finish(trees, column=alone, outlier_offset=outputs["outlier_offset"]),
            truncated_categories=categories["negative_fractions_are_zero"],
        )
        column = None if alone is not None else outputs["column"]
        return {**facts, "outputs": ensemble.outputs, "column": column, "rows": rows}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        predictor = _Predictor(artifact, settings.threads)
        if "steps" not in artifact.facts:
            return predictor
        from servefit.backends.converting.pipeline_steps import AfterSteps

        return AfterSteps(
            artifact.folder, artifact.facts["steps"], settings, predictor, artifact.facts.get("rows", "float32")
        )


class _Predictor:
    """Hands rows to the kernel."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        from servefit.backends.forest._kernel import Forest
        from servefit.backends.forest.file_format import map_forest

        content = map_forest(artifact.folder / _FILE)
        try:
            self._forest = Forest(content, threads=threads)
        except ValueError as error:
            raise BackendError("forest", f"its artifact is damaged: {error}") from error
        except OSError as error:
            raise BackendError("forest", f"it cannot be opened: {error}") from error
        self._run = self._forest.predict
        self._outputs: int = artifact.facts["outputs"]
        self._column: int | None = artifact.facts["column"]

    def predict(self, rows: np.ndarray) -> np.ndarray:
        if self._outputs == 1:
            out = np.empty(len(rows), np.float32)
            self._run(rows, out)
            return out
        out = np.empty((len(rows), self._outputs), np.float32)
        self._run(rows, out)
        return out if self._column is None else out[:, self._column]

    def close(self) -> None:
        self._forest.close()
