"""The time that a request took inside the server, as its answer says in a Server-Timing header [W3C Server Timing].

``queue;dur=0.012, predict;dur=0.345``: it waited 0.012 ms for the predictor, whose call took 0.345 ms. Other metrics
are left alone. Headers are kept as they are while a run goes on, one a line, and read after it.
"""

from __future__ import annotations

import re

import numpy as np

UNKNOWN_NS = -1
"""No duration is negative."""

_NS_PER_MS = 1_000_000
_MAX_REMEMBERED = 65_536
"""Of headers that were read, whose times repeat in their few digits: some ten megabytes."""

_USUAL = re.compile(rb" ?queue;dur=(\d{1,12}(?:\.\d{1,9})?), ?predict;dur=(\d{1,12}(?:\.\d{1,9})?)")
_DURATION = re.compile(r"\d{1,12}(?:\.\d{1,9})?")


def read_timings(lines: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the times that requests waited and were predicted, int64 ns of shape (n,), in ``lines``, each ending in a
    newline. UNKNOWN_NS stands for a time that a header lacks; None if no header has one."""
    remembered: dict[bytes, tuple[int, int]] = {}
    timings: list[tuple[int, int]] = []
    for line in lines.split(b"\n")[:-1]:
        times = remembered.get(line)
        if times is None:
            times = read_timing(line)
            if len(remembered) < _MAX_REMEMBERED:
                remembered[line] = times
        timings.append(times)
    queued_ns, predicted_ns = np.array(timings, dtype=np.int64).reshape(-1, 2).T
    if not len(predicted_ns) or predicted_ns.max() == UNKNOWN_NS:
        return None
    return queued_ns, predicted_ns


def read_timing(header: bytes) -> tuple[int, int]:
    """Return the time waited and the time of the call, in ns. UNKNOWN_NS for a call that is not there; who does not say
    how long a request waited did not let it wait."""
    if usual := _USUAL.fullmatch(header):
        return round(float(usual[1]) * _NS_PER_MS), round(float(usual[2]) * _NS_PER_MS)
    durations = dict(_metrics(header.decode("latin-1")))
    predicted_ns = durations.get("predict", UNKNOWN_NS)
    if predicted_ns == UNKNOWN_NS:
        return UNKNOWN_NS, UNKNOWN_NS
    return durations.get("queue", 0), predicted_ns


def _metrics(header: str) -> list[tuple[str, int]]:
    """Return names and durations of the metrics that have one."""
    metrics = []
    for metric in header.split(","):
        name, *parameters = (part.strip() for part in metric.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            value = value.strip().strip('"')
            if key.strip().lower() == "dur" and _DURATION.fullmatch(value):
                metrics.append((name, round(float(value) * _NS_PER_MS)))
    return metrics
