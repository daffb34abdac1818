"""The description of a model: its format, what goes in, what comes out, its trees. The model itself is in
``opened``."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from servefit.backends.model.texts import TEXT, TEXT_SIZE
from servefit.backends.model.width import MAX_FEATURES
from servefit.checks import check_whole
from servefit.errors import SpecError
from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from servefit.backends.model.packing import Packing


class Library(StrEnum):
    """The library that made a model; the backend of the same name is its reference (onnxruntime for ONNX). Models of
    Hugging Face's Transformers are modules of PyTorch. A script is what SageMaker's containers run: whatever it uses,
    it is the only one that says what it answers."""

    XGBOOST = "xgboost"
    LIGHTGBM = "lightgbm"
    CATBOOST = "catboost"
    SKLEARN = "sklearn"
    ONNX = "onnx"
    SCRIPT = "script"
    TORCH = "torch"
    OPENVINO = "openvino"


class Format(StrEnum):
    """A file format, told by content."""

    XGBOOST_JSON = "xgboost-json"
    XGBOOST_UBJSON = "xgboost-ubjson"
    XGBOOST_BINARY = "xgboost-binary"
    LIGHTGBM_TEXT = "lightgbm-text"
    CATBOOST_CBM = "catboost-cbm"
    CATBOOST_JSON = "catboost-json"
    ONNX = "onnx"
    ONNX_ORT = "onnx-ort"
    PICKLE = "pickle"
    SKOPS = "skops"
    SCRIPT = "script"
    TORCH_EXPORT = "torch-export"
    TORCHSCRIPT = "torch-script"
    HUGGINGFACE = "huggingface"
    OPENVINO_IR = "openvino-ir"

    @property
    def library(self) -> Library:
        return _LIBRARIES.get(self) or Library(self.value.partition("-")[0])

    @property
    def that_runs_code(self) -> str | None:
        """A noun for the files of a format that runs whatever code they hold when they are opened; None for other
        formats."""
        return _THAT_RUN_CODE.get(self)


_LIBRARIES = {Format.PICKLE: Library.SKLEARN, Format.SKOPS: Library.SKLEARN, Format.HUGGINGFACE: Library.TORCH}

_THAT_RUN_CODE = {
    Format.PICKLE: "a pickle",
    Format.TORCH_EXPORT: "a program of PyTorch's torch.export",
    Format.TORCHSCRIPT: "a TorchScript module of PyTorch",
}


class Task(StrEnum):
    """The meaning of the outputs."""

    BINARY = "binary classification"
    MULTICLASS = "multi-class classification"
    LABELS = "classification of several targets"
    REGRESSION = "regression"
    RANKING = "ranking"
    OUTLIER = "outlier detection"
    TENSOR = "tensor"

    @property
    def is_of_classes(self) -> bool:
        """Whether the outputs are probabilities of classes, scores of them, or classes."""
        return self in (Task.BINARY, Task.MULTICLASS, Task.LABELS)


class Signs(StrEnum):
    """The signs of the numbers that a model was seen to take, in the order in which they are tried: steps that take
    logarithms or powers do not take all."""

    ANY = "any"
    NOT_NEGATIVE = "not negative"
    POSITIVE = "positive"


@shown()
class Input(Stored, frozen=True, kw_only=True):
    """One input of a model: the columns [``start``, ``stop``) of a row, as an array of ``datatype`` (NumPy's name) and
    of the shape (rows, *``shape``). A name in ``shape`` stands for a size that each request has for itself: then the
    columns are those of a row of the sizes that ``Signature.sizes`` tells.

    Whole numbers from ``lowest`` to ``highest`` are those that the graph admits and that were tried; None where that is
    not known, or the input takes others too. It bounds what is drawn for tests, and not what may be sent.

    An input of texts has the datatype "str", and no columns of its own: see ``packing``. Of such an input, or one of
    numbers that stand for categories, ``known`` are some of those that the model was fitted on; ``joined`` says that
    they are words, of which a text has several. ``takes_unknown`` says whether it takes others, and ``takes_missing``
    whether a text may be missing, or a number where not all of the model's may. ``is_date`` says that its texts are
    dates in the form of ISO 8601, and ``takes_digits`` that whole numbers and truths count as their digits;
    ``takes_truths`` that the words for truths do too, as it was fitted on truths.
    """

    name: str
    datatype: str
    shape: tuple[int | str, ...]
    start: int
    stop: int
    lowest: int | None = None
    highest: int | None = None
    known: tuple[str | float, ...] = ()
    joined: bool = False
    takes_unknown: bool = True
    takes_missing: bool = False
    is_date: bool = False
    takes_digits: bool = False
    takes_truths: bool = False

    @property
    def is_text(self) -> bool:
        return self.datatype == TEXT

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape of an input of which no size depends on the request."""
        return tuple(size for size in self.shape if isinstance(size, int))

    @property
    def is_whole(self) -> bool:
        """True if it takes whole numbers only."""
        return not self.is_text and not self.datatype.startswith("float")

    @property
    def whole_range(self) -> tuple[int, int]:
        """The range to draw whole numbers from: 0 and 1, which every vocabulary has, where nothing else is known."""
        return (0, 1) if self.lowest is None or self.highest is None else (self.lowest, self.highest)


@shown()
class Output(Stored, frozen=True, kw_only=True):
    """One output of a network: the columns [``start``, ``stop``) of a prediction, of ``datatype`` and of the shape
    (rows, *``shape``). A name in ``shape`` stands for a size that depends on those of the request. ``of_sigmoid`` says
    that its values come out of a sigmoid: libraries make them of one half and something, and so round them as one.

    ``rows_axis`` is the dimension that counts the rows in what the network itself gives; predictions have it in front.
    ``unbatched`` says that no dimension does: the network takes one row a call, and ``shape`` is all of the output."""

    name: str
    datatype: str
    shape: tuple[int | str, ...]
    start: int
    stop: int
    of_sigmoid: bool = False
    rows_axis: int = 0
    unbatched: bool = False


@shown()
class Size(Stored, frozen=True, kw_only=True):
    """A size that each request has for itself, such as the length of a text, by the name that the model gives it.
    ``usual`` is one that the model was seen to take. ``drawn`` are those of rows that are drawn, where the user said
    some: as often the one as the other."""

    name: str
    usual: int
    drawn: tuple[int, ...] = ()


ZEROS = "zeros"
"""The word in place of a mask where requests are padded without one."""


@shown()
class Padding(Stored, frozen=True, kw_only=True):
    """The padding by which requests of different sizes share a call of a network: zeros, up to the longest of them.

    ``mask`` is the input that says which places count: it is 0 where there is padding. None says that padding is known
    by its zeros alone, or does not reach what is predicted. ``sizes`` are those of the mask that are each request's
    own, or all such sizes where there is none; along these every input is padded. ``others`` are one for each that the
    model was seen to take beside its usual one, and ``shortest`` the least that it was seen to take. ``outputs`` says
    of each of ``Signature.output_sizes`` which of ``sizes`` it is, so that predictions are cut back to the request's
    own; "" where it is none of them.
    """

    mask: str | None
    sizes: tuple[str, ...]
    others: tuple[int, ...]
    outputs: tuple[str, ...] = ()
    shortest: tuple[int, ...] = ()

    @property
    def said(self) -> str:
        """The user's word for it: the name of the mask, or "zeros"."""
        return ZEROS if self.mask is None else self.mask


@shown()
class Signature(Stored, frozen=True, kw_only=True):
    """The inputs of a model and its outputs.

    ``outputs`` is the number of values a row gives; predictions are (n,) where it is 1 and (n, outputs) otherwise:

    - binary classification: the probability of the second class;
    - multi-class classification: one probability a class, or the label alone where the file says so (multi:softmax);
    - classification of several targets, or of labels of which a row has several or none: for each target in order the
      probability of its second class if it has two, else one probability a class;
    - a classifier whose library has no probabilities for it (binary:logitraw and binary:hinge, scikit-learn classifiers
      without predict_proba): what its own predict gives, a raw score or a numeric label;
    - regression and ranking: the value, or one a target;
    - outlier detection: scikit-learn's decision_function, negative for outliers;
    - tensor: the network's outputs, flattened, one after the other.

    ``accepts_missing`` says whether NaN may be sent, in every column. ``inputs`` are those of an ONNX model, in its
    order, which share the columns of a row out among them; every other model has one, a table of numbers, and lists
    none. ``table_datatype`` is NumPy's name of the datatype of such a table: the one in which the model's own library
    computes with the numbers of a user, which are float64. XGBoost and the trees of scikit-learn round them to float32
    first; LightGBM and the other estimators of scikit-learn compare and compute in float64.
    ``integer_features`` are the columns of inputs that take whole numbers. ``output_datatype`` is NumPy's name of the
    datatype in which predictions are told: that of an ONNX model's output, and float32 for all others.

    ``sizes`` are those that each request of a network has for itself: its rows then are as ``packing`` has them, and
    ``features`` is the width of one of the usual sizes. ``output_tensors`` are the outputs of a network as it calls
    them, and ``output_sizes`` the names of those of their sizes that depend on the request; where there are some,
    predictions are packed too, and ``outputs`` is the width of one. ``padding`` is None where a call takes requests of
    one size only.

    Models that are no networks, and take columns of different kinds, have an input for each column, of one value a row.

    ``signs`` are those of the numbers of a table that are drawn for tests. They do not bound what may be sent.

    ``opaque`` says that a request is bytes of a content type, which only the model itself reads: a row then is one
    request, as ``model.opaque`` packs it, and a prediction is its answer.
    """

    task: Task
    features: int
    outputs: int
    feature_names: tuple[str, ...] = ()
    accepts_missing: bool = True
    integer_features: tuple[int, ...] = ()
    inputs: tuple[Input, ...] = ()
    table_datatype: str = "float32"
    output_datatype: str = "float32"
    sizes: tuple[Size, ...] = ()
    output_tensors: tuple[Output, ...] = ()
    output_sizes: tuple[str, ...] = ()
    padding: Padding | None = None
    signs: Signs = Signs.ANY
    opaque: bool = False

    @property
    def has_columns(self) -> bool:
        """True if rows are those of a table whose columns are of different kinds, some of them texts."""
        return bool(self.sizes) and not self.output_tensors and all(one.shape in ((), (1,)) for one in self.inputs)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns of a row: of features, or of the inputs of a table whose columns are of different
        kinds. A network has none."""
        return tuple(one.name for one in self.inputs) if self.has_columns else self.feature_names

    @property
    def takes_any_float(self) -> bool:
        """True if rows are float32 or float64, and every input takes any finite value of that type, as in a table."""
        if self.integer_features or self.sizes:
            return False
        datatype = self.row_datatype
        return not any(model_input.datatype != datatype or model_input.is_whole for model_input in self.inputs)

    @property
    def row_datatype(self) -> str:
        """NumPy's name of the datatype of rows: see :func:`row_datatype`."""
        return row_datatype(self.inputs) if self.inputs else self.table_datatype

    @property
    def user_datatype(self) -> str:
        """NumPy's name of the datatype of rows as a user has them: the numbers of a table are float64, whatever is made
        of them then."""
        return self.row_datatype if self.inputs else "float64"

    def as_rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return rows of ``user_datatype`` as predictors take them: C-contiguous, of ``row_datatype``. This is the only
        rounding that there is before the model."""
        import numpy as np

        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(numbers, dtype=self.row_datatype)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a row: that of the only input, or flat where there are several, or rows are packed."""
        return self.inputs[0].fixed_shape if len(self.inputs) == 1 and not self.sizes else (self.features,)

    def of_sizes(self, sizes: Mapping[str, int]) -> Signature:
        """Return the signature with ``sizes`` as the usual ones, and the columns of rows of these sizes."""
        usual = tuple(replace(size, usual=sizes.get(size.name, size.usual)) for size in self.sizes)
        by_name = {size.name: size.usual for size in usual}
        places = self.packing.places(by_name)
        inputs = tuple(
            replace(one, start=place.start, stop=place.stop) for one, place in zip(self.inputs, places, strict=True)
        )
        whole = tuple(column for one in inputs if one.is_whole for column in range(one.start, one.stop))
        features = self.packing.width(by_name)
        return replace(self, sizes=usual, inputs=inputs, features=features, integer_features=whole)

    def drawn_with(self, sizes: Mapping[str, Sequence[int]]) -> Signature:
        """Return the signature that draws rows with these ``sizes``. Raises SpecError."""
        names = [size.name for size in self.sizes if size.name != TEXT_SIZE]
        for name, drawn in sizes.items():
            if name not in names:
                raise SpecError.unknown("size", name, names)
            if isinstance(drawn, str | int | float):
                raise SpecError.wrong_type("size", drawn, "a list of whole numbers, such as [32, 128]")
            for number in drawn:
                check_whole("size", number, least=1, most=MAX_FEATURES)
            if not drawn:
                raise SpecError("size", name, "is given without a number")
        first = self.of_sizes({name: drawn[0] for name, drawn in sizes.items()})
        if first.features > MAX_FEATURES:
            raise SpecError("size", dict(sizes), f"makes rows of more than {MAX_FEATURES:,} numbers")
        return replace(first, sizes=tuple(replace(size, drawn=tuple(sizes.get(size.name, ()))) for size in first.sizes))

    @property
    def row_text(self) -> str:
        """The content of a row, for people: "30 features", or the inputs with their shapes if these vary by request."""
        if not self.sizes:
            return f"{self.features} features"
        if self.has_columns:
            texts = sum(one.is_text for one in self.inputs)
            return f"{len(self.inputs)} columns, {texts} of text" if len(self.inputs) > 1 else "a text"
        text = ", ".join(
            f"{model_input.name} ({', '.join(map(str, model_input.shape))})" for model_input in self.inputs
        )
        return text if self.padding is None else f"{text}, padded by {self.padding.said}"

    @property
    def size_classes(self) -> list[dict[str, int]]:
        """The sizes of rows that are drawn, one class after the other; the usual ones where the user said none."""
        drawn = [size.drawn or (size.usual,) for size in self.sizes]
        count = max(map(len, drawn), default=1)
        return [
            {size.name: values[nth % len(values)] for size, values in zip(self.sizes, drawn, strict=True)}
            for nth in range(count)
        ]

    @property
    def packing(self) -> Packing:
        """The layout of a row of a network with ``sizes``."""
        from servefit.backends.model.packing import Packing

        return Packing(self.inputs, [size.name for size in self.sizes])

    @property
    def output_packing(self) -> Packing:
        """The layout of a prediction of a network."""
        from servefit.backends.model.packing import Packing

        return Packing(self.output_tensors, self.output_sizes)


@shown()
class Constant(Stored, frozen=True, kw_only=True):
    """A value that an input of an ONNX model, or of one of PyTorch, has in all requests; see ``Model.load``."""

    name: str
    value: float


@shown()
class SaidShape(Stored, frozen=True, kw_only=True):
    """The datatype and the sizes of an input of TorchScript, such as "float32[rows,3,224,224]"; see ``Model.load``."""

    name: str
    shape: str


def row_datatype(inputs: Sequence[Input]) -> str:
    """Return the datatype of the rows of a model with these ``inputs``, one for all columns: float32 if that holds
    every value of every input, else int64 if all are whole numbers, else float64. A value outside it (a uint64 from
    2**63 on, an int64 beyond 2**53 beside floats) cannot be sent."""
    if all(model_input.datatype in _WITHIN_FLOAT32 for model_input in inputs):
        return "float32"
    return "int64" if all(model_input.is_whole or model_input.is_text for model_input in inputs) else "float64"


ROW_DATATYPES = ("float32", "int64", "float64")

_WITHIN_FLOAT32 = frozenset({"float32", "float16", "int8", "int16", "uint8", "uint16", "bool", TEXT})
"""Every value of these, and every byte of a text, is a float32."""


@shown()
class TreeStructure(Stored, frozen=True, kw_only=True):
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
