"""Opens a network as its library does, times calls of one row, and predicts. It imports nothing of servefit.

    python benchmarks/precision/timed_artifact.py RUNTIME FILE ROWS.npy CPU [PREDICTIONS.npy]

RUNTIME is "onnxruntime", or "openvino" with properties in JSON after a colon, such as openvino:{"NUM_STREAMS": 1}; both
run on one thread. With PREDICTIONS it predicts all rows, one at a time, and writes that. Else, for every line that it
reads, it times calls for 0.25 s, rotating through the rows, and prints their median in nanoseconds.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

WARM_UP_S = 0.5
TIMED_S = 0.25

Call = Callable[[Any], Any]


def by_onnxruntime(file: str) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name, outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    return lambda row: session.run(outputs, {name: row})[0]


def by_openvino(file: str, properties: dict[str, Any]) -> Call:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # it sends
    openvino = import_module("openvino")
    core = openvino.Core()
    one_thread = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(file), "CPU", {**one_thread, **properties})
    request = compiled.create_infer_request()

    def call(row: Any) -> Any:
        request.infer({0: row}, share_inputs=True)
        return request.get_output_tensor(0).data.copy()

    return call


def main() -> None:
    runtime, file, rows_file, cpu, *predictions = sys.argv[1:]
    os.sched_setaffinity(0, {int(cpu)})
    import numpy as np

    rows = np.load(rows_file)
    library, _, properties = runtime.partition(":")
    call = by_onnxruntime(file) if library == "onnxruntime" else by_openvino(file, json.loads(properties or "{}"))
    if predictions:
        np.save(predictions[0], np.concatenate([call(rows[nth : nth + 1]) for nth in range(len(rows))]))
        return
    requests = [rows[nth : nth + 1].copy() for nth in range(len(rows))]
    gc.disable()
    nth = 0
    end = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < end:
        call(requests[nth % len(requests)])
        nth += 1
    for _ in sys.stdin:
        times = []
        end = time.perf_counter() + TIMED_S
        while time.perf_counter() < end:
            row = requests[nth % len(requests)]
            nth += 1
            before = time.perf_counter_ns()
            call(row)
            after = time.perf_counter_ns()
            times.append(after - before)
        times.sort()
        print(times[len(times) // 2], flush=True)


if __name__ == "__main__":
    main()
