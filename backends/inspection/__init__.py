"""Opens a model file with its own library and finds out what it is. Runs in a child process that may die of it.

``inspect_kept`` is the child's entry; one module per library does the work, and ``forest`` reads trees for all of them.
Starting the child, bounding it, and keeping what it found is for ``servefit.backends.model.loading``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.backends.model.keeping import ModelFile, unchanged
from servefit.backends.model.types import Format, Library
from servefit.errors import CorruptModel, ServefitError

if TYPE_CHECKING:
    from servefit.backends.model.inspection_record import Inspection


def inspect_kept(kept: ModelFile, folder: Path) -> Inspection:
    """Inspect a kept file, and make sure that its content is what it was when it was kept. Raises as that does."""
    with unchanged(kept.file, kept.digest):
        return inspect(kept.file, kept.format, folder)


def inspect(path: Path, model_format: Format, folder: Path) -> Inspection:
    """Open the model at ``path``, predict a few rows with it, and write what has to be kept into ``folder``.

    Raises CorruptModel, UnsupportedModel, BackendUnavailable. The process may also crash, hang or run out of memory.
    """
    try:
        if model_format.library is Library.XGBOOST:
            return _inspect_xgboost(path, model_format, folder)
        if model_format is Format.LIGHTGBM_TEXT:
            from servefit.backends.inspection.lightgbm import inspect_lightgbm

            return inspect_lightgbm(path, folder)
        if model_format.library is Library.CATBOOST:
            return _inspect_catboost(path, model_format, folder)
        if model_format is Format.SKOPS:
            from servefit.backends.inspection.skops import inspect_skops

            return inspect_skops(path, folder)
        if model_format is Format.SCRIPT:
            from servefit.backends.inspection.script import inspect_script

            return inspect_script(path)
        if model_format is Format.PICKLE:
            from servefit.backends.inspection.pickled import inspect_pickle

            return inspect_pickle(path, folder)
        return _inspect_network(path, model_format, folder)
    except (ServefitError, MemoryError):
        raise
    except Exception as error:
        raise CorruptModel(path, first_line(error)) from error


def _inspect_xgboost(path: Path, model_format: Format, folder: Path) -> Inspection:
    import treelite

    from servefit.backends.inspection.xgboost import inspect_xgboost

    try:
        return inspect_xgboost(path, model_format, folder)
    except treelite.TreeliteError as error:
        if "categorical encoder" not in str(error):
            raise
        from servefit.backends.inspection.pickled import inspect_object
        from servefit.backends.model.booster_categories import estimator_of

        return inspect_object(estimator_of(path.read_bytes()), path, folder, ())


def _inspect_catboost(path: Path, model_format: Format, folder: Path) -> Inspection:
    from servefit.backends.inspection.catboost import inspect_catboost
    from servefit.backends.inspection.pickled import inspect_object
    from servefit.backends.libraries.catboost_library import as_estimator, open_catboost
    from servefit.backends.model.booster_categories import columns_of_texts

    if columns_of_texts(open_catboost(path, model_format)):
        return inspect_object(as_estimator(path, model_format), path, folder, ())
    return inspect_catboost(path, model_format, folder)


def _inspect_network(path: Path, model_format: Format, folder: Path) -> Inspection:
    if model_format is Format.ONNX:
        from servefit.backends.inspection.onnx import inspect_onnx

        return inspect_onnx(path, folder)
    if model_format.library is Library.TORCH:
        from servefit.backends.inspection.torch import inspect_torch

        return inspect_torch(path, model_format, folder)
    from servefit.backends.inspection.networks import inspect_ir, inspect_ort

    return inspect_ort(path) if model_format is Format.ONNX_ORT else inspect_ir(path)


def first_line(error: BaseException) -> str:
    """Return the message of a native library's exception without its time stamp, source file and stack trace."""
    text = str(error).strip() or type(error).__name__
    line = re.sub(r"^\[\d\d:\d\d:\d\d\] \S+:\d+: ", "", text.splitlines()[0])
    if line.endswith("std::bad_alloc"):
        return "it is damaged or cut off, or needs more memory than there is"
    if line.startswith("Check failed: beg <= size_"):  # of XGBoost, for a binary file
        return "it is damaged or cut off"
    return line[:300].rstrip(" .:")
