"""The predictions of a model's own library, by the plainest call that it documents: the measure of every artifact.

Runs in a child process. Slow on purpose: one thread, and none of the shortcuts that the backends take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from servefit.backends.model.types import Library
from servefit.backends.types import Settings, Target
from servefit.errors import CorruptModel, RowsRefused

if TYPE_CHECKING:
    from servefit.backends.model import Model

Predict: TypeAlias = Callable[[np.ndarray], np.ndarray]


def reference(model: Model) -> Predict:
    """Open ``model``. What is given predicts rows (n, features): (n,) or (n, outputs), in the sense of
    ``Predictor.predict``."""
    return _BY_LIBRARY[model.library](model)


def _xgboost(model: Model) -> Predict:
    from servefit.backends.libraries.xgboost_c import Booster

    return Booster.load(model.file, nthread=1, verbosity=0).predict


def _lightgbm(model: Model) -> Predict:
    import lightgbm

    booster = lightgbm.Booster(model_file=model.file)
    return lambda rows: np.asarray(booster.predict(rows, num_threads=1))


def _catboost(model: Model) -> Predict:
    from servefit.backends.libraries.catboost_library import opened_with_meaning, predicted

    return partial(predicted, *opened_with_meaning(model.file, model.format), threads=1)


def _sklearn(model: Model) -> Predict:
    from servefit.backends.libraries.trees import unpickled
    from servefit.backends.model.sklearn_frames import frame_of
    from servefit.backends.model.sklearn_io import predict

    estimator = unpickled(model)
    called = partial(predict, estimator, model.signature.task, frame=frame_of(estimator))

    def predicted(rows: np.ndarray) -> np.ndarray:
        try:
            return called(rows)
        except (ValueError, TypeError) as error:  # a category that it does not know, mostly
            raise RowsRefused("sklearn", (str(error).splitlines() or [type(error).__name__])[0][:300]) from error

    return predicted


def _onnx(model: Model) -> Predict:
    """Open ONNX Runtime with every graph optimisation off."""
    from servefit.backends.libraries.onnx_native import refusing
    from servefit.backends.libraries.onnx_session import open_session
    from servefit.backends.model import onnx_io
    from servefit.backends.model.onnx_interface import interface_of

    session = open_session(model.file, Target.CPU, Settings(threads=1), optimised=False)
    # Each row at its own size, whatever the model is served with.
    interface = replace(interface_of(session)[0], padding=None)
    return refusing(partial(onnx_io.predict, session, interface))


def _torch(model: Model) -> Predict:
    """Open the module itself, computed the way that was exported. It was trusted when the model was opened."""
    import torch

    from servefit.backends.libraries.torch_predictor import TorchPredictor, interface_of_converted
    from servefit.backends.model.torch_io import open_module

    if model.converted is None:
        raise CorruptModel(model.file, "it was opened by a servefit that did not know what goes into it")
    torch.set_num_threads(1)
    interface = interface_of_converted(model.converted)
    return TorchPredictor(open_module(model.file, model.format, plain=True), interface.to_facts()).predict


def _openvino(model: Model) -> Predict:
    from servefit.backends.libraries.openvino_network import OpenVinoNetwork, read_ir
    from servefit.backends.model import onnx_io
    from servefit.backends.model.onnx_interface import interface_of

    network = OpenVinoNetwork(read_ir(model.file))
    return partial(onnx_io.predict, network, interface_of(network)[0])


_BY_LIBRARY: dict[Library, Callable[[Model], Predict]] = {
    Library.XGBOOST: _xgboost,
    Library.LIGHTGBM: _lightgbm,
    Library.CATBOOST: _catboost,
    Library.SKLEARN: _sklearn,
    Library.ONNX: _onnx,
    Library.TORCH: _torch,
    Library.OPENVINO: _openvino,
}
