"""The shape of an instance, as data. Which ones there are is in ``profiles``, how one is enforced in ``envelope``."""

from __future__ import annotations

from servefit.showing import shown
from servefit.stored import Stored


@shown()
class InstanceProfile(Stored, frozen=True, kw_only=True):
    """The shape and price of an instance. ``price_per_hour`` is in US dollars, None where nobody stated one."""

    name: str
    vcpus: int
    memory_bytes: int
    gpus: int = 0
    gpu_model: str | None = None
    price_per_hour: float | None = None
    price_source: str | None = None
