"""A forest in a folder: written from the trees of a model, and opened to predict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.trees import category_facts, header, output_facts
from servefit.errors import BackendError, CompileFailed

if TYPE_CHECKING:
    import treelite

    from servefit.backends.model import Model
    from servefit.backends.types import Predictor

_FILE = "model.forest"


def write_trees(model: Model, trees: treelite.Model, folder: Path) -> Mapping[str, Any]:
    """Write the forest of ``trees``, which are those of ``model``, into ``folder``; give the facts that ``open_forest``
    needs. Raises CompileFailed."""
    from servefit.backends.forest.ensemble import read_ensemble
    from servefit.backends.forest.finish import read_finish
    from servefit.backends.forest.layout import write_forest

    outputs, categories = output_facts(model, trees), category_facts(model)
    # An output that nobody asks for is not computed, unless the others depend on it.
    alone = outputs["column"] if header(trees, "postprocessor").startswith("identity") else None
    rows = model.signature.row_datatype
    ensemble = read_ensemble(trees, column=alone, wide_values=rows == "float64")
    if ensemble.outputs != (1 if alone is not None else outputs["values"]):
        raise CompileFailed("forest", "its targets have different numbers of classes")
    facts = write_forest(
        folder / _FILE,
        ensemble,
        read_finish(trees, column=alone, outlier_offset=outputs["outlier_offset"]),
        truncated_categories=categories["negative_fractions_are_zero"],
    )
    column = None if alone is not None else outputs["column"]
    return {**facts, "outputs": ensemble.outputs, "column": column, "rows": rows}


def open_forest(folder: Path, facts: Mapping[str, Any], threads: int) -> Predictor:
    """Open the forest in ``folder``. Raises BackendError."""
    return _Predictor(folder / _FILE, facts, threads)


class _Predictor:
    """Hands rows to the kernel."""

    def __init__(self, file: Path, facts: Mapping[str, Any], threads: int) -> None:
        from servefit.backends.forest._kernel import Forest
        from servefit.backends.forest.file_format import map_forest

        content = map_forest(file)
        try:
            self._forest = Forest(content, threads=threads)
        except ValueError as error:
            raise BackendError("forest", f"its artifact is damaged: {error}") from error
        except OSError as error:
            raise BackendError("forest", f"it cannot be opened: {error}") from error
        self._run = self._forest.predict
        self._outputs: int = facts["outputs"]
        self._column: int | None = facts["column"]

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
