"""Everything servefit raises on purpose.

::

    ServefitError
    ├── SpecError                 a bad request: SLA, range, profile, backend name, configuration file
    │   └── JobInUse              another process works on the job
    ├── ObjectiveError            an objective of another package raised, or gave what it may not
    ├── StateError                the state folder cannot be written, or a disk is full
    ├── StorageError              the database of jobs cannot be reached, read or written
    ├── ModelError
    │   ├── UnsupportedModel      readable, but nothing here knows how to serve it
    │   ├── CorruptModel          missing, empty, truncated, foreign, or one that crashes its own library
    │   ├── UntrustedModel        a pickle, a module or a script, and nobody said to trust it
    │   └── PayloadMismatch       the sample payload does not fit the model
    ├── BackendError
    │   ├── BackendUnavailable    the library, compiler or device is not here
    │   ├── CompileFailed         the backend could not make an artifact
    │   ├── OutputMismatch        it made one, and its predictions differ from the reference
    │   ├── LimitNotKept          it made one that predicts less exactly than the user allows
    │   └── RowsRefused           the model refuses rows that are of the shape and datatype that it asks for
    │       └── ScriptFailed      a script raised for a request
    └── MeasurementError
        ├── WorkerCrashed         a worker died of a signal or an exception
        ├── OutOfMemory           a worker was killed for memory, or could not get any
        ├── TimedOut              a worker did not answer in time
        ├── HostMismatch          results of different hosts were to be compared
        ├── SlotTaken             another process measures on this machine
        ├── AgentLost             an agent of a fleet was not heard of for too long, or ended what it was asked for
        └── UnreadableMeasurement a stored measurement is missing, damaged, or of another schema

Each error keeps its facts as attributes, says one line to a person (``str(error)``), and names the remedy where
there is one. They cross process boundaries, so they pickle. "Nothing meets the SLA" is a result and not an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

MAX_NAMES_SHOWN = 12
"""A list of known names in an error ends here."""

MAX_VALUE_CHARACTERS = 60
"""A longer value is not repeated in an error, so that it stays on a line. Chosen, not measured."""

_PLAIN = (str, int, float, bool, type(None))


class ServefitError(Exception):
    """Base of the tree. ``message`` is one line; ``remedy`` is what to do about it, or None.

    Example:
        ::

            try:
                sf.load_job("unknown")
            except sf.ServefitError as error:
                print(error.message, error.remedy)
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        # Libraries' own messages, which often end up in here, run over several lines.
        self.message = " ".join(filter(None, map(str.strip, message.splitlines())))
        super().__init__(self.message)
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}; {self.remedy}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what is pickled: an error class of another package travels as the class of ours that it derives from,
        with its plain fields: whoever is told of it does not import the package."""
        kind, args, fields = type(self), self.args, self.__dict__
        if kind.__module__ != __name__:
            kind = next(ancestor for ancestor in kind.__mro__ if ancestor.__module__ == __name__)
            args = (str(self.message),)
            fields = {name: value for name, value in fields.items() if type(value) in _PLAIN}
        return _restore, (kind, args, fields)


def _restore(kind: type[ServefitError], args: tuple[Any, ...], fields: dict[str, Any]) -> ServefitError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class SpecError(ServefitError):
    """An error: what was asked for cannot be understood. ``field`` names the option, ``value`` is what was given, None
    where nothing was.

    Example:
        ::

            try:
                sf.Sla(rate_per_s=-1)
            except sf.SpecError as error:
                print(error.field, error.value, error.problem)
    """

    def __init__(self, field: str, value: object, problem: str, *, remedy: str | None = None) -> None:
        super().__init__(f"{field} {problem}" if value is None else f"{field}: {value!r} {problem}", remedy=remedy)
        self.field = field
        self.value = value
        self.problem = problem

    @classmethod
    def without_value(cls, field: str) -> Self:
        """Return the error for a field that is there and has no value."""
        return cls(field, None, "has no value", remedy="give it one, or leave it out")

    @classmethod
    def wrong_type(
        cls, field: str, value: object, wanted: str, *, in_quotes: bool = False, hidden: bool = False
    ) -> Self:
        """Return the error for a value that is not what is ``wanted``, in words; with ``in_quotes`` it would be that as
        a text. A long value, and one that is ``hidden``, is not repeated."""
        shown = None if hidden or len(repr(value)) > MAX_VALUE_CHARACTERS else value
        return cls(field, shown, f"is not {wanted}", remedy="write it in quotes" if in_quotes else None)

    @classmethod
    def unknown(cls, field: str, value: object, known: Sequence[str]) -> Self:
        """Return the error for a name that is not among ``known``, with the closest as remedy, or the first of them
        all."""
        from difflib import get_close_matches

        closest = get_close_matches(str(value).lower(), known, n=1, cutoff=0.5)
        shown = ", ".join(sorted(known)[:MAX_NAMES_SHOWN])
        more = f" and {len(known) - MAX_NAMES_SHOWN} more" if len(known) > MAX_NAMES_SHOWN else ""
        remedy = f"did you mean {closest[0]!r}?" if closest else f"known: {shown}{more}"
        return cls(field, value, "is not known", remedy=remedy)


class JobInUse(SpecError):
    """Process ``pid`` on ``host`` works on the job ``name``, and has since ``since``, in seconds since 1970."""

    def __init__(self, name: str, *, host: str, pid: int, since: float) -> None:
        begin = datetime.fromtimestamp(since).astimezone().isoformat(sep=" ", timespec="seconds")
        super().__init__(
            "job",
            name,
            f"is being worked on by process {pid} on {host} since {begin}",
            remedy=f"wait for it, or end it with: servefit stop {name}",
        )
        self.name = name
        self.host = host
        self.pid = pid
        self.since = since


class ObjectiveError(ServefitError):
    """The objective ``goal``, which ``package`` offers, failed: nothing can be ranked by it. ``reason`` says how."""

    def __init__(self, goal: str, package: str, reason: str) -> None:
        super().__init__(
            f"goal {goal!r} of {package} failed: {reason}",
            remedy="update that package, or ask for another goal",
        )
        self.goal = goal
        self.package = package
        self.reason = reason


class StateError(ServefitError):
    """``path`` could not be written. ``variable`` names the environment variable that says where such files go, None
    where it was named by the user."""

    def __init__(self, path: Path, reason: str, *, variable: str | None = "SERVEFIT_HOME") -> None:
        elsewhere = "write elsewhere" if variable is None else f"point {variable} at a writable folder"
        super().__init__(f"cannot write {path}: {reason}", remedy=f"free space, or {elsewhere}")
        self.path = path
        self.reason = reason
        self.variable = variable


class StorageError(ServefitError):
    """The database at ``url`` cannot be used, or what it holds cannot be read. No password is in ``url`` or ``reason``,
    and ``job`` is the job that it is about, if it is about one."""

    def __init__(self, url: str, reason: str, *, job: str | None = None, remedy: str | None = None) -> None:
        what = f"cannot use the jobs in {url}" if job is None else f"cannot use job {job!r} in {url}"
        super().__init__(f"{what}: {reason}", remedy=remedy)
        self.url = url
        self.reason = reason
        self.job = job


class ModelError(ServefitError):
    """The model, or the payload for it, is the problem.

    Example:
        ::

            try:
                sf.recommend("missing.ubj")
            except sf.ModelError as error:
                print(error)
    """


class UnsupportedModel(ModelError):
    """``what`` was recognised and is not supported."""

    def __init__(self, what: str, *, remedy: str | None = None) -> None:
        super().__init__(f"unsupported model: {what}", remedy=remedy)
        self.what = what


class CorruptModel(ModelError):
    """``path`` is not a model that its own library can open."""

    def __init__(self, path: Path, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(f"cannot read a model from {path}: {reason}", remedy=remedy)
        self.path = path
        self.reason = reason


class UntrustedModel(ModelError):
    """``path`` holds a pickle, or ``what`` else runs code when it is opened, or a ``script`` of that name: they wait
    for ``--trust-pickle`` or ``--trust-code``."""

    def __init__(self, path: Path, what: str = "a pickle", *, script: str | None = None) -> None:
        opening = "unpickling" if what == "a pickle" else "opening it"
        problem = (
            f"is {what}, and {opening} runs whatever code it holds"
            if script is None
            else f"is served by its own {script}, which is code, and no file beside it is a model that is read without"
        )
        option = "--trust-pickle (trust_pickle=True)" if script is None else "--trust-code (trust_code=True)"
        super().__init__(f"{path} {problem}", remedy=f"say {option} if you know who made it")
        self.path = path
        self.script = script


class PayloadMismatch(ModelError):
    """The payload does not fit. ``expected`` and ``got`` are short phrases such as "30 columns"."""

    def __init__(self, source: str, *, expected: str, got: str, remedy: str | None = None) -> None:
        super().__init__(f"payload {source}: expected {expected}, got {got}", remedy=remedy)
        self.source = source
        self.expected = expected
        self.got = got


class BackendError(ServefitError):
    """A backend is the problem; ``backend`` is its name.

    Example:
        ::

            try:
                sf.compile_model("model.ubj", "lightgbm")
            except sf.BackendError as error:
                print(error.backend, error.remedy)
    """

    def __init__(self, backend: str, message: str, *, remedy: str | None = None) -> None:
        super().__init__(f"{backend}: {message}", remedy=remedy)
        self.backend = backend


class BackendUnavailable(BackendError):
    """``reason`` says what is missing on this host; the remedy says how to get it."""

    def __init__(self, backend: str, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(backend, reason, remedy=remedy)
        self.reason = reason


class CompileFailed(BackendError):
    """Compilation failed. ``command`` and ``stderr`` (its tail) are those of an outside compiler, or empty."""

    def __init__(
        self, backend: str, reason: str, *, command: str = "", stderr: str = "", remedy: str | None = None
    ) -> None:
        super().__init__(backend, reason, remedy=remedy)
        self.reason = reason
        self.command = command
        self.stderr = stderr


class OutputMismatch(BackendError):
    """Predictions differ from the reference by more than the tolerance, on ``rows_wrong`` of ``rows`` rows."""

    def __init__(
        self,
        backend: str,
        *,
        max_abs_error: float,
        max_rel_error: float,
        rows_wrong: int,
        rows: int,
        where: str,
        remedy: str | None = None,
    ) -> None:
        super().__init__(
            backend,
            f"predictions differ from the reference on {rows_wrong} of {rows} rows ({where}): "
            f"largest error {max_abs_error:.3g} absolute, {max_rel_error:.3g} relative",
            remedy=remedy,
        )
        self.max_abs_error = max_abs_error
        self.max_rel_error = max_rel_error
        self.rows_wrong = rows_wrong
        self.rows = rows
        self.where = where


class LimitNotKept(BackendError):
    """An artifact predicts less exactly than the user allows, on ``rows`` rows: the ``verdict`` is FAIL, or UNDECIDED
    where so many are too few to tell. ``found`` has its numbers; ``rows_needed`` would decide, if it goes on as it was,
    of a payload of ``all_rows``; None where that is not known. ``most_rows`` are read of one."""

    def __init__(
        self,
        backend: str,
        *,
        verdict: str,
        found: str,
        rows: int,
        rows_needed: int | None,
        all_rows: int | None,
        most_rows: int,
    ) -> None:
        failed = verdict == "FAIL"
        remedy = None
        if not failed and (rows_needed is None or all_rows is None):
            remedy = "it is too close to the limit for any number of rows to tell: allow more, or leave it out"
        elif not failed:
            remedy = f"{rows_needed:,} rows to judge on would decide, a payload of {all_rows:,}"
            if (all_rows or 0) > most_rows:
                remedy += f", which is more than the {most_rows:,} that are read: allow more, or leave it out"
        says = "it predicts less exactly than is allowed" if failed else "whether it is exact enough is undecided"
        super().__init__(backend, f"{says}: {found}", remedy=remedy)
        self.verdict = verdict
        self.found = found
        self.rows = rows
        self.rows_needed = rows_needed
        self.all_rows = all_rows


class RowsRefused(BackendError):
    """The model refuses rows that are of the shape and datatype that it asks for, such as a number beyond its
    vocabulary; ``reason`` is its library's own."""

    def __init__(self, backend: str, reason: str) -> None:
        super().__init__(backend, f"the model refuses rows: {reason}")
        self.reason = reason

    @property
    def status(self) -> int:
        """The HTTP status of the answer to whoever sent the rows."""
        return 400

    @property
    def told(self) -> str:
        """The text of that answer, unless it ``is_private``."""
        return f"the model refuses these rows: {self.reason}"

    @property
    def is_private(self) -> bool:
        """True if ``told`` is for the owner of the model, and ``told_in_public`` for whoever sent the rows."""
        return False

    @property
    def told_in_public(self) -> str:
        return self.told


class ScriptFailed(RowsRefused):
    """``function`` of a script raised for a request, or gave what is no answer. ``status`` is what an endpoint answers:
    400 where the request is to blame as far as can be told, 415 where its content type is, else 500. A ``reason`` that
    is ``private`` holds what the script raised, which may be anything: clients are not told."""

    def __init__(self, function: str, reason: str, *, status: int, private: bool = False) -> None:
        BackendError.__init__(self, "script", f"{function} {reason}")
        self.function = function
        self.reason = reason
        self._status = status
        self._private = private

    @property
    def status(self) -> int:
        return self._status

    @property
    def told(self) -> str:
        return f"{self.function} {self.reason}"

    @property
    def is_private(self) -> bool:
        return self._private

    @property
    def told_in_public(self) -> str:
        return f"{self.function} failed" if self._private else self.told


class MeasurementError(ServefitError):
    """A measurement could not be made, or not be used.

    Example:
        ::

            try:
                sf.load_endpoint("http://127.0.0.1:9", payload="payload.csv")
            except sf.MeasurementError as error:
                print(error)
    """


class WorkerCrashed(MeasurementError):
    """A child process died. ``signal`` is its number or None; ``stderr`` is the tail of what it said."""

    def __init__(self, reason: str, *, signal: int | None = None, stderr: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.signal = signal
        self.stderr = stderr


class OutOfMemory(MeasurementError):
    """A child process was refused memory or killed for it. ``limit_bytes`` is the bound it ran under, if any."""

    def __init__(self, reason: str, *, limit_bytes: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.limit_bytes = limit_bytes


class TimedOut(MeasurementError):
    """``what`` was waited for was stopped after ``limit_s`` seconds: its own limit, or all that was left of
    ``budget``, in words, where that ran out."""

    def __init__(self, what: str, *, limit_s: float, budget: str | None = None, remedy: str | None = None) -> None:
        within = f"within {round(limit_s, 1):g} s" if budget is None else f"before the {budget} ran out"
        super().__init__(f"{what} did not finish {within}", remedy=remedy)
        self.what = what
        self.limit_s = limit_s
        self.budget = budget

    def called(self, what: str) -> Self:
        """Return the same error, as the user knows ``what`` was waited for."""
        return type(self)(what, limit_s=self.limit_s, budget=self.budget, remedy=self.remedy)


class HostMismatch(MeasurementError):
    """Two results come from hosts with different fingerprints."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(
            f"results of host {one} and host {other} are not comparable", remedy="measure both on one host"
        )
        self.one = one
        self.other = other


class AgentLost(MeasurementError):
    """The agent on ``host`` did not do what it was asked for; ``reason`` says why."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host}: {reason}", remedy="servefit fleet hosts shows which agents there are")
        self.host = host
        self.reason = reason


class SlotTaken(MeasurementError):
    """Another process measured on this machine for all of ``waited_s``: ``who``, in words. ``job`` says what for,
    ``pid`` is its process id, and ``since`` in seconds since 1970; None is what is not known.

    Example:
        ::

            try:
                sf.profile("model.ubj", users=1, duration_s=1, wait_s=60)
            except sf.SlotTaken as taken:
                print(taken.who, taken.job, taken.since)
    """

    def __init__(self, who: str, *, job: str | None, pid: int | None, since: float | None, waited_s: float) -> None:
        waited = f" after {waited_s:.3g} s" if waited_s else ""
        super().__init__(
            f"this machine is still being measured on{waited}, by {who}",
            remedy="wait until that is done, or for longer with --wait (wait_s)",
        )
        self.who = who
        self.job = job
        self.pid = pid
        self.since = since
        self.waited_s = waited_s


class UnreadableMeasurement(MeasurementError):
    """``path`` does not hold a whole measurement that this version of servefit can read."""

    def __init__(self, path: Path, reason: str, *, remedy: str | None = None) -> None:
        super().__init__(f"cannot read a measurement from {path}: {reason}", remedy=remedy)
        self.path = path
        self.reason = reason
