"""Figures of the machine: how busy CPUs, memory and GPU were, and the energy that it took."""

from __future__ import annotations

from servefit.search.figures.contract import Figure
from servefit.search.results.energy import energy_j_per_million

CPU_UTILIZATION = Figure(
    name="cpu_utilization",
    title="CPU %",
    unit="%",
    meaning="CPU time of the workers, summed over CPUs: 200 is two CPUs, fully used. Waiting is not counted.",
    of_summary=lambda summary: summary.cpu_percent,
)

MEMORY_UTILIZATION = Figure(
    name="memory_utilization",
    title="memory %",
    unit="%",
    meaning="The peak of all workers, of the profile's memory.",
    of_recommendation=lambda recommendation: (
        100 * recommendation.trial.measurement.peak_memory_bytes / recommendation.profile.memory_bytes
    ),
)

MEMORY_BYTES = Figure(
    name="memory_bytes",
    title="memory MiB",
    unit="bytes",
    meaning="The peak of all workers, in tables in MiB.",
    scale=1 / 2**20,
    of_trial=lambda trial: trial.measurement.peak_memory_bytes,
)

GPU_UTILIZATION = Figure(
    name="gpu_utilization",
    title="GPU %",
    unit="%",
    meaning="How much of the time the GPU was computing.",
    of_summary=lambda summary: summary.gpu_percent,
)

ENERGY = Figure(
    name="energy_j_per_million",
    title="J/million",
    unit="J",
    meaning=(
        "The energy of a million inferences at the load that was measured: all processor packages (RAPL) and the GPU "
        "in use (NVML), idle power included."
    ),
    only_where_known=True,
    of_trial=energy_j_per_million,
)

PACKAGE_POWER = Figure(
    name="package_power_w",
    title="package W",
    unit="W",
    meaning="Mean power of the machine's processor packages while it was measured (RAPL).",
    only_where_known=True,
    of_summary=lambda summary: summary.package_power_w,
)

GPU_POWER = Figure(
    name="gpu_power_w",
    title="GPU W",
    unit="W",
    meaning="Mean power of the GPU while it was measured (NVML).",
    only_where_known=True,
    of_summary=lambda summary: summary.gpu_power_w,
)
