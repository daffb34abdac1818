"""One job: its header, its state, its steps, and who works on it.

Any process may read a job, and one at a time works on it. Every write of its owner also renews the claim, in the
same transaction: an owner that lost the job to another, as one that was suspended for long, finds out and writes
nothing.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from servefit.errors import JobInUse, StorageError
from servefit.profiler.record.storage.schema import remark
from servefit.search.storage import earlier, records, tables
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.ownership import RENEW_S, Owner
from servefit.search.storage.records import HEADER, NOTHING, OWNER, STATE, STEPS, STOP, Unreadable
from servefit.search.storage.secrets import SecretsOf, header_with_secrets
from servefit.search.storage.steps import INTERRUPTED, Result, Step, StepClock, StepKind, StepStatus
from servefit.search.storage.studies import Studies

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from sqlalchemy.engine import Connection

    from servefit.backends.types import KnobValue
    from servefit.profiler.record.types import Configuration
    from servefit.search.storage.database import Database
    from servefit.search.storage.header import JobHost
    from servefit.search.storage.steps import Attempt

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class JobLog:
    """A job that is kept. Reading and writing raise StorageError; threads may share one.

    ``written`` has the steps that were begun or ended through this log by number, as they ended also where the database
    did not take that any more: a job can be put together from them when the database is gone.
    """

    def __init__(self, database: Database, *, name: str, number: int, header: str | None, copied: bool = False) -> None:
        """Take the job up as it is kept.

        ``header`` is the text of its header, None where that is gone. ``copied`` says that nothing of it was written
        here yet: an earlier servefit keeps it in a study.
        """
        self.name = name
        self._database = database
        self._studies = Studies(database, name)
        self._number = number
        self._header = header
        self._copied = copied
        self._lock = threading.Lock()
        self._claim: Owner | None = None
        self._renewed_at = 0.0
        self._fingerprint = ""
        self._clock = StepClock()
        self._running: set[int] = set()
        self._writer = ""
        self._left_out: list[str] = []
        self.written: dict[int, Step] = {}

    @cached_property
    def header(self) -> JobHeader:
        """With the secrets of the job where this host has them. Raises StorageError, also where a newer servefit wrote
        the job, and StateError."""
        with self._readable():
            header, self._writer = records.read_header(self._header, self._left_out)
            return header_with_secrets(header)

    def remark(self) -> str | None:
        """Say what a newer servefit kept of the job, of all that was read so far, that this one does not know."""
        names = (re.sub(rf"^{records.PREFIX}|(?<=step):\d+", "", name) for name in self._left_out)
        return remark(names, self._writer)

    @cached_property
    def _secrets(self) -> SecretsOf:
        return SecretsOf(self.header.request)

    @property
    def state(self) -> JobState:
        """The state of the job, as it is kept."""
        return self.state_of(STATE)

    def state_of(self, key: str) -> JobState:
        """Return the state that is kept under ``key``: of all of the job, or of what it does on one host."""
        return self._secrets.in_state(self._read(key, JobState))

    def state_now(self) -> JobState:
        """Return the same, with the time that has passed since."""
        # In this order: a job that ends in between has written down its time.
        owner, now = self._last_owner()
        state = self.state
        return replace(state, elapsed_s=elapsed_s(state, owner, now))

    def set_state(self, state: JobState, key: str = STATE) -> None:
        """Keep ``state``, under the ``key`` of what it is of. Raises JobInUse where the job was lost to another
        process."""
        text = records.write(state, JobState)
        self._write(lambda connection: self._replace(connection, key, text))

    def classify(self, hosts: tuple[JobHost, ...]) -> None:
        """Keep the ``hosts`` that the job measures on, now that their classes are known, and make a state and a study
        for each class. Raises JobInUse where the job was lost to another process."""
        header = replace(self.header, hosts=hosts)
        text, state = records.write_header(header), records.write(JobState(status="IN_PROGRESS"), JobState)
        states = {records.state_key(nth): state for nth in header.representatives}

        def keep(connection: Connection) -> None:
            self._replace(connection, HEADER, text)
            for key, state in states.items():
                if tables.read(connection, self._number, key) is None:
                    tables.add(connection, self._number, {key: state})

        with self.reporting():
            for host in header.representatives.values():
                self._studies.make(host.name)
        self._write(keep, owned=True)
        self._header = text
        self.header = header_with_secrets(header)

    def steps(self) -> tuple[Step, ...]:
        """Return all steps in the order in which they began."""
        secrets = self._secrets
        texts = self._database.run(lambda connection: tables.read_all(connection, self._number, STEPS))
        with self._readable():
            keys = sorted(texts, key=records.step_number)
            return tuple(secrets.in_step(records.read(texts[key], Step, key, self._left_out)) for key in keys)

    @contextmanager
    def step(
        self,
        kind: StepKind,
        backend: str,
        configuration: Configuration | None,
        *,
        attempt: Attempt | None = None,
        fingerprint: str | None = None,
    ) -> Iterator[Step]:
        """Begin a step, which the block finishes. One that an exception leaves unfinished is FAILED, "interrupted".
        ``attempt`` is that of an agent that will carry it out, ``fingerprint`` that of its host."""
        step = self._begin(kind, backend, configuration, attempt, fingerprint)
        try:
            yield step
        except BaseException:
            if step.number in self._running:
                # A job that cannot be written any more comes second to what ended the step.
                with suppress(StorageError, JobInUse):
                    self.finish(step, status="FAILED", reason=INTERRUPTED)
            raise

    def begin(self, kind: StepKind, backend: str, configuration: Configuration | None) -> Step:
        """Keep a new step, RUNNING. Within :meth:`owned` only. Raises JobInUse where the job was lost to another
        process."""
        return self._begin(kind, backend, configuration, None, None)

    def _begin(
        self,
        kind: StepKind,
        backend: str,
        configuration: Configuration | None,
        attempt: Attempt | None,
        fingerprint: str | None,
    ) -> Step:
        made: list[Step] = []

        def add(connection: Connection) -> Step:
            last = tables.last_key(connection, self._number, STEPS)
            stored = None if last is None else tables.read(connection, self._number, last)
            if made and stored == records.write(made[-1], Step):
                # The server went away when this was done.
                return made[-1]
            with self._readable():
                number = 1 if last is None else records.step_number(last) + 1
            made.append(
                Step(
                    number=number,
                    kind=kind,
                    status="RUNNING",
                    backend=backend,
                    configuration=configuration,
                    host_fingerprint=self._fingerprint if fingerprint is None else fingerprint,
                    began_at=self._clock.now(),
                    attempt=attempt,
                )
            )
            tables.add(connection, self._number, {records.step_key(number): records.write(made[-1], Step)})
            return made[-1]

        step = self._write(add, owned=True)
        number = step.number
        self._running.add(number)
        self.written[number] = step
        _log.info("step %d begins: %s, %s", number, kind, backend if configuration is None else configuration)
        return step

    def finish(
        self, step: Step, *, status: StepStatus, result: Result | None = None, reason: str | None = None
    ) -> Step:
        """Keep what came of ``step``. Within :meth:`owned` only. Raises JobInUse where the job was lost to another
        process."""
        return self._end(replace(step, status=status, result=result, reason=reason, ended_at=self._clock.now()))

    def number_of(self, result: Result) -> int | None:
        """Return the number of the step that gave ``result`` through this log, None where none did."""
        return next((number for number, step in self.written.items() if step.result is result), None)

    def choices(self, host: str | None = None) -> dict[str, list[KnobValue | None]] | None:
        """Return the values of parameters that the study of the job, or of what it does on ``host``, began with; None
        before that."""
        with self.reporting(), self._readable():
            return self._studies.choices(host)

    def study(self, sampler: BaseSampler | None = None, *, host: str | None = None) -> Study:
        """Return the Optuna study of the job's load tests, or of those on ``host``; its trials belong to
        the search."""
        with self.reporting(), self._readable():
            return self._studies.load(sampler, host=host)

    def reporting(self) -> AbstractContextManager[None]:
        """Turn what Optuna raises in the block for want of the database, or of a whole one, into StorageError."""
        return self._database.reporting(job=self.name)

    def request_stop(self) -> None:
        """Ask the process that works on the job to end it. The next owner does not see the request."""
        if self._copied and self.owner() is not None:
            earlier.ask_to_stop(self._database, self.name, time.time())
            return
        text = records.write(time.time(), float)
        self._write(lambda connection: self._replace(connection, STOP, text))

    def stop_requested(self) -> bool:
        return self._read(STOP, float | None) is not None

    def owner(self) -> Owner | None:
        """Return the process that works on the job. None where none does, or one that is dead."""
        owner, now = self._last_owner()
        return owner if owner is not None and owner.lives(now) else None

    @contextmanager
    def owned(self, fingerprint: str | None = None) -> Iterator[None]:
        """Own the job until the block ends. A request to stop made before is forgotten.

        ``fingerprint`` is that of the host that steps are measured on, the header's own if None. Raises JobInUse where
        another living process owns the job, or this one does already.
        """
        self._fingerprint = self.header.host.fingerprint if fingerprint is None else fingerprint
        self._take()
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew_until, args=(ended,), name="servefit job owner", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            # A database that is gone is what ended the block, or comes second to what it did.
            try:
                self._give_back(ended)
            except StorageError as error:
                _log.warning("job %s counts as this process's for as long as it lives: %s", self.name, error)

    def abandon_running_steps(self) -> tuple[Step, ...]:
        """Make steps that an earlier owner left running FAILED, "interrupted", and return them. Nobody knows when they
        ended, so ``ended_at`` stays None. Optuna trials that it left running or enqueued fail too.

        The owner calls this before it begins a trial. Without an owner the job is owned for as long as it takes; raises
        JobInUse where another process works on it.
        """
        if self._claim is None:
            with self.owned():
                return self.abandon_running_steps()
        left = [step for step in self.steps() if step.status == "RUNNING" and step.number not in self._running]
        failed = tuple(self._end(replace(step, status="FAILED", reason=INTERRUPTED)) for step in left)
        with self.reporting(), self._readable():
            for host in (None, *(representative.name for representative in self.header.representatives.values())):
                self._studies.fail_unfinished(host)
        return failed

    def _end(self, ended: Step) -> Step:
        text = records.write(ended, Step)
        _log.info("step %d ends: %s", ended.number, _outcome(ended))
        self.written[ended.number] = ended
        self._running.discard(ended.number)
        key = records.step_key(ended.number)
        self._write(lambda connection: self._replace(connection, key, text), owned=True)
        return ended

    def _take(self) -> None:
        claim = Owner.this_process(self._database.run(tables.now))
        with self._lock:
            while not self._try_to_take(claim):
                pass
            self._claim = claim
            self._renewed_at = claim.renewed_at
            self._copied = False
            self._running.clear()
        earlier.refuse(self._database, self.name)

    def _try_to_take(self, claim: Owner) -> bool:
        """Return whether the job was taken, and not by another process that was quicker: of two that see the same dead
        owner, or none, the second no longer finds what it saw."""

        def take(connection: Connection) -> bool:
            seen = tables.read(connection, self._number, OWNER)
            owner: Owner | None = records.read(seen, Owner | None, OWNER)
            if owner is not None and owner.token == claim.token:
                # The server went away when this was done.
                return True
            if owner is not None and owner.lives(tables.now(connection)):
                raise _in_use(self.name, owner)
            taken = tables.replace(connection, self._number, OWNER, records.write(claim, Owner), seen=seen)
            if taken:
                self._replace(connection, STOP, NOTHING)
                self._own(connection)
            return taken

        with self._readable():
            return self._database.run(take)

    def _give_back(self, ended: threading.Event) -> None:
        ended.set()
        with self._lock:
            claim, self._claim = self._claim, None
            if claim is not None:
                token = claim.token
                self._database.run(
                    lambda connection: tables.replace(connection, self._number, OWNER, NOTHING, containing=token)
                )

    def _renew_until(self, ended: threading.Event) -> None:
        """Renew the claim now and then until ``ended`` is set: steps may take longer than a claim lasts."""
        while not ended.wait(RENEW_S):
            # An error is raised where the next step begins or ends.
            with suppress(StorageError, JobInUse):
                self._write(lambda _: None)

    def _write(self, statements: Callable[[Connection], _T], *, owned: bool = False) -> _T:
        """Return the result of ``statements`` in a transaction that fails where this process owned the job and lost it.
        As in ``Database.run`` they may be begun twice."""
        _ = self.header

        def as_owner(connection: Connection) -> tuple[_T, float]:
            renewed_at = 0.0
            if self._claim is not None:
                renewed_at = tables.now(connection)
                self._renew(connection, self._claim.renewed(renewed_at))
            self._own(connection)
            return statements(connection), renewed_at

        with self._lock:
            if owned and self._claim is None:
                raise RuntimeError(f"job {self.name} is written to by its owner alone")
            written, self._renewed_at = self._database.run(as_owner)
            if self._copied:
                earlier.refuse(self._database, self.name)
                self._copied = False
            return written

    def _own(self, connection: Connection) -> None:
        """Take the job over: nothing counts that an earlier servefit writes of it from here on."""
        if self._copied:
            tables.own(connection, self._number)

    def _renew(self, connection: Connection, claim: Owner) -> None:
        """Write down the ``claim`` of this process. Raises JobInUse where the job was lost to another one, and
        StorageError where the database is as it was earlier: what is written from then on would not fit to that."""
        text = tables.read(connection, self._number, OWNER)
        if text is None:
            raise self._gone()
        with self._readable():
            seen: Owner | None = records.read(text, Owner | None, OWNER)
        if seen is not None and seen.token == claim.token:
            if seen.renewed_at < self._renewed_at:
                raise self._database.address.error(
                    "what was written of it last is gone: the database was restored from an earlier backup",
                    job=self.name,
                    remedy=f"servefit resume {self.name} goes on from what is there",
                )
            if tables.replace(connection, self._number, OWNER, records.write(claim, Owner), seen=text):
                return
        raise self._lost(connection)

    def _lost(self, connection: Connection) -> JobInUse | StorageError:
        text = tables.read(connection, self._number, OWNER)
        with self._readable():
            owner: Owner | None = records.read(text, Owner | None, OWNER)
        if owner is None:
            return self._database.address.error("another process owned it for a while", job=self.name)
        return _in_use(self.name, owner)

    def _gone(self) -> StorageError:
        remedy = "unless the job was deleted, a backup of before it began was restored; run it again under another name"
        return self._database.address.error("all of it is gone", job=self.name, remedy=remedy)

    def _read(self, key: str, kind: Any) -> Any:
        _ = self.header

        def read(connection: Connection) -> Any:
            text = tables.read(connection, self._number, key)
            if text is None and self._claim is not None and tables.read(connection, self._number, OWNER) is None:
                raise self._gone()
            return text

        text = self._database.run(read)
        with self._readable():
            return records.read(text, kind, key, self._left_out)

    def _last_owner(self) -> tuple[Owner | None, float]:
        """Return the owner, dead or alive, and the time by the clock that it renews its claim by."""
        _ = self.header
        text, now = self._database.run(
            lambda connection: (tables.read(connection, self._number, OWNER), tables.now(connection))
        )
        with self._readable():
            return records.read(text, Owner | None, OWNER, self._left_out), now

    def _replace(self, connection: Connection, key: str, text: str) -> None:
        with self._readable():
            if not tables.replace(connection, self._number, key, text):
                raise records.missing(key)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except Unreadable as error:
            raise self._database.address.error(error.message, job=self.name, remedy=error.remedy) from error


def elapsed_s(state: JobState, owner: Owner | None, now: float) -> float:
    """Return the seconds that a job has run by ``now`` of which ``state`` is kept, and whose last ``owner``, dead or
    alive, that is."""
    if state.status != "IN_PROGRESS" or owner is None:
        return state.elapsed_s
    return state.elapsed_s + owner.worked_s(now)


def _outcome(step: Step) -> str:
    verdict = getattr(step.result, "verdict", None)
    why = step.reason or getattr(step.result, "reason", None)
    return ", ".join(part for part in (step.status, verdict, why) if part)


def _in_use(name: str, owner: Owner) -> JobInUse:
    return JobInUse(name, host=owner.host, pid=owner.pid, since=owner.since)
