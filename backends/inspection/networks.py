"""The inspection of networks whose graph only their runtime reads: ONNX Runtime's own format and OpenVINO's. Runs in
the inspection's child process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from servefit.backends.inspection.batches import with_batch_dependence
from servefit.backends.inspection.onnx import open_plainly, signature_of
from servefit.backends.inspection.onnx_trying import with_ranges
from servefit.backends.model.inspection_record import Inspection
from servefit.backends.model.onnx_interface import interface_of
from servefit.backends.model.onnx_io import predict
from servefit.backends.model.types import Format
from servefit.errors import BackendError, UnsupportedModel


def inspect_ort(path: Path) -> Inspection:
    """Inspect a model in ONNX Runtime's own format. Raises CorruptModel and UnsupportedModel."""
    # The names of operators stand in the file as they are.
    missing = b"TreeEnsemble" in path.read_bytes()
    return _inspect(open_plainly(path), path, Format.ONNX_ORT, accepts_missing=missing, highest=_MAX_INDEX)


def inspect_ir(path: Path) -> Inspection:
    """Inspect a model of OpenVINO. Raises CorruptModel and UnsupportedModel."""
    from servefit.backends.libraries.openvino_network import OpenVinoNetwork, read_ir

    try:
        network = OpenVinoNetwork(read_ir(path))
    except BackendError as error:
        raise UnsupportedModel(str(error)) from error
    highest = min(network.table_rows, default=2) - 1
    return _inspect(network, path, Format.OPENVINO_IR, accepts_missing=False, highest=highest)


_MAX_INDEX = 2**16 - 1
"""Of a table whose size is not known: larger numbers are not tried. The vocabularies of most encoders are smaller."""


def _inspect(session: Any, path: Path, kind: Format, *, accepts_missing: bool, highest: int) -> Inspection:
    """Inspect a network of which whole numbers up to ``highest`` are tried, since they may be indices of a table."""
    interface, outputs = interface_of(session)
    signature = signature_of(interface, outputs, operators=frozenset(), accepts_missing=accepts_missing)
    if signature.integer_features:
        ranges = [(0, highest) if one.is_whole else None for one in interface.inputs]
        signature = replace(signature, inputs=with_ranges(session, interface, ranges))
    inspection = Inspection(format=kind, signature=signature)
    return with_batch_dependence(inspection, path, lambda rows: predict(session, interface, rows))
