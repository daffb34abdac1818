"""Live model objects, turned into the bytes of a file that their library reads back.

Which library an object belongs to is read off its classes; this module imports none of them.
"""

from __future__ import annotations

import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servefit.backends.model.booster_categories import doubt_of, takes_categories
from servefit.backends.model.types import Format, Library
from servefit.errors import UnsupportedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """The content of a model file."""

    format: Format
    content: bytes
    warnings: tuple[str, ...] = ()


def library_of(source: Any) -> Library | None:
    """Return the library that made a live object, or None. An XGBClassifier is xgboost's, though it is a scikit-learn
    estimator as well; a pipeline around one is scikit-learn's."""
    packages = {kind.__module__.partition(".")[0] for kind in type(source).__mro__}
    for library in (Library.XGBOOST, Library.LIGHTGBM, Library.CATBOOST, Library.SKLEARN):
        if library.value in packages:
            return library
    return None


def save_live(source: Any) -> SavedModel:
    """Save an xgboost, LightGBM, CatBoost or scikit-learn object. An estimator of XGBoost or LightGBM that takes
    pandas' categories is saved as one of scikit-learn: no file of theirs holds all that it needs. Raises
    UnsupportedModel for anything else, for what has not been fitted, and for what does not pickle."""
    if takes_categories(source):
        return _save_sklearn(source)
    library = library_of(source)
    if library is Library.XGBOOST:
        return _save_xgboost(source)
    if library is Library.LIGHTGBM:
        return _save_lightgbm(source)
    if library is Library.CATBOOST:
        return SavedModel(format=Format.CATBOOST_CBM, content=save_catboost(source))
    if library is Library.SKLEARN:
        return _save_sklearn(source)
    raise UnsupportedModel(
        f"an object of type {_name(source)}",
        remedy="give a path, or an xgboost, LightGBM, CatBoost or scikit-learn model",
    )


def _save_xgboost(source: Any) -> SavedModel:
    booster = source
    warnings: tuple[str, ...] = ()
    if hasattr(source, "get_booster"):
        if not source.__sklearn_is_fitted__():
            raise _unfitted(source)
        booster = source.get_booster()
        missing = source.missing
        if missing == missing:  # not NaN
            warnings = (f"the model file does not hold missing={missing!r}; send NaN for a missing value",)
    if not hasattr(booster, "save_raw"):
        raise UnsupportedModel(f"a {_name(source)} of xgboost", remedy="give a Booster or a fitted estimator")
    return SavedModel(format=Format.XGBOOST_UBJSON, content=bytes(booster.save_raw("ubj")), warnings=warnings)


def _save_lightgbm(source: Any) -> SavedModel:
    booster = source
    if hasattr(source, "booster_") or hasattr(type(source), "booster_"):
        if not source.__sklearn_is_fitted__():
            raise _unfitted(source)
        booster = source.booster_
    if not hasattr(booster, "model_to_string"):
        raise UnsupportedModel(f"a {_name(source)} of LightGBM", remedy="give a Booster or a fitted estimator")
    best, iterations = booster.best_iteration, booster.current_iteration()
    warnings: tuple[str, ...] = ()
    if 0 < best < iterations:
        warnings = (
            f"LightGBM calls iteration {best} its best, so it saves and predicts with only the first {best} of its "
            f"{iterations} iterations",
        )
    if (doubt := doubt_of(booster)) is not None:
        warnings += (doubt,)
    return SavedModel(format=Format.LIGHTGBM_TEXT, content=booster.model_to_string().encode(), warnings=warnings)


def save_catboost(source: Any) -> bytes:
    """Return a fitted model of CatBoost as CatBoost's own file has it. Raises UnsupportedModel."""
    if not hasattr(source, "save_model"):
        raise UnsupportedModel(f"a {_name(source)} of CatBoost", remedy="give a fitted CatBoost model")
    if not source.is_fitted():
        raise _unfitted(source)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.cbm")
        source.save_model(str(file))
        return file.read_bytes()


def _save_sklearn(source: Any) -> SavedModel:
    try:
        content = pickle.dumps(source, protocol=5)
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnsupportedModel(f"a {_name(source)} that does not pickle ({reason})") from error
    return SavedModel(format=Format.PICKLE, content=content)


def _unfitted(source: Any) -> UnsupportedModel:
    return UnsupportedModel(f"a {_name(source)} that has not been fitted", remedy="call fit first")


def _name(source: Any) -> str:
    return type(source).__name__
