"""From a module of PyTorch to an ONNX file, by PyTorch's own exporters: that of programs, and for TorchScript the older
one, which follows an example through the module.

What an example was like may stay in what is exported, such as its number of rows. So the file is called with others,
and held against the module. Whether it predicts the same of all that is served is for ``checking`` to say.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.onnx_session import open_session
from servefit.backends.model.onnx_file import read_graph
from servefit.backends.model.torch_io import TorchModule, named_tensors, reason_of
from servefit.backends.types import Settings, Target
from servefit.errors import BackendUnavailable, UnsupportedModel

if TYPE_CHECKING:
    import onnx

    from servefit.backends.model.input_shapes import InputShape

ROWS_FIXED = "PyTorch's export of it holds for one row a call alone: requests are not joined into one call"

_EXAMPLE_ROWS, _OTHER_ROWS = 2, (1, 3)
_SIZES = (24, 48, 96, 224, 40, 16, 64, 128, 256, 512, 8, 4)
"""Sizes to try where they are free: of short texts, of images, of windows of sound."""

_TOLERANCE = 1e-3
"""Of the largest value. What does not hold differs by much, and the check of artifacts is ten times as strict."""

_MAX_BYTES = 2**31 - 2**20
_REMEDY = 'export it where it was made, and name the ONNX file: torch.onnx.export(module, (example,), "model.onnx")'


def export(module: TorchModule, target: Path) -> tuple[str, ...]:
    """Write ``module`` to ``target``; return warnings. Raises UnsupportedModel with PyTorch's reason where it exports
    none, or the file holds for the example alone; BackendUnavailable where onnxscript is missing."""
    example = _example(module)
    _write(module, example, target)
    if _holds(module, target, example, rows=_OTHER_ROWS):
        return () if _holds_for_sizes(module, target, example) else _refuse_sizes(module)
    fixed = replace(module, shapes={name: _of_one_row(shape) for name, shape in module.shapes.items()})
    if _is_program(module) or fixed == module:
        raise UnsupportedModel("its ONNX export does not predict what PyTorch does", remedy=_REMEDY)
    _write(fixed, example, target)
    if not _holds(fixed, target, example, rows=(1,)):
        raise UnsupportedModel("its ONNX export does not predict what PyTorch does", remedy=_REMEDY)
    return (ROWS_FIXED,) if _holds_for_sizes(fixed, target, example) else _refuse_sizes(module)


def _refuse_sizes(module: TorchModule) -> tuple[str, ...]:
    names = sorted({size for shape in module.shapes.values() for size in shape.sizes[1:] if isinstance(size, str)})
    raise UnsupportedModel(
        f"its ONNX export holds for the size of its example alone, and {', '.join(names)} is free",
        remedy="say a number for that size, or " + _REMEDY,
    )


def _is_program(module: TorchModule) -> bool:
    import torch

    return isinstance(module.source, torch.export.ExportedProgram)


def _of_one_row(shape: InputShape) -> InputShape:
    return replace(shape, sizes=(1, *shape.sizes[1:])) if shape.sizes else shape


def _names(module: TorchModule) -> list[str]:
    """Return the names of the free sizes, without that of the number of rows."""
    free = dict.fromkeys(size for shape in module.shapes.values() for size in shape.sizes if isinstance(size, str))
    rows = {shape.sizes[0] for shape in module.shapes.values() if shape.sizes}
    return [name for name in free if name not in rows]


def _drawn(module: TorchModule, sizes: Mapping[str, int], rows: int = _EXAMPLE_ROWS) -> dict[str, np.ndarray]:
    """Return an array for each input, of numbers between 0 and 1 that every vocabulary has."""
    generator = np.random.default_rng(0)
    arrays = {}
    for name, shape in module.shapes.items():
        if name in module.said.constants:
            free = {size: sizes.get(size, rows) for size in shape.sizes if isinstance(size, str)}
            arrays[name] = module.filled(name, free)
            continue
        if not shape.sizes:
            raise UnsupportedModel(
                f"its input {name!r} has no dimension for rows",
                remedy=f"if it is the same in all requests, say so: --input {name}=NUMBER",
            )
        whole = [size if isinstance(size, int) else sizes.get(size, rows) for size in shape.sizes]
        values = generator.random(whole)
        arrays[name] = (values if shape.datatype.startswith("float") else values < 0.7).astype(shape.datatype)
    return arrays


def _example(module: TorchModule) -> dict[str, int]:
    """Return sizes that the module takes. Raises UnsupportedModel, with the module's reason, if there are none."""
    names, reason = _names(module), ""
    for size in _SIZES if names else _SIZES[:1]:
        try:
            for rows in (_EXAMPLE_ROWS, *_OTHER_ROWS):
                _called(module, _drawn(module, dict.fromkeys(names, size), rows))
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
            reason = reason or reason_of(error)
            continue
        return dict.fromkeys(names, size)
    inputs = ", ".join(f"{name}={shape}" for name, shape in module.shapes.items())
    raise UnsupportedModel(
        f"it does not take {inputs} for any number of rows: {reason}",
        remedy=_REMEDY
        if _is_program(module)
        else "say what it takes: --input NAME=DATATYPE[SIZES], or a payload with that",
    )


def _called(module: TorchModule, feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
    import torch

    with torch.inference_mode():
        return named_tensors(module.call(*(torch.from_numpy(feeds[name]) for name in module.shapes)))


def _write(module: TorchModule, sizes: Mapping[str, int], target: Path) -> None:
    feeds = _drawn(module, sizes)
    outputs = list(_called(module, feeds))
    if not outputs:
        raise UnsupportedModel("it gives no tensors", remedy="wrap it in a module that gives tensors")
    with _quiet():
        try:
            proto = _exported(module, feeds, outputs, target)
        except ImportError as error:
            raise BackendUnavailable("torch", str(error), remedy="pip install 'servefit[torch]'") from error
        except Exception as error:  # its exporters raise whatever their parts do
            raise UnsupportedModel(f"torch does not export it to ONNX: {reason_of(error)}", remedy=_REMEDY) from error
    if len(proto.graph.input) != len(module.shapes) or len(proto.graph.output) != len(outputs):
        raise UnsupportedModel("its ONNX export has other inputs and outputs than it has", remedy=_REMEDY)
    _name(proto, module, outputs)
    if proto.ByteSize() > _MAX_BYTES:
        raise UnsupportedModel("it has weights of more than 2 GiB, and an ONNX file holds no more")
    target.write_bytes(proto.SerializeToString(deterministic=True))


def _exported(
    module: TorchModule, feeds: Mapping[str, np.ndarray], outputs: Sequence[str], target: Path
) -> onnx.ModelProto:
    """Return the ONNX model; ``target`` is where the older exporter leaves it."""
    import torch

    tensors = tuple(torch.from_numpy(feeds[name]) for name in module.shapes)
    if _is_program(module):
        exported: onnx.ModelProto = torch.onnx.export(module.source, dynamo=True, verbose=False).model_proto
        return exported
    free = {
        name: {axis: size for axis, size in enumerate(shape.sizes) if isinstance(size, str)}
        for name, shape in module.shapes.items()
    }
    if isinstance(module.source, torch.jit.ScriptModule):
        options = {"input_names": list(module.shapes), "output_names": list(outputs), "dynamic_axes": free}
        torch.onnx.export(_flat(module, tensors), tensors, target, dynamo=False, verbose=False, **options)
        return read_graph(target)
    dynamic = tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in free.values())
    program = torch.onnx.export(module.source, tensors, dynamic_shapes=(dynamic,), dynamo=True, verbose=False)
    encoder: onnx.ModelProto = program.model_proto
    return encoder


def _flat(module: TorchModule, tensors: Sequence[Any]) -> Any:
    """Return ``module`` with its outputs as a tuple, and without the inputs that it is not given: the older exporter
    knows neither mappings nor what stands for an input that is left out."""
    import torch

    class Flat(torch.nn.Module):  # type: ignore[misc] # it is not read: see pyproject.toml
        def __init__(self) -> None:
            super().__init__()
            self.module = module.source

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(named_tensors(self.module(*tensors)).values())

    return torch.jit.trace(Flat().eval(), tuple(tensors), check_trace=False)


def _name(proto: onnx.ModelProto, module: TorchModule, outputs: Sequence[str]) -> None:
    """Give inputs, outputs and sizes the names that the module has for them; take out what depends on the machine."""
    renamed = {**_renamed(proto.graph.input, list(module.shapes)), **_renamed(proto.graph.output, outputs)}
    for node in proto.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value, shape in zip(proto.graph.input, module.shapes.values(), strict=True):
        for size, dimension in zip(shape.sizes, value.type.tensor_type.shape.dim, strict=True):
            if isinstance(size, str) and not dimension.HasField("dim_value"):
                dimension.dim_param = size
    for value in proto.graph.output:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_param"):
                dimension.ClearField("dim_param")  # its name is of the exporter
    del proto.graph.value_info[:]
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]


def _renamed(values: Sequence[onnx.ValueInfoProto], names: Sequence[str]) -> dict[str, str]:
    new_names = {value.name: name for value, name in zip(values, names, strict=True)}
    for value in values:
        value.name = new_names[value.name]
    return new_names


def _holds_for_sizes(module: TorchModule, file: Path, example: Mapping[str, int]) -> bool:
    """Return whether the file predicts what the module does at some other sizes that this takes."""
    names = _names(module)
    others = [size for size in _SIZES if size not in example.values()][:3] if names else []
    return all(_holds(module, file, dict.fromkeys(names, size), rows=(_EXAMPLE_ROWS,)) for size in others)


def _holds(module: TorchModule, file: Path, sizes: Mapping[str, int], rows: Sequence[int]) -> bool:
    """Return whether the file predicts what the module does of calls of so many ``rows``, those that it takes."""
    from servefit.backends.model.onnx_io import refusals

    session = open_session(file, Target.CPU, Settings(threads=1), optimised=False)
    for count in rows:
        feeds = _drawn(module, sizes, count)
        try:
            expected = _called(module, feeds)
        except (RuntimeError, ValueError, IndexError, AssertionError):
            continue  # it takes none of these
        try:
            got = session.run(list(expected), feeds)
        except refusals():
            return False
        if not all(_close(one.numpy(), other) for one, other in zip(expected.values(), got, strict=True)):
            return False
    return True


def _close(expected: np.ndarray, got: np.ndarray) -> bool:
    if expected.shape != got.shape:
        return False
    finite = np.isfinite(expected)
    if (finite != np.isfinite(got)).any():
        return False
    scale = np.abs(expected[finite], dtype=np.float64).max(initial=0)
    difference = np.abs(expected[finite].astype(np.float64) - got[finite].astype(np.float64))
    return bool((difference <= _TOLERANCE * scale).all())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters print and warn of from the tail of what a failed child said last."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
