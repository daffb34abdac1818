"""Boosters of XGBoost and LightGBM that were fitted on columns of pandas' dtype category: which categories each column
had, and the booster that takes their codes, the places of categories among these.

Neither library tells it by a documented call. XGBoost 3.1 and later keep categories in the model, and older versions
forget them; LightGBM keeps those of all such columns together, in their order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from servefit.errors import UnsupportedModel

Categories = tuple[tuple[Any, ...] | None, ...]
"""The categories of each column, texts or numbers; None for a column of numbers."""


def categories_of(estimator: Any) -> Categories | None:
    """Return the categories of the columns that a fitted ``estimator`` of XGBoost or LightGBM, with the interface of
    scikit-learn, takes; None for one that takes numbers alone, and for anything else."""
    packages = {kind.__module__.partition(".")[0] for kind in type(estimator).__mro__}
    if not hasattr(estimator, "get_params"):
        return None
    if "xgboost" in packages and estimator.__sklearn_is_fitted__():
        booster = estimator.get_booster()
        return _of_xgboost(booster) if "c" in (booster.feature_types or ()) else None
    if "lightgbm" in packages and estimator.__sklearn_is_fitted__() and estimator.booster_.pandas_categorical:
        return _of_lightgbm(estimator.booster_)
    return None


def refuses_others(estimator: Any) -> bool:
    """Return whether ``estimator`` refuses a category that it was not fitted on. LightGBM takes it for a missing
    one."""
    return not hasattr(estimator, "booster_")


def booster_of_codes(estimator: Any) -> Any:
    """Return the booster of an estimator with ``categories_of``, which takes codes instead of categories."""
    if hasattr(estimator, "booster_"):
        import lightgbm

        text = estimator.booster_.model_to_string()
        return lightgbm.Booster(model_str=text[: text.rindex("\npandas_categorical:")] + "\npandas_categorical:null\n")
    import xgboost

    booster = estimator.get_booster()
    best = booster.attr("best_iteration")
    document = json.loads(bytes(booster.save_raw("json")))
    _trees_of(document)["cats"] = {"enc": [], "feature_segments": [], "sorted_idx": []}
    bare = xgboost.Booster(model_file=bytearray(json.dumps(document).encode()))
    return bare if best is None else bare[: int(best) + 1]


def estimator_of(content: bytes) -> Any:
    """Return the estimator of scikit-learn's interface that the XGBoost model in a file's ``content`` is."""
    import xgboost

    booster = xgboost.Booster(model_file=bytearray(content))
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    kinds = {"binary": xgboost.XGBClassifier, "multi": xgboost.XGBClassifier, "rank": xgboost.XGBRanker}
    estimator = kinds.get(objective.partition(":")[0], xgboost.XGBRegressor)()
    estimator.load_model(bytearray(content))
    return estimator


def _trees_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a model of XGBoost in JSON that holds its trees: a dart booster has a gbtree inside."""
    outer = document["learner"]["gradient_booster"]
    trees: dict[str, Any] = outer.get("gbtree", outer)["model"]
    return trees


def _of_xgboost(booster: Any) -> Categories | None:
    columns = _trees_of(json.loads(bytes(booster.save_raw("json")))).get("cats", {}).get("enc", ())
    categories = tuple(_decoded(column) for column in columns)
    return categories if any(categories) else None


def _decoded(column: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return the categories of one column: numbers as they are, texts as the bytes between offsets. Raises
    UnsupportedModel."""
    if "offsets" not in column:
        return tuple(column["values"]) or None
    if min(column["values"], default=0) < 0:  # bytes of letters beyond ASCII
        # Of these XGBoost 3.2 keeps as many bytes as there are letters.
        raise UnsupportedModel(
            "a model of XGBoost with categories that have letters beyond ASCII, which XGBoost does not keep whole",
            remedy="encode them before XGBoost, by an OrdinalEncoder in a pipeline of scikit-learn",
        )
    content, offsets = bytes(column["values"]), column["offsets"]
    return tuple(content[begin:end].decode() for begin, end in pairwise(offsets)) or None


def _of_lightgbm(booster: Any) -> Categories | None:
    """Return the categories by column, or None where others than those of pandas were told to be categories."""
    infos = booster.model_to_string().partition("\nfeature_infos=")[2].partition("\n")[0].split(" ")
    are_categories = [not info.startswith("[") and info != "none" for info in infos]
    kept = booster.pandas_categorical
    if sum(are_categories) != len(kept):
        return None
    left = iter(kept)
    return tuple(tuple(next(left)) if is_category else None for is_category in are_categories)
