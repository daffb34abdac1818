"""Finds out whether there is an NVIDIA GPU that its driver answers for.

What a library needs beyond that to use it, such as a CUDA build, is for its backend to find out.
"""

from __future__ import annotations

from servefit.backends.types import Availability


def cuda_device() -> Availability:
    """Return whether the driver lists a GPU; ``version`` is the driver's. Never raises and loads no CUDA library."""
    try:
        import pynvml
    except ImportError:
        return Availability.no("nvidia-ml-py is not installed", remedy="pip install nvidia-ml-py")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Availability.no(f"no NVIDIA GPU: {error}", remedy="install a GPU and its driver")
    try:
        if pynvml.nvmlDeviceGetCount() == 0:
            return Availability.no("the NVIDIA driver lists no GPU")
        return Availability.yes(str(pynvml.nvmlSystemGetDriverVersion()))
    except pynvml.NVMLError as error:
        return Availability.no(f"the NVIDIA driver does not answer: {error}")
    finally:
        pynvml.nvmlShutdown()
