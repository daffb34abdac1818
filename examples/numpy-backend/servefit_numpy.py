"""A backend for servefit that walks XGBoost's trees with NumPy, all trees and many rows in each step.

Every backend does three things: it says which models it serves, it turns such a model into files once, and it opens
these files in every worker. docs/writing-a-backend.md explains this module method by method.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model import Library, Model
from servefit.backends.types import Artifact, Availability, Knob, Predictor, Settings, Target
from servefit.errors import BackendError, CompileFailed

if TYPE_CHECKING:
    import treelite

__version__ = "1.0"

FINISHES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "binary:logistic": lambda sums: 1 / (1 + np.exp(-sums)),
    "binary:logitraw": lambda sums: sums,
    "count:poisson": np.exp,
    "rank:ndcg": lambda sums: sums,
    "rank:pairwise": lambda sums: sums,
    "reg:gamma": np.exp,
    "reg:squarederror": lambda sums: sums,
    "reg:tweedie": np.exp,
}
"""The function from the sum of leaves to the prediction, by XGBoost's objective. Other objectives are refused."""

_LEAF = 0  # Treelite's node type
_ROWS_A_STEP = 64  # the arrays of a step have a value for every row in every tree


class NumPyBackend:
    """Serves tree ensembles of xgboost that have one output and test numbers only."""

    name = "numpy"

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("NumPy computes on the CPU only")
        if find_spec("treelite") is None:
            return Availability.no("treelite, which reads the models, is not installed", remedy="pip install treelite")
        return Availability.yes(__version__)

    def supports(self, model: Model) -> Availability:
        if model.library is not Library.XGBOOST or model.trees is None:
            return Availability.no("it serves tree ensembles of xgboost")
        if model.trees.objective not in FINISHES:
            return Availability.no(f"it does not know how predictions are made for {model.trees.objective}")
        if model.trees.categorical_splits:
            return Availability.no("it compares numbers, and this model has tests on categories")
        if model.signature.outputs != 1:
            return Availability.no(f"it gives one output, and this model has {model.signature.outputs}")
        return Availability.yes()

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return ()  # no "threads": NumPy indexes arrays on the calling thread

    def compile_estimate_s(self, model: Model) -> float:
        return 0.5 + model.size_bytes / 1e8

    def cache_key(self) -> str:
        return ""  # the version that probe returns is enough to identify the files

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        import treelite

        try:
            trees = treelite.frontend.load_xgboost_model(model.file)
        except (treelite.TreeliteError, ValueError) as error:
            raise CompileFailed(self.name, f"Treelite cannot read it: {error}") from error
        for name, array in flat(trees).items():
            np.save(workdir / f"{name}.npy", array)
        base = trees.get_header_accessor().get_field("base_scores")
        return {
            "objective": model.trees.objective if model.trees is not None else "",
            "depth": int(trees.get_tree_depth().max()),
            "base": float(base[0]),
        }

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        return NumPyPredictor(artifact)


class NumPyPredictor:
    """Predicts all rows with all trees, one level of the trees in each step."""

    def __init__(self, artifact: Artifact) -> None:
        def array(name: str) -> np.ndarray:
            # Mapped and not read: all workers share the memory.
            return np.asarray(np.load(artifact.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))

        try:
            self._roots, self._children, self._value = array("roots"), array("children"), array("value")
            self._feature, self._threshold = array("feature"), array("threshold")
            self._missing_right = array("missing_right")
        except (OSError, ValueError) as error:
            raise BackendError(artifact.backend, f"its artifact is damaged: {error}") from error
        self._depth, self._base = artifact.facts["depth"], artifact.facts["base"]
        self._finish = FINISHES[artifact.facts["objective"]]

    def predict(self, rows: np.ndarray) -> np.ndarray:
        parts = [self._sums(rows[begin : begin + _ROWS_A_STEP]) for begin in range(0, len(rows), _ROWS_A_STEP)]
        return self._finish(np.concatenate(parts))

    def _sums(self, rows: np.ndarray) -> np.ndarray:
        every_row = np.arange(len(rows))
        node = np.repeat(self._roots[:, np.newaxis], len(rows), axis=1)  # (trees, rows): each row's node in each tree
        for _ in range(self._depth):
            values = rows[every_row, self._feature[node]]
            right = np.where(np.isnan(values), self._missing_right[node], values >= self._threshold[node])
            node = self._children[node, right.astype(np.intp)]
        sums: np.ndarray = self._base + self._value[node].sum(axis=0, dtype=np.float64)
        return sums

    def close(self) -> None:
        vars(self).clear()


def flat(trees: "treelite.Model") -> dict[str, np.ndarray]:
    """Return the nodes of all trees as arrays, one tree after the other. A leaf is its own child, so a row that has
    reached a leaf stays there while others go deeper."""
    fields = [trees.get_tree_accessor(number).get_field for number in range(trees.num_tree)]
    sizes = np.array([len(field("node_type")) for field in fields])
    roots = np.cumsum(sizes) - sizes
    joined = {
        name: np.concatenate([field(name) for field in fields])
        for name in ("node_type", "cleft", "cright", "split_index", "threshold", "default_left", "leaf_value")
    }
    is_leaf = joined["node_type"] == _LEAF
    first = np.repeat(roots, sizes)
    children = [np.where(is_leaf, np.arange(len(is_leaf)), joined[side] + first) for side in ("cleft", "cright")]
    return {
        "roots": roots,
        "children": np.stack(children, axis=1),
        "feature": np.where(is_leaf, 0, joined["split_index"]),
        "threshold": joined["threshold"],
        "missing_right": joined["default_left"] == 0,
        "value": np.where(is_leaf, joined["leaf_value"], 0),
    }
