"""scikit-learn estimators without trees as ONNX models, for the backend of ONNX Runtime: pipelines that scale and
select, linear models, networks, neighbours. skl2onnx converts them; whether it did so rightly is for ``verification``
to say. Tree ensembles are converted by ``onnx_trees``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from servefit.backends.model.onnx_io import OnnxInterface
from servefit.backends.model.sklearn_io import prediction_method
from servefit.backends.model.types import Input, Library, Task
from servefit.backends.trees import readable, unpickled
from servefit.backends.types import Availability
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.model import Model

_INPUT = "X"

_OUTPUT_OF = {"predict_proba": 1, "decision_function": 1, "predict": 0}
"""Which output of a converted estimator is the prediction: the first is what ``predict`` gives, the second, where there
is one, probabilities or scores."""


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


def convert(model: Model, workdir: Path, backend: str) -> Mapping[str, Any]:
    """Write the estimator into ``workdir`` as model.onnx; give the facts that ``onnx_native`` needs. Raises
    CompileFailed with skl2onnx's own reason."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    estimator, signature = unpickled(model), model.signature
    method = prediction_method(estimator, signature.task)
    options = {id(estimator): {"zipmap": False}} if method == "predict_proba" else None
    types = [(_INPUT, FloatTensorType([None, signature.features]))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of attributes of estimators that will be gone one day
            converted = to_onnx(estimator, initial_types=types, options=options)
    except Exception as error:  # skl2onnx has no base class for what it does not convert
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CompileFailed(backend, f"skl2onnx does not convert it: {reason[:300]}") from error
    outputs = converted.graph.output
    wanted = outputs[_OUTPUT_OF[method]].name if len(outputs) > _OUTPUT_OF[method] else outputs[0].name
    for output in [each for each in outputs if each.name != wanted]:
        outputs.remove(output)
    (workdir / "model.onnx").write_bytes(converted.SerializeToString())
    rows = Input(name=_INPUT, datatype="float32", shape=(signature.features,), start=0, stop=signature.features)
    return OnnxInterface(
        inputs=(rows,),
        outputs=(wanted,),
        output_is_maps=False,
        classifier=signature.task in (Task.BINARY, Task.MULTICLASS),
        second_class_only=method == "predict_proba" and signature.task is Task.BINARY,
    ).to_facts()
