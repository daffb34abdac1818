"""The inspection of a trusted pickle: a scikit-learn estimator, or an object of another library, which is then saved
as the file that its library reads. Runs in the inspection's child process."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.checking.parity import LOG_LINK_OBJECTIVES
from servefit.backends.inspection.batches import with_batch_dependence
from servefit.backends.inspection.catboost import inspect_catboost
from servefit.backends.inspection.forest import Forest, Tree, forest_of, treelite_trees
from servefit.backends.inspection.frames import inspect_frame
from servefit.backends.inspection.lightgbm import inspect_lightgbm
from servefit.backends.inspection.marks import as_splits, marks_of
from servefit.backends.inspection.xgboost import inspect_xgboost
from servefit.backends.libraries.catboost_library import as_estimator
from servefit.backends.libraries.trees import SKLEARN_ENSEMBLES, is_ensemble
from servefit.backends.model.booster_categories import (
    categories_of,
    columns_of_texts,
    doubt_of,
    estimator_of,
    takes_categories,
)
from servefit.backends.model.inspection_record import Inspection
from servefit.backends.model.live import library_of, save_catboost, save_live
from servefit.backends.model.sklearn_frames import Frame, frame_of
from servefit.backends.model.sklearn_io import has_several_targets, learner_of, predict
from servefit.backends.model.sklearn_steps import last_of
from servefit.backends.model.types import Format, Library, Signature, Signs, Task, TreeStructure
from servefit.backends.model.width import check_width
from servefit.errors import UnsupportedModel
from servefit.state import write_atomically


def inspect_pickle(path: Path, folder: Path) -> Inspection:
    """Unpickle, which runs whatever code the file holds, and find out what came out of it.

    Raises UnsupportedModel, also where the pickle needs modules that are not installed.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator, is_plain = _unpickle(path)
    noted = tuple(dict.fromkeys(str(warning.message).strip().splitlines()[0] for warning in caught))
    return inspect_object(estimator, path, folder, noted, is_plain=is_plain)


def inspect_object(
    estimator: Any, path: Path, folder: Path, noted: tuple[str, ...], *, is_plain: bool = False
) -> Inspection:
    """Find out about the object that is in ``path``, with what was ``noted`` as it was read. It is saved as a plain
    pickle, which backends read, unless the file ``is_plain``. Raises UnsupportedModel."""
    library = library_of(estimator)
    if library is None and isinstance(estimator, dict | list | tuple):
        estimator, warning = _only_model(estimator, path)
        return inspect_object(estimator, path, folder, (*noted, warning))
    if library is None:
        raise UnsupportedModel(
            f"{path} holds an object of type {type(estimator).__module__}.{type(estimator).__name__}",
            remedy="save the xgboost, LightGBM, CatBoost or scikit-learn model in it alone, export it to ONNX, or "
            "serve a script that loads it: code/inference.py beside it, and --trust-code",
        )
    if (converted := _booster_of_categories(estimator, library, folder)) is not None:
        estimator, is_plain = converted, False
    if (doubt := doubt_of(estimator)) is not None:
        noted = (*noted, doubt)
    if library is not Library.SKLEARN and not takes_categories(estimator):
        return _inspect_converted(estimator, folder, noted)
    if hasattr(estimator, "best_estimator_"):  # of a search, which predicts by it
        estimator, is_plain = estimator.best_estimator_, False
    last = last_of(estimator)
    if type(last).__name__ in _WITH_THRESHOLDS and hasattr(getattr(last, "estimator_", None), "predict_proba"):
        noted = (*noted, f"the threshold of the {type(last).__name__} is not applied: probabilities are served")
        if last is estimator:
            estimator, is_plain = last.estimator_, False
    inspection = _inspect_estimator(estimator, path, folder)
    inspection = replace(inspection, warnings=noted + inspection.warnings)
    if is_plain:
        return inspection
    write_atomically(folder / "model.pkl", save_live(estimator).content)
    return replace(inspection, file_name="model.pkl")


def _booster_of_categories(estimator: Any, library: Library, folder: Path) -> Any | None:
    """Return a booster of categories, which its own library's class is, as an estimator of scikit-learn; None for
    anything else."""
    if library is Library.CATBOOST and columns_of_texts(estimator):  # CatBoost's own class predicts raw scores
        file = folder / "model.cbm"
        file.write_bytes(save_catboost(estimator))
        converted = as_estimator(file, Format.CATBOOST_CBM)
        file.unlink()
        return converted
    is_booster = library is Library.XGBOOST and not hasattr(estimator, "get_params")
    if is_booster and "c" in (getattr(estimator, "feature_types", None) or ()):
        return estimator_of(bytes(estimator.save_raw("ubj")))
    return None


_WITH_THRESHOLDS = frozenset({"FixedThresholdClassifier", "TunedThresholdClassifierCV"})


def _only_model(held: dict[Any, Any] | list[Any] | tuple[Any, ...], path: Path) -> tuple[Any, str]:
    """Return the only model among the entries of what a file holds, and a warning of the others, which are not applied.
    Raises UnsupportedModel."""
    entries = held if isinstance(held, dict) else dict(enumerate(held))
    names = {repr(key)[:40]: value for key, value in entries.items()}
    # What encodes the target is no model; one that two entries hold is one.
    models = {
        name: value
        for name, value in names.items()
        if library_of(value) is not None and type(value).__name__ not in ("LabelEncoder", "LabelBinarizer")
    }
    models = {name: value for name, value in models.items() if name == _first_of(models, value)}
    listed = ", ".join(f"{name} ({type(value).__name__})" for name, value in (models or names).items())
    kind = type(held).__name__
    if not models:
        raise UnsupportedModel(
            f"{path} holds a {kind} without a model{': ' * bool(listed)}{listed:.300}",
            remedy="save the model in it alone",
        )
    if len(models) > 1:
        raise UnsupportedModel(
            f"{path} holds a {kind} with several models: {listed:.300}",
            remedy="save the one to serve alone, or the steps that lead to it as one Pipeline of scikit-learn",
        )
    [(name, model)] = models.items()
    others = ", ".join(entry for entry in names if entry != name)
    left_out = f"; not applied: {others:.200}" if others else ""
    return model, f"the file holds a {kind}, of which {name} is served{left_out}"


def _first_of(entries: dict[str, Any], value: Any) -> str:
    return next(name for name, entry in entries.items() if entry is value)


def _unpickle(path: Path) -> tuple[Any, bool]:
    """Return the object, and whether ``pickle`` alone reads it; joblib keeps arrays outside the pickle, and
    compresses."""
    content = path.read_bytes()
    is_plain = content[:1] in (b"\x80", b"c", b"(") and b"NumpyArrayWrapper" not in content
    try:
        if is_plain:
            return pickle.loads(content), True
        import joblib

        return joblib.load(path), False
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise UnsupportedModel(f"{path} needs the Python module {package!r}", remedy="install it") from error
    except AttributeError as error:
        raise UnsupportedModel(
            f"{path} needs a class or function that cannot be imported here ({error})",
            remedy="install the version of scikit-learn that saved it, or fit and save it with the one that is here"
            if "'sklearn." in str(error)
            else "make it importable, or export the model to ONNX",
        ) from error


def _inspect_converted(source: Any, folder: Path, noted: tuple[str, ...]) -> Inspection:
    """Return the inspection of an object of xgboost, LightGBM or CatBoost, saved in that library's format."""
    saved = save_live(source)
    if saved.format is Format.XGBOOST_UBJSON:
        file = folder / "model.ubj"
        write_atomically(file, saved.content)
        inspection = inspect_xgboost(file, saved.format, folder)
    elif saved.format is Format.CATBOOST_CBM:
        file = folder / "model.cbm"
        write_atomically(file, saved.content)
        inspection = inspect_catboost(file, saved.format, folder)
    else:
        file = folder / "model.txt"
        write_atomically(file, saved.content)
        inspection = inspect_lightgbm(file, folder)
    return replace(inspection, file_name=file.name, warnings=noted + saved.warnings + inspection.warnings)


def _inspect_estimator(estimator: Any, path: Path, folder: Path) -> Inspection:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    name = type(estimator).__name__
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise UnsupportedModel(f"a {name} that has not been fitted", remedy="call fit first") from error
    except TypeError as error:
        raise UnsupportedModel(f"a {name}, which is not an estimator") from error
    task = _task(estimator, name)
    in_trees, in_sum = (False, False) if task is Task.LABELS else _end_of(estimator)
    frame = frame_of(estimator)
    if frame is not None:
        inspected = inspect_frame(frame, task, path, lambda rows: _predict_once(estimator, task, rows, frame))
        inspected = replace(inspected, ends_in_trees=in_trees, ends_in_sum=in_sum)
        return _with_marks(inspected, _marks_of_frame(estimator, frame, inspected.signature), folder)
    features = getattr(estimator, "n_features_in_", None)
    if features is None:
        raise UnsupportedModel(f"a {name} that does not take rows of numbers")
    check_width(features)
    forest = None if task is Task.LABELS else _forest(estimator, features)
    if forest is not None:
        forest.save_splits(folder / "splits.npz")
    signs, predictions = _as_it_predicts(estimator, task, features)
    inspection = Inspection(
        format=Format.PICKLE,
        signature=Signature(
            task=task,
            features=int(features),
            outputs=1 if predictions.ndim == 1 else predictions.shape[1],
            feature_names=tuple(str(column) for column in getattr(estimator, "feature_names_in_", ())),
            accepts_missing=_accepts_missing(estimator, task, features),
            table_datatype="float32" if _rounds_to_float32(estimator) else "float64",
            signs=signs,
        ),
        trees=None if forest is None else _structure(estimator, forest),
        splits_name=None if forest is None else "splits.npz",
        ends_in_trees=in_trees,
        ends_in_sum=in_sum,
    )
    if forest is not None:
        return inspection  # trees look at one row at a time
    inspection = with_batch_dependence(inspection, path, lambda rows: _predict_once(estimator, task, rows))
    return _with_marks(inspection, marks_of(estimator, int(features)), folder)


def _marks_of_frame(estimator: Any, frame: Frame, signature: Signature) -> dict[int, np.ndarray]:
    """Return the marks of an estimator of columns of different kinds, by the column of its rows."""
    marks = marks_of(estimator, frame.width)
    starts = [one.start for one in signature.inputs] or range(len(frame.columns))
    whole = {one.start for one in signature.inputs if one.is_text or one.is_whole}
    return {
        start: marks[column.position]
        for column, start in zip(frame.columns, starts, strict=True)
        if column.position in marks and start not in whole
    }


def _with_marks(inspection: Inspection, marks: dict[int, np.ndarray], folder: Path) -> Inspection:
    """Return ``inspection`` with ``marks`` as the values that rows are drawn around."""
    if not marks:
        return inspection
    as_splits(marks).save_splits(folder / "splits.npz")
    return replace(inspection, splits_name="splits.npz")


def _task(estimator: Any, name: str) -> Task:
    from sklearn.base import is_classifier, is_outlier_detector, is_regressor

    if is_regressor(estimator):
        return Task.REGRESSION
    if is_outlier_detector(estimator) and hasattr(estimator, "decision_function"):
        return Task.OUTLIER
    if not is_classifier(estimator):
        last = type(last_of(estimator)).__name__
        ends = f" that ends in a {last}" if last_of(estimator) is not estimator else ""
        raise UnsupportedModel(
            f"a {name}{ends}, which is no classifier, regressor or outlier detector",
            remedy="save it with the model as the last step" if ends else None,
        )
    are_several, classes = has_several_targets(estimator), estimator.classes_
    of_labels = are_several and not isinstance(classes, list)  # of which predict gives whether a row has each
    targets = classes if isinstance(classes, list) else [classes]
    are_numbers = all(np.asarray(target).dtype.kind in "biuf" for target in targets)
    if not (hasattr(estimator, "predict_proba") or are_numbers or of_labels):
        raise UnsupportedModel(f"a {name} without predict_proba whose classes are not numbers")
    if are_several:
        return Task.LABELS
    return Task.BINARY if len(classes) == 2 else Task.MULTICLASS


def _predict_once(estimator: Any, task: Task, rows: np.ndarray, frame: Frame | None = None) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows without the names of their columns
        predictions = predict(estimator, task, rows, frame)
        if task in (Task.BINARY, Task.MULTICLASS):
            shape = np.shape(estimator.predict(rows[:1] if frame is None else frame(rows[:1])))
            if len(shape) > 1 and shape[1] > 1:
                name = type(last_of(estimator)).__name__
                raise UnsupportedModel(
                    f"a {name} that predicts {shape[1]} targets, in a way that is not known",
                    remedy="fit it in a MultiOutputClassifier of scikit-learn",
                )
        return predictions


def _as_it_predicts(estimator: Any, task: Task, features: int) -> tuple[Signs, np.ndarray]:
    """Return the signs of the numbers that the estimator takes, and predictions of some. Raises UnsupportedModel."""
    drawn = np.random.default_rng(0).standard_normal((_TRIED_ROWS, features))
    drawn[0] = 0
    first: Exception | None = None
    for signs, rows in zip(Signs, (drawn, np.abs(drawn), np.abs(drawn) + (drawn == 0)), strict=True):
        try:
            return signs, _predict_once(estimator, task, rows)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            first = first or error
    reason = (str(first).splitlines() or [type(first).__name__])[0]
    raise UnsupportedModel(
        f"a {type(estimator).__name__} that does not predict rows of {features} numbers: {reason:.200}",
        remedy="if it takes columns by name, or texts, make the steps that take them the first of a pipeline",
    ) from first


_TRIED_ROWS = 16
"""So many numbers of one column are of one sign once in 65,536 times."""


def _accepts_missing(estimator: Any, task: Task, features: int) -> bool:
    """Find out by trying: what estimators say of themselves depends on the version, and on what they were fitted on."""
    try:
        predictions = _predict_once(estimator, task, np.full((1, features), np.nan))
    except (ValueError, TypeError):
        return False
    return bool(np.isfinite(predictions).all())


def _forest(estimator: Any, features: int) -> Forest | None:
    """Return the trees, of the ensembles that Treelite reads and of single decision trees; None for every other
    estimator."""
    import treelite

    if hasattr(estimator, "tree_"):
        return forest_of(_single_tree(estimator.tree_), features)
    try:
        imported = treelite.sklearn.import_model(estimator)
    except (treelite.TreeliteError, NotImplementedError, ValueError):
        return None
    return forest_of(treelite_trees(imported), features)


def _single_tree(tree: Any) -> Iterator[Tree]:
    parents = np.flatnonzero(tree.children_left >= 0)
    yield Tree(
        nodes=tree.node_count,
        parents=parents,
        children=np.stack([tree.children_left, tree.children_right], axis=1)[parents],
        split_features=tree.feature[parents].astype(np.int64),
        thresholds=tree.threshold[parents],
        category_features=np.empty(0, np.int64),
        categories=np.empty(0, np.int64),
    )


def _rounds_to_float32(estimator: Any) -> bool:
    """Return whether it rounds all that it is given to float32, before it does anything with it: trees of scikit-learn
    do, alone and in ensembles of trees, but for those that look at bins."""
    name = type(estimator).__name__
    if name.startswith("HistGradientBoosting"):
        return False
    return hasattr(estimator, "tree_") or name in SKLEARN_ENSEMBLES


def _end_of(estimator: Any) -> tuple[bool, bool]:
    """Return whether an ensemble of trees comes after steps, and whether the prediction is the sum of its leaves. One
    of histograms has steps of its own for categories."""
    last = last_of(estimator)
    of_categories = getattr(last, "_preprocessor", None) is not None or categories_of(last) is not None
    if not is_ensemble(last) or columns_of_texts(last) or (last is estimator and not of_categories):
        return False, False
    return True, _objective_of(last) not in LOG_LINK_OBJECTIVES


def _objective_of(ensemble: Any) -> str:
    """Return the name that an ensemble's library has for what its leaves were fitted to."""
    if hasattr(ensemble, "get_booster"):
        return str(learner_of(ensemble)["objective"]["name"])
    if hasattr(ensemble, "get_all_params"):  # of CatBoost
        return str(ensemble.get_all_params()["loss_function"]).partition(":")[0]
    return str(getattr(ensemble, "objective_", getattr(ensemble, "loss", "")))


def _structure(estimator: Any, forest: Forest) -> TreeStructure:
    name, objective = type(estimator).__name__, _objective_of(estimator)
    return TreeStructure(
        trees=forest.trees,
        nodes=forest.nodes,
        max_depth=forest.max_depth,
        objective=objective if objective in LOG_LINK_OBJECTIVES else name,
        booster=name,
        categorical_splits=forest.has_categorical_splits,
    )
