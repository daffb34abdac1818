"""Telemetry: workers seen from outside while they run: CPU, memory, who else is there, heat, energy, the GPU.

``watching`` takes a ``point`` every 100 ms: the difference of two snapshots (``sampler``), which read ``processes``,
``processors`` and ``machine``. Whether what was seen spoils a measurement is decided in ``evidence.validity``.
"""

from servefit.profiler.machine.telemetry.point import TelemetryPoint
from servefit.profiler.machine.telemetry.processes import process_cpu_ns, waited_ns
from servefit.profiler.machine.telemetry.processors import processor_times, stolen_time
from servefit.profiler.machine.telemetry.watching import SAMPLE_INTERVAL_S, Telemetry, watching

__all__ = [
    "SAMPLE_INTERVAL_S",
    "Telemetry",
    "TelemetryPoint",
    "process_cpu_ns",
    "processor_times",
    "stolen_time",
    "waited_ns",
    "watching",
]
