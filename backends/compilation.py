"""From a model and a backend's name to an artifact that is known to predict what the model's own library predicts.

The steps: can the backend run here, does it take the model, is there an artifact in the cache; otherwise compile, and
compare. Everything that loads a native library runs in a child process (``checking.steps``); an artifact whose
predictions differ is reported and never stored.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from hashlib import sha256
from math import inf
from operator import or_
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from servefit import state
from servefit.backends.artifacts import cache
from servefit.backends.artifacts.unoptimised import find_entry, store_otherwise
from servefit.backends.checking.calibration import calibration_rows
from servefit.backends.checking.parity import Agreement
from servefit.backends.checking.verification import drawn_sets, in_child, payload_rows, verify
from servefit.backends.finding.capabilities import ask_backends
from servefit.backends.finding.registry import imported
from servefit.backends.libraries.onnx_session import UNOPTIMISED
from servefit.backends.model import Model
from servefit.backends.model.kept import as_kept
from servefit.backends.types import LAYERS, Artifact, Precision, Predictor, Settings, Target
from servefit.errors import BackendUnavailable, CompileFailed, OutputMismatch, SpecError
from servefit.field_types import check_type
from servefit.showing import shown
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from servefit.backends.payload import Payload
    from servefit.backends.quality.findings import Quality
    from servefit.backends.quality.limits import PrecisionLimits
    from servefit.backends.types import Capabilities

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 600.0
"""As long as gcc takes for a million nodes on one core (``tl2cgen``)."""

DEFAULT_MEMORY_BYTES = 32 * 2**30
"""A bound on address space, of which libraries reserve more than they use."""

_NO_ROWS = Agreement(max_abs_error=0.0, max_rel_error=0.0, rows=0)

_SPARED = (1 / 8, 1 / 4, 1 / 2)
"""The shares of a network's layers that are left as they were, one after the other, until the limits are kept on the
rows that it calibrates on. More than half, and little is gained. Chosen, not measured."""

_JUDGING = 1
"""Raise it when what was found of less exact artifacts is not to be used any more."""


@shown("backend", "target", "seconds", "cached", "artifact")
@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """A compiled and checked artifact. ``seconds`` is what compiling took, in this call or when the artifact was
    cached; the errors are the largest on the ``rows_checked`` rows drawn from the model and of this call's payload.
    ``quality`` is what was found of an artifact that predicts less exactly, which was checked on rows of the payload
    alone; None for an exact one. No rows are checked where the model is a script, which cannot be compared with
    anything: ``function_s`` are the seconds that its functions took for a request of the payload, by name, the median
    of those that were tried."""

    backend: str
    target: Target
    artifact: Artifact
    seconds: float
    cached: bool
    max_abs_error: float
    max_rel_error: float
    rows_checked: int
    quality: Quality | None = None
    function_s: Mapping[str, float] = field(default_factory=dict)


def compile_model(
    model: Model | Any,
    backend: str,
    *,
    payload: Payload | None = None,
    target: Target | str = Target.CPU,
    precision: PrecisionLimits | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    memory_bytes: int | None = DEFAULT_MEMORY_BYTES,
) -> Compilation:
    """Compile a model with a backend, or find the artifact in the cache.

    The artifact's predictions have been compared with those of the model's own library, on rows drawn from the model
    and on those of ``payload``; or, with a backend that predicts less exactly, held against the limits of
    ``precision``, on rows of ``payload``.

    Args:
        model: What ``Model.load`` takes, or a Model.
        backend: The name of a backend, as ``servefit backends`` lists them.
        payload: Rows that are compared too, and that a backend calibrates on which does.
        target: The kind of processor: "cpu" or "cuda".
        precision: What is allowed of a backend that predicts less exactly; None: nothing.
        timeout_s: Seconds that compiling and checking together may take.
        memory_bytes: Memory that the compilation, and all that it starts, may take; None: as much as there is.

    Returns:
        The artifact, how it was made, and how its predictions compare.

    Raises:
        SpecError: The backend or the target is not known.
        BackendUnavailable: The backend does not run here.
        CompileFailed: The backend does not take this model, failed, or ran out of time or memory.
        OutputMismatch: The artifact's predictions differ from those of the model's own library.
        LimitNotKept: They differ by more than ``precision`` allows, or the rows are too few to tell.
        StateError: The cache cannot be written.
        ModelError: The model cannot be read.

    Example:
        ::

            print(sf.compile_model("model.ubj", "treelite").artifact.folder)
    """
    from servefit.backends.payload import Payload
    from servefit.backends.quality.limits import PrecisionLimits

    check_type("backend", backend, str)
    check_type("payload", payload, Payload | None)
    check_type("precision", precision, PrecisionLimits | None)
    target = Target.named(target)
    model = as_kept(model) if isinstance(model, Model) else Model.load(model)
    began = perf_counter()
    with time_limit(lambda: began + timeout_s - perf_counter()):
        chosen, version = _usable(model, backend, target)
        if chosen.precision is not Precision.EXACT:
            return _compile_less_exactly(model, chosen, version, target, payload, precision, memory_bytes)
        return _compile(model, chosen, version, target, payload, memory_bytes)


def _compile(
    model: Model, chosen: Capabilities, version: str, target: Target, payload: Payload | None, memory_bytes: int | None
) -> Compilation:
    backend = chosen.name
    calibration = calibration_rows(chosen, payload)
    key = cache.artifact_key(model, chosen, version, target, calibration)
    digest = "" if payload is None else sha256(payload.rows.tobytes()).hexdigest()
    by_payload = payload is not None and not payload.synthetic
    entry = find_entry(key, by_payload=by_payload)
    if entry is not None:
        if payload is not None and digest not in entry.payloads:
            entry = _check_payload(model, entry, payload, digest)
        _log.info("%s (%s): the artifact is cached in %s", backend, target.value, entry.artifact.folder)
        return _compilation(entry, digest, cached=True)
    of_drawn = drawn_sets(model)
    of_payload = [] if payload is None else [payload_rows(model, payload)]
    agreements: list[Agreement] = []

    def stored(key: str, *, drawn: bool = True, unoptimised: bool = False) -> cache.Entry:
        sets = of_drawn if drawn else []

        def fill(folder: Path) -> tuple[Artifact, Mapping[str, Any]]:
            artifact, seconds = _compiled(model, chosen, version, target, calibration, folder, memory_bytes)
            if unoptimised:
                artifact = replace(artifact, facts={**artifact.facts, UNOPTIMISED: True})
            agreements[:] = verify(model, artifact, sets + of_payload)
            return artifact, {"seconds": seconds, **asdict(reduce(or_, agreements[: len(sets)], _NO_ROWS))}

        return cache.store(key, fill)

    try:
        entry = stored(key)
    except OutputMismatch as error:
        entry = store_otherwise(model, error, key, stored, by_payload=by_payload)
    if payload is not None:
        entry = cache.add_payload(entry, digest, asdict(agreements[-1]))
    _log.info("%s (%s): compiled in %.1f s", backend, target.value, entry.report["seconds"])
    return _compilation(entry, digest, cached=False)


def _compile_less_exactly(
    model: Model,
    chosen: Capabilities,
    version: str,
    target: Target,
    payload: Payload | None,
    limits: PrecisionLimits | None,
    memory_bytes: int | None,
) -> Compilation:
    """Compile with a backend that predicts less exactly, and hold the artifact against ``limits``, once. Where it does
    not keep them on the rows that it calibrates on, the layers that lose most are left as they were."""
    import msgspec

    from servefit.backends.quality.findings import Quality
    from servefit.backends.quality.judging import found_on, judge, judged_rows, with_labels

    backend = chosen.name
    if limits is None or chosen.precision.value not in limits.allowed:
        raise CompileFailed(
            backend,
            f"it computes in {chosen.precision}, which changes predictions",
            remedy=f"allow it with --allow-precision {chosen.precision} and a limit, such as --max-deviation 0.01",
        )
    limits = with_labels(limits)
    judged = judged_rows(limits, model, payload)
    calibration = calibration_rows(chosen, payload)
    precision = chosen.precision.value

    def compiled(spared: Sequence[str]) -> tuple[cache.Entry, bool]:
        """Return an artifact with these layers as they were, which is cached, and whether it was already."""
        key = cache.artifact_key(model, chosen, version, target, calibration, spared)

        def fill(folder: Path) -> tuple[Artifact, Mapping[str, Any]]:
            artifact, seconds = _compiled(model, chosen, version, target, calibration, folder, memory_bytes, spared)
            return artifact, {"seconds": seconds}

        entry = cache.find(key)
        return (cache.store(key, fill), False) if entry is None else (entry, True)

    # A user's own quality function may have changed since.
    may_be_stored = limits.quality is None or not limits.quality.is_own_function
    digest = sha256(judged.rows.tobytes() + msgspec.json.encode([_JUDGING, limits])).hexdigest()

    def seems_within(entry: cache.Entry, spared: int) -> bool:
        if may_be_stored and digest in entry.payloads:
            return True  # it was chosen before
        seen = found_on(to_choose, entry.artifact, model, limits, precision, spared=spared)
        _log.info("%s (%s), on the rows that it calibrates on: %s", backend, target.value, seen.text)
        return seen.within

    entry, cached = compiled(())
    spared = 0
    if layers := entry.artifact.facts.get(LAYERS, ()):
        # Each look at the rows to judge on may pass what is wrong, so there is one, and others choose.
        to_choose = judged_rows(limits, model, payload, calibrating=True)
        (entry, cached), spared = _first_within(compiled, seems_within, layers)
    stored = entry.payloads.get(digest) if may_be_stored else None
    if stored is not None:
        quality = msgspec.convert(stored, Quality)
    else:
        quality = judge(entry.artifact, model, judged, limits, precision, spared=spared)
        entry = cache.add_payload(entry, digest, msgspec.to_builtins(quality))
    _log.info("%s (%s): %s", backend, target.value, quality.text)
    return _judged(entry, quality, cached=cached)


def _first_within(
    compiled: Callable[[Sequence[str]], tuple[cache.Entry, bool]],
    seems_within: Callable[[cache.Entry, int], bool],
    layers: Sequence[str],
) -> tuple[tuple[cache.Entry, bool], int]:
    """Return what was ``compiled`` with the fewest of ``layers`` as they were that ``seems_within`` the limits, and
    their number; with none if nothing does."""
    for count in sorted({round(share * len(layers)) for share in (0, *_SPARED)}):
        try:
            tried = compiled(layers[:count])
            if seems_within(tried[0], count):
                return tried, count
        except CompileFailed as error:
            _log.info("with %d layers as they were: %s", count, error)
            break
    return compiled(()), 0


def compile_again(
    model: Model,
    backend: str,
    *,
    payload: Payload | None,
    target: Target,
    precision: PrecisionLimits | None,
    quality: Quality | None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Compilation:
    """As ``compile_model``, of what a job has compiled with ``payload`` and ``precision``: what it found of the
    ``quality`` of an artifact holds for as long as that is in the cache. So a function of the user's own is not asked
    again, wherever it may be by now."""
    model = as_kept(model)
    chosen, version = _usable(model, backend, target)
    of_artifact = model, chosen, version, target, calibration_rows(chosen, payload)
    key = cache.artifact_key(*of_artifact)
    if quality is not None and (entry := cache.find(key)) is not None:
        if quality.spared:
            entry = cache.find(cache.artifact_key(*of_artifact, entry.artifact.facts[LAYERS][: quality.spared]))
        if entry is not None:
            return _judged(entry, quality, cached=True)
    # The rows of a payload that decided are not asked for again either.
    if quality is None and payload is None and (entry := find_entry(key, by_payload=True)) is not None:
        return _compilation(entry, "", cached=True)
    return compile_model(model, backend, payload=payload, target=target, precision=precision, timeout_s=timeout_s)


def _judged(entry: cache.Entry, quality: Quality, *, cached: bool) -> Compilation:
    """Return an artifact that predicts less exactly, with what was found of it."""
    return Compilation(
        backend=entry.artifact.backend,
        target=entry.artifact.target,
        artifact=entry.artifact,
        seconds=entry.report["seconds"],
        cached=cached,
        max_abs_error=quality.largest_error,
        max_rel_error=quality.largest_deviation,
        rows_checked=quality.rows,
        quality=quality,
    )


def _compiled(
    model: Model,
    chosen: Capabilities,
    version: str,
    target: Target,
    calibration: np.ndarray | None,
    folder: Path,
    memory_bytes: int | None,
    spared: Sequence[str] = (),
) -> tuple[Artifact, float]:
    """Compile into ``folder`` in a child process, and return the artifact, unchecked, and the seconds that it took."""
    begin = perf_counter()
    facts = in_child(
        chosen.name,
        "compile_artifact",
        *(chosen.name, model, target, folder, calibration, spared),
        timeout_s=inf,
        memory_bytes=memory_bytes,
    )
    artifact = Artifact(
        backend=chosen.name,
        backend_version=version,
        model_digest=model.digest,
        target=target,
        folder=folder,
        facts=facts,
    )
    return artifact, perf_counter() - begin


def is_cached(model: Model, backend: str, target: Target = Target.CPU, payload: Payload | None = None) -> bool:
    """Return whether ``compile_model`` would find an artifact and not compile. Raises SpecError for an unknown
    backend."""
    chosen = ask_backends([backend], model)[backend]
    availability = chosen.probe(target)
    if not availability.available or not chosen.supports(model).available:
        return False
    try:
        calibration = calibration_rows(chosen, payload)
    except CompileFailed:
        return False
    key = cache.artifact_key(model, chosen, availability.version or "", target, calibration)
    return find_entry(key, by_payload=payload is not None and not payload.synthetic) is not None


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
    availability = chosen.probe(target)
    if not availability.available:
        raise BackendUnavailable(name, availability.reason or "it cannot run here", remedy=availability.remedy)
    taken = chosen.supports(model)
    if not taken.available:
        raise CompileFailed(name, taken.reason or "it does not take this model")
    return chosen, availability.version or ""


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
        function_s=agreement.function_s,
    )
