"""A backend that cannot be asked at all: one whose name several packages want."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.backends.types import Availability, Knob, Precision, Target

if TYPE_CHECKING:
    from servefit.backends.model import Model


@dataclass(slots=True)
class RefusedBackend:
    """The backend called ``name``, not available for the reason in ``refusal``."""

    name: str
    refusal: Availability

    @property
    def precision(self) -> Precision:
        return Precision.EXACT

    @property
    def calibrates(self) -> bool:
        return False

    def probe(self, target: Target = Target.CPU) -> Availability:
        return self.refusal

    def supports(self, model: Model) -> Availability:
        return self.refusal

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return ()

    def compile_estimate_s(self, model: Model) -> float:
        return 0.0

    def cache_key(self) -> str:
        return ""
