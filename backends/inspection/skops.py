"""The inspection of a model of scikit-learn that skops saved: opened without consent, since it may hold no types but
those that are known to run nothing. Runs in the inspection's child process."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.backends.inspection.pickled import inspect_object
from servefit.errors import CorruptModel, UnsupportedModel

if TYPE_CHECKING:
    from servefit.backends.model.inspection_record import Inspection

_MAX_UNPACKED_BYTES = 8 * 2**30
"""A file says so itself, and is not unpacked to find out. Chosen, not measured."""

_MAX_NAMED = 5

_RUN_NOTHING = frozenset(
    {
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "numpy.dtype",
        "numpy.number",
        "sklearn.compose._column_transformer.make_column_selector",
        *(f"sklearn.feature_selection._univariate_selection.{name}" for name in ("f_classif", "f_regression", "chi2")),
    }
)
"""Types that hold nothing but numbers and names, and functions that compute with numbers alone, though skops asks about
them: a tree whose numbers are wrong may end the process that predicts with it, as a file of XGBoost or LightGBM may,
and nothing more."""


def inspect_skops(path: Path, folder: Path) -> Inspection:
    """Open and inspect the file. Raises CorruptModel, and UnsupportedModel for unknown types."""
    if find_spec("skops") is None:
        remedy = "pip install 'servefit[sklearn]'"
        raise UnsupportedModel("it was saved by skops, which is not installed", remedy=remedy)
    from skops import io

    with zipfile.ZipFile(path) as archive:
        unpacked_bytes = sum(member.file_size for member in archive.infolist())
    if unpacked_bytes > _MAX_UNPACKED_BYTES:
        raise CorruptModel(path, f"it unpacks to {unpacked_bytes} bytes, and {_MAX_UNPACKED_BYTES} are allowed")
    asked_about = set(io.get_untrusted_types(file=path))
    if unknown := sorted(asked_about - _RUN_NOTHING):
        named = ", ".join(f"{type_name:.80}" for type_name in unknown[:_MAX_NAMED])
        raise UnsupportedModel(
            f"it holds types that are not known to be safe: {named}",
            remedy="if you trust it, save it as a pickle, and open that with --trust-pickle",
        )
    return inspect_object(io.load(path, trusted=sorted(asked_about)), path, folder, ())
