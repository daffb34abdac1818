"""The contract between servefit and a backend: what a backend is given, and what it must give back.

A backend turns a :class:`~servefit.backends.model.Model` into an :class:`Artifact`, once, and an artifact into a
:class:`Predictor`, in every worker process. Finding backends is the registry's business, checking their predictions
that of parity, and timing them that of the profiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from servefit.errors import SpecError
from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.model import Model

KnobValue: TypeAlias = str | int | bool
"""The value of a knob, as it appears in JSON."""


class Target(StrEnum):
    """The kind of processor that an artifact runs on."""

    CPU = "cpu"
    CUDA = "cuda"

    @classmethod
    def named(cls, name: str) -> Target:
        """Return the target called ``name``. Raises SpecError."""
        if name not in [target.value for target in cls]:
            raise SpecError.unknown("target", name, [target.value for target in cls])
        return cls(name)


class Precision(StrEnum):
    """The exactness of a backend: as the model was trained, or with fewer bits, which changes predictions."""

    EXACT = "exact"
    BF16 = "bf16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """The answer to whether something can be used here. When not, ``reason`` says why and ``remedy`` what would change
    it."""

    available: bool
    version: str | None = None
    reason: str | None = None
    remedy: str | None = None

    @classmethod
    def yes(cls, version: str | None = None) -> Availability:
        return cls(available=True, version=version)

    @classmethod
    def no(cls, reason: str, *, remedy: str | None = None) -> Availability:
        return cls(available=False, reason=reason, remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A setting of a backend that the search may vary. ``values`` holds the default first."""

    name: str
    values: tuple[KnobValue, ...]


@shown()
class Settings(Stored, frozen=True, kw_only=True):
    """The settings with which a worker loads an artifact. ``options`` holds the backend's own knobs as sorted (name,
    value) pairs."""

    threads: int = 1
    options: tuple[tuple[str, KnobValue], ...] = ()

    def option(self, name: str, default: KnobValue) -> KnobValue:
        return dict(self.options).get(name, default)


@shown()
class Artifact(Stored, frozen=True, kw_only=True):
    """The result of compiling: files in ``folder``, which is read-only from then on and may be opened at any time.

    ``facts`` are the backend's own notes for ``load`` and for the compilation report; JSON values only.
    """

    backend: str
    backend_version: str
    model_digest: str
    target: Target
    folder: Path
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


LAYERS = "layers"
"""The fact about a quantised artifact that names its layers, those first that lose most."""


class Predictor(Protocol):
    """A loaded model. It is used by one process and one calling thread."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Predict C-contiguous ``rows`` of shape (n, features), at least one row, NaN meaning missing. They are of the
        datatype that ``signature.row_datatype`` of the model names: float32; float64 where the model's own library
        compares or computes in float64, as LightGBM and most of scikit-learn do; int64 or float64 where float32 does
        not hold all that an ONNX model takes.

        Gives (n,) or (n, outputs) floats, as the reference does (whole numbers where an ONNX model's output has
        them): a probability of the second class for a binary
        classifier, one probability a class for a multi-class one, the value itself for everything else. The input
        is not modified, and the result stays valid after the next call.
        """
        ...

    def close(self) -> None:
        """Release threads and memory. The predictor is not used afterwards."""
        ...


class Capabilities(Protocol):
    """The capabilities of a backend, as it says itself.

    ``name`` may say after a slash what the artifact's arithmetic is: "openvino/int8". One whose ``precision`` is less
    than exact is a backend of its own, and takes part only where it is allowed. One that ``calibrates`` chooses its
    arithmetic by rows of a payload: ``compile`` is given some. Backends of other packages may lack both: they are exact
    then, and calibrate nothing.
    """

    name: str

    @property
    def precision(self) -> Precision: ...

    @property
    def calibrates(self) -> bool: ...

    def probe(self, target: Target = Target.CPU) -> Availability:
        """Return whether the backend can run here on ``target``. Never raises."""
        ...

    def supports(self, model: Model) -> Availability:
        """Return whether it can serve ``model`` exactly, from what is known about the model without opening it."""
        ...

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        """Return the knobs that may be varied in an envelope of ``vcpus``. A knob named "threads" sets
        ``Settings.threads``; a backend that has none runs on one thread."""
        ...

    def compile_estimate_s(self, model: Model) -> float:
        """Return roughly how many seconds ``compile`` will take here; used to leave out what would eat a job's
        budget."""
        ...

    def cache_key(self) -> str:
        """Return what besides the model, target and library version determines the artifact: flags, compiler, CPU
        features."""
        ...


class Backend(Capabilities, Protocol):
    """One way to serve models. Instances are stateless and cheap; libraries are imported inside the methods.

    ``compile`` runs in an isolated child process, ``load`` in workers; both may raise, and their process may die,
    without harm to the job. What a backend of another package says of itself is asked in a child process too.
    """

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        """Write the artifact's files into the empty folder ``workdir``; give its ``facts``. Raises CompileFailed.

        One that ``calibrates`` is given one more argument by name, ``calibration``: rows as ``Predictor.predict``
        takes them, or None where there is no payload. If the fact LAYERS names layers, it is called again with one
        more, ``spared``, the first of these, where the artifact predicts less exactly than is allowed.
        """
        ...

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        """Open the artifact with exactly ``settings.threads`` threads. Raises BackendError."""
        ...
