"""What NNCF's own accuracy control makes of a network for OpenVINO: ``quantize_with_accuracy_control``, which takes
operators back to float until a drop of accuracy is kept on the rows that it validates on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.libraries.openvino_library import imported_silently


def with_accuracy_control(
    model: Path, calibration: np.ndarray, judged: np.ndarray, labels: np.ndarray, limit: float, path: Path
) -> None:
    """Quantise the ONNX file, and write IR to ``path``. Runs in a child process."""
    nncf, openvino = imported_silently("nncf"), imported_silently("openvino")

    def accuracy(compiled: Any, rows: Iterable[Any]) -> tuple[float, list[float]]:
        right = [float(compiled(row)[0].argmax() == label) for row, label in rows]
        return sum(right) / len(right), right

    items = [(row[np.newaxis], label) for row, label in zip(judged, labels, strict=True)]
    quantised = nncf.quantize_with_accuracy_control(
        openvino.Core().read_model(model),
        calibration_dataset=nncf.Dataset([row[np.newaxis] for row in calibration]),
        validation_dataset=nncf.Dataset(items),
        validation_fn=accuracy,
        max_drop=limit,
        drop_type=nncf.DropType.ABSOLUTE,
        subset_size=len(calibration),
    )
    openvino.save_model(quantised, path, compress_to_fp16=False)
