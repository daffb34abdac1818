"""scikit-learn estimators without trees as ONNX models, for the backend of ONNX Runtime: pipelines that scale, encode
and select, linear models, networks, neighbours. skl2onnx converts them; whether it did so rightly is for
``checking`` to say. Tree ensembles are converted by ``onnx_trees``.

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

from servefit.backends.converting.onnx_gathering import ColumnPlace, gathered
from servefit.backends.libraries.trees import readable
from servefit.backends.model.onnx_io import OnnxInterface
from servefit.backends.model.sklearn_columns import Column, is_missing
from servefit.backends.model.sklearn_frames import Frame, frame_of
from servefit.backends.model.sklearn_steps import rename_columns
from servefit.backends.model.texts import TEXT
from servefit.backends.model.types import Input, Library
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
    """Write ``method`` of an estimator as an ONNX model that computes in ``floats``, one of DATATYPES, and return its
    interface. ``signature`` describes the columns. Raises CompileFailed with skl2onnx's own reason."""
    frame = frame_of(estimator)
    inputs = _inputs(signature, frame, floats)
    converted = _to_onnx(_as_converted(estimator, frame, inputs), inputs, method, backend)
    _set_locale(converted)
    outputs = converted.graph.output
    nth = _OUTPUT_OF.get(method, 0)
    wanted = outputs[nth if len(outputs) > nth else 0].name
    for output in [value for value in outputs if value.name != wanted]:
        outputs.remove(output)
    columns = () if frame is None or len(inputs) != len(frame.columns) else frame.columns
    names = [one.name for one in inputs]
    inputs, gathered_places = gathered(converted, inputs)
    places = {column.name: gathered_places[name] for column, name in zip(columns, names, strict=False)}
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
    from servefit.backends.libraries.onnx_native import reason_of
    from servefit.backends.libraries.onnx_session import open_session
    from servefit.backends.model.onnx_io import refusals

    try:
        open_session(file, Target.CPU, Settings(threads=1), optimised=False)
    except refusals() as error:
        raise CompileFailed(backend, f"what skl2onnx makes of it does not open: {reason_of(error)}") from error


def _with_missing_told(categories: np.ndarray) -> np.ndarray:
    if not any(isinstance(category, str) for category in categories.tolist()):
        return categories
    named = categories.astype(object)
    named[[is_missing(category) for category in categories.tolist()]] = _MISSING
    return named


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
    """Yield, for each input of texts, the replacement of a missing text in each column: the imputer's value, the name
    of the category of missing texts, or None."""
    replacements: dict[str, list[str | None]] = {}
    for column in frame.columns:
        if column.is_text:
            instead = column.imputed if column.imputed is not None else None if column.is_vectorized else _MISSING
            replacements.setdefault(places[column.name].input, []).append(instead)
    for name, texts in replacements.items():
        yield name, tuple(texts)


def _lowered(frame: Frame, places: Mapping[str, ColumnPlace]) -> Iterator[tuple[str, tuple[bool, ...]]]:
    """Yield, for each input of texts with such a column, which of its columns are lowered first."""
    lowered: dict[str, list[bool]] = {}
    for column in frame.columns:
        if column.is_text:
            lowered.setdefault(places[column.name].input, []).append(column.lowered)
    for name, which in lowered.items():
        if any(which):
            yield name, tuple(which)


def _closed(frame: Frame, places: Mapping[str, ColumnPlace]) -> Iterator[tuple[str, str, int, tuple[str | float, ...]]]:
    """Yield the columns that refuse unknown categories: skl2onnx's model accepts them."""
    for column in frame.columns:
        if column.closed:
            place = places[column.name]
            yield (
                column.name,
                place.input,
                place.position,
                tuple(_told(column, category) for category in column.categories),
            )


def _told(column: Column, category: Any) -> str | float:
    """Return a category as the input holds it; large whole numbers are no floats."""
    if not column.is_text:
        return category if column.is_whole else float(category)
    return _MISSING if is_missing(category) else str(category)


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Write an imputer of float64 as IsNaN and Where: skl2onnx rounds the imputed values to float32, and ONNX Runtime's
    imputer computes in float32 alone. Leave other imputers to skl2onnx, whose conversion function this replaces."""
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
    values_name = concatenate_variables(scope, operator.inputs, container)
    missing, instead = scope.get_unique_variable_name("missing"), scope.get_unique_variable_name("instead")
    container.add_initializer(instead, TensorProto.DOUBLE, [1, len(values)], values.tolist())
    container.add_node("IsNaN", [values_name], [missing], op_version=13)
    container.add_node("Where", [missing, instead, values_name], [operator.outputs[0].full_name], op_version=9)


def _set_locale(converted: onnx.ModelProto) -> None:
    from onnx.helper import make_attribute

    for node in converted.graph.node:
        if node.op_type == "StringNormalizer" and not any(attribute.name == "locale" for attribute in node.attribute):
            node.attribute.append(make_attribute("locale", _LOCALE))
