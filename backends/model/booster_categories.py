"""Boosters of XGBoost and LightGBM that were fitted on columns of pandas' dtype category: which categories each column
had, and the booster that takes their codes, the places of categories among these.

Neither library tells it by a documented call. XGBoost 3.1 and later keep categories in the model, and older versions
forget them; LightGBM keeps those of all such columns together, in their order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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


def columns_of_texts(estimator: Any) -> frozenset[int]:
    """Return the positions of the columns of categories that a fitted ``estimator`` of CatBoost takes as texts; none of
    anything else, nor of one that takes words or embeddings too."""
    if not hasattr(estimator, "get_cat_feature_indices") or not estimator.is_fitted():
        return frozenset()
    if estimator.get_text_feature_indices() or estimator.get_embedding_feature_indices():
        return frozenset()
    return frozenset(estimator.get_cat_feature_indices())


def takes_categories(estimator: Any) -> bool:
    """Return whether a fitted ``estimator`` of XGBoost, LightGBM or CatBoost takes categories as they are, and not
    numbers alone."""
    return categories_of(estimator) is not None or bool(columns_of_texts(estimator))


def doubt_of(estimator: Any) -> str | None:
    """Return a warning where LightGBM does not tell for sure which columns of an ``estimator`` its categories are
    of."""
    booster = getattr(estimator, "booster_", estimator)
    if not getattr(booster, "pandas_categorical", None):
        return None
    infos = _feature_infos(booster)
    pairings = _pairings(infos, booster.pandas_categorical)
    if len(pairings) != 1:
        return (
            "LightGBM does not keep which columns its categories of pandas are of, and here that is not clear: rows "
            "hold the place of a category in its list instead, from 0 on; an OrdinalEncoder in a pipeline takes names"
        )
    used = [_OF_NUMBERS if info == "none" else info for info in infos]
    if all(way == pairings[0] for way in _ways(used, booster.pandas_categorical, others=True)):
        return None
    names = booster.feature_name()
    return (
        "LightGBM does not keep which columns its categories of pandas are of: taken are "
        f"{', '.join(names[nth] for nth in pairings[0])[:200]}; if it is others, since they are ordered, use an "
        "OrdinalEncoder in a pipeline"
    )


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
    # Class numbers and ranks are what the others predict.
    with_probabilities = objective in ("binary:logistic", "multi:softprob")
    estimator = xgboost.XGBClassifier() if with_probabilities else xgboost.XGBRegressor()
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
    """Return the categories by column, or None where no column can have them, or several may."""
    infos = _feature_infos(booster)
    pairings = _pairings(infos, booster.pandas_categorical)
    if len(pairings) != 1:
        return None
    columns = dict(zip(pairings[0], booster.pandas_categorical, strict=True))
    return tuple(tuple(columns[nth]) if nth in columns else None for nth in range(len(infos)))


def _feature_infos(booster: Any) -> list[str]:
    """Return what LightGBM keeps of each column: "[0:3]" is the range of numbers, "2:0:1" are categories that it was
    told of or that pandas does not order, and "none" is a column that it does not use."""
    infos: str = booster.model_to_string().partition("\nfeature_infos=")[2].partition("\n")[0]
    return infos.split(" ")


def _pairings(infos: Sequence[str], kept: Sequence[Sequence[Any]]) -> list[tuple[int, ...]]:
    """Return the columns that the lists of categories ``kept`` may be of, in order: two ways at most, where there are
    several. Others than columns of pandas' categories may have been told to be categories, which explains what is left
    where nothing else does."""
    plain = _ways(infos, kept, others=False)
    return plain or _ways(infos, kept, others=True)


def _ways(infos: Sequence[str], kept: Sequence[Sequence[Any]], *, others: bool) -> list[tuple[int, ...]]:
    """Return two ways at most to give each of ``kept`` a column, in order. A column that holds categories gets some,
    unless ``others`` than columns of pandas may have been told to hold some."""
    ways: list[list[tuple[int, ...]]] = [[()], *([] for _ in kept)]  # by the number of lists that have a column
    for nth, info in enumerate(infos):
        must = not others and not info.startswith("[") and info != "none"
        for count in range(len(kept), -1, -1):
            taking = []
            if count and _may_have(info, len(kept[count - 1])):
                taking = [(*way, nth) for way in ways[count - 1]]
            ways[count] = [*taking, *(() if must else ways[count])][:2]
    return ways[-1]


_OF_NUMBERS = "[-1:-1]"
"""Kept by LightGBM of a column of numbers that is surely no category of pandas."""


def _may_have(info: str, count: int) -> bool:
    """Return whether a column may be one of so many categories. Those that pandas orders are numbers for LightGBM, the
    last of which was there when it was fitted."""
    if info == "none":
        return True
    if info.startswith("["):
        lowest, _, highest = info[1:-1].partition(":")
        return float(lowest) >= 0 and float(highest) == count - 1
    return max(map(int, info.split(":"))) < count
