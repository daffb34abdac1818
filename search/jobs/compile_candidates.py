"""The choice of the backends that take part in a job, and their artifacts.

A backend that cannot run here, does not take the model, fails to compile or predicts something else than the reference
is reported and left out; so is one whose compilation would eat the job's budget, unless it was asked for by name or
its artifact is in the cache already. One that does not end is ended, so that the others have their turn.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Protocol

from servefit.backends.types import Precision, Target
from servefit.errors import ServefitError, StateError, TimedOut
from servefit.quantities import duration_text, given_duration_text, span_text
from servefit.search.jobs.job import JobStopped
from servefit.search.optimizer.clock import SHARE
from servefit.search.optimizer.progress import before_search, counting_down
from servefit.search.results.measure_trial import min_test_s
from servefit.search.results.recommendation import CompilationReport, Skipped

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.quality.findings import Quality
    from servefit.backends.quality.limits import PrecisionLimits
    from servefit.backends.types import Artifact, Capabilities
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Choice
    from servefit.search.storage.header import JobHeader
    from servefit.search.storage.steps import Result, Step, StepKind, StepStatus

COMPILING_SHARE = 0.3
COMPILED_SHARE = 0.4
"""When the first part of the job's budget is over, nothing more is compiled unasked, and when the second is, what was
begun is ended: the rest is for measuring. Chosen, not measured."""

MIN_S = 3.0
QUICK_S = 2.0
"""A compilation with its check has no less than the first, where there is as much: three processes import a library
each, which takes one to two seconds on an idle machine. Unasked it is begun where there is the second, or what it is
estimated at if that is more."""

TIMES_ESTIMATE = 10
"""It has so many times its own estimate, which is meant to tell the order of magnitude: within its share of the job's
time, or more than that where it was asked for by name."""

WORTH_SAYING_S = 5.0
"""An estimate below that is not reported: the compilation is over before a user wonders. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCandidates:
    """The outcome of compiling: ``artifacts``. ``skipped`` backends were left out, ``remarks`` say which were cut
    short."""

    artifacts: list[Artifact] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


class CompilationLog(Protocol):
    """Where compilations are kept as steps of a job: the log of a job, or whatever passes them on to it."""

    @property
    def header(self) -> JobHeader:
        """The header of the job."""
        ...

    def steps(self) -> tuple[Step, ...]:
        """Return the steps that the job has had."""
        ...

    def step(self, kind: StepKind, backend: str, configuration: Configuration | None) -> AbstractContextManager[Step]:
        """Begin a step; see ``JobLog.step``."""
        ...

    def finish(
        self, step: Step, *, status: StepStatus, result: Result | None = None, reason: str | None = None
    ) -> Step:
        """Keep what came of ``step``."""
        ...

    def stop_requested(self) -> bool:
        """Return whether the process that works on the job is asked to end it."""
        ...


def compile_candidates(log: CompilationLog, payload: Payload, clock: Clock, progress: Progress) -> CompiledCandidates:
    """Compile the model of ``log``'s job with every backend that takes part, the reference first, each a step of the
    job.

    What a step says was compiled before comes from the cache without a new step, and what failed before is left alone.
    A backend whose package was removed since the job began is left out.
    Raises JobStopped, StateError and StorageError alone: other failures are steps that failed.
    """
    from servefit.backends.checking.verification import NoReference
    from servefit.backends.compilation import DEFAULT_TIMEOUT_S
    from servefit.backends.finding.capabilities import ask_backends, of_precision
    from servefit.backends.finding.registry import candidate_names

    model, request = log.header.model, log.header.request
    before = {(report.backend, report.target): report for report in map(_report, log.steps()) if report is not None}
    # Backends of other packages answer while the first of ours is compiled.
    allowed = (Precision.EXACT, *map(Precision, request.precision.allowed))
    names = request.backends or of_precision(candidate_names(model.library), allowed)
    offered = ask_backends(names, model, timeout_s=clock.share_s(MIN_S))
    gone = dict.fromkeys(name for name, _ in before if name not in offered)
    candidates, nothing_to_compare = CompiledCandidates(skipped=[_gone(name) for name in gone]), ""
    rules = _CompilationRules(
        offered=offered, model=model, request=request, payload=payload, clock=clock, found=candidates
    )
    for name, target in rules.candidates(log.header.profiles, progress):
        if log.stop_requested():
            raise JobStopped
        label = name if target is Target.CPU else f"{name} ({target.value})"
        if (earlier := before.get((name, target))) is not None:
            if earlier.status == "COMPLETED":
                limits = request.precision
                _, outcome = _compile(model, name, target, payload, limits, DEFAULT_TIMEOUT_S, earlier.quality)
                if isinstance(outcome, ServefitError):
                    candidates.remarks.append(
                        f"{label} was compiled before the job was taken up again, and cannot be now: {outcome}"
                    )
                else:
                    candidates.artifacts.append(outcome)
            continue
        if reason := rules.why_not(name, target) or nothing_to_compare:
            candidates.skipped.append(Skipped(kind="backend", name=label, reason=reason))
            continue
        limit_s = min(rules.limit_s(name, target), DEFAULT_TIMEOUT_S)
        doing = f"compiling with {label}"
        progress.stage(f"{doing}{_estimate(model, name, target, payload)}", before_search(clock))
        moment = partial(before_search, clock)
        with log.step("compilation", name, None) as step, counting_down(progress, doing, moment, limit_s):
            report, outcome = _compile(model, name, target, payload, request.precision, limit_s)
            log.finish(step, status=report.status, result=report, reason=report.reason)
        if isinstance(outcome, NoReference):
            nothing_to_compare = f"{model.reference} did not say what it predicts, which is what backends are held to"
        if not isinstance(outcome, ServefitError):
            candidates.artifacts.append(outcome)
        elif _timed_out(outcome):
            candidates.remarks.append(
                f"{label} was not compiled and checked within the {duration_text(limit_s, digits=2)} that it had: "
                f"{outcome.message}; use {clock.budget.option()} or more"
            )
    return candidates


def _gone(name: str) -> Skipped:
    """Return that the backend is left out because no package offers it any more."""
    reason = "no package offers it any more; install again what offered it when the job began"
    return Skipped(kind="backend", name=name, reason=reason)


def _estimate(model: Model, name: str, target: Target, payload: Payload) -> str:
    """Return how long compiling takes, in words; empty where it is short."""
    from servefit.backends.compilation import estimate_s, is_cached

    seconds = estimate_s(model, name)
    if seconds < WORTH_SAYING_S or is_cached(model, name, target, payload):
        return ""
    return f", estimated at {seconds:.0f} s"


def _report(step: Step) -> CompilationReport | None:
    """Return the report of a compilation, None for another step."""
    return step.result if isinstance(step.result, CompilationReport) else None


def _compile(
    model: Model,
    name: str,
    target: Target,
    payload: Payload,
    limits: PrecisionLimits,
    limit_s: float,
    quality: Quality | None = None,
) -> tuple[CompilationReport, Artifact | ServefitError]:
    """Compile, and return what came of it, and the artifact, or why there is none. ``quality`` is what the job has
    found of the artifact before. Raises StateError."""
    from servefit.backends.compilation import compile_again

    began = time.monotonic()
    try:
        compilation = compile_again(
            model, name, payload=payload, target=target, precision=limits, quality=quality, timeout_s=limit_s
        )
    except StateError:
        raise
    except ServefitError as error:
        seconds = time.monotonic() - began
        report = CompilationReport(backend=name, target=target, status="FAILED", seconds=seconds, reason=str(error))
        return report, error
    report = CompilationReport(
        backend=name,
        target=target,
        status="COMPLETED",
        seconds=compilation.seconds,
        cached=compilation.cached,
        version=compilation.artifact.backend_version,
        quality=compilation.quality,
    )
    return report, compilation.artifact


def choices(model: Model, artifacts: Sequence[Artifact], profiles: Sequence[InstanceProfile]) -> tuple[Choice, ...]:
    """Return the artifacts with their knobs in every size of envelope that ``profiles`` have."""
    from servefit.backends.finding.capabilities import backend
    from servefit.search.request.space import Choice

    return tuple(
        Choice(
            artifact=artifact,
            vcpus=vcpus,
            knobs=backend(artifact.backend).knobs(model, vcpus, artifact.target),
        )
        for vcpus in sorted({profile.vcpus for profile in profiles})
        for artifact in artifacts
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _CompilationRules:
    """The rules by which backends ``offered`` to the job are compiled: which, in which order, and for how long;
    ``found`` is what came of it so far."""

    offered: Mapping[str, Capabilities]
    model: Model
    request: JobRequest
    payload: Payload
    clock: Clock
    found: CompiledCandidates

    def candidates(self, profiles: Sequence[InstanceProfile], progress: Progress) -> Iterator[tuple[str, Target]]:
        """Yield what may be compiled, the reference first, then what is known to compile, or is ours, and of that what
        is compiled soonest: where time runs out, most backends have had their turn. A backend that does not say what it
        can do is waited for when there is nothing else to do."""
        targets = [Target.CPU, Target.CUDA] if any(profile.gpus for profile in profiles) else [Target.CPU]
        waiting = list(self.offered)
        while waiting:
            if ready := list(filter(self._has_answered, waiting)):
                chosen = min(ready, key=self._order)
            else:
                chosen = waiting[0]
                if not self._is_late(chosen):
                    progress.stage(f"waiting for {chosen} to say what it can do", before_search(self.clock))
            waiting.remove(chosen)
            for target in targets:
                yield chosen, target

    def why_not(self, name: str, target: Target) -> str | None:
        """Return why a backend is left out, None where it is not."""
        from servefit.backends.compilation import is_cached
        from servefit.backends.finding.registry import BUILT_IN

        capabilities, budget_s = self.offered[name], self.request.time_limit_s
        if self._is_late(name) and not self._has_answered(name):
            return self._too_late(name)
        allowed = (Precision.EXACT, *self.request.precision.allowed)
        if not self._is_asked_for(name) and capabilities.precision not in allowed:
            return f"it computes in {capabilities.precision}; allow that with --allow-precision and a limit"
        asked = [capabilities.probe(target), capabilities.supports(self.model)]
        # No library is named that cannot serve such a model. What another package offers may not be there to say so.
        for availability in reversed(asked) if name in BUILT_IN else asked:
            if not availability.available:
                return "; ".join(part for part in (availability.reason, availability.remedy) if part)
        if budget_s is None or is_cached(self.model, name, target, self.payload):
            return None
        estimate_s = capabilities.compile_estimate_s(self.model)
        if not self._is_asked_for(name) and estimate_s > SHARE * budget_s:
            expected, whole = span_text(estimate_s), given_duration_text(budget_s)
            return f"compiling is estimated at {expected}, too much of the job's {whole}; {self._remedy(name)}"
        return self._too_late(name) if self._is_late(name) or self.limit_s(name, target) <= 0 else None

    def limit_s(self, name: str, target: Target) -> float:
        """Return how long compiling and checking may take. Without the reference there is nothing to measure; of the
        others each has its share, and what was asked for by name as long as it may need. The time for a test is
        left."""
        from servefit.backends.compilation import is_cached

        if is_cached(self.model, name, target, self.payload):
            return self.clock.left_s
        left_s = self.clock.left_s - min_test_s(self.request)
        if name == self.model.reference:
            return left_s
        ample_s, share_s = max(MIN_S, TIMES_ESTIMATE * self._expected_s(name)), self.clock.share_s(MIN_S)
        if self._is_asked_for(name) or not self.found.artifacts:
            return min(left_s, max(ample_s, share_s))
        return min(left_s, ample_s, share_s, COMPILED_SHARE * self.clock.limit_s - self.clock.elapsed_s)

    def _is_late(self, name: str) -> bool:
        """Return whether it is too late to compile ``name``, which was not asked for, and need not be compiled."""
        if self._is_asked_for(name) or not self.found.artifacts:
            return False
        whole_s, spent_s = self.clock.limit_s, self.clock.elapsed_s
        takes_s = max(QUICK_S, self._expected_s(name)) if self._has_answered(name) else QUICK_S
        return spent_s > min(COMPILING_SHARE * whole_s, COMPILED_SHARE * whole_s - takes_s)

    def _too_late(self, name: str) -> str:
        """Return that it was too late to compile ``name``, in words."""
        used = f"{span_text(self.clock.elapsed_s)} of the {self.clock.budget} were used before it was its turn"
        return f"skipped: {used}; {self._remedy(name)}"

    def _remedy(self, name: str) -> str:
        """Return, in words, what would have ``name`` compiled."""
        more = "" if self._is_asked_for(name) else f"--backend {name} or "
        return f"add {more}a longer --budget, or compile it once with servefit compile"

    def _is_asked_for(self, name: str) -> bool:
        """Return whether the job was given the backend by name."""
        return name in self.request.backends

    def _has_answered(self, name: str) -> bool:
        """Return whether the backend has said what it can do."""
        from servefit.backends.finding.capabilities import has_answered

        return has_answered(self.offered[name], self.model)

    def _order(self, name: str) -> tuple[bool, bool, float]:
        """Return the key to sort backends by, the first to compile first."""
        from servefit.backends.compilation import is_cached
        from servefit.backends.finding.registry import BUILT_IN

        certain = name in BUILT_IN or is_cached(self.model, name, payload=self.payload)
        return name != self.model.reference, not certain, self._expected_s(name)

    def _expected_s(self, name: str) -> float:
        """Return how long compiling is expected to take; infinite for a backend that does not take the model."""
        capabilities = self.offered[name]
        return capabilities.compile_estimate_s(self.model) if capabilities.supports(self.model).available else inf


def _timed_out(error: BaseException | None) -> bool:
    """Return whether ``error`` goes back to something that did not end in time."""
    return error is not None and (isinstance(error, TimedOut) or _timed_out(error.__cause__))
