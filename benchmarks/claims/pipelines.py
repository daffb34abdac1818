"""How much faster servefit answers for a pipeline of scikit-learn than scikit-learn itself, and than the best that is
made by hand.

    python -m benchmarks.claims.pipelines [--rounds 15]

Twenty-five pipelines (``benchmarks.pipelines.usual``) are fitted to a table of customers, and answer 1, 64 and 1,024
rows of it: by servefit's own steps, by scikit-learn from a data frame, and by ONNX Runtime from what skl2onnx makes,
where it converts the pipeline. One thread each, in turns in one process; of each round the ratio of the times of a
call. Prints one JSON object: medians of the ratios with the interval that holds the median in 95 of 100, what stays in
scikit-learn, the time of the first compilation, and how many of 2,000 hard rows are predicted otherwise. The aims: 22
accelerated; with texts or categories 100, 30 and 10 times scikit-learn's speed by the number of rows, with numbers
alone 40, 15 and 5; compiled in 10 s; no wrong row."""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pipelines.calls import in_turns, one_thread, seconds
from benchmarks.pipelines.customers import CATEGORIES, TEXT, Customers, customers
from benchmarks.pipelines.usual import usual_pipelines
from benchmarks.synthetic import machine
from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Model
from servefit.backends.model.sklearn_frames import frame_of
from servefit.backends.model.sklearn_io import predict, set_jobs
from servefit.backends.payload.reading import payload_for
from servefit.backends.payload.rows import parity_rows
from servefit.backends.types import Settings
from servefit.profiler.machine.host import describe_host

SIZES = (1, 64, 1024)
AIMS = {"texts": (100, 30, 10), "numbers": (40, 15, 5)}
ACCELERATED, APART, COMPILED_S = 22, 1e-5, 10


def told(ratios: np.ndarray) -> dict[str, Any]:
    """Return the median of ``ratios`` and the interval of order statistics that holds it in 95 of 100."""
    ordered = np.sort(ratios)
    # The binomial distribution of how many lie below the median, as a normal one
    below = max(0, int((len(ordered) - 1.96 * np.sqrt(len(ordered))) / 2))
    return {
        "times": round(float(np.median(ordered)), 1),
        "95 %": [round(float(ordered[below]), 1), round(float(ordered[-1 - below]), 1)],
    }


def by_hand(pipeline: Any, table: Any) -> Callable[[Any], Callable[[], Any]] | None:
    """Return what gives for a table a call of ONNX Runtime; None where skl2onnx does not convert the pipeline."""
    import onnxruntime
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    kinds = {"i": Int64TensorType, "f": FloatTensorType}
    inputs = [(name, kinds.get(table[name].dtype.kind, StringTensorType)([None, 1])) for name in table.columns]
    try:
        content = skl2onnx.convert_sklearn(pipeline, initial_types=inputs).SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - of many kinds, from two libraries: it is not converted
        print(f"skl2onnx: {type(error).__name__}", file=sys.stderr, flush=True)
        return None
    taken = {entry.name for entry in session.get_inputs()}

    def call_of(rows: Any) -> Callable[[], Any]:
        tensors = {}
        for name in table.columns:
            values = rows[name].to_numpy()
            if values.dtype.kind == "O":
                values = np.array(["" if value is None else value for value in values], dtype=object)
            tensors[name] = values.astype(np.float32 if values.dtype.kind == "f" else values.dtype)[:, np.newaxis]
        tensors = {name: values for name, values in tensors.items() if name in taken}
        return lambda: session.run(None, tensors)

    return call_of


def result_of(pipeline: Any, data: Customers, folder: Path, rounds: int) -> dict[str, Any]:
    """Return how one pipeline is answered by all."""
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps(pipeline))
    model = Model.load(path, trust_pickle=True)
    backend = "forest" if model.ends_in_trees else "pipeline"
    begin = time.perf_counter()
    artifact = compile_model(model, backend).artifact
    compiled_s = time.perf_counter() - begin
    predictor = load_predictor(artifact, Settings(threads=1))
    set_jobs(pipeline, 1)
    columns = list(model.signature.feature_names)
    table = data.table[columns]
    rows = payload_for(model, table).rows
    hard = parity_rows(model, count=2000, seed=7)
    task, frame = model.signature.task, frame_of(pipeline)
    expected = predict(pipeline, task, hard, frame)
    off = np.abs(predictor.predict(model.signature.as_rows(hard)) - expected) > APART * np.maximum(1, np.abs(expected))
    hand = by_hand(pipeline, table)
    result: dict[str, Any] = {
        "backend": backend,
        "in library": list(artifact.facts["in_library"]),
        "compiled in s": round(compiled_s, 1),
        "wrong of 2,000": int(off.reshape(len(hard), -1).any(axis=1).sum()),
        "texts": TEXT in columns or any(name in columns for name in CATEGORIES),
    }
    for size in SIZES:
        some, part = rows[:size], table.iloc[:size]
        own = lambda some=some: predictor.predict(some)  # noqa: E731
        library = lambda part=part: predict(pipeline, task, part)  # noqa: E731
        result[f"{size} rows"] = {
            "us": round(seconds(own) * 1e6, 1),
            "scikit-learn": told(in_turns(own, library, rounds)),
            "ONNX Runtime": None if hand is None else told(in_turns(own, hand(part), rounds)),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    data = customers()
    results: dict[str, Any] = {}
    with one_thread():
        for name, pipeline in usual_pipelines(data):
            with tempfile.TemporaryDirectory() as folder:
                results[name] = result_of(pipeline, data, Path(folder), asked.rounds)
    accelerated = [
        result
        for result in results.values()
        if all(result[f"{size} rows"]["scikit-learn"]["95 %"][0] > 1 for size in SIZES)
        and result["1 rows"]["scikit-learn"]["times"] >= 3
    ]
    document = {
        "machine": machine(describe_host()),
        "pipelines": results,
        "accelerated": len(accelerated),
        "slowest compilation in s": max(result["compiled in s"] for result in results.values()),
        "wrong rows": sum(result["wrong of 2,000"] for result in results.values()),
        "reach the aims": sum(map(_reaches, results.values())),
    }
    print(json.dumps(document, indent=1))


def _reaches(result: dict[str, Any]) -> bool:
    aims = AIMS["texts" if result["texts"] else "numbers"]
    return all(result[f"{size} rows"]["scikit-learn"]["times"] >= aim for size, aim in zip(SIZES, aims, strict=True))


if __name__ == "__main__":
    main()
