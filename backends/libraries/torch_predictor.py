"""A module of PyTorch as a predictor: for the backend that serves it, and for the reference it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.libraries.tensor_predictor import TensorPredictor
from servefit.backends.types import Settings, Target
from servefit.errors import RowsRefused

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.model.onnx_io import OnnxInterface
    from servefit.backends.model.torch_io import TorchModule

_SIGNS_OF_THE_MACHINE = ("can't allocate memory", "CUDA", "not enough memory")
"""PyTorch's words where not the rows are to blame."""


def interface_of_converted(file: Path) -> OnnxInterface:
    """Return how a module is called whose ONNX file is ``file``: in the same way."""
    from servefit.backends.libraries.onnx_session import open_session
    from servefit.backends.model.onnx_interface import interface_of

    interface, _ = interface_of(open_session(file, Target.CPU, Settings(threads=1), optimised=False))
    return interface


class TorchPredictor(TensorPredictor):
    """Calls a module as its interface says."""

    def __init__(self, module: TorchModule, interface: Mapping[str, Any]) -> None:
        # Of boolean outputs the common way makes numbers.
        super().__init__(module, interface, truths=True)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        try:
            return self._predict_rows(rows)
        except (RuntimeError, IndexError, ValueError, AssertionError) as error:
            if any(sign in str(error) for sign in _SIGNS_OF_THE_MACHINE):
                raise
            from servefit.backends.model.torch_io import reason_of

            raise RowsRefused("torch", reason_of(error)) from error
