"""The shape of an instance, as data. Which ones there are is in ``profiles``, how one is enforced in ``envelope``."""

from __future__ import annotations

from typing import Literal, TypeAlias

from servefit.showing import shown
from servefit.stored import Stored

Cloud: TypeAlias = Literal["aws", "gcp", "azure"]
"""The clouds whose shapes are in the catalogue."""

CLOUDS: tuple[Cloud, ...] = ("aws", "gcp", "azure")

LOCAL = "local"
"""The name of this host where it has a price; the names of profiles made from it begin with this and a dash."""

USD = "USD"
"""The currency of a price that does not say any."""


@shown()
class InstanceProfile(Stored, frozen=True, kw_only=True):
    """The shape and price of an instance.

    ``price_per_hour`` is in ``currency``, None where nobody stated one. ``region`` and ``price_date`` say where and
    when that was the price, the date as YYYY-MM-DD or YYYY; None where it is not known. ``cloud`` is whose shape it is,
    None for those of this host and of the user.
    """

    name: str
    vcpus: int
    memory_bytes: int
    gpus: int = 0
    gpu_model: str | None = None
    price_per_hour: float | None = None
    price_source: str | None = None
    cloud: Cloud | None = None
    currency: str = USD
    region: str | None = None
    price_date: str | None = None

    @property
    def is_local(self) -> bool:
        """True if the profile is made from the host."""
        return self.name.startswith(f"{LOCAL}-")

    @property
    def is_of_a_cloud(self) -> bool:
        """True if the profile is named after an instance of a cloud, by its name or by the source of its price."""
        return self.cloud is not None or (self.price_source is not None and not self.is_local)
