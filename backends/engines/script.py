"""Scripts served as they are, one request a call: the reference for themselves."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.libraries.installed import thread_counts
from servefit.backends.libraries.script.predictor import UNPACKED, ScriptPredictor
from servefit.backends.model.types import Library
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target

if TYPE_CHECKING:
    from servefit.backends.model import Model

_UNPACKED_BYTES_PER_S = 1e8
"""A rough estimate."""


class ScriptBackend:
    """Serves ``code/inference.py`` of an archive in SageMaker's form."""

    name = "script"
    precision = Precision.EXACT
    calibrates = False

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("whether a script uses a GPU is its own business, and not measured")
        return Availability.yes(platform.python_version())

    def supports(self, model: Model) -> Availability:
        if model.library is Library.SCRIPT:
            return Availability.yes()
        return Availability.no("it serves models with a script of their own (code/inference.py), with --trust-code")

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        """Return threads: most libraries that scripts use take some."""
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        return 1.0 + model.size_bytes / _UNPACKED_BYTES_PER_S

    def cache_key(self) -> str:
        return "script 1"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        from servefit.backends.model.archive import unpack

        unpack(model.file, workdir / UNPACKED)
        return {}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        return ScriptPredictor(artifact.folder / UNPACKED, settings.threads)
