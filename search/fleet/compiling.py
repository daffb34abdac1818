"""Compilation on another host: asked for as a whole, and answered with what became of every backend there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.backends.types import Artifact, Knob, Target
from servefit.search.results.recommendation import CompilationReport, Skipped
from servefit.search.storage.header import JobHeader
from servefit.search.storage.steps import Step, StepClock
from servefit.stored import Stored

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.space import Choice
    from servefit.search.storage.steps import Result, StepKind, StepStatus


class Compile(Stored, frozen=True, kw_only=True):
    """Compile the model of the job with every backend that takes part. ``before`` are the compilations that the job
    knows of."""

    before: tuple[CompilationReport, ...] = ()


class CompiledBackend(Stored, frozen=True, kw_only=True):
    """A backend in an envelope of ``vcpus``, with the knobs that it offers on the host that has its artifact in
    ``folder``. The backend's own notes stay there."""

    backend: str
    backend_version: str
    model_digest: str
    target: Target
    folder: Path
    vcpus: int
    knobs: tuple[Knob, ...]

    @classmethod
    def of(cls, choice: Choice) -> CompiledBackend:
        """Return a choice as a document."""
        artifact = choice.artifact
        return cls(
            backend=artifact.backend,
            backend_version=artifact.backend_version,
            model_digest=artifact.model_digest,
            target=artifact.target,
            folder=artifact.folder,
            vcpus=choice.vcpus,
            knobs=choice.knobs,
        )

    def as_choice(self) -> Choice:
        """Return the choice."""
        from servefit.search.request.space import Choice

        artifact = Artifact(
            backend=self.backend,
            backend_version=self.backend_version,
            model_digest=self.model_digest,
            target=self.target,
            folder=self.folder,
        )
        return Choice(artifact=artifact, vcpus=self.vcpus, knobs=self.knobs)


class Compiled(Stored, frozen=True, kw_only=True):
    """The outcome of compiling: a report for every backend that was tried, with when it began and ended, in seconds
    since 1970 by the clock of the host; those that were left out, and what else there is to say."""

    reports: tuple[tuple[CompilationReport, float, float], ...]
    choices: tuple[CompiledBackend, ...]
    skipped: tuple[Skipped, ...]
    remarks: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class CompilationNotes:
    """The compilations on a host that keeps no job, which are passed on to the one that does."""

    header: JobHeader
    before: tuple[CompilationReport, ...]
    ended: list[Step] = field(default_factory=list)
    _clock: StepClock = field(default_factory=StepClock)

    def steps(self) -> tuple[Step, ...]:
        """Return the compilations that were made before."""
        return tuple(
            self._step(nth, report.backend, result=report, status=report.status)
            for nth, report in enumerate(self.before, start=1)
        )

    @contextmanager
    def step(self, kind: StepKind, backend: str, configuration: Configuration | None) -> Iterator[Step]:
        """Begin a compilation."""
        yield replace(self._step(len(self.ended) + 1, backend), kind=kind, configuration=configuration)

    def finish(
        self, step: Step, *, status: StepStatus, result: Result | None = None, reason: str | None = None
    ) -> Step:
        """Take note of what came of a compilation."""
        ended = replace(step, status=status, result=result, reason=reason, ended_at=self._clock.now())
        self.ended.append(ended)
        return ended

    def stop_requested(self) -> bool:
        """Return False: the compilation is stopped by ending this process."""
        return False

    def _step(self, number: int, backend: str, *, result: Result | None = None, status: StepStatus = "RUNNING") -> Step:
        return Step(
            number=number,
            kind="compilation",
            status=status,
            backend=backend,
            configuration=None,
            host_fingerprint=self.header.host.fingerprint,
            began_at=self._clock.now(),
            result=result,
        )
