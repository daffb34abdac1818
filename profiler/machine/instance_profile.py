"""The shape of an instance, as data. Which ones there are is in ``profiles``, how one is enforced in ``envelope``."""

from __future__ import annotations

from dataclasses import dataclass

from servefit.showing import shown


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceProfile:
    """The shape and price of an instance. ``price_per_hour`` is in US dollars, None where nobody stated one."""

    name: str
    vcpus: int
    memory_bytes: int
    gpus: int = 0
    gpu_model: str | None = None
    price_per_hour: float | None = None
    price_source: str | None = None
