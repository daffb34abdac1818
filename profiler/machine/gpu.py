"""The NVIDIA GPUs of this host, through NVML, and their counters during a run.

A host without GPUs is ordinary: then the reason is given, in words that say what to do.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@shown()
class Gpu(Stored, frozen=True, kw_only=True):
    """One GPU. ``index`` is NVML's number, which CUDA shares when CUDA_DEVICE_ORDER is PCI_BUS_ID."""

    index: int
    model: str
    memory_bytes: int
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCounters:
    """The counters of a GPU at one moment; None is what it does not report.

    ``memory_bytes`` is what all processes on it use. ``throttled`` says whether it is slowed down now for heat or by
    its power supply; reaching its own power limit, which is ordinary under load, does not count.
    """

    utilisation_percent: float | None = None
    memory_bytes: int | None = None
    power_w: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttled: bool | None = None


def describe_gpus() -> tuple[tuple[Gpu, ...], str | None]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES does not hide, in NVML's order, and the reason where there are none."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (), _why(pynvml, error)
    try:
        present = range(pynvml.nvmlDeviceGetCount())
        gpus = tuple(_describe(pynvml, index) for index in present if _is_visible(pynvml, index))
    except pynvml.NVMLError as error:
        return (), _why(pynvml, error)
    finally:
        pynvml.nvmlShutdown()
    if present and not gpus:
        return (), "CUDA_VISIBLE_DEVICES hides every GPU"
    return gpus, None if gpus else "the NVIDIA driver is loaded and sees no GPU"


@contextmanager
def gpu_counters(index: int | None) -> Iterator[Callable[[], GpuCounters] | None]:
    """Yield a function that reads the counters of GPU ``index``; None for no index, or where NVML cannot be used."""
    if index is None:
        yield None
        return
    import pynvml

    with ExitStack() as stack:
        try:
            pynvml.nvmlInit()
            stack.callback(pynvml.nvmlShutdown)
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError:
            device = None
        yield None if device is None else lambda: _read(pynvml, device)


def reports_power(index: int) -> bool:
    """Return whether GPU ``index`` says how much power it draws."""
    with gpu_counters(index) as counters:
        return counters is not None and counters().power_w is not None


def _read(pynvml: Any, device: Any) -> GpuCounters:
    def clock_mhz(kind: int) -> Any:
        return _or_none(pynvml, lambda: int(pynvml.nvmlDeviceGetClockInfo(device, kind)))

    slowdowns = (
        pynvml.nvmlClocksThrottleReasonHwSlowdown
        | pynvml.nvmlClocksThrottleReasonSwThermalSlowdown
        | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
        | pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown
    )
    return GpuCounters(
        utilisation_percent=_or_none(pynvml, lambda: float(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)),
        memory_bytes=_or_none(pynvml, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(device).used)),
        power_w=_or_none(pynvml, lambda: pynvml.nvmlDeviceGetPowerUsage(device) / 1000),
        sm_clock_mhz=clock_mhz(pynvml.NVML_CLOCK_SM),
        memory_clock_mhz=clock_mhz(pynvml.NVML_CLOCK_MEM),
        throttled=_or_none(pynvml, lambda: bool(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(device) & slowdowns)),
    )


def _describe(pynvml: Any, index: int) -> Gpu:
    device = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        index=index,
        model=_text(pynvml.nvmlDeviceGetName(device)),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(device).total),
        driver=_text(pynvml.nvmlSystemGetDriverVersion()),
    )


def _is_visible(pynvml: Any, index: int) -> bool:
    """Return whether this process may use the GPU, which is named by its number or the beginning of its UUID."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return True
    names = [name.strip() for name in named.split(",")]
    if str(index) in names:
        return True
    uuid = _text(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
    return any(name.startswith("GPU-") and uuid.startswith(name) for name in names)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _or_none(pynvml: Any, read: Callable[[], Any]) -> Any:
    """Return what ``read`` gives, or None where this GPU does not report it."""
    try:
        return read()
    except pynvml.NVMLError:
        return None


def _why(pynvml: Any, error: Exception) -> str:
    """Return the reason that NVML gives for seeing no GPU, with what it means."""
    if isinstance(error, pynvml.NVMLError_LibraryNotFound):
        return "the NVIDIA management library (libnvidia-ml.so.1) is not installed; it comes with the driver"
    if isinstance(error, pynvml.NVMLError_DriverNotLoaded):
        return "the NVIDIA driver is installed and not loaded"
    if isinstance(error, pynvml.NVMLError_NoPermission):
        return "this user may not use the NVIDIA devices"
    return f"NVML: {error}"
