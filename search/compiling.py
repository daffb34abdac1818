"""Which backends take part in a job, and their artifacts.

A backend that cannot run here, does not take the model, fails to compile or predicts something else than the reference
is reported and left out; so is one whose compilation would eat the job's budget, unless it was asked for by name or
its artifact is in the cache already.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING

from servefit.backends.types import Target
from servefit.errors import ServefitError, StateError
from servefit.search.job import JobStopped
from servefit.search.progress import before_search
from servefit.search.recommendation import CompilationReport, Skipped

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact
    from servefit.profiler.types import InstanceProfile
    from servefit.search.clock import Clock
    from servefit.search.progress import Progress
    from servefit.search.request import JobRequest
    from servefit.search.space import Choice
    from servefit.search.steps import Step
    from servefit.search.storage.log import JobLog

BUDGET_SHARE = 0.25
"""A compilation estimated above this part of the job's budget is not begun unasked."""


COMPILING_SHARE = 0.4
"""When this part of the job's budget is over, nothing more is compiled unasked: the rest is for measuring."""

WORTH_SAYING_S = 5.0


def compile_candidates(
    log: JobLog, payload: Payload, clock: Clock, progress: Progress
) -> tuple[list[Artifact], list[Skipped]]:
    """Compile the model of ``log``'s job with every backend that takes part, the reference first, each a step of the
    job; give the artifacts, and the backends that were left out.

    What a step says was compiled before comes from the cache without a new step, and what failed before is left alone.
    Raises JobStopped, StateError and StorageError alone: other failures are steps that failed.
    """
    artifacts: list[Artifact] = []
    skipped: list[Skipped] = []
    header = log.header
    before = {(one.backend, one.target): one for one in map(_report, log.steps()) if one is not None}
    for name, target in _candidates(header.model, header.request, header.profiles):
        if log.stop_requested():
            raise JobStopped
        label = name if target is Target.CPU else f"{name} ({target.value})"
        known = before.get((name, target))
        spent_s = clock.elapsed_s if artifacts else 0.0
        if known is None and (reason := _why_not(name, header.model, target, header.request, spent_s)):
            skipped.append(Skipped(kind="backend", name=label, reason=reason))
        elif known is None:
            progress.stage(f"compiling with {label}{_estimate(header.model, name, target)}", before_search(clock))
            with log.step("compilation", name, None) as step:
                report, artifact = _compile(header.model, name, target, payload)
                log.finish(step, status=report.status, result=report, reason=report.reason)
            artifacts.extend([] if artifact is None else [artifact])
        elif known.status == "COMPLETED":
            _, artifact = _compile(header.model, name, target, payload)
            artifacts.extend([] if artifact is None else [artifact])
    return artifacts, skipped


def _estimate(model: Model, name: str, target: Target) -> str:
    """How long compiling takes, where it is long."""
    from servefit.backends.compilation import estimate_s, is_cached

    seconds = estimate_s(model, name)
    return f", estimated at {seconds:.0f} s" if seconds >= WORTH_SAYING_S and not is_cached(model, name, target) else ""


def _report(step: Step) -> CompilationReport | None:
    return step.result if isinstance(step.result, CompilationReport) else None


def _compile(model: Model, name: str, target: Target, payload: Payload) -> tuple[CompilationReport, Artifact | None]:
    """Raises StateError."""
    from servefit.backends.compilation import compile_model

    began = time.monotonic()
    try:
        compilation = compile_model(model, name, payload=payload, target=target)
    except StateError:
        raise
    except ServefitError as error:
        seconds = time.monotonic() - began
        report = CompilationReport(backend=name, target=target, status="FAILED", seconds=seconds, reason=str(error))
        return report, None
    report = CompilationReport(
        backend=name,
        target=target,
        status="COMPLETED",
        seconds=compilation.seconds,
        cached=compilation.cached,
        version=compilation.artifact.backend_version,
    )
    return report, compilation.artifact


def choices(model: Model, artifacts: Sequence[Artifact], profiles: Sequence[InstanceProfile]) -> tuple[Choice, ...]:
    """The artifacts with their knobs in every size of envelope that ``profiles`` have."""
    from servefit.backends.registry import backend
    from servefit.search.space import Choice

    return tuple(
        Choice(
            artifact=artifact,
            vcpus=vcpus,
            knobs=backend(artifact.backend).knobs(model, vcpus, artifact.target),
        )
        for vcpus in sorted({profile.vcpus for profile in profiles})
        for artifact in artifacts
    )


def _candidates(model: Model, request: JobRequest, profiles: Sequence[InstanceProfile]) -> Iterator[tuple[str, Target]]:
    """The reference first, then what is compiled soonest: where time runs out, most backends have had their turn."""
    from servefit.backends.registry import backend_names

    names = request.backends or backend_names()
    targets = [Target.CPU, Target.CUDA] if any(profile.gpus for profile in profiles) else [Target.CPU]
    for name in sorted(names, key=lambda name: (name != model.reference, _expected_s(model, name))):
        for target in targets:
            yield name, target


def _expected_s(model: Model, name: str) -> float:
    """How long compiling is expected to take; for ever, with a backend that does not take the model."""
    from servefit.backends.registry import backend

    candidate = backend(name)
    return candidate.compile_estimate_s(model) if candidate.supports(model).available else inf


def _why_not(name: str, model: Model, target: Target, request: JobRequest, spent_s: float) -> str | None:
    from servefit.backends.compilation import is_cached
    from servefit.backends.registry import backend

    candidate = backend(name)
    for availability in (candidate.probe(target), candidate.supports(model)):
        if not availability.available:
            return "; ".join(part for part in (availability.reason, availability.remedy) if part)
    estimate_s = candidate.compile_estimate_s(model)
    limit_s = request.time_limit_s
    if limit_s is None or name in request.backends or is_cached(model, name, target):
        return None
    remedy = f"ask for it with --backend {name}, or compile it once with servefit compile"
    if estimate_s > limit_s * BUDGET_SHARE:
        return f"compiling is estimated at {estimate_s:.0f} s, too much of the job's {limit_s:g} s; {remedy}"
    if spent_s > limit_s * COMPILING_SHARE:
        return f"{spent_s:.0f} s of the job's {limit_s:g} s were over before it could be compiled; {remedy}"
    return None
