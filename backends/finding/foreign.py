"""Stands in for a backend of another package in processes that do not compile or serve.

The package is imported in a child process, bounded in time and memory, and asked everything at once (``questions``).
What it answers is remembered for as long as this process lives, as what is imported is.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from servefit.backends.finding.questions import Answers, ModelAnswers, refusal
from servefit.backends.types import Availability, Knob, Precision, Target
from servefit.errors import OutOfMemory, TimedOut, WorkerCrashed
from servefit.isolation import begin_isolated
from servefit.quantities import duration_text

if TYPE_CHECKING:
    from concurrent.futures import Future

    from servefit.backends.model import Model
    from servefit.plug_ins import Package

TIMEOUT_S = 10.0
"""The time that a package may take to be imported and to answer: numeric libraries take several seconds to import."""

MEMORY_BYTES = 16 * 2**30
"""A bound on address space, of which libraries reserve more than they use."""

_MAX_REMEMBERED = 64
"""More backends than anybody has installed. Their answers are small."""

_Subject: TypeAlias = tuple[str, str] | None
"""The digest and the format of a model, or None where only the backend itself is asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The entry point called ``name`` that leads to ``value`` in ``package``."""

    name: str
    value: str
    package: Package


@lru_cache(maxsize=_MAX_REMEMBERED)
def foreign_backend(origin: Origin) -> ForeignBackend:
    """Return the backend that stands in for what is installed there."""
    return ForeignBackend(origin)


class ForeignBackend:
    """The answers of the backend of ``origin``. A package that cannot be asked, or that keeps no promise, is not
    available, with the reason."""

    def __init__(self, origin: Origin) -> None:
        self.name = origin.name
        self._origin = origin
        self._lock = threading.Lock()
        self._asked: dict[_Subject, Future[bytes]] = {}
        self._known: dict[_Subject, Answers] = {}

    @property
    def precision(self) -> Precision:
        return self._of_itself().precision

    @property
    def calibrates(self) -> bool:
        return self._of_itself().calibrates

    def begin(self, model: Model | None = None, *, timeout_s: float | None = None) -> None:
        """Have it begin to answer, within ``timeout_s`` and no longer than is usual, unless it was asked already."""
        with self._lock:
            self._begin(model, TIMEOUT_S if timeout_s is None else min(timeout_s, TIMEOUT_S))

    def has_answered(self, model: Model) -> bool:
        """Return whether its answers about ``model`` are known without waiting for them."""
        subject = _subject(model)
        return subject in self._known or (subject in self._asked and self._asked[subject].done())

    def probe(self, target: Target = Target.CPU) -> Availability:
        return self._of_itself().targets[target]

    def supports(self, model: Model) -> Availability:
        return self._of_model(model).supported

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        by_vcpus = self._of_model(model).knobs.get(target)
        # No envelope here is larger than the host.
        return by_vcpus[min(vcpus, len(by_vcpus)) - 1] if by_vcpus else ()

    def compile_estimate_s(self, model: Model) -> float:
        return self._of_model(model).compile_estimate_s

    def cache_key(self) -> str:
        return self._of_itself().cache_key

    def _of_itself(self) -> Answers:
        with self._lock:
            if not self._known:
                if not self._asked:
                    self._begin(None, TIMEOUT_S)
                # Whatever it was asked about, it answers this too.
                self._collect(next(iter(self._asked)))
            return next(iter(self._known.values()))

    def _of_model(self, model: Model) -> ModelAnswers:
        subject = _subject(model)
        with self._lock:
            self._begin(model, TIMEOUT_S)
            self._collect(subject)
            about = self._known[subject].model
        if about is None:
            raise RuntimeError(f"{self.name} was asked about a model and answered nothing")
        return about

    def _begin(self, model: Model | None, timeout_s: float) -> None:
        subject, origin = _subject(model), self._origin
        if subject not in self._known and subject not in self._asked:
            self._asked[subject] = begin_isolated(
                "servefit.backends.finding.questions:answer",
                *(origin.name, origin.package, model, os.cpu_count() or 1),
                timeout_s=timeout_s,
                memory_bytes=MEMORY_BYTES,
            )

    def _collect(self, subject: _Subject) -> None:
        import msgspec

        if subject in self._known:
            return
        try:
            answers = msgspec.json.decode(self._asked.pop(subject).result(), type=Answers)
        except TimedOut as error:
            answers = self._late(error)
        except WorkerCrashed as error:
            answers = self._refusing(f"asked what it can do, it {error.reason}")
        except OutOfMemory as error:
            answers = self._refusing(f"asked what it can do, it died: {error.reason}")
        self._known[subject] = answers

    def _late(self, error: TimedOut) -> Answers:
        if error.budget is None:
            return self._refusing(f"it did not say within {duration_text(error.limit_s, digits=2)} what it can do")
        # That is no fault of the package.
        late = error.called("the question what it can do")
        return Answers.refusing(Availability.no(late.message, remedy=late.remedy))

    def _refusing(self, problem: str) -> Answers:
        return Answers.refusing(refusal(problem, self._origin.package))


def _subject(model: Model | None) -> _Subject:
    return None if model is None else (model.digest, model.format.value)
