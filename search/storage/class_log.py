"""One job as far as one class of the hosts of a fleet is concerned: the same log, of what is measured on its hosts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from servefit.search.storage import records

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study

    from servefit.backends.types import KnobValue
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.host_timing import HostTiming
    from servefit.search.storage.header import JobHeader, JobState
    from servefit.search.storage.log import JobLog
    from servefit.search.storage.steps import Attempt, Result, Step, StepKind, StepStatus


class ClassLog:
    """The log of one class of hosts in ``log``, that of the host named ``representative``: a state and a study of its
    own, and the steps that were carried out on hosts of the class. The owner of the job writes through it, for several
    classes from as many threads. Reading and writing raise as those of the log."""

    def __init__(self, log: JobLog, representative: str) -> None:
        """Raises SpecError for a host that the job does not measure on."""
        self.name = log.name
        self.header: JobHeader = log.header.on(representative)
        self.representative = representative
        hosts = log.header.hosts
        (nth,) = (nth for nth, host in log.header.representatives.items() if host.name == representative)
        alike = [host for host in hosts if host.host_class == hosts[nth].host_class]
        self._fingerprints = {host.name: host.host.fingerprint for host in alike}
        self._timings = {host.name: host.timing for host in alike}
        self._state_key = records.state_key(nth)
        self._log = log

    def timing_of(self, host: str) -> HostTiming | None:
        """Return how long a host of the class took when it was compared with its twins, None where that is not
        known."""
        return self._timings.get(host)

    @property
    def state(self) -> JobState:
        """The state of what is done on the class, as it is kept."""
        return self._log.state_of(self._state_key)

    def set_state(self, state: JobState) -> None:
        """Keep ``state``."""
        self._log.set_state(state, self._state_key)

    @property
    def written(self) -> dict[int, Step]:
        """The steps on the class that were begun or ended through the log, by number."""
        return {number: step for number, step in self._log.written.items() if self._is_here(step)}

    def steps(self) -> tuple[Step, ...]:
        """Return the steps on the class in the order in which they began."""
        return tuple(step for step in self._log.steps() if self._is_here(step))

    def step(
        self,
        kind: StepKind,
        backend: str,
        configuration: Configuration | None,
        *,
        attempt: Attempt | None = None,
    ) -> AbstractContextManager[Step]:
        """Begin a step by ``attempt`` on a host of the class; see ``JobLog.step``. Raises ValueError where the attempt
        is of another host, or there is none: nothing else says where a step was carried out."""
        if attempt is None or attempt.host not in self._fingerprints:
            raise ValueError(f"a step on a host like {self.representative} needs an attempt there, and has {attempt}")
        fingerprint = self._fingerprints[attempt.host]
        return self._log.step(kind, backend, configuration, attempt=attempt, fingerprint=fingerprint)

    def finish(
        self, step: Step, *, status: StepStatus, result: Result | None = None, reason: str | None = None
    ) -> Step:
        """Keep what came of ``step``."""
        return self._log.finish(step, status=status, result=result, reason=reason)

    def number_of(self, result: Result) -> int | None:
        """Return the number of the step that gave ``result``, None where none did."""
        return self._log.number_of(result)

    def choices(self) -> dict[str, list[KnobValue | None]] | None:
        """Return the values of parameters that the study of the class began with; None before that."""
        return self._log.choices(self.representative)

    def study(self, sampler: BaseSampler | None = None) -> Study:
        """Return the Optuna study of the load tests on the class."""
        return self._log.study(sampler, host=self.representative)

    def reporting(self) -> AbstractContextManager[None]:
        """Turn what Optuna raises in the block into StorageError."""
        return self._log.reporting()

    def stop_requested(self) -> bool:
        """Return whether the process that works on the job is asked to end it."""
        return self._log.stop_requested()

    def _is_here(self, step: Step) -> bool:
        return step.attempt is not None and step.attempt.host in self._fingerprints
