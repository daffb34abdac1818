"""OpenVINO as servefit uses it: imported without its telemetry, with precision and threads that are said and then read
back.

Left to itself OpenVINO computes in bf16 wherever the processor can, quantises activations where weights are int8, takes
every core, and pins its threads. The package openvino-telemetry, which it and NNCF depend on, asks for no consent where
NNCF uses it: it makes a file in the user's home and sends. Both do without where the package cannot be imported.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from servefit.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.types import Settings

_TELEMETRY = "openvino_telemetry"


def imported_silently(name: str) -> Any:
    """Return the module ``name`` of OpenVINO or NNCF, imported as if openvino-telemetry were not installed."""
    if name in sys.modules:
        return sys.modules[name]
    telemetry = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # Python's own mark of a module that cannot be imported
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[_TELEMETRY]
        if telemetry is not None:
            sys.modules[_TELEMETRY] = telemetry


@cache
def core() -> Any:
    """Return the only Core of this process.

    OpenVINO's CPU plugin gives the thread that opens it a stack for signal handlers, and takes it away when its Core is
    gone. Of two Cores the later one then puts back the stack of the earlier one, which may be gone too: the next signal
    ends the process with SIGSEGV (seen with OpenVINO 2026.4).
    """
    return imported_silently("openvino").Core()


def compiled_network(
    path: Path,
    backend: str,
    precision: str,
    settings: Settings,
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    timed: bool = False,
) -> Any:
    """Return OpenVINO's CompiledModel of the IR at ``path``, which computes in ``precision`` ("f32" or "bf16") on
    exactly ``settings.threads`` threads, for inputs of these ``shapes`` alone where some are given. ``timed`` has it
    time its layers. Raises BackendError for ``backend`` where OpenVINO computes otherwise."""
    try:
        graph = core().read_model(str(path))
        if shapes is not None:
            graph.reshape({name: list(shape) for name, shape in shapes.items()})
    except RuntimeError as error:
        raise BackendError(backend, f"OpenVINO does not open the model: {reason_of(error)}") from error
    return compiled_graph(graph, backend, precision, settings, timed=timed)


def compiled_graph(graph: Any, backend: str, precision: str, settings: Settings, *, timed: bool = False) -> Any:
    """Return OpenVINO's CompiledModel of ``graph``, as ``compiled_network``."""
    openvino = imported_silently("openvino")
    wanted = {
        "INFERENCE_PRECISION_HINT": getattr(openvino.Type, precision),
        "INFERENCE_NUM_THREADS": settings.threads,
        "NUM_STREAMS": 1,
    }
    asked = {
        **wanted,
        "PERF_COUNT": timed,
        "PERFORMANCE_HINT": "LATENCY",
        # Without, int8 weights are multiplied by activations that are quantised on the way.
        "EXECUTION_MODE_HINT": "ACCURACY",
        # The envelope pins the threads, and their number is set: OpenVINO chooses neither.
        "ENABLE_CPU_PINNING": False,
        "ENABLE_HYPER_THREADING": True,
    }
    try:
        compiled = core().compile_model(graph, "CPU", asked)
    except RuntimeError as error:
        raise BackendError(backend, f"OpenVINO does not open the model: {reason_of(error)}") from error
    properties = {name: compiled.get_property(name) for name in compiled.get_property("SUPPORTED_PROPERTIES")}
    wanted |= {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0} if "DYNAMIC_QUANTIZATION_GROUP_SIZE" in properties else {}
    check_properties(backend, wanted, properties)
    return compiled


def check_properties(backend: str, wanted: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
    """Raise BackendError for ``backend`` if one of OpenVINO's ``properties`` differs from the value that is wanted."""
    for name, value in wanted.items():
        if properties.get(name) != value:
            raise BackendError(
                backend,
                f"OpenVINO was asked for {name} {_text(value)}, and has {_text(properties.get(name))}",
                remedy="ask for no more threads than there are CPUs" if name == "INFERENCE_NUM_THREADS" else None,
            )


def _text(value: Any) -> str:
    return str(value.get_type_name()) if hasattr(value, "get_type_name") else str(value)


def reason_of(error: RuntimeError) -> str:
    """Return the message of OpenVINO's error, without the places in its sources."""
    lines = [_PLACE.sub("", line).strip() for line in str(error).splitlines()]
    messages = [line for line in lines if line and not line.startswith("Check '")]
    return " ".join(messages or lines)[:300]


_PLACE = re.compile(r"(Caught exception: )?Exception from \S+?:\d+:| failed at \S+?:\d+:")
"""Where in OpenVINO's sources a check failed."""
