"""Which backends take part in a job, and their artifacts.

A backend that cannot run here, does not take the model, fails to compile or predicts something else than the reference
is reported and left out; so is one whose compilation would eat the job's budget, unless it was asked for by name or
its artifact is in the cache already.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servefit.backends.types import Target
from servefit.errors import ServefitError, StateError
from servefit.search.recommendation import CompilationReport, Skipped

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact
    from servefit.profiler.types import InstanceProfile
    from servefit.search.progress import Progress
    from servefit.search.request import JobRequest
    from servefit.search.space import Choice

BUDGET_SHARE = 0.25
"""A compilation estimated above this part of the job's budget is not begun unasked."""


COMPILING_SHARE = 0.4
"""When this part of the job's budget is over, nothing more is compiled unasked: the rest is for measuring."""


@dataclass(slots=True, kw_only=True)
class Compilations:
    """What was compiled so far; filled as it happens, so that an interrupted job can show it."""

    artifacts: list[Artifact] = field(default_factory=list)
    reports: list[CompilationReport] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def compile_candidates(
    into: Compilations,
    model: Model,
    payload: Payload,
    request: JobRequest,
    profiles: Sequence[InstanceProfile],
    progress: Progress,
    *,
    started_s: float,
) -> None:
    """Compile ``model`` with every backend that takes part, the reference first, in a job that began at ``started_s``
    on the monotonic clock. Raises StateError alone: other failures are entries of ``into``."""
    from servefit.backends.compilation import compile_model

    for name, target in _candidates(model, request, profiles):
        label = name if target is Target.CPU else f"{name} ({target.value})"
        spent_s = time.monotonic() - started_s if into.artifacts else 0.0
        if reason := _why_not(name, model, target, request, spent_s):
            into.skipped.append(Skipped(kind="backend", name=label, reason=reason))
            continue
        progress.stage(f"compiling with {label}")
        began = time.monotonic()
        try:
            compilation = compile_model(model, name, payload=payload, target=target)
        except StateError:
            raise
        except ServefitError as error:
            seconds = time.monotonic() - began
            into.reports.append(
                CompilationReport(backend=name, target=target, status="FAILED", seconds=seconds, reason=str(error))
            )
            continue
        into.artifacts.append(compilation.artifact)
        into.reports.append(
            CompilationReport(
                backend=name,
                target=target,
                status="COMPLETED",
                seconds=compilation.seconds,
                cached=compilation.cached,
            )
        )


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
    from servefit.backends.registry import backend_names

    names = request.backends or backend_names()
    targets = [Target.CPU, Target.CUDA] if any(profile.gpus for profile in profiles) else [Target.CPU]
    for name in sorted(names, key=lambda name: name != model.reference):
        for target in targets:
            yield name, target


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
