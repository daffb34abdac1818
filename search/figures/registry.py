"""Figures by name: servefit's own, and those that other packages offer under an entry point.

A package adds a figure by pointing an entry point of the group ``servefit.figures`` at a
:class:`~servefit.search.figures.contract.Figure`. What is done about one that is broken is in ``outside``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from servefit.plug_ins import PlugIns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servefit.search.figures.contract import Figure, Subject, Value

ENTRY_POINT_GROUP = "servefit.figures"

_HERE = "servefit.search.figures"

BUILT_IN = {
    "id": f"{_HERE}.configuration:ID",
    "instance_profile": f"{_HERE}.configuration:INSTANCE_PROFILE",
    "instance_count": f"{_HERE}.configuration:INSTANCE_COUNT",
    "backend": f"{_HERE}.configuration:BACKEND",
    "quality": f"{_HERE}.configuration:QUALITY",
    "environment": f"{_HERE}.configuration:ENVIRONMENT",
    "environment.MODEL_SERVER_WORKERS": f"{_HERE}.configuration:WORKERS",
    "environment.OMP_NUM_THREADS": f"{_HERE}.configuration:THREADS",
    "settings.max_batch": f"{_HERE}.configuration:MAX_BATCH",
    "settings.batch_delay_us": f"{_HERE}.configuration:BATCH_DELAY",
    "cost_per_hour": f"{_HERE}.cost:COST_PER_HOUR",
    "cost_per_inference": f"{_HERE}.cost:COST_PER_INFERENCE",
    "vcpu_s_per_million": f"{_HERE}.cost:VCPU_S_PER_MILLION",
    "currency": f"{_HERE}.cost:CURRENCY",
    "region": f"{_HERE}.cost:REGION",
    "price_date": f"{_HERE}.cost:PRICE_DATE",
    "max_invocations": f"{_HERE}.throughput:MAX_INVOCATIONS",
    "requests_per_cpu_s": f"{_HERE}.throughput:PER_CPU_S",
    "measured_rate_per_s": f"{_HERE}.throughput:MEASURED_RATE",
    "model_latency_ms.p50": f"{_HERE}.latency:P50",
    "model_latency_ms.p90": f"{_HERE}.latency:P90",
    "model_latency_ms.p95": f"{_HERE}.latency:P95",
    "model_latency_ms_ci95.p95[0]": f"{_HERE}.latency:P95_LOW",
    "model_latency_ms_ci95.p95[1]": f"{_HERE}.latency:P95_HIGH",
    "model_latency_ms.p99": f"{_HERE}.latency:P99",
    "endpoint.overhead_latency_ms.p50": f"{_HERE}.latency:OVERHEAD_P50",
    "endpoint.overhead_latency_ms.p95": f"{_HERE}.latency:OVERHEAD_P95",
    "cpu_utilization": f"{_HERE}.machine:CPU_UTILIZATION",
    "memory_utilization": f"{_HERE}.machine:MEMORY_UTILIZATION",
    "memory_bytes": f"{_HERE}.machine:MEMORY_BYTES",
    "gpu_utilization": f"{_HERE}.machine:GPU_UTILIZATION",
    "energy_j_per_million": f"{_HERE}.machine:ENERGY",
    "package_power_w": f"{_HERE}.machine:PACKAGE_POWER",
    "gpu_power_w": f"{_HERE}.machine:GPU_POWER",
    "verdict": f"{_HERE}.evidence:VERDICT",
    "samples": f"{_HERE}.evidence:SAMPLES",
    "disturbance_excluded_s": f"{_HERE}.evidence:DISTURBANCE_EXCLUDED",
    "left_out_s": f"{_HERE}.evidence:LEFT_OUT",
    "loop": f"{_HERE}.evidence:LOOP",
    "basis": f"{_HERE}.evidence:BASIS",
    "containment": f"{_HERE}.evidence:CONTAINMENT",
    "step": f"{_HERE}.evidence:STEP",
}
"""Servefit's own figures, in the order in which they are listed."""

FIGURES = PlugIns(field="figure", group=ENTRY_POINT_GROUP, built_in=BUILT_IN)


def figure_names() -> tuple[str, ...]:
    """Return the names of all figures: the built-in ones first, then those of other packages in alphabetical order."""
    return FIGURES.names()


def figure(name: str) -> Figure:
    """Return the built-in figure of that name.

    Raises:
        KeyError: there is none.
    """
    if name not in BUILT_IN:
        raise KeyError(name)
    return cast("Figure", FIGURES.imported(name))


def figures(names: Iterable[str]) -> tuple[Figure, ...]:
    """Return the built-in figures of these names, in their order."""
    return tuple(map(figure, names))


def built_in_figures() -> tuple[Figure, ...]:
    """Return all of servefit's own."""
    return figures(BUILT_IN)


def values(subject: Subject, *names: str) -> dict[str, Value]:
    """Return what these built-in figures are of ``subject``, by name, for a JSON document."""
    return {name: figure(name).of(subject) for name in names}
