"""A network that OpenVINO has opened, as ``tensor_predictor`` calls it, with refusals where OpenVINO has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from servefit.backends.libraries.openvino_indices import OUTPUT, unknown_index
from servefit.backends.libraries.openvino_library import imported_silently, reason_of
from servefit.errors import RowsRefused

_INT32 = np.iinfo(np.int32)

_WIDE = frozenset(map(np.dtype, ("int64", "uint64", "uint32")))
"""OpenVINO computes with whole numbers of 32 bits, and cuts off the others."""

COPIED_BYTES = 2**16
"""Inputs of so many are copied to where those of the call before were: telling OpenVINO of another place takes 7 us
(AMD EPYC). Chosen, not measured."""

_SIGNS_OF_THE_MACHINE = ("bad_alloc", "allocate", "memory")
"""OpenVINO's words where not the rows are to blame."""


class OpenVinoSession:
    """Calls ``compiled``, an openvino.CompiledModel, for ``backend``, and ``of_one_row``, the same network compiled for
    requests of one row alone, where there is one: its calls take less. ``table_rows`` are what ``watch_indices`` gave:
    how many rows the tables have that the network looks things up in; ``shapes_follow_inputs`` says that the shapes of
    inputs decide all others.
    """

    def __init__(
        self,
        compiled: Any,
        backend: str,
        table_rows: Sequence[int],
        *,
        shapes_follow_inputs: bool,
        of_one_row: Any | None = None,
    ) -> None:
        self._calls = _Calls(compiled, shapes_follow_inputs=shapes_follow_inputs)
        self._called: _Calls | _CallsOfOneShape = self._calls
        self._of_one_row = None if of_one_row is None else _CallsOfOneShape(of_one_row)
        self._table_rows = table_rows
        self._backend = backend
        self.truths = any(output.element_type.get_type_name() == "boolean" for output in compiled.outputs)

    def timed_layers(self) -> list[Any]:
        """Return OpenVINO's own times of the call before: of a network that was compiled so that it has some."""
        return list(self._called.request.profiling_info)

    def run(self, names: list[str], feeds: Mapping[str, np.ndarray], /) -> list[np.ndarray]:
        """Return the outputs called ``names``. Raises RowsRefused."""
        for name, values in feeds.items():
            if values.dtype in _WIDE and values.size and not _INT32.min <= values.min() <= values.max() <= _INT32.max:
                raise RowsRefused(self._backend, f"{name} has a whole number of more than 32 bits")
        calls: _Calls | _CallsOfOneShape = self._calls
        if self._of_one_row is not None and self._of_one_row.takes(feeds):
            calls = self._of_one_row
        self._called = calls
        try:
            calls.make(feeds)
        except RuntimeError as error:
            if any(sign in str(error) for sign in _SIGNS_OF_THE_MACHINE):
                raise
            raise RowsRefused(self._backend, reason_of(error)) from error
        if self._table_rows:
            unknown = unknown_index(calls.output(OUTPUT), self._table_rows)
            if unknown is not None:
                index, rows = unknown
                raise RowsRefused(self._backend, f"{index} is looked up in a table of {rows} rows")
        return [calls.output(name).copy() for name in names]


class _CallsOfOneShape:
    """Calls of a network that is compiled for inputs of one shape each: its inputs and outputs stay where they are."""

    def __init__(self, compiled: Any) -> None:
        self.request = compiled.create_infer_request()
        inputs = [self.request.get_input_tensor(place).data for place in range(len(compiled.inputs))]
        self._own = {name: inputs[place] for name, place in _places(compiled.inputs).items()}
        outputs = _places(compiled.outputs)
        self._outputs = {name: self.request.get_output_tensor(place).data for name, place in outputs.items()}

    def takes(self, feeds: Mapping[str, np.ndarray]) -> bool:
        """Return whether ``feeds`` are of these shapes, and of the network's datatypes."""
        for name, values in feeds.items():
            own = self._own[name]
            if values.shape != own.shape or values.dtype != own.dtype:
                return False
        return True

    def make(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Call the network. Raises RuntimeError, OpenVINO's own."""
        for name, values in feeds.items():
            np.copyto(self._own[name], values)
        self.request.infer()

    def output(self, name: str) -> np.ndarray:
        """Return the output called ``name`` of the call before, in memory that the next call uses again."""
        kept: np.ndarray = self._outputs[name]
        return kept


class _Calls:
    """Calls of a network of any shapes.

    Called by ``infer`` on one thread, OpenVINO 2026.4 does not tell of what goes wrong with a shape, and has the answer
    of the call before; handing a call to another thread and waiting for it costs 14 us (AMD EPYC). So ``infer`` is for
    shapes that went well before, where they alone tell whether a call does.
    """

    def __init__(self, compiled: Any, *, shapes_follow_inputs: bool) -> None:
        self._tensor = imported_silently("openvino").Tensor
        self.request = compiled.create_infer_request()
        self._inputs, self._outputs = _places(compiled.inputs), _places(compiled.outputs)
        self._shapes_follow_inputs = shapes_follow_inputs
        self._went_well: set[_Kinds] = set()
        self._own: tuple[_Kinds, Sequence[np.ndarray]] = ((), ())

    def make(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Call the network. Raises RuntimeError, OpenVINO's own."""
        kinds = tuple((values.shape, values.dtype) for values in feeds.values())
        self._feed(feeds, kinds)
        if kinds in self._went_well:
            self.request.infer()
            return
        self.request.start_async()
        self.request.wait()
        if self._shapes_follow_inputs:
            self._went_well.add(kinds)

    def output(self, name: str) -> np.ndarray:
        """Return the output called ``name`` of the call before."""
        values: np.ndarray = self.request.get_output_tensor(self._outputs[name]).data
        return values

    def _feed(self, feeds: Mapping[str, np.ndarray], kinds: _Kinds) -> None:
        """Give the request its inputs, from memory of its own where there is little to copy."""
        previous, own = self._own
        if kinds != previous:
            few = sum(values.nbytes for values in feeds.values()) <= COPIED_BYTES
            own = [np.empty_like(values, order="C") for values in feeds.values()] if few else ()
            self._own = ((), ())  # if OpenVINO refuses an input, the request holds a mixture
            for name, values in zip(feeds, own or feeds.values(), strict=True):
                # OpenVINO does not share read-only memory.
                tensor = self._tensor(values, shared_memory=values.flags.writeable)
                self.request.set_input_tensor(self._inputs[name], tensor)
            self._own = (kinds, own) if few else ((), ())
        for place, values in zip(own, feeds.values(), strict=False):  # empty if there is much to copy
            np.copyto(place, values)


_Kinds = tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
"""The shape and the datatype of each input of a call."""


def _places(ports: Any) -> dict[str, int]:
    return {name: place for place, port in enumerate(ports) for name in port.names}
