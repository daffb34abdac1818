"""GPUs by NVML, whose answers are made up, since most machines have no GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from servefit.profiler.machine.gpu import Gpu, describe_gpus, gpu_counters


def answer(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
    """Have the functions of NVML called nvml<name> give, or raise, these answers."""

    def function(result: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if isinstance(result, Exception):
                raise result
            return result(*arguments) if callable(result) else result

        return call

    for name, result in {"Init": None, "Shutdown": None, **answers}.items():
        monkeypatch.setattr(pynvml, f"nvml{name}", function(result))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "libnvidia-ml.so.1"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "installed and not loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "may not use"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "version mismatch"),
    ],
)
def test_why_there_is_no_gpu_is_said(monkeypatch: pytest.MonkeyPatch, code: int, reason: str) -> None:
    answer(monkeypatch, Init=pynvml.NVMLError(code))
    gpus, why = describe_gpus()
    assert gpus == ()
    assert why is not None
    assert reason in why


def test_a_driver_that_sees_no_gpu_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, DeviceGetCount=0)
    assert describe_gpus() == ((), "the NVIDIA driver is loaded and sees no GPU")


def test_gpus_that_were_taken_from_this_process_are_not_described(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(
        monkeypatch,
        DeviceGetCount=3,
        DeviceGetHandleByIndex=lambda index: index,
        DeviceGetName="Tesla T4",
        DeviceGetUUID=lambda device: f"GPU-{device}abc",
        DeviceGetMemoryInfo=SimpleNamespace(total=2**30),
        SystemGetDriverVersion="550.1",
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2a, 1")
    assert [gpu.index for gpu in describe_gpus()[0]] == [1, 2]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert describe_gpus() == ((), "CUDA_VISIBLE_DEVICES hides every GPU")


def test_gpus_are_described_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(
        monkeypatch,
        DeviceGetCount=2,
        DeviceGetHandleByIndex=lambda index: index,
        DeviceGetName=lambda device: ["Tesla T4", b"NVIDIA A10G"][device],
        DeviceGetMemoryInfo=lambda device: SimpleNamespace(total=(device + 1) * 2**30),
        SystemGetDriverVersion="550.1",
    )
    gpus, why = describe_gpus()
    assert why is None
    assert gpus == (
        Gpu(index=0, model="Tesla T4", memory_bytes=2**30, driver="550.1"),
        Gpu(index=1, model="NVIDIA A10G", memory_bytes=2**31, driver="550.1"),
    )


def test_counters_that_a_gpu_does_not_have_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(
        monkeypatch,
        DeviceGetHandleByIndex=lambda index: index,
        DeviceGetUtilizationRates=SimpleNamespace(gpu=37),
        DeviceGetMemoryInfo=SimpleNamespace(used=1000),
        DeviceGetPowerUsage=pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED),
    )
    with gpu_counters(0) as read:
        assert read is not None
        counters = read()
    assert (counters.utilisation_percent, counters.memory_bytes, counters.power_w) == (37, 1000, None)


def test_there_are_no_counters_without_nvml_or_without_a_gpu_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, Init=pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    with gpu_counters(0) as read:
        assert read is None
    with gpu_counters(None) as read:
        assert read is None
