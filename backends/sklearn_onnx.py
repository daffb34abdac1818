"""scikit-learn estimators without trees as ONNX models, for the backend of ONNX Runtime: pipelines that scale, encode
and select, linear models, networks, neighbours. skl2onnx converts them; whether it did so rightly is for
``verification`` to say. Tree ensembles are converted by ``onnx_trees``.

Columns of different kinds are inputs of their own. A tensor has no missing text, so what stands for one is found here.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.onnx_io import OnnxInterface
from servefit.backends.model.sklearn_columns import Column, is_missing
from servefit.backends.model.sklearn_frames import Frame, frame_of
from servefit.backends.model.sklearn_steps import rename_columns
from servefit.backends.model.texts import TEXT
from servefit.backends.model.types import Input, Library
from servefit.backends.onnx_gathering import ColumnPlace, gathered
from servefit.backends.trees import readable
from servefit.backends.types import Availability, Settings, Target
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from servefit.backends.model import Model, Signature

_INPUT = "X"

DATATYPES = ("float64", "float32")
"""Of the numbers in the ONNX model, in the order in which they are tried. Estimators compute in float64, of which
skl2onnx and ONNX Runtime lack some operators."""

_OUTPUT_OF = {"predict_proba": 1, "decision_function": 1, "predict": 0}
"""The output of a converted estimator that is the prediction: the first is what ``predict`` gives, the second, where
there is one, probabilities or scores."""

_LOCALE = b"C.UTF-8"
"""In which texts are made lower case. ONNX Runtime takes en_US.UTF-8 unless it is told otherwise, which few containers
have; this one is part of glibc since 2.35."""


_WORDS = {r"(?u)\b\w\w+\b": r"[\pL\pN_][\pL\pN_]+", r"(?u)\b\w+\b": r"[\pL\pN_]+"}
"""Scikit-learn's own patterns of words, with two letters or one, and both for RE2, whose \\w has ASCII alone."""


_MISSING = "\ufdd0"
"""Stands for a missing text: one of the characters that Unicode keeps for a program's own use (Unicode 15, section
23.7)."""


CONVERTING_S = 3.0
"""Importing scikit-learn and skl2onnx takes that long here; converting takes a tenth of a second."""


def convertible(model: Model) -> Availability:
    """Return whether ``model`` can be tried as an ONNX model: whether skl2onnx knows its parts shows when it is
    compiled."""
    if model.library is not Library.SKLEARN or model.trees is not None:
        return readable(model)
    if find_spec("skl2onnx") is None:
        return Availability.no(
            "skl2onnx, which converts it, is not installed", remedy="pip install 'servefit[sklearn]'"
        )
    return Availability.yes()


def converter() -> str:
    """Return the name and the version of what converts."""
    return f"skl2onnx {version('skl2onnx')}" if find_spec("skl2onnx") else "no skl2onnx"


def write_onnx(
    estimator: Any, signature: Signature, file: Path, backend: str, *, method: str, floats: str
) -> OnnxInterface:
    """Write what ``method`` of an estimator gives as an ONNX model, whose numbers are ``floats``, one of DATATYPES;
    give how it is called. ``signature`` says what its columns are. Raises CompileFailed with skl2onnx's own reason."""
    frame = frame_of(estimator)
    inputs = _inputs(signature, frame, floats)
    converted = _to_onnx(_as_converted(estimator, frame, inputs), inputs, method, backend)
    _set_locale(converted)
    outputs = converted.graph.output
    nth = _OUTPUT_OF.get(method, 0)
    wanted = outputs[nth if len(outputs) > nth else 0].name
    for output in [each for each in outputs if each.name != wanted]:
        outputs.remove(output)
    columns = () if frame is None or len(inputs) != len(frame.columns) else frame.columns
    names = [one.name for one in inputs]
    inputs, found = gathered(converted, inputs)
    places = {column.name: found[name] for column, name in zip(columns, names, strict=False)}
    file.write_bytes(converted.SerializeToString())
    _check_opens(file, backend)
    return OnnxInterface(
        inputs=inputs,
        outputs=(wanted,),
        output_is_maps=False,
        classifier=False,
        sizes=signature.sizes,
        missing_texts=() if frame is None else tuple(_replacements(frame, places)),
        lowered=() if frame is None else tuple(_lowered(frame, places)),
        closed=() if frame is None else tuple(_closed(frame, places)),
    )


def _to_onnx(estimator: Any, inputs: Sequence[Input], method: str, backend: str) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.impute import SimpleImputer

    options: dict[int, dict[str, Any]] = {
        id(step): {"tokenexp": _WORDS[step.token_pattern]}
        for step in _parts(estimator)
        if getattr(step, "token_pattern", None) in _WORDS
    }
    if method == "predict_proba":
        options[id(estimator)] = {"zipmap": False}
    kinds = {
        TEXT: StringTensorType,
        "int64": Int64TensorType,
        "float32": FloatTensorType,
        "float64": DoubleTensorType,
    }
    types = [(one.name, kinds[one.datatype]([None, *one.shape])) for one in inputs]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of attributes of estimators that will be gone one day
            converted: onnx.ModelProto = convert_sklearn(
                estimator,
                initial_types=types,
                options=options,
                custom_conversion_functions={SimpleImputer: _convert_imputer},
            )
    except Exception as error:  # skl2onnx has no base class for what it does not convert
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CompileFailed(backend, f"skl2onnx does not convert it: {reason[:300]}") from error
    return converted


def _inputs(signature: Signature, frame: Frame | None, floats: str) -> tuple[Input, ...]:
    """Return the inputs of the ONNX model: all columns together where they are a matrix of numbers, else one by one, as
    (rows, 1). They have names of their own: skl2onnx writes others in the place of those that are no identifiers, or
    that its own tensors have."""
    if frame is None or (frame.form == "matrix" and not signature.inputs):
        return (Input(name=_INPUT, datatype=floats, shape=(signature.features,), start=0, stop=signature.features),)
    columns = signature.inputs or [
        Input(name=column.name, datatype=floats, shape=(), start=nth, stop=nth + 1)
        for nth, column in enumerate(frame.columns)
    ]
    return tuple(
        replace(one, name=f"column_{nth}", datatype=_WHOLE.get(one.datatype, floats), shape=(1,), known=())
        for nth, one in enumerate(columns)
    )


_WHOLE = {TEXT: TEXT, "int32": "int64", "int64": "int64"}
"""Of an ONNX input, for columns that are no floats."""


def _as_converted(estimator: Any, frame: Frame | None, inputs: Sequence[Input]) -> Any:
    """Return ``estimator`` with columns called as the ``inputs`` are, and as it is when no text is missing, which
    skl2onnx knows nothing of: without the imputers of texts, whose replacements are there already, and with
    ``_MISSING`` for the category of missing texts."""
    if frame is None:
        return estimator
    changed = copy.deepcopy(estimator)
    if len(inputs) == len(frame.columns):
        rename_columns(changed, {column.name: one.name for column, one in zip(frame.columns, inputs, strict=True)})
    if not frame.has_texts:
        return changed
    for part in list(_parts(changed)):
        if hasattr(part, "steps"):
            part.steps = [(name, step) for name, step in part.steps if not _imputes_texts(step)]
        if hasattr(part, "categories_"):
            part.categories_ = [_with_missing_told(categories) for categories in part.categories_]
    return changed


def _check_opens(file: Path, backend: str) -> None:
    """Raise CompileFailed for a model that skl2onnx writes and ONNX Runtime does not open."""
    from servefit.backends.model.onnx_io import refusals
    from servefit.backends.onnx_native import reason_of
    from servefit.backends.onnx_session import open_session

    try:
        open_session(file, Target.CPU, Settings(threads=1), optimised=False)
    except refusals() as error:
        raise CompileFailed(backend, f"what skl2onnx makes of it does not open: {reason_of(error)}") from error


def _with_missing_told(categories: np.ndarray) -> np.ndarray:
    if not any(isinstance(each, str) for each in categories.tolist()):
        return categories
    told = categories.astype(object)
    told[[is_missing(each) for each in categories.tolist()]] = _MISSING
    return told


def _parts(estimator: Any) -> Iterator[Any]:
    """Yield the estimator and all steps in it."""
    yield estimator
    for _, step in (*getattr(estimator, "steps", ()), *getattr(estimator, "transformer_list", ())):
        yield from _parts(step)
    for _, step, _ in getattr(estimator, "transformers_", ()):
        yield from _parts(step)


def _imputes_texts(step: Any) -> bool:
    """Return whether it puts texts in the place of missing ones, and of nothing else."""
    statistics = getattr(step, "statistics_", ())
    return any(isinstance(value, str) for value in statistics) and is_missing(getattr(step, "missing_values", None))


def _replacements(frame: Frame, places: Mapping[str, ColumnPlace]) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    """Yield what stands for a missing text, in each value of the inputs that hold texts: what an imputer would put
    there, or a text that is the category of missing ones, or none."""
    found: dict[str, list[str | None]] = {}
    for column in frame.columns:
        if column.is_text:
            instead = column.imputed if column.imputed is not None else None if column.is_vectorized else _MISSING
            found.setdefault(places[column.name].input, []).append(instead)
    for name, texts in found.items():
        yield name, tuple(texts)


def _lowered(frame: Frame, places: Mapping[str, ColumnPlace]) -> Iterator[tuple[str, tuple[bool, ...]]]:
    """Yield which of the values of the inputs that hold texts are made lower case first."""
    found: dict[str, list[bool]] = {}
    for column in frame.columns:
        if column.is_text:
            found.setdefault(places[column.name].input, []).append(column.lowered)
    for name, which in found.items():
        if any(which):
            yield name, tuple(which)


def _closed(frame: Frame, places: Mapping[str, ColumnPlace]) -> Iterator[tuple[str, str, int, tuple[str | float, ...]]]:
    """Yield the columns that take their categories alone: what skl2onnx writes takes all."""
    for column in frame.columns:
        if column.closed:
            place = places[column.name]
            yield column.name, place.input, place.position, tuple(_told(column, each) for each in column.categories)


def _told(column: Column, category: Any) -> str | float:
    """Return a category as the input holds it; large whole numbers are no floats."""
    if not column.is_text:
        return category if column.is_whole else float(category)
    return _MISSING if is_missing(category) else str(category)


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Write an imputer of float64 as comparisons: skl2onnx rounds what it puts in to float32, and ONNX Runtime's
    operator takes float32 alone. Others are written as skl2onnx does; this is one of its conversion functions."""
    from onnx import TensorProto
    from skl2onnx.common.data_types import DoubleTensorType
    from skl2onnx.operator_converters.common import concatenate_variables
    from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer

    imputer = operator.raw_operator
    values = np.asarray(imputer.statistics_)
    of_float64 = isinstance(operator.inputs[0].type, DoubleTensorType) and values.dtype.kind == "f"
    if (
        not of_float64
        or not is_missing(imputer.missing_values)
        or imputer.add_indicator
        or not np.isfinite(values).all()
    ):
        convert_sklearn_imputer(scope, operator, container)
        return
    given = concatenate_variables(scope, operator.inputs, container)
    missing, instead = scope.get_unique_variable_name("missing"), scope.get_unique_variable_name("instead")
    container.add_initializer(instead, TensorProto.DOUBLE, [1, len(values)], values.tolist())
    container.add_node("IsNaN", [given], [missing], op_version=13)
    container.add_node("Where", [missing, instead, given], [operator.outputs[0].full_name], op_version=9)


def _set_locale(converted: onnx.ModelProto) -> None:
    from onnx.helper import make_attribute

    for node in converted.graph.node:
        if node.op_type == "StringNormalizer" and not any(each.name == "locale" for each in node.attribute):
            node.attribute.append(make_attribute("locale", _LOCALE))
