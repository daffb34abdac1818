"""Sets of kept files, as the tests read them: copied to where they may be changed, and compared with today's output.

A later servefit may print more than an earlier one, and word it otherwise; fields stay, with their figures. The name of
a recommendation may change too, if the old name still finds it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.golden.cases import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

SETS = sorted(path.parent for path in Path(__file__).parent.glob("*/jobs.json"))
"""The folders that make.py wrote."""
NEWEST = max(SETS, key=lambda folder: int(folder.name.rpartition("_")[2]))


def of_each(
    pattern: str,
    *,
    names: Collection[str] | None = None,
    daily: Collection[str] | None = None,
    name_of: Callable[[Path], str] = attrgetter("stem"),
) -> pytest.MarkDecorator:
    """Have a test run for each file of each set that matches ``pattern``, called ``name`` there: that is ``name_of``
    its path. With ``names``, for these alone; a set need not have them all. With ``daily``, those of other names are
    thorough."""
    found = [
        pytest.param(
            original,
            name_of(path),
            id=f"{original.name}-{name_of(path)}",
            marks=() if daily is None or name_of(path) in daily else pytest.mark.thorough,
        )
        for original in SETS
        for path in sorted(original.glob(pattern))
        if names is None or name_of(path) in names
    ]
    return pytest.mark.parametrize(("copy", "name"), found, indirect=["copy"], scope="module")


OLDEST_DAILY = pytest.mark.parametrize(
    "copy",
    [
        pytest.param(original, id=original.name, marks=() if original == SETS[0] else pytest.mark.thorough)
        for original in SETS
    ],
    indirect=True,
    scope="module",
)
"""Has a test run for each set, for all but the oldest thoroughly alone."""

SENTENCES = frozenset(
    {
        *("answer", "notes", "reason", "reasons", "remarks", "remedy", "warnings", "what_would_have_to_change"),
        *("no_gpu_reason", "search_ended"),
    }
)
"""Fields that hold words for people."""

GROWN = frozenset({"failed_tests"})
"""Lists in which a later servefit may tell of more: of crashes before the first load test."""

NAMES = frozenset({"id", "recommendation"})
"""Fields that hold what a recommendation is called."""

ROUNDING = 1e-9
"""Figures are computed again from what was recorded, and sums may be taken in another order."""


def kept(folder: Path, *names: str) -> Any:
    """Return the document that was kept under ``names``, with the paths of the copy in ``folder``."""
    return json.loads(folder.joinpath(*names).with_suffix(".json").read_text().replace(ROOT, str(folder)))


def copied(original: Path, folder: Path) -> Path:
    """Copy a set below ``folder``, and have its jobs find their models there; return where it is."""
    copy = folder / original.name
    shutil.copytree(original, copy)
    replace_in_jobs(copy, ROOT, str(copy))
    # Which git does not keep
    for private in (copy / "home" / "jobs.db", *copy.glob("home/jobs/*/secrets.json")):
        private.chmod(0o600)
    return copy


def replace_in_jobs(copy: Path, old: str, new: str) -> None:
    """Replace ``old`` by ``new`` in all texts of the jobs of a copy, which are JSON."""
    with closing(sqlite3.connect(copy / "home" / "jobs.db")) as database, database:
        for table, column in _texts(database):
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                (json.dumps(old)[1:-1], json.dumps(new)[1:-1]),
            )


def _texts(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """The tables that hold texts of jobs under keys, each with the name of the column: attributes of studies up to
    schema 2, and from then on documents of servefit's own."""
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    columns = {"study_user_attributes": "value_json", "servefit_documents": "text"}
    return [(table, column) for table, column in columns.items() if table in tables]


def move_to_host(copy: Path, host: dict[str, Any]) -> None:
    """Have the jobs of a copy say that they were measured on ``host``, as ``servefit host`` describes it: elsewhere
    they are not resumed."""
    with closing(sqlite3.connect(copy / "home" / "jobs.db")) as database, database:
        for table, column in _texts(database):
            query = f"SELECT {column} FROM {table} WHERE key = 'servefit:header' LIMIT 1"
            for (text,) in database.execute(query).fetchall():
                old = json.loads(text)["header"]["host"]
                new = {name: _described(name, value, host) for name, value in old.items()}
                database.execute(
                    f"UPDATE {table} SET {column} = json_set({column}, '$.header.host', json(?))"
                    " WHERE key = 'servefit:header'",
                    (json.dumps(new),),
                )
    replace_in_jobs(copy, kept(copy, "jobs")["jobs"][0]["host_fingerprint"], host["fingerprint"])


_FIELDS = {
    "cpus": ("LogicalCpu", ("cpu", "core", "node")),
    "caches": ("Cache", ("level", "kind", "size_bytes", "count")),
    "gpus": ("Gpu", ("index", "model", "memory_bytes", "driver")),
    "cgroups": ("ControlGroups", ("kind", "writable", "memory_limit_bytes", "cpu_quota")),
}
"""What the parts of a host consisted of when the sets were made."""


def _described(name: str, old: Any, host: dict[str, Any]) -> Any:
    if name == "@type":
        return old
    if name not in _FIELDS:
        return host[name]
    kind, fields = _FIELDS[name]

    def part(document: dict[str, Any]) -> dict[str, Any]:
        return {"@type": kind, **{field: document[field] for field in fields}}

    return part(host[name]) if isinstance(host[name], dict) else [part(document) for document in host[name]]


def differences(new: Any, old: Any, where: str = "") -> Iterator[str]:
    """Yield what ``new`` lacks of ``old``, or says otherwise."""
    name = where.rpartition(".")[2]
    if isinstance(old, dict) and isinstance(new, dict):
        for field in old.keys() - new.keys():
            yield f"{where}.{field} is gone"
        for field in old.keys() & new.keys():
            yield from differences(new[field], old[field], f"{where}.{field}")
    elif isinstance(old, list) and isinstance(new, list) and name not in SENTENCES:
        if len(new) < len(old) or (len(new) > len(old) and name not in GROWN):
            yield f"{where} has {len(new)} entries, and had {len(old)}"
        for nth, (entry, was) in enumerate(zip(new, old, strict=False)):
            yield from differences(entry, was, f"{where}[{nth}]")
    elif not _says_the_same(new, old, name):
        yield f"{where} is {new!r}, and was {old!r}"


def _says_the_same(new: Any, old: Any, name: str) -> bool:
    if name in SENTENCES or (name in NAMES and new):
        return type(new) is type(old)
    if isinstance(old, str) and old.startswith("/") and name == "value":
        return bool(new == Path(old).name)  # reports name files without their folders
    return bool(new == (pytest.approx(old, rel=ROUNDING) if isinstance(old, float) else old))


def assert_kept(new: Any, old: Any) -> None:
    """Fail where ``new`` lacks a field of ``old``, or has another figure in it."""
    found = list(differences(new, old))
    assert not found, "\n".join(found[:20])
