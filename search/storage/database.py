"""The database of jobs: connects to it and runs transactions. Whatever goes wrong with it is a StorageError.

The database is that of an ``optuna.storages.RDBStorage``, so that Optuna's own tools open it. Beside Optuna's tables
are those of jobs, which ``tables`` describes. Optuna is loaded only where something asks for its view: who lists jobs
does not wait for it.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module, metadata
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from servefit.search.storage import tables
from servefit.search.storage.locks import FileLocked
from servefit.search.storage.optuna_storage import Damaged, patient_storage
from servefit.search.storage.outages import Outages, database_errors

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import Connection, Engine

    from servefit.search.storage.addresses import DatabaseAddress

_T = TypeVar("_T")

HEARTBEAT_S = 60
"""Between two signs of life of a running trial. One that gave none for twice as long is failed by Optuna."""

_REVISION = "alembic_version"
"""The table that tells which version Optuna's tables are of."""

UNLOCK = "wait until it is done or end it, or keep jobs elsewhere with --storage"

_ATTEMPTS = 20
_PAUSE_S = 0.1
"""Between two attempts to make tables, since a failure may mean that another process makes them. There are a dozen, and
every try finds more of them made."""


class Database:
    """An open database. ``outages`` are waited out from then on."""

    def __init__(self, address: DatabaseAddress, patience_s: float = 0.0) -> None:
        """Connect, and make the tables where there are none. Raises StorageError."""
        self.address = address
        # A file that is gone does not come back.
        self.outages = Outages(address, 0.0 if address.is_file else patience_s)
        self._storage: RDBStorage | None = None
        self._lock = Lock()
        with self.reporting():
            _make_tables(address)  # which checks the version, too
            self._engine = address.engine()
        self.outages.watch(self._engine)

    @property
    def storage(self) -> RDBStorage:
        """Optuna's view of it, over the same connections. Raises what Optuna and SQLAlchemy raise."""
        with self._lock:
            if self._storage is None:
                self._storage = self.outages.repeated(lambda: _storage_over(self._engine, self.address, self.outages))
            return self._storage

    def close(self) -> None:
        if self._storage is not None:
            self._storage.remove_session()
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Carry out everything in the block or, when it raises, nothing. Ctrl-C counts once it is through. Raises
        StorageError."""
        with self.reporting(), self.outages.interrupts.held(), self._engine.begin() as connection:
            yield connection

    def wait_until_writable(self) -> None:
        """Wait until this process may write a file that only one process can write. Raises StorageError."""
        if self.address.is_file:
            with self.transaction() as connection:
                connection.exec_driver_sql("BEGIN EXCLUSIVE")

    def run(self, statements: Callable[[Connection], _T]) -> _T:
        """Return the result of ``statements`` in a transaction. It is begun again where the server goes away meanwhile,
        and may then find that it did happen. Raises StorageError."""

        def carry_out() -> _T:
            with self._engine.begin() as connection:
                return statements(connection)

        with self.reporting():
            return self.outages.repeated(carry_out)

    @contextmanager
    def reporting(self, *, job: str | None = None) -> Iterator[None]:
        """Turn what SQLAlchemy, its drivers and Optuna raise into a StorageError; ``job`` is the job that what
        is read, and may be damaged, belongs to."""
        try:
            yield
        except database_errors() as error:
            remedy = UNLOCK if isinstance(_cause(error), FileLocked) else None
            raise self.address.error(_reason(error), remedy=remedy) from error
        except Damaged as error:
            raise self.address.error(str(error), job=job) from error
        except (UnboundLocalError, AssertionError) as error:
            # Study.optimize of Optuna 5.0 stumbles over a storage that fails at the end of a trial, over one that can
            # be read all the same, and over one that does not have the trial any more.
            met = error.__context__
            if isinstance(met, Damaged):
                gone = "its last trial is gone: the job was deleted, or an earlier backup was restored"
                raise self.address.error(gone if isinstance(met.__cause__, KeyError) else str(met), job=job) from error
            if not isinstance(met, database_errors()):
                raise
            raise self.address.error(_reason(met)) from error


def _reason(error: BaseException) -> str:
    """Return the driver's own words; SQLAlchemy's repeat the statement and its values, and Optuna's say nothing."""
    return str(_cause(error))


def _cause(error: BaseException) -> BaseException:
    """Return the error that the driver raised."""
    while error.__cause__ is not None and not isinstance(error, FileLocked):
        error = error.__cause__
    return error


def _load_bars() -> None:
    """Import what Optuna draws bars with, before Optuna does. Nobody sees any here, so a notebook that has no widgets
    for them is not to say so. All of Optuna is not imported like that: filters that libraries set would be lost."""
    with warnings.catch_warnings(), suppress(ImportError):
        warnings.filterwarnings("ignore", "IProgress not found")
        import_module("tqdm.auto")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna and alembic from announcing what they make, and that heartbeats are experimental. How much they say
    otherwise belongs to the user and is put back."""
    _load_bars()
    import optuna

    alembic = logging.getLogger("alembic")
    verbosity, level = optuna.logging.get_verbosity(), alembic.level
    # What is quieter stays so: threads that search side by side share it.
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
        alembic.setLevel(level)


@contextmanager
def silent() -> Iterator[None]:
    """Keep Optuna from saying which trials failed, in this thread and all others: a job reports that itself; and from
    warning of what is experimental. Threads that silence such warnings themselves, as Optuna does, put each other's
    filters back too early, and what they put back is what holds here."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _storage_over(engine: Engine, address: DatabaseAddress, outages: Outages) -> RDBStorage:
    """Return Optuna's view of what ``engine`` connects to."""
    with engine.connect():  # which waits for the server; Optuna's own first connection does not
        pass
    with quiet():
        storage = patient_storage(outages)(
            _template(address),
            address.engine_options,
            skip_compatibility_check=True,
            heartbeat_interval=HEARTBEAT_S,
            skip_table_creation=True,
        )
    storage.remove_session()
    storage.engine.dispose()
    storage.engine = engine
    storage.scoped_session.configure(bind=engine)
    return storage


def _are_made(connection: Connection) -> bool:
    """Return whether all tables are there, and the Optuna that is installed has found its own to be compatible."""
    from sqlalchemy import inspect

    if not {_REVISION, *tables.names()} <= set(inspect(connection).get_table_names()):
        return False
    return tables.layout(connection) is not None and tables.is_checked(connection, _version(connection))


def _version(connection: Connection) -> str:
    """Return the version of Optuna that is installed, and that of the tables."""
    from sqlalchemy import column, select, table

    revisions = table(_REVISION, column("version_num"))
    kept = connection.execute(select(revisions.c.version_num)).scalars().all()
    return f"{metadata.version('optuna')} with {', '.join(map(str, kept))}"


def _make_tables(address: DatabaseAddress) -> None:
    """Make the tables that are not there. Several processes may do so at once, and one that finds itself overtaken
    tries again."""
    from sqlalchemy.pool import NullPool

    # Without a pool, no connection is left open where this fails.
    engine = address.engine(poolclass=NullPool)
    # What fails here would fail again.
    with engine.connect() as connection:
        if _are_made(connection):
            return
    _load_bars()
    from optuna.storages import RDBStorage

    options = {**address.engine_options, "poolclass": NullPool}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with quiet():
                RDBStorage(_template(address), dict(options))
            with engine.begin() as connection:
                tables.make(connection)
                tables.set_checked(connection, _version(connection))
        except RuntimeError as error:
            # Made by another version of Optuna, which says what to do
            raise address.error(str(error)) from error
        except database_errors() as error:
            if attempt == _ATTEMPTS or isinstance(_cause(error), FileLocked):
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def _template(address: DatabaseAddress) -> str:
    """Return the URL as Optuna takes it, which fills in what stands in braces."""
    return address.text.replace("{", "{{").replace("}", "}}")
