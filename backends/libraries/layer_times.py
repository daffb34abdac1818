"""The time of each layer of a network in a call, by the clocks of ONNX Runtime and OpenVINO. Layers are those
of the network as the runtime has rewritten it: one may be several of the model's.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

_KERNEL = "_kernel_time"
"""The end of the names that ONNX Runtime gives to the times of operators."""

_MAX_EVENTS = 300_000
"""Of a profile, each with some hundred bytes of JSON. ONNX Runtime leaves out what comes after a million. Chosen."""

WARM_UP_CALLS = 5
"""Memory is allocated, and threads are started, in the first. Chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """A layer of a network, with the mean of what it takes in a call, in microseconds. ``operator`` is the runtime's
    own name of what it computes."""

    name: str
    operator: str
    mean_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """The layers in the order in which they are called, and the mean of a whole call, which was timed beside them, in
    microseconds: what is around the layers, and what timing them costs, is part of it. ``calls`` were made."""

    layers: tuple[LayerTime, ...]
    call_us: float
    calls: int


def calls_for(
    predict: Callable[[np.ndarray], Any], requests: list[np.ndarray], duration_s: float, most: float = inf
) -> tuple[int, float]:
    """Call ``predict`` with one of ``requests`` after the other for so long, though not more often than ``most``, and
    return the number of calls and the mean of their time, in microseconds."""
    begin_ns, calls = time.perf_counter_ns(), 0
    while calls == 0 or (calls < most and time.perf_counter_ns() - begin_ns < duration_s * 1e9):
        predict(requests[calls % len(requests)])
        calls += 1
    return calls, (time.perf_counter_ns() - begin_ns) / calls / 1000


def onnx_layer_times(
    opened: Callable[[], tuple[onnxruntime.InferenceSession, Callable[[np.ndarray], Any]]],
    requests: list[np.ndarray],
    duration_s: float,
) -> LayerTimes:
    """Return the times of layers. ``opened`` gives a session that writes a profile, and what predicts by it."""
    session, predict = opened()
    predict(requests[0])
    most = _MAX_EVENTS // len(_events_of(session))
    session, predict = opened()
    for nth in range(WARM_UP_CALLS):
        predict(requests[nth % len(requests)])
    calls, call_us = calls_for(predict, requests, duration_s, most - WARM_UP_CALLS)
    events = _events_of(session)
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            layer = event["name"].removesuffix(_KERNEL), event["args"]["op_name"]
            spent[layer].append(event["dur"])
    # Layers of a loop are called several times in a call.
    warm = {layer: times[len(times) * WARM_UP_CALLS // (calls + WARM_UP_CALLS) :] for layer, times in spent.items()}
    layers = tuple(
        LayerTime(name=name, operator=operator, mean_us=sum(times) / calls) for (name, operator), times in warm.items()
    )
    return LayerTimes(layers=layers, call_us=call_us, calls=calls)


def _events_of(session: onnxruntime.InferenceSession) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_bytes())
    return events


_NO_LAYERS = ("Parameter", "Result", "Constant")
"""Nodes of OpenVINO that compute nothing. Its status of a layer that takes less than its clock's tick is NOT_RUN."""


def openvino_layer_times(
    timed: Callable[[], list[Any]],
    predict: Callable[[np.ndarray], Any],
    requests: list[np.ndarray],
    duration_s: float,
) -> LayerTimes:
    """Return the times of the layers that ``timed`` gives after each call of ``predict``: OpenVINO's profiling_info."""
    spent: dict[tuple[str, str], float] = defaultdict(float)

    def noted(request: np.ndarray) -> None:
        predict(request)
        for layer in timed():
            if layer.node_type not in _NO_LAYERS:
                spent[layer.node_name, layer.exec_type] += layer.real_time.total_seconds() * 1e6

    for nth in range(WARM_UP_CALLS):
        predict(requests[nth % len(requests)])
    _, call_us = calls_for(predict, requests, duration_s / 2)
    calls, _ = calls_for(noted, requests, duration_s / 2)
    layers = tuple(
        LayerTime(name=name, operator=operator, mean_us=total_us / calls)
        for (name, operator), total_us in spent.items()
    )
    return LayerTimes(layers=layers, call_us=call_us, calls=calls)
