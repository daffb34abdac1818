"""Olive's search over its quantisation passes of ONNX Runtime, with its own metrics of accuracy and latency.

    python olive_search.py FOLDER MODEL.onnx LIMIT

FOLDER has calibration.npy, judged.npy and labels.npy, the labels of what is judged. Olive tries dynamic and static
quantisation, int8 and uint8, by tensor and by channel, and static as QDQ and as QOperator. It is told of a largest
degradation of the accuracy, and takes the lowest latency of what keeps that; where nothing does, the model stays as it
is. Writes olive.json into FOLDER.
"""

# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from olive.data.registry import Registry
from olive.workflows import run

ACCURACY, LATENCY = "accuracy-accuracy_score", "latency-p50"


class Rows:
    """What PyTorch's loader takes: a row by the name of the input, and its label."""

    def __init__(self, name: str, rows: np.ndarray, labels: np.ndarray) -> None:
        self._name, self._rows, self._labels = name, rows, labels

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, nth: int) -> tuple[dict[str, np.ndarray], int]:
        return {self._name: self._rows[nth]}, int(self._labels[nth])


@Registry.register_dataset()
def labelled_rows(name: str, rows: str, labels: str | None = None, **_: Any) -> Rows:
    found = np.load(rows)
    return Rows(name, found, np.zeros(len(found)) if labels is None else np.load(labels))


@Registry.register_post_process()
def largest_output(outputs: Any, **_: Any) -> Any:
    return outputs.argmax(dim=1)


def data(name: str, told: str, folder: Path, labels: str | None = None) -> dict[str, Any]:
    """Describe rows for the input called ``told``, one a call."""
    params = {
        "name": told,
        "rows": str(folder / f"{name}.npy"),
        "labels": None if labels is None else str(folder / labels),
    }
    return {
        "name": name,
        "load_dataset_config": {"type": "labelled_rows", "params": params},
        "post_process_data_config": {"type": "largest_output"},
        "dataloader_config": {"type": "default_dataloader", "params": {"batch_size": 1}},
    }


def workflow(folder: Path, model: str, limit: float) -> dict[str, Any]:
    """Return what Olive is asked for. What is not said of a pass is searched."""
    told = onnx.load(model).graph.input[0].name
    one_thread = {"onnx": {"session_options": {"intra_op_num_threads": 1, "inter_op_num_threads": 1}}}
    goal = {"type": "max-degradation", "value": limit}
    accuracy = {
        "name": "accuracy_score",
        "priority": 2,
        "goal": goal,
        "metric_config": {"task": "multiclass", "num_classes": 10},
    }
    latency = {"name": "p50", "priority": 1, "metric_config": {"warmup_num": 50, "repeat_test_num": 500}}
    user = {"inference_settings": one_thread}
    metrics = [
        {"name": "accuracy", "type": "accuracy", "sub_types": [accuracy], "data_config": "judged", "user_config": user},
        {"name": "latency", "type": "latency", "sub_types": [latency], "data_config": "judged", "user_config": user},
    ]
    fixed = {"quant_preprocess": True, "reduce_range": False}
    static = {**fixed, "calibrate_method": "MinMax", "data_config": "calibration"}
    return {
        "input_model": {"type": "ONNXModel", "model_path": model},
        "systems": {
            "local": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "data_configs": [
            data("calibration", told, folder),
            data("judged", told, folder, "labels.npy"),
        ],
        "evaluators": {"both": {"type": "OnnxEvaluator", "metrics": metrics}},
        "passes": {
            "quantisation": [
                {"type": "OnnxDynamicQuantization", "config": fixed},
                {"type": "OnnxStaticQuantization", "config": static},
            ]
        },
        "search_strategy": {"execution_order": "joint", "sampler": "sequential"},
        "evaluator": "both",
        "host": "local",
        "target": "local",
        "output_dir": str(folder / "olive"),
        "cache_dir": str(folder / "olive-cache"),
        "log_severity_level": 2,
    }


def main() -> None:
    folder, model, limit = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    best = run(workflow(folder, model, limit)).get_best_candidate()
    document = {"olive": version("olive-ai"), "file": model, "how": "as it is"}
    if best is not None:
        value = best.metrics_value
        figures = {"judged as": value[ACCURACY]["value"], "ms": value[LATENCY]["value"]}
        document |= {"file": str(best.model_path), "how": best.from_pass(), **figures}
    (folder / "olive.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main()
