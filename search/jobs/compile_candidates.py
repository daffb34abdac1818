"""The choice of the backends that take part in a job, and their artifacts.

A backend that cannot run here, does not take the model, fails to compile or predicts something else than the reference
is reported and left out; so is one whose compilation would eat the job's budget, unless it was asked for by name or
its artifact is in the cache already. One that does not end is ended, so that the others have their turn. Which ones,
and how long each may take, is for ``compilation_rules``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Protocol, TypeAlias

from servefit.backends.types import Precision, Target
from servefit.errors import ServefitError, StateError, TimedOut
from servefit.quantities import duration_text
from servefit.search.jobs.compilation_rules import MIN_S, CompilationRules, may_be_compiled_beside
from servefit.search.jobs.job import JobStopped
from servefit.search.optimizer.progress import before_search, counting_down
from servefit.search.results.recommendation import CompilationReport, Skipped
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.quality.findings import Quality
    from servefit.backends.quality.limits import PrecisionLimits
    from servefit.backends.types import Artifact
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.space import Choice
    from servefit.search.storage.header import JobHeader
    from servefit.search.storage.steps import Result, Step, StepKind, StepStatus

_Outcome: TypeAlias = "tuple[CompilationReport, Artifact | ServefitError]"
"""The report of a compilation, and the artifact, or why there is none."""

WORTH_SAYING_S = 5.0
"""An estimate below that is not reported: the compilation is over before a user wonders. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCandidates:
    """The outcome of compiling: ``artifacts``. ``skipped`` backends were left out, ``remarks`` say which were cut
    short."""

    artifacts: list[Artifact] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, label: str, outcome: Artifact | ServefitError, limit_s: float, clock: Clock) -> None:
        """Add what was compiled, or a remark where it was cut short after ``limit_s``."""
        if not isinstance(outcome, ServefitError):
            self.artifacts.append(outcome)
        elif _timed_out(outcome):
            self.remarks.append(
                f"{label} was not compiled and checked within the {duration_text(limit_s, digits=2)} that it had: "
                f"{outcome.message}; use {clock.budget.option()} or more"
            )

    def take_up(self, label: str, outcome: Artifact | ServefitError) -> None:
        """Add what was compiled before the job was interrupted, as far as it still can be."""
        if isinstance(outcome, ServefitError):
            self.remarks.append(f"{label} was compiled before the job was taken up again, and cannot be now: {outcome}")
        else:
            self.artifacts.append(outcome)


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
    rules = CompilationRules(
        offered=offered, model=model, request=request, payload=payload, clock=clock, compiled=candidates.artifacts
    )
    with _Compilations(model=model, payload=payload, limits=request.precision) as compilations:
        for name, target in rules.candidates(log.header.profiles, progress):
            if log.stop_requested():
                raise JobStopped
            label = name if target is Target.CPU else f"{name} ({target.value})"
            if (earlier := before.get((name, target))) is not None:
                if earlier.status == "COMPLETED":
                    compilations.begin(name, target, DEFAULT_TIMEOUT_S, earlier.quality)
                    _, outcome = compilations.take(name, target).future.result()
                    candidates.take_up(label, outcome)
                continue
            if not compilations.is_begun(name, target):
                if reason := rules.why_not(name, target) or nothing_to_compare:
                    candidates.skipped.append(Skipped(kind="backend", name=label, reason=reason))
                    continue
                compilations.begin(name, target, min(rules.limit_s(name, target), DEFAULT_TIMEOUT_S))
            compilation, doing = compilations.take(name, target), f"compiling with {label}"
            progress.stage(f"{doing}{_estimate(model, name, target, payload)}", before_search(clock))
            left_s, moment = compilation.left_s, partial(before_search, clock)
            with log.step("compilation", name, None) as step, counting_down(progress, doing, moment, left_s):
                # Once there is an artifact it is known what the reference predicts, which others are compared with.
                if candidates.artifacts and may_be_compiled_beside(log.header.host, model):
                    _begin_next(rules, compilations, before)
                report, outcome = compilation.future.result()
                log.finish(step, status=report.status, result=report, reason=report.reason)
            if isinstance(outcome, NoReference):
                nothing_to_compare = (
                    f"{model.reference} did not say what it predicts, which is what backends are held to"
                )
            candidates.add(label, outcome, compilation.limit_s, clock)
    return candidates


def _begin_next(
    rules: CompilationRules, compilations: _Compilations, before: Mapping[tuple[str, Target], CompilationReport]
) -> None:
    """Begin to compile what is compiled next, beside what is compiled now, unless it was begun already."""
    from servefit.backends.compilation import DEFAULT_TIMEOUT_S

    target = Target.CPU
    for name in rules.ready():
        if compilations.is_begun(name, target):
            return
        if (name, target) not in before and rules.why_not(name, target) is None:
            compilations.begin(name, target, min(rules.limit_s(name, target), DEFAULT_TIMEOUT_S))
            return


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compilation:
    """A compilation that was begun, which may take ``limit_s``, until ``ends_s`` of the monotonic clock."""

    future: Future[_Outcome]
    limit_s: float
    ends_s: float

    @property
    def left_s(self) -> float:
        """The seconds that it may still take."""
        return max(0.0, self.ends_s - time.monotonic())


@dataclass(slots=True, kw_only=True)
class _Compilations:
    """The compilations of a job, two at once at most. Those that nobody waits for any more end with the block."""

    model: Model
    payload: Payload
    limits: PrecisionLimits
    _begun: dict[tuple[str, Target], _Compilation] = field(default_factory=dict)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "servefit compilation"))
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> _Compilations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._threads.shutdown(cancel_futures=True)

    def is_begun(self, name: str, target: Target) -> bool:
        """Return whether the compilation with the backend was begun."""
        return (name, target) in self._begun

    def begin(self, name: str, target: Target, limit_s: float, quality: Quality | None = None) -> None:
        """Begin to compile, for ``limit_s`` at most. ``quality`` is what the job has found of the artifact before."""
        with time_limit(lambda: 0.0 if self._over.is_set() else inf):
            context = copy_context()
        future = self._threads.submit(context.run, self._compile, name, target, limit_s, quality)
        self._begun[name, target] = _Compilation(future=future, limit_s=limit_s, ends_s=time.monotonic() + limit_s)

    def take(self, name: str, target: Target) -> _Compilation:
        """Return a compilation that was begun, whose turn has come."""
        return self._begun.pop((name, target))

    def _compile(self, name: str, target: Target, limit_s: float, quality: Quality | None) -> _Outcome:
        from servefit.backends.compilation import compile_again

        began = time.monotonic()
        try:
            compilation = compile_again(
                self.model,
                name,
                payload=self.payload,
                target=target,
                precision=self.limits,
                quality=quality,
                timeout_s=limit_s,
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


def _timed_out(error: BaseException | None) -> bool:
    """Return whether ``error`` goes back to something that did not end in time."""
    return error is not None and (isinstance(error, TimedOut) or _timed_out(error.__cause__))
