"""What can be seen of workers from outside while they run: CPU, memory, who else is there, heat, energy, the GPU.

``watching`` takes a ``point`` every 100 ms: the difference of two looks (``looking``), which read ``processes``,
``processors`` and ``machine``. Whether what was seen spoils a measurement is decided in ``evidence.validity``.
"""

from servefit.profiler.machine.telemetry.point import TelemetryPoint
from servefit.profiler.machine.telemetry.processes import process_cpu_ns, waited_ns
from servefit.profiler.machine.telemetry.processors import processor_times, stolen_time
from servefit.profiler.machine.telemetry.watching import LOOK_EVERY_S, Telemetry, watching

__all__ = [
    "LOOK_EVERY_S",
    "Telemetry",
    "TelemetryPoint",
    "process_cpu_ns",
    "processor_times",
    "stolen_time",
    "waited_ns",
    "watching",
]
