"""A loop that times a library's own call, as somebody without servefit would write it. It imports nothing of servefit.

    python benchmarks/hand_written_loop.py CALL MODEL ROWS.npy BATCH CPU

CALL is "xgboost" (the C function XGBoosterPredictFromDense, called with ctypes), "inplace_predict" (the same behind
xgboost's Python method) or "onnxruntime" (InferenceSession.run); MODEL is a file that the library opens. Batches rotate
through the rows. For every line that it reads it times calls for 0.15 s and prints their median in nanoseconds.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

WARM_UP_S = 0.4
TIMED_S = 0.15


def xgboost_call(model: str, features: int, *, through_c: bool) -> Callable[[Any], Any]:
    import numpy as np
    import xgboost

    booster = xgboost.Booster({"nthread": 1}, model_file=model)
    if not through_c:
        return lambda rows: booster.inplace_predict(rows, missing=np.nan)
    library = xgboost.core._LIB
    options = json.dumps(
        {
            "type": 0,
            "training": False,
            "iteration_begin": 0,
            "iteration_end": 0,
            "strict_shape": False,
            "missing": float("nan"),
            "cache_id": 0,
        }
    ).encode()
    shape = ctypes.POINTER(ctypes.c_uint64)()
    dimensions = ctypes.c_uint64()
    values = ctypes.POINTER(ctypes.c_float)()

    def predict(rows: Any) -> Any:
        array = b'{"data": [%d, true], "shape": [%d, %d], "typestr": "<f4", "version": 3, "strides": null}' % (
            rows.ctypes.data,
            len(rows),
            features,
        )
        failed = library.XGBoosterPredictFromDense(
            booster.handle, array, options, None, ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(values)
        )
        if failed:
            raise RuntimeError(library.XGBGetLastError())
        return np.frombuffer(ctypes.string_at(values, 4 * len(rows)), dtype=np.float32)

    return predict


def onnxruntime_call(model: str) -> Callable[[Any], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name, outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    return lambda rows: session.run(outputs, {name: rows})[0]


def main() -> None:
    call, model, rows_file, batch, cpu = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    import numpy as np

    rows = np.load(rows_file)
    size = int(batch)
    batches = [rows[begin : begin + size] for begin in range(0, len(rows) - size + 1, size)]
    if call == "onnxruntime":
        predict = onnxruntime_call(model)
    else:
        predict = xgboost_call(model, rows.shape[1], through_c=call == "xgboost")

    gc.disable()
    nth = 0
    end = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < end:
        predict(batches[nth % len(batches)])
        nth += 1
    for _ in sys.stdin:
        times = []
        end = time.perf_counter() + TIMED_S
        while time.perf_counter() < end:
            part = batches[nth % len(batches)]
            nth += 1
            before = time.perf_counter_ns()
            predict(part)
            after = time.perf_counter_ns()
            times.append(after - before)
        times.sort()
        print(times[len(times) // 2], flush=True)


if __name__ == "__main__":
    main()
