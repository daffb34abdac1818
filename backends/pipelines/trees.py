"""The trees at the end of a pipeline, which the forest predicts: those of scikit-learn, XGBoost, LightGBM and
CatBoost."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.checking.parity import LOG_LINK_OBJECTIVES
from servefit.backends.model.types import Library
from servefit.backends.pipelines.categories import TEXT, Codes, ColumnAt, Encoded
from servefit.backends.pipelines.values import BACKEND, MISSING, PipelineStep, Value, dense, without_zeros
from servefit.errors import RowsRefused, UnsupportedModel

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.types import Predictor


class Trees:
    """Predicts numbers by the forest in a folder. ``facts`` are those of its artifact, and how it is asked."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], threads: int) -> None:
        from servefit.backends.forest.artifact import open_forest

        self.facts = facts
        self._forest: Predictor = open_forest(folder / facts["folder"], facts, threads)
        self._datatype = np.dtype(facts["rows"])
        self._takes_infinite: bool = facts["takes_infinite"]
        self._zero_is_missing: bool = facts["zero_is_missing"]
        self._missing = np.array(facts["missing"], dtype=self._datatype)

    def __call__(self, value: Value) -> np.ndarray:
        with np.errstate(over="ignore"):
            if self._zero_is_missing:
                rows = without_zeros(value, self._datatype)
            else:
                rows = np.ascontiguousarray(dense(value), dtype=self._datatype)
        for missing in self._missing:  # which the library compares in its own datatype
            rows = np.where(rows == missing, np.array(np.nan, self._datatype), rows)
        if not self._takes_infinite and not np.isfinite(rows.sum()) and np.isinf(rows).any():
            raise RowsRefused(BACKEND, "the trees are given a value that is infinite or too large for float32")
        return self._forest.predict(rows)

    def close(self) -> None:
        self._forest.close()


def compile_trees(estimator: Any, workdir: Path, *, zero_is_missing: bool, raw: bool) -> Trees:
    """Write the forest of a fitted ``estimator`` into a folder of its own in ``workdir``, and open it.
    ``zero_is_missing`` says that it is given sparse numbers and takes those that are left out for missing ones;
    with ``raw`` its scores are asked for, in place of probabilities. Raises CompileFailed, and UnsupportedModel for an
    estimator without trees."""
    from servefit.backends.forest.artifact import write_trees
    from servefit.backends.libraries.trees import read_trees

    folder = workdir / f"trees-{sum(1 for _ in workdir.glob('trees-*'))}"
    folder.mkdir()
    file = folder / "model.pkl"
    file.write_bytes(pickle.dumps(estimator))
    model = _model(file, folder)
    trees = read_trees(model, BACKEND)
    if raw:
        identity = "identity" if model.signature.outputs == 1 else "identity_multiclass"
        trees.get_header_accessor().set_field("postprocessor", identity)
    facts = write_trees(model, trees, folder)
    for other in folder.iterdir():
        if other.suffix != ".forest":
            other.unlink()
    missing = getattr(estimator, "missing", np.nan)
    own = {
        "folder": folder.name,
        "is_sum": model.trees is not None and model.trees.objective not in LOG_LINK_OBJECTIVES,
        # scikit-learn's trees of float32 alone refuse them, but for those of outliers.
        "takes_infinite": model.library is not Library.SKLEARN
        or model.signature.row_datatype == "float64"
        or hasattr(estimator, "offset_"),
        "zero_is_missing": zero_is_missing,
        "missing": [] if missing is None or missing != missing else [missing],
    }
    return Trees(workdir, {**facts, **own}, threads=1)


def is_sum(step: PipelineStep) -> bool:
    """Return whether ``step`` predicts sums of leaves as they are, and not, say, their exponential."""
    return isinstance(step, Trees) and step.facts["is_sum"]


def _model(file: Path, folder: Path) -> Model:
    from servefit.backends.inspection.pickled import inspect_pickle
    from servefit.backends.model import Model

    inspected = inspect_pickle(file, folder)
    own = folder / inspected.file_name if inspected.file_name else file
    return Model(
        source=file.name,
        file=own,
        format=inspected.format,
        digest="",
        size_bytes=own.stat().st_size,
        signature=inspected.signature,
        trees=inspected.trees,
    )


def as_ensemble(estimator: Any) -> Any:
    """Return a random forest of scikit-learn that predicts as a single decision tree, or as several that are bagged on
    all columns; any other estimator as it is."""
    kind = type(estimator)
    trees = [estimator]
    if kind.__module__.startswith("sklearn.ensemble._bagging"):
        trees = list(estimator.estimators_)
        every = np.arange(estimator.n_features_in_)
        if not all(np.array_equal(columns, every) for columns in estimator.estimators_features_):
            return estimator
    names = {type(tree).__name__ for tree in trees}
    if not kind.__module__.startswith("sklearn.") or not names <= _DECISION_TREES:
        return estimator
    if len({str(getattr(tree, "n_classes_", 1)) for tree in (*trees, estimator)}) > 1:
        return estimator  # some were fitted without a class
    import sklearn.ensemble

    classifies = hasattr(estimator, "classes_")
    forest = (sklearn.ensemble.RandomForestClassifier if classifies else sklearn.ensemble.RandomForestRegressor)()
    forest.estimators_, forest.n_outputs_ = trees, trees[0].n_outputs_
    for name in ("n_features_in_", "classes_", "n_classes_"):
        if hasattr(estimator, name):
            setattr(forest, name, getattr(estimator, name))
    forest.n_estimators = len(trees)
    return forest


def as_forest_of_scores(boosted: Any) -> Any:
    """Return a random forest of scikit-learn that predicts the scores of an ``AdaBoostClassifier`` of decision trees:
    of two classes the score of the second, else one a class; None where its estimators are no decision trees. Each tree
    votes, with its weight, for the class that has the largest share of the leaf [Zhu et al. 2009, SAMME]."""
    import sklearn.ensemble
    import sklearn.tree

    trees, classes = boosted.estimators_, boosted.n_classes_
    if not {type(tree).__name__ for tree in trees} <= _DECISION_TREES or classes < 2:
        return None
    if any(not np.array_equal(tree.classes_, boosted.classes_) for tree in trees):
        return None  # some were fitted without a class
    forest = sklearn.ensemble.RandomForestRegressor(n_estimators=len(trees))
    forest.n_outputs_ = outputs = 1 if classes == 2 else classes
    forest.n_features_in_, forest.estimators_ = boosted.n_features_in_, []
    shares = boosted.estimator_weights_[: len(trees)] / boosted.estimator_weights_.sum() * len(trees)
    for tree, share in zip(trees, shares, strict=True):
        chosen = tree.tree_.value[:, 0].argmax(axis=1)
        votes = np.where(chosen[:, np.newaxis] == np.arange(classes), 1.0, -1.0 / (classes - 1))
        votes = 2 * votes[:, 1:] if classes == 2 else votes / (classes - 1)
        state = tree.tree_.__getstate__()
        state["values"] = np.ascontiguousarray((votes * share)[:, :, np.newaxis])
        scored = sklearn.tree.DecisionTreeRegressor()
        scored.tree_ = type(tree.tree_)(boosted.n_features_in_, np.ones(outputs, dtype=np.intp), outputs)
        scored.tree_.__setstate__(state)
        scored.n_outputs_, scored.n_features_in_, scored.max_features_ = outputs, *(boosted.n_features_in_,) * 2
        forest.estimators_.append(scored)
    return forest


_DECISION_TREES = frozenset(
    {"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"}
)


def encoded_categories(columns: Mapping[str, tuple[Any, ...]], places: Sequence[ColumnAt], *, closed: bool) -> Encoded:
    """Return the step that gives the codes of the categories of ``columns``, which are at ``places``: their numbers,
    and a missing one for what is missing. One that is ``closed`` refuses others. Raises UnsupportedModel."""
    codes, tables = [], []
    for (name, own), place in zip(columns.items(), places, strict=True):
        if any(isinstance(category, str) != (place.kind == TEXT) for category in own):
            raise UnsupportedModel("a booster of categories behind steps that make them")
        keys = [category.encode() if place.kind == TEXT else float(category) for category in own]
        unknown = None if closed else len(keys)
        codes.append(Codes({**{key: nth for nth, key in enumerate(keys)}, MISSING: len(keys)}, unknown, name))
        tables.append(np.array([*range(len(keys)), np.nan])[:, np.newaxis])
    return Encoded(tuple(places), tuple(codes), tuple(tables))


def without_preprocessor(estimator: Any) -> Any:
    """Return a histogram gradient boosting of scikit-learn that takes the codes of categories, which its own first step
    gives."""
    bare = copy.copy(estimator)
    bare._preprocessor = None
    if hasattr(bare, "feature_names_in_"):
        del bare.feature_names_in_
    return bare
