"""Stands for a backend of another package that cannot be loaded: it says why, and serves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from servefit.backends.types import Artifact, Availability, Knob, Settings, Target
from servefit.errors import BackendUnavailable

if TYPE_CHECKING:
    from servefit.backends.model import Model


class UnloadableBackend:
    """A backend called ``name`` that is never available, for ``reason``."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self._reason = reason

    def probe(self, target: Target = Target.CPU) -> Availability:
        return Availability.no(self._reason)

    def supports(self, model: Model) -> Availability:
        return Availability.no(self._reason)

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return ()

    def compile_estimate_s(self, model: Model) -> float:
        return 0.0

    def cache_key(self) -> str:
        return ""

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        self._refuse()

    def load(self, artifact: Artifact, settings: Settings) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise BackendUnavailable(self.name, self._reason)
