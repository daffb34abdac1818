"""The jobs of one database: new ones, one by its name, and all of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from servefit.errors import SpecError, StorageError
from servefit.search.storage import earlier, records, tables
from servefit.search.storage.addresses import own_address, parse_address
from servefit.search.storage.database import Database, quiet
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.log import JobLog, elapsed_s
from servefit.search.storage.ownership import Owner
from servefit.search.storage.records import HEADER, NOTHING, OWNER, STATE, STOP, Unreadable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOverview:
    """The row of a job in a list of jobs. ``elapsed_s`` is how long it has run by now, ``owner`` the one that lives.
    ``problem`` says why there is neither header nor state, None where they could be read."""

    name: str
    header: JobHeader | None = None
    state: JobState | None = None
    elapsed_s: float = 0.0
    owner: Owner | None = None
    problem: str | None = None


class JobStore:
    """An open database of jobs, to be closed. Optuna studies in it that are no jobs are left alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str | None = None, *, patience_s: float = 0.0) -> Self:
        """Connect to the database at ``url``, or to the file in the state folder. A server that goes away afterwards is
        waited for, for ``patience_s``.

        Raises SpecError for a URL that is none, or that names an unknown kind of database, a driver that is not
        installed, or no file; StorageError within seconds for a database that cannot be reached, opened or read; and
        StateError for the state folder.
        """
        store = cls(Database(own_address() if url is None else parse_address(url), patience_s))
        try:
            earlier.take_over(store._database)
        except BaseException:
            store.close()
            raise
        _log.info("jobs are kept in %s", store.url)
        return store

    @property
    def database(self) -> Database:
        """The database, which others keep what belongs to jobs in."""
        return self._database

    @property
    def is_own(self) -> bool:
        """True if it is the file in the state folder, to which no other user may write."""
        return self._database.address.url == own_address().url

    @property
    def url(self) -> str:
        """The database, as it may be shown."""
        return self._database.address.shown

    @property
    def waited_s(self) -> float:
        """The seconds that its server was waited for so far."""
        return self._database.outages.waited_s

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_until_writable(self) -> None:
        """Wait until jobs can be written; called before the work whose job is to be kept. Raises StorageError."""
        self._database.wait_until_writable()

    def create(self, header: JobHeader) -> JobLog:
        """Keep a new job, IN_PROGRESS, without an owner. Raises SpecError where its name is in use."""
        name = header.request.name
        texts = {
            HEADER: records.write_header(header),
            STATE: records.write(JobState(status="IN_PROGRESS"), JobState),
            OWNER: NOTHING,
            STOP: NOTHING,
        }
        with self._database.outages.interrupts.held():
            number = self._make(name, texts)
        return JobLog(self._database, name=name, number=number, header=texts[HEADER])

    def _make(self, name: str, texts: Mapping[str, str]) -> int:
        """Make the study of a new job and the job, and return its number. Raises as :meth:`create`."""
        with self._database.reporting():
            storage = self._database.storage
        from optuna.exceptions import DuplicatedStudyError
        from optuna.study import StudyDirection

        try:
            with self._database.reporting(), quiet():
                study = storage.create_new_study([StudyDirection.MINIMIZE] * records.STUDY_OBJECTIVES, name)
        except DuplicatedStudyError:
            raise self._name_in_use(name) from None
        try:
            if self._rows(name):
                # Its study was deleted.
                raise self._name_in_use(name)
            earlier.refuse(self._database, name)
            with self._database.transaction() as connection:
                return tables.add_job(connection, name, texts)
        except BaseException:
            with suppress(StorageError), self._database.reporting():
                storage.delete_study(study)
            raise

    def job(self, name: str) -> JobLog:
        """Return the job of that name. Raises SpecError where there is none."""
        # What a shell makes of a name may be no text, which no database takes.
        rows = self._rows(name) if records.is_whole(name) else []
        if rows:
            number, _, copied, *_ = rows[0]
            if copied:
                earlier.copy_again(self._database, number, name)
                rows = self._rows(name)
        elif records.is_whole(name) and earlier.find(self._database, name):
            rows = self._rows(name)
        if rows:
            return self._log(rows[0])
        names = [job.name for job in self.jobs()]
        if not names:
            raise SpecError("job", name, "is not known", remedy=f"there are no jobs in {self.url}")
        raise SpecError.unknown("job", name, names)

    def jobs(self) -> tuple[JobLog, ...]:
        """Return all jobs, the newest first, read in a few queries. Those that an earlier servefit has begun since the
        database was first opened are taken over."""
        earlier.find_all(self._database)
        rows = self._database.run(lambda connection: tables.rows_of_all(connection, [HEADER]))
        return tuple(map(self._log, rows))

    def overview(self) -> tuple[JobOverview, ...]:
        """Return the same with state and owner, in a few queries too."""
        earlier.find_all(self._database)
        rows, now = self._database.run(
            lambda connection: (tables.rows_of_all(connection, [HEADER, STATE, OWNER]), tables.now(connection))
        )
        kept: dict[int, tuple[str, dict[str, Any]]] = {}
        for number, name, _, key, text in rows:
            texts = kept.setdefault(number, (name, {}))[1]
            if key is not None:
                texts[key] = text
        return tuple(_overview(name, texts, now) for name, texts in kept.values())

    def _rows(self, name: str) -> list[tables.Row]:
        return self._database.run(lambda connection: tables.rows_of_all(connection, [HEADER], name=name))

    def _log(self, row: tables.Row) -> JobLog:
        number, name, copied, _, header = row
        return JobLog(self._database, name=name, number=number, header=header, copied=copied)

    def _name_in_use(self, name: str) -> SpecError:
        if name in (job.name for job in self.jobs()):
            return SpecError("name", name, "is in use by an earlier job", remedy="give another, or resume that job")
        return SpecError("name", name, "is in use by an Optuna study that is no job", remedy="give another")


def _overview(name: str, texts: Mapping[str, Any], now: float) -> JobOverview:
    try:
        header, _ = records.read_header(texts.get(HEADER))
        state: JobState = records.read(texts.get(STATE), JobState, STATE)
        owner: Owner | None = records.read(texts.get(OWNER), Owner | None, OWNER)
    except Unreadable as error:
        return JobOverview(name=name, problem=str(error))
    return JobOverview(
        name=name,
        header=header,
        state=state,
        elapsed_s=elapsed_s(state, owner, now),
        owner=owner if owner and owner.lives(now) else None,
    )
