"""The types that describe an opened model. How a model is opened is in ``loading``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Library(StrEnum):
    """The library that made a model; the backend of the same name is its reference (onnxruntime for ONNX)."""

    XGBOOST = "xgboost"
    LIGHTGBM = "lightgbm"
    SKLEARN = "sklearn"
    ONNX = "onnx"


class Format(StrEnum):
    """A file format, told by content."""

    XGBOOST_JSON = "xgboost-json"
    XGBOOST_UBJSON = "xgboost-ubjson"
    XGBOOST_BINARY = "xgboost-binary"
    LIGHTGBM_TEXT = "lightgbm-text"
    ONNX = "onnx"
    PICKLE = "pickle"

    @property
    def library(self) -> Library:
        prefix = self.value.partition("-")[0]
        return Library.SKLEARN if self is Format.PICKLE else Library(prefix)


class Task(StrEnum):
    """What the outputs mean."""

    BINARY = "binary classification"
    MULTICLASS = "multi-class classification"
    REGRESSION = "regression"
    RANKING = "ranking"
    OUTLIER = "outlier detection"
    TENSOR = "tensor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What goes in and what comes out.

    ``outputs`` is the number of values a row gives; predictions are (n,) where it is 1 and (n, outputs) otherwise:

    - binary classification: the probability of the second class;
    - multi-class classification: one probability a class, or the label alone where the file says so (multi:softmax);
    - a classifier whose library has no probabilities for it (binary:logitraw and binary:hinge, scikit-learn classifiers
      without predict_proba): what its own predict gives, a raw score or a numeric label;
    - regression and ranking: the value, or one a target;
    - outlier detection: scikit-learn's decision_function, negative for outliers;
    - tensor: the network's output, flattened.

    ``accepts_missing`` says whether NaN may be sent. ``integer_features`` are the columns that go into integer inputs
    of an ONNX model and hold whole numbers.
    """

    task: Task
    features: int
    outputs: int
    feature_names: tuple[str, ...] = ()
    accepts_missing: bool = True
    integer_features: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeStructure:
    """The shape of a tree ensemble, for estimates and for backends that take some ensembles and not others.

    ``objective`` is the library's own name for it; ``booster`` is "gbtree", "dart", "random forest" and the like.
    ``peculiarities`` names what converters are known to get wrong, such as "zero_as_missing" or "linear_tree".
    """

    trees: int
    nodes: int
    max_depth: int
    objective: str
    booster: str
    categorical_splits: bool = False
    peculiarities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An opened model.

    ``source`` is what the user named. ``file`` is what every backend reads, a copy in the state folder: the same bytes
    where the source is a plain file, otherwise normalised (unpacked from an archive, saved from a live object,
    cut to the iteration that the file itself calls best, upgraded from a retired format). ``digest`` is the SHA-256 of
    ``file``. ``splits`` is an NPZ file of split thresholds and categories per feature, or None for models without
    trees (``rows`` reads it). ``trees`` is None for those too.
    """

    source: str
    file: Path
    format: Format
    digest: str
    size_bytes: int
    signature: Signature
    trees: TreeStructure | None = None
    splits: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def library(self) -> Library:
        return self.format.library

    @property
    def reference(self) -> str:
        """The name of the backend whose predictions define this model's."""
        return "onnxruntime" if self.library is Library.ONNX else self.library.value

    @staticmethod
    def load(source: Any, *, trust_pickle: bool = False) -> Model:
        """Open a file, a folder, a ``.tar.gz``, or a live xgboost, LightGBM or scikit-learn object.

        Raises CorruptModel, UnsupportedModel, UntrustedModel, BackendUnavailable (the model's library is missing),
        StateError.
        """
        from servefit.backends.model.loading import load_model

        return load_model(source, trust_pickle=trust_pickle)
