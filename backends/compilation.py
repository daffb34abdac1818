"""From a model and a backend's name to an artifact that is known to predict what the model's own library predicts.

The steps: can the backend run here, does it take the model, is there an artifact in the cache; otherwise compile, and
compare. Everything that loads a native library runs in a child process (``steps``); an artifact whose predictions
differ is reported and never stored.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from functools import reduce
from hashlib import sha256
from math import inf
from operator import or_
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from servefit import state
from servefit.backends import cache
from servefit.backends.capabilities import ask_backends
from servefit.backends.model import Model
from servefit.backends.model.kept import as_kept
from servefit.backends.parity import Agreement
from servefit.backends.registry import imported
from servefit.backends.types import Artifact, Predictor, Settings, Target
from servefit.backends.verification import drawn_rows, in_child, padded_rows, payload_rows, verify
from servefit.errors import BackendUnavailable, CompileFailed, OutputMismatch, SpecError
from servefit.field_types import check_type
from servefit.showing import shown
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.backends.payload import Payload
    from servefit.backends.types import Capabilities

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 600.0
"""As long as gcc takes for a million nodes on one core (``tl2cgen``)."""

DEFAULT_MEMORY_BYTES = 32 * 2**30
"""A bound on address space, of which libraries reserve more than they use."""


@shown("backend", "target", "seconds", "cached", "artifact")
@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """A compiled and checked artifact. ``seconds`` is what compiling took, in this call or when the artifact was
    cached; the errors are the largest on the ``rows_checked`` rows drawn from the model and of this call's payload."""

    backend: str
    target: Target
    artifact: Artifact
    seconds: float
    cached: bool
    max_abs_error: float
    max_rel_error: float
    rows_checked: int


def compile_model(
    model: Model | Any,
    backend: str,
    *,
    payload: Payload | None = None,
    target: Target | str = Target.CPU,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    memory_bytes: int | None = DEFAULT_MEMORY_BYTES,
) -> Compilation:
    """Compile a model with a backend, or find the artifact in the cache.

    The artifact's predictions have been compared with those of the model's own library, on rows drawn from the model
    and on those of ``payload``.

    Args:
        model: What ``Model.load`` takes, or a Model.
        backend: The name of a backend, as ``servefit backends`` lists them.
        payload: Rows that are compared too.
        target: The kind of processor: "cpu" or "cuda".
        timeout_s: Seconds that compiling and checking together may take.
        memory_bytes: Memory that the compilation, and all that it starts, may take; None: as much as there is.

    Returns:
        The artifact, how it was made, and how its predictions compare.

    Raises:
        SpecError: The backend or the target is not known.
        BackendUnavailable: The backend does not run here.
        CompileFailed: The backend does not take this model, failed, or ran out of time or memory.
        OutputMismatch: The artifact's predictions differ from those of the model's own library.
        StateError: The cache cannot be written.
        ModelError: The model cannot be read.

    Example:
        ::

            print(sf.compile_model("model.ubj", "treelite").artifact.folder)
    """
    from servefit.backends.payload import Payload

    check_type("backend", backend, str)
    check_type("payload", payload, Payload | None)
    target = Target.named(target)
    model = as_kept(model) if isinstance(model, Model) else Model.load(model)
    began = perf_counter()
    with time_limit(lambda: began + timeout_s - perf_counter()):
        return _compile(model, backend, target, payload, memory_bytes)


def _compile(
    model: Model, backend: str, target: Target, payload: Payload | None, memory_bytes: int | None
) -> Compilation:
    chosen, version = _usable(model, backend, target)
    key = cache.artifact_key(model, chosen, version, target)
    digest = "" if payload is None else sha256(payload.rows.tobytes()).hexdigest()
    entry = cache.find(key)
    if entry is not None:
        if payload is not None and digest not in entry.payloads:
            entry = _check_payload(model, entry, payload, digest)
        _log.info("%s (%s): the artifact is cached in %s", backend, target.value, entry.artifact.folder)
        return _compilation(entry, digest, cached=True)
    drawn = [drawn_rows(model), *padded_rows(model)]
    checked_on = drawn if payload is None else [*drawn, payload_rows(model, payload)]
    agreements: list[Agreement] = []

    def fill(folder: Path) -> tuple[Artifact, Mapping[str, Any]]:
        begin = perf_counter()
        facts = in_child(
            backend,
            "compile_artifact",
            *(backend, model, target, folder),
            timeout_s=inf,
            memory_bytes=memory_bytes,
        )
        seconds = perf_counter() - begin
        artifact = Artifact(
            backend=backend,
            backend_version=version,
            model_digest=model.digest,
            target=target,
            folder=folder,
            facts=facts,
        )
        agreements.extend(verify(model, artifact, checked_on))
        return artifact, {"seconds": seconds, **asdict(reduce(or_, agreements[: len(drawn)]))}

    entry = cache.store(key, fill)
    if payload is not None:
        entry = cache.add_payload(entry, digest, asdict(agreements[-1]))
    _log.info("%s (%s): compiled in %.1f s", backend, target.value, entry.report["seconds"])
    return _compilation(entry, digest, cached=False)


def is_cached(model: Model, backend: str, target: Target = Target.CPU) -> bool:
    """Return whether ``compile_model`` would find an artifact and not compile. Raises SpecError for an unknown
    backend."""
    chosen = ask_backends([backend], model)[backend]
    found = chosen.probe(target)
    if not found.available or not chosen.supports(model).available:
        return False
    return cache.find(cache.artifact_key(model, chosen, found.version or "", target)) is not None


def estimate_s(model: Model, backend: str) -> float:
    """Return roughly how many seconds compiling takes here, checks left out. Raises SpecError for an unknown
    backend."""
    return ask_backends([backend], model)[backend].compile_estimate_s(model)


def load_predictor(artifact: Artifact, settings: Settings) -> Predictor:
    """Open ``artifact`` in this process, with exactly ``settings.threads`` threads. Raises BackendError."""
    return imported(artifact.backend).load(artifact, settings)


def export(artifact: Artifact, folder: Path) -> None:
    """Copy the artifact's files, and the manifest that describes them (artifact.json), into ``folder``.

    The folder is made where it does not exist. Raises SpecError where it holds something, and StateError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError("output folder", str(folder), "exists and is not an empty folder")
    with state.writing(folder, variable=None):
        shutil.copytree(artifact.folder, folder, dirs_exist_ok=True)


def _usable(model: Model, name: str, target: Target) -> tuple[Capabilities, str]:
    """Return the backend and its library's version. Raises the error that says why it cannot be used."""
    chosen = ask_backends([name], model)[name]
    found = chosen.probe(target)
    if not found.available:
        raise BackendUnavailable(name, found.reason or "it cannot run here", remedy=found.remedy)
    taken = chosen.supports(model)
    if not taken.available:
        raise CompileFailed(name, taken.reason or "it does not take this model")
    return chosen, found.version or ""


def _check_payload(model: Model, entry: cache.Entry, payload: Payload, digest: str) -> cache.Entry:
    """Check a cached artifact on a payload that it has not seen; where it fails, it is cached no longer."""
    try:
        [agreement] = verify(model, entry.artifact, [payload_rows(model, payload)])
    except OutputMismatch:
        cache.remove(entry.key)
        raise
    return cache.add_payload(entry, digest, asdict(agreement))


def _compilation(entry: cache.Entry, payload_digest: str, *, cached: bool) -> Compilation:
    report = dict(entry.report)
    seconds = report.pop("seconds")
    agreement = Agreement(**report)
    if payload_digest:
        agreement |= Agreement(**entry.payloads[payload_digest])
    return Compilation(
        backend=entry.artifact.backend,
        target=entry.artifact.target,
        artifact=entry.artifact,
        seconds=seconds,
        cached=cached,
        max_abs_error=agreement.max_abs_error,
        max_rel_error=agreement.max_rel_error,
        rows_checked=agreement.rows,
    )
