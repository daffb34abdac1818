"""The rules by which a job compiles backends: which ones, in which order, and how long each may take.

That it is done, and what came of it, is for ``compile_candidates``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from servefit.backends.types import Precision, Target
from servefit.profiler.machine.profiles import usable_cpus
from servefit.quantities import given_duration_text, span_text
from servefit.search.optimizer.clock import SHARE
from servefit.search.optimizer.progress import before_search
from servefit.search.results.measure_trial import min_test_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.types import Artifact, Capabilities
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.job_request import JobRequest

COMPILING_SHARE = 0.3
COMPILED_SHARE = 0.4
"""When the first part of the job's budget is over, nothing more is compiled unasked, and when the second is, what was
begun is ended: the rest is for measuring. Chosen, not measured."""

FIRST_SHARE = 0.6
"""The first backend beside the reference has so much of the budget for both: with the reference alone there is nothing
to choose from. A small pipeline of scikit-learn, whose library alone takes 8 of 20 s to open and check on two cores of
an Intel Xeon, is compiled by then, and there is time for a test. Chosen."""

MIN_S = 3.0
QUICK_S = 2.0
"""A compilation with its check has no less than the first, where there is as much: three processes import a library
each, which takes one to two seconds on an idle machine. Unasked it is begun where there is the second, or what it is
estimated at if that is more."""

TIMES_ESTIMATE = 10
"""It has so many times its own estimate, which is meant to tell the order of magnitude: within its share of the job's
time, or more than that where it was asked for by name."""

MEMORY_FOR_ONE = 100
"""A compiler may need so many times the size of a model's file; two at once need twice that. Chosen, not measured."""


def may_be_compiled_beside(host: Host, model: Model) -> bool:
    """Return whether ``host`` has the CPUs and the memory to compile ``model`` with two backends at once."""
    return usable_cpus(host) > 1 and 2 * MEMORY_FOR_ONE * model.size_bytes <= host.memory_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilationRules:
    """The rules for the backends ``offered`` to a job, of which ``compiled`` are the artifacts that there are so far.
    ``waiting`` are the names whose turn is still to come."""

    offered: Mapping[str, Capabilities]
    model: Model
    request: JobRequest
    payload: Payload
    clock: Clock
    compiled: list[Artifact]
    waiting: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting.extend(self.offered)

    def candidates(self, profiles: Sequence[InstanceProfile], progress: Progress) -> Iterator[tuple[str, Target]]:
        """Yield what may be compiled, the reference first, then what is known to compile, or is ours, and of that what
        is compiled soonest: where time runs out, most backends have had their turn. A backend that does not say what it
        can do is waited for when there is nothing else to do."""
        targets = [Target.CPU, Target.CUDA] if any(profile.gpus for profile in profiles) else [Target.CPU]
        while self.waiting:
            if (chosen := next(iter(self.ready()), None)) is None:
                chosen = self.waiting[0]
                if not self._is_late(chosen):
                    progress.stage(f"waiting for {chosen} to say what it can do", before_search(self.clock))
            self.waiting.remove(chosen)
            for target in targets:
                yield chosen, target

    def ready(self) -> list[str]:
        """Return those that have said what they can do and whose turn is still to come, the next one first."""
        return sorted(filter(self._has_answered, self.waiting), key=self._order)

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
        if budget_s is None:
            return None
        if is_cached(self.model, name, target, self.payload):
            return None if self.clock.left_s > 0 else f"skipped: {self._used_up()}; set a longer --budget"
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
        if self._is_asked_for(name) or not self.compiled:
            return min(left_s, max(ample_s, share_s))
        ends_s = (FIRST_SHARE if self._is_first(name) else COMPILED_SHARE) * self.clock.limit_s
        return min(left_s, ample_s, share_s, ends_s - self.clock.elapsed_s)

    def _is_late(self, name: str) -> bool:
        """Return whether it is too late to compile ``name``, which was not asked for, and need not be compiled."""
        if self._is_asked_for(name) or not self.compiled:
            return False
        whole_s, spent_s = self.clock.limit_s, self.clock.elapsed_s
        takes_s = max(QUICK_S, self._expected_s(name)) if self._has_answered(name) else QUICK_S
        if self._is_first(name):
            return spent_s > FIRST_SHARE * whole_s - takes_s
        return spent_s > min(COMPILING_SHARE * whole_s, COMPILED_SHARE * whole_s - takes_s)

    def _is_first(self, name: str) -> bool:
        """Return whether no backend but the reference had its turn before ``name``."""
        return self.offered.keys() - self.waiting <= {self.model.reference, name}

    def _too_late(self, name: str) -> str:
        """Return that it was too late to compile ``name``, in words."""
        return f"skipped: {self._used_up()}; {self._remedy(name)}"

    def _used_up(self) -> str:
        return f"{span_text(self.clock.elapsed_s)} of the {self.clock.budget} were used before it was its turn"

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
