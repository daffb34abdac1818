"""The ranges of whole numbers that a model answers with numbers, of those that its graph admits, found out by trials.

A model may refuse a number although its graph does not tell that it is wrong, turn every prediction into NaN from some
number on, or take one for the length of a loop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Timer
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.onnx_io import OnnxInterface, Session, predict, refusals
from servefit.backends.model.types import Input, row_datatype
from servefit.backends.payload.rows import whole_numbers

if TYPE_CHECKING:
    from servefit.backends.inspection.onnx_ranges import Range

_MAX_CALL_S, _MAX_TRIALS_S = 1.0, 6.0
_TIMES_PLAIN = 3
"""The limits of a call, and of all together: so many seconds, or so many times as long as a call of zeros and ones.
Inputs that are not tried by then are drawn as 0 and 1."""

_ANY_ROWS = 2
"""So many rows of any numbers are tried, beside one of the lowest and one of the highest."""


def with_ranges(session: Session, interface: OnnxInterface, ranges: Sequence[Range | None]) -> tuple[Input, ...]:
    """Return the inputs of ``interface``, each with the largest part of its range that the model answers wherever it
    answers zeros and ones. The range None stands for an input of any number."""
    widest = [limits or (0, 0) for limits in ranges]
    steps = [list(_steps(*limits)) for limits in widest]

    def inputs(limits: Sequence[Range]) -> tuple[Input, ...]:
        return tuple(
            model_input if whole_range is None else replace(model_input, lowest=lowest, highest=highest)
            for model_input, whole_range, (lowest, highest) in zip(interface.inputs, ranges, limits, strict=True)
        )

    least = [nested[-1] for nested in steps]
    trials = _RangeTrials(session, interface, inputs(least))
    if trials.answers(inputs(widest)):
        return inputs(widest)
    chosen = list(least)
    for nth, nested in enumerate(steps):
        alone = [[*least[:nth], limits, *least[nth + 1 :]] for limits in nested[:-1]]
        chosen[nth] = next((limits[nth] for limits in alone if trials.answers(inputs(limits))), least[nth])
    return inputs(chosen) if trials.answers(inputs(chosen)) else inputs(least)


def _steps(lowest: int, highest: int) -> Iterator[Range]:
    """Yield ever smaller ranges, down to 0 and 1."""
    if not lowest <= 0 <= highest:
        yield lowest, highest
        return
    if lowest < 0:
        yield lowest, highest
    yield 0, highest
    for bits in range(highest.bit_length() - 1, 0, -1):
        yield 0, 2**bits - 1


class _RangeTrials:
    """Calls a model with rows of ever other ranges, for a limited time."""

    def __init__(self, session: Session, interface: OnnxInterface, least: Sequence[Input]) -> None:
        self._session = _Session(session)
        self._interface = interface
        began = time.monotonic()
        self._answered = self._numbers(least)
        ended = time.monotonic()
        self._session.limit_s = max(_MAX_CALL_S, _TIMES_PLAIN * (ended - began))
        self._end_s = ended + max(_MAX_TRIALS_S, _TIMES_PLAIN * (ended - began))

    def answers(self, inputs: Sequence[Input]) -> bool:
        """Return whether rows within the ranges of ``inputs`` get a finite number wherever rows within the least ranges
        do."""
        if self._answered is None or time.monotonic() > self._end_s:
            return False
        answered = self._numbers(inputs)
        return answered is not None and bool((answered | ~self._answered).all())

    def _numbers(self, inputs: Sequence[Input]) -> np.ndarray | None:
        """Return a mask of the rows that get a number: one of the lowest, one of the highest, and rows of any; None
        where the model refuses to answer."""
        generator = np.random.default_rng(0)
        rows = generator.standard_normal((2 + _ANY_ROWS, self._interface.features)).astype(row_datatype(inputs))
        rows[:, : len(self._interface.sizes)] = [size.usual for size in self._interface.sizes]
        for model_input in inputs:
            if model_input.lowest is not None and model_input.highest is not None:
                columns = rows[:, model_input.start : model_input.stop]
                columns[0], columns[1] = model_input.lowest, model_input.highest
                columns[2:] = whole_numbers(generator, model_input, (_ANY_ROWS, model_input.stop - model_input.start))
        try:
            predictions = predict(self._session, self._interface, rows)
        except refusals():
            return None
        finite: np.ndarray = np.isfinite(predictions.reshape(len(rows), -1)).any(axis=1)
        return finite


class _Session:
    """A session whose calls are ended when they have taken ``limit_s``, if ONNX Runtime makes them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.limit_s: float | None = None

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[Any]:
        import onnxruntime

        if self.limit_s is None or not isinstance(self._session, onnxruntime.InferenceSession):
            return list(self._session.run(names, feeds))
        options = onnxruntime.RunOptions()
        timer = Timer(self.limit_s, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            return list(self._session.run(names, feeds, options))
        finally:
            timer.cancel()
