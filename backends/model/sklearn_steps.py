"""The steps of a fitted scikit-learn estimator: which comes first, which of its columns each takes, and what kind of
step it is. What that says of the columns is for ``sklearn_columns``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def first_of(estimator: Any) -> Any:
    """Return the first step that does something."""
    for _, step in getattr(estimator, "steps", ()):
        if step is not None and step != "passthrough":
            return first_of(step)
    return estimator


def joined_by(estimator: Any) -> list[Any]:
    """Return the fitted estimators that an estimator asks with the rows that it is given itself; none for one that
    predicts by itself."""
    if hasattr(estimator, "calibrated_classifiers_"):
        return [calibrated.estimator for calibrated in estimator.calibrated_classifiers_]
    if hasattr(estimator, "regressor_"):
        return [estimator.regressor_]
    return list(estimator.estimators_) if type(estimator).__name__ in _JOINING else []


_JOINING = frozenset(f"{way}{kind}" for way in ("Voting", "Stacking") for kind in ("Classifier", "Regressor")) | {
    "OneVsRestClassifier",
    "MultiOutputClassifier",
    "MultiOutputRegressor",
}


def last_of(estimator: Any) -> Any:
    """Return the last step."""
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    return estimator


def selects_by_name(step: Any) -> bool:
    """Return whether ``step`` or one inside it selects columns by name."""
    inner = [*getattr(step, "steps", ()), *getattr(step, "transformer_list", ())]
    chosen = [(one, columns) for _, one, columns in getattr(step, "transformers_", ()) if not is_dropped(one)]
    return any(is_named(columns) for _, columns in chosen) or any(
        selects_by_name(one) for one in [side for _, side in inner] + [side for side, _ in chosen]
    )


def is_vectorizer(step: Any) -> bool:
    return callable(getattr(step, "build_analyzer", None)) and hasattr(step, "decode")


def vectorizers_in(step: Any) -> list[Any]:
    """Return the vectorizers of a step: itself, or the branches of a union if all are vectorizers; else none."""
    sides = [first_of(branch) for _, branch in getattr(step, "transformer_list", ())] or [step]
    return sides if all(is_vectorizer(side) for side in sides) else []


def is_encoder(step: Any) -> bool:
    return hasattr(step, "categories_") and isinstance(step.categories_, list)


def is_passed(step: Any) -> bool:
    """Return whether ``step`` passes its columns on as they are."""
    if step is None or isinstance(step, str):
        return bool(step != "drop")
    return type(step).__name__ == "FunctionTransformer" and step.func is None and not step.validate


def is_sampler(step: Any) -> bool:
    """Return whether ``step`` is a sampler of imbalanced-learn, which does nothing when predicting."""
    return hasattr(step, "fit_resample") and not hasattr(step, "transform")


def is_dropped(transformer: Any) -> bool:
    return isinstance(transformer, str) and transformer == "drop"


def names_of(estimator: Any) -> list[str]:
    """Return the names of the columns that it was fitted on; empty if they had none."""
    names = getattr(estimator, "feature_names_in_", getattr(first_of(estimator), "feature_names_in_", ()))
    return [str(name) for name in names]


def is_named(chosen: Any) -> bool:
    if isinstance(chosen, slice):
        return isinstance(chosen.start, str) or isinstance(chosen.stop, str)
    if isinstance(chosen, str):
        return True
    return any(isinstance(column, str) for column in np.asarray(chosen, dtype=object).reshape(-1).tolist())


def positions_of(chosen: Any, names: Sequence[str], count: int) -> list[int]:
    """Return the numbers of the columns that a transformer takes, as scikit-learn writes them down."""
    if isinstance(chosen, slice):
        if not is_named(chosen):
            return list(range(count))[chosen]
        first = 0 if chosen.start is None else names.index(chosen.start)
        last = count if chosen.stop is None else names.index(chosen.stop) + 1
        return list(range(first, last))
    listed = [chosen] if isinstance(chosen, str | int) else np.asarray(chosen, dtype=object).reshape(-1).tolist()
    if listed and all(isinstance(column, bool | np.bool_) for column in listed):
        return [nth for nth, is_taken in enumerate(listed) if is_taken]
    return [names.index(column) if isinstance(column, str) else int(column) % count for column in listed]


def called(names: Sequence[str], nth: int) -> str:
    return names[nth] if names else f"x{nth}"


def rename_columns(estimator: Any, names: Mapping[str, str]) -> None:
    """Have the first step of ``estimator`` call the columns that it takes by other ``names``, given by their own."""
    first = first_of(estimator)
    own, count = names_of(estimator), getattr(first, "n_features_in_", 0)
    if hasattr(first, "transformers_"):
        first.transformers_ = [
            (
                key,
                step,
                [] if is_dropped(step) else [names[called(own, nth)] for nth in positions_of(chosen, own, count)],
            )
            for key, step, chosen in first.transformers_
        ]
