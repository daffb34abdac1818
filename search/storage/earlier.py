"""Jobs of an earlier servefit, which kept them in the attributes of Optuna studies: taken over through Optuna's API.

They are copied into the tables of jobs when a database is first opened, and those that are begun later when jobs are
listed. What an earlier servefit may still work on is copied again whenever it is read, until it is worked on here. Then
the header in its study gets the schema of this version, which an earlier servefit refuses. All else in the study stays.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from servefit.errors import StorageError
from servefit.search.storage import tables
from servefit.search.storage.optuna_storage import Damaged
from servefit.search.storage.records import CHOICES, HEADER, NOTHING, OWNER, PREFIX, SCHEMA, STOP, is_whole
from servefit.version import __version__

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from servefit.search.storage.database import Database

MAX_GAP = 1000
"""Numbers without a study, of those that were deleted, after which no more studies are looked for one by one. Optuna
lists them all at once, and does not where one is damaged."""

_log = logging.getLogger(__name__)


def take_over(database: Database) -> None:
    """Copy all jobs of an earlier servefit, once, and those that it worked on then again. Raises StorageError."""
    layout = database.run(tables.layout)
    if layout is None:
        _copy_all(database)
        return
    if layout != tables.LAYOUT:
        reason = f"its tables are of a newer servefit, in layout {layout!r:.40}, and this one reads {tables.LAYOUT}"
        raise database.address.error(reason, remedy="update servefit")
    for number, name, _, _, owner in database.run(partial(tables.rows_of_all, keys=[OWNER], copied=True)):
        if owner != NOTHING:
            copy_again(database, number, name)


def find(database: Database, name: str) -> bool:
    """Copy the job called ``name``, which an earlier servefit has begun since, and return whether there is one. Raises
    StorageError."""
    texts = _texts_of(database, name)
    if HEADER in texts:
        _copy(database, name, texts)
    return HEADER in texts


def find_all(database: Database) -> None:
    """Copy all jobs that an earlier servefit has begun since. Raises StorageError."""
    if not database.run(partial(tables.is_left_out, attribute=HEADER)):
        return
    with database.reporting():
        studies = [(name, texts) for name, texts in _studies(database) if HEADER in texts and is_whole(name)]
    if studies:
        names = {name for _, name, *_ in database.run(partial(tables.rows_of_all, keys=[]))}
        for name, texts in studies:
            if name not in names:
                _copy(database, name, texts)


def refuse(database: Database, name: str) -> None:
    """Have an earlier servefit refuse the job called ``name``, which is worked on here.

    The header in its study gets the schema of this version. Of a job that was begun here there is no more of a header
    than that. Raises StorageError.
    """
    with database.reporting(job=name):
        try:
            number = database.storage.get_study_id_from_name(name)
        except KeyError:
            return  # its study was deleted, and no servefit finds it there
        kept = database.storage.get_study_user_attrs(number).get(HEADER)
        header = kept if isinstance(kept, dict) else {}
        schema = header.get("schema")
        if type(schema) is not int or schema < SCHEMA.number:
            refused = {"schema": SCHEMA.number, "servefit": __version__, "header": header.get("header")}
            database.storage.set_study_user_attr(number, HEADER, refused)


def copy_again(database: Database, number: int, name: str) -> None:
    """Copy a job as it is by now, unless it was worked on here. Raises StorageError."""
    texts = _texts_of(database, name)
    if HEADER in texts and database.run(partial(tables.read_all, job=number, prefix=PREFIX)) != texts:
        database.run(lambda connection: tables.replace_copy(connection, number, texts))


def ask_to_stop(database: Database, name: str, now: float) -> None:
    """Tell the earlier servefit that works on the job called ``name``. Raises StorageError."""
    with database.reporting(job=name):
        database.storage.set_study_user_attr(database.storage.get_study_id_from_name(name), STOP, now)


def _copy_all(database: Database) -> None:
    with database.reporting():
        studies = [(name, texts) for name, texts in _studies(database) if HEADER in texts and is_whole(name)]

    def copy(connection: Connection) -> None:
        if tables.layout(connection) is None:
            tables.set_layout(connection)
            for name, texts in studies:
                _add(connection, name, texts)

    try:
        database.run(copy)
    except StorageError:
        # Another process may have copied them first.
        if database.run(tables.layout) is None:
            raise
    if studies:
        _log.info("%d jobs of an earlier servefit were taken over", len(studies))


def _copy(database: Database, name: str, texts: Mapping[str, str]) -> None:
    try:
        database.run(lambda connection: _add(connection, name, texts))
    except StorageError:
        # Another process may have copied them first.
        if not database.run(partial(tables.rows_of_all, keys=[HEADER], name=name)):
            raise


def _add(connection: Connection, name: str, texts: Mapping[str, str]) -> None:
    if not tables.rows_of_all(connection, [HEADER], name=name):
        tables.add_job(connection, name, texts, copied=True)


def _studies(database: Database) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the studies by name, the oldest first, with what is kept in their attributes."""
    storage = database.storage
    try:
        for study in storage.get_all_studies():
            yield study.study_name, _texts(study.user_attrs)
    except Damaged:
        number, missing = 1, 0
        while missing < MAX_GAP:
            try:
                name = storage.get_study_name_from_id(number)
                missing = 0
                yield name, _texts(storage.get_study_user_attrs(number))
            except KeyError:
                missing += 1
            except Damaged as error:
                _log.warning("study %d, which may be a job of an earlier servefit, cannot be read: %s", number, error)
            number += 1


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return those attributes of a study that are a job's, as texts. A study has none of a job that was begun here."""
    header = attributes.get(HEADER)
    if isinstance(header, dict) and header.keys() >= {"schema", "header"} and header["header"] is None:
        return {}
    kept = {key: value for key, value in attributes.items() if key.startswith(PREFIX) and key != CHOICES}
    texts = {key: json.dumps(value, ensure_ascii=False, separators=(",", ":")) for key, value in kept.items()}
    # What is no UTF-8 no database takes. It is damaged either way.
    return {key: text if is_whole(text) else "" for key, text in texts.items()}


def _texts_of(database: Database, name: str) -> dict[str, str]:
    """Return the same of the study called ``name``; nothing where there is none."""
    with database.reporting(job=name):
        try:
            number = database.storage.get_study_id_from_name(name)
        except KeyError:
            return {}
        return _texts(database.storage.get_study_user_attrs(number))
