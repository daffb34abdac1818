"""Contents by their SHA-256 in databases of both kinds: put by several at once, cut off, damaged, deleted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable
from tests.search.storage.conftest import on_both

from servefit.errors import SpecError, StateError, StorageError
from servefit.search.storage import blob_tables, blobs
from servefit.search.storage.blobs import CHUNK_BYTES, Blobs
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.search.conftest import Server

pytestmark = pytest.mark.integration

CONTENT = os.urandom(2 * CHUNK_BYTES + 1000)
"""Two chunks and a part of one."""

DIGEST = sha256(CONTENT).hexdigest()

on_a_file = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""For what does not depend on the kind of database."""

PUT_HALF = """
import sys, time
from pathlib import Path
from servefit.search.storage import blob_tables
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.jobs import JobStore

put_chunk = blob_tables.put_chunk

def put_one(connection, digest, nth, content):
    put_chunk(connection, digest, nth, content)
    if nth == 1:
        print("half way", flush=True)
        time.sleep(600)

blob_tables.put_chunk = put_one
with JobStore.open(sys.argv[1]) as store:
    Blobs.of(store).put(Path(sys.argv[2]))
"""

MEMORY = """
import sys
from pathlib import Path
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.jobs import JobStore

def peak_kib():
    # Not that of getrusage, which begins with that of the process that started this one
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])

with JobStore.open(sys.argv[1]) as store:
    folder, blobs = Path(sys.argv[2]), Blobs.of(store)
    blobs.fetch(blobs.put(b"small"), folder / "small")
    before = peak_kib()
    digest = blobs.put(folder / "large")
    blobs.fetch(digest, folder / "fetched")
    print(peak_kib() - before)
"""


@pytest.fixture
def kept(store: JobStore) -> Blobs:
    return Blobs.of(store)


def execute(store: JobStore, statement: str) -> Any:
    """As anybody with access to the database."""
    return store._database.run(lambda connection: connection.exec_driver_sql(statement).rowcount)


def chunks_of(store: JobStore, digest: str = DIGEST) -> int:
    query = f"SELECT count(*) FROM servefit_blob_chunks WHERE digest = '{digest}'"
    found: int = store._database.run(lambda connection: connection.exec_driver_sql(query).scalar_one())
    return found


def fetched(kept: Blobs, folder: Path, digest: str = DIGEST) -> bytes:
    kept.fetch(digest, folder / "fetched")
    return (folder / "fetched").read_bytes()


@on_both
def test_a_file_and_bytes_come_back_as_they_were_put(kept: Blobs, tmp_path: Path) -> None:
    for size in (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, len(CONTENT)):
        content = CONTENT[:size]
        (tmp_path / "file").write_bytes(content)
        digest = kept.put(tmp_path / "file")
        assert digest == kept.put(content) == kept.put(memoryview(content)) == sha256(content).hexdigest()
        assert kept.exists(digest)
        assert fetched(kept, tmp_path, digest) == content


@given(content=st.binary(max_size=40), chunk_bytes=st.integers(1, 12))
def test_contents_are_cut_into_chunks_that_together_are_the_content(content: bytes, chunk_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs, "CHUNK_BYTES", chunk_bytes)
        cut = list(blobs._cut(memoryview(content)))
    assert b"".join(cut) == content
    assert all(len(chunk) == chunk_bytes for chunk in cut[:-1])
    assert all(cut)


def test_what_is_fetched_is_for_its_owner_alone_and_replaces_what_is_there(kept: Blobs, tmp_path: Path) -> None:
    (tmp_path / "fetched").write_text("earlier")
    kept.put(CONTENT)
    assert fetched(kept, tmp_path) == CONTENT
    assert (tmp_path / "fetched").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".db"] == ["fetched"]


@on_a_file
def test_a_content_that_is_there_is_not_written_again(kept: Blobs, store: JobStore, tmp_path: Path) -> None:
    kept.put(CONTENT)
    assert execute(store, "DELETE FROM servefit_blob_chunks") == 3
    kept.put(CONTENT)
    assert chunks_of(store) == 0


@on_a_file
def test_a_content_that_was_never_put_is_not_there(kept: Blobs, tmp_path: Path) -> None:
    assert not kept.exists(DIGEST)
    with pytest.raises(StorageError, match=f"the content {DIGEST[:12]} is not there; resume the job on the host"):
        kept.fetch(DIGEST, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@on_both
def test_many_who_put_the_same_at_once_leave_one_whole_content(url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        stores = [stack.enter_context(JobStore.open(url)) for _ in range(4)]
        barrier = threading.Barrier(len(stores))

        def put(store: JobStore) -> str:
            barrier.wait()
            return Blobs.of(store).put(CONTENT)

        with ThreadPoolExecutor(len(stores)) as pool:
            assert set(pool.map(put, stores)) == {DIGEST}
        assert chunks_of(stores[0]) == 3
        assert fetched(Blobs.of(stores[0]), tmp_path) == CONTENT


def test_a_writer_that_is_killed_half_way_leaves_what_the_next_completes(
    url: str, kept: Blobs, store: JobStore, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    with subprocess.Popen([sys.executable, "-c", PUT_HALF, url, str(file)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half way\n"
        writer.kill()
    assert chunks_of(store) == 1
    assert not kept.exists(DIGEST)
    with pytest.raises(StorageError, match="is not there"):
        kept.fetch(DIGEST, tmp_path / "fetched")
    kept.put(file)
    assert fetched(kept, tmp_path) == CONTENT


@on_a_file
def test_what_another_servefit_cut_otherwise_is_completed(
    kept: Blobs, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(blobs, "CHUNK_BYTES", CHUNK_BYTES // 4)
        kept.put(CONTENT)
    assert chunks_of(store) == 9
    assert fetched(kept, tmp_path) == CONTENT
    execute(store, "UPDATE servefit_blobs SET complete = 0")
    kept.put(CONTENT)
    assert chunks_of(store) == 3
    assert fetched(kept, tmp_path) == CONTENT


DAMAGE = {
    "its chunk 1 is missing": "DELETE FROM servefit_blob_chunks WHERE nth = 1",
    "its chunk 0 is not what was put": "UPDATE servefit_blob_chunks SET bytes = '' WHERE nth = 0",
    "its chunk 2 is not what was put": "UPDATE servefit_blobs SET size_bytes = size_bytes - 1",
    "its chunk 3 is missing": "UPDATE servefit_blobs SET size_bytes = size_bytes + 1",
    "it has another digest": "UPDATE servefit_blob_chunks SET bytes = (SELECT bytes FROM servefit_blob_chunks "
    "WHERE nth = 0) WHERE nth = 1",
    "it is larger than any that is put": f"UPDATE servefit_blobs SET size_bytes = {2**40}",
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_a_damaged_content_is_told_and_is_whole_once_it_is_put_again(
    kept: Blobs, store: JobStore, tmp_path: Path, reason: str
) -> None:
    kept.put(CONTENT)
    assert execute(store, DAMAGE[reason]) == 1
    with pytest.raises(StorageError, match=f"is damaged: {reason}; resume the job on the host that began it"):
        kept.fetch(DIGEST, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    assert not kept.exists(DIGEST)
    kept.put(CONTENT)
    assert fetched(kept, tmp_path) == CONTENT


def test_a_text_in_the_place_of_a_chunk_is_damage(sqlite_url: str, tmp_path: Path) -> None:
    with JobStore.open(sqlite_url) as store:
        Blobs.of(store).put(CONTENT)
        execute(store, "UPDATE servefit_blob_chunks SET bytes = 'text' WHERE nth = 0")
        with pytest.raises(StorageError, match="its chunk 0 is not what was put"):
            Blobs.of(store).fetch(DIGEST, tmp_path / "fetched")


def test_damage_that_was_mended_meanwhile_does_not_take_the_content_away(
    kept: Blobs, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.put(CONTENT)
    execute(store, DAMAGE["its chunk 1 is missing"])
    find = blob_tables.find

    def find_and_mend(connection: Any, digest: str) -> Any:
        found = find(connection, digest)
        connection.exec_driver_sql("UPDATE servefit_blobs SET puts = puts + 1")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(blob_tables, "find", find_and_mend)
        with pytest.raises(StorageError, match="is damaged"):
            kept.fetch(DIGEST, tmp_path / "fetched")
    assert kept.exists(DIGEST)


@on_a_file
def test_a_content_above_the_limit_is_refused_before_anything_is_written(
    kept: Blobs, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "MAX_BYTES", len(CONTENT) - 1)
    (tmp_path / "file").write_bytes(CONTENT)
    with pytest.raises(
        SpecError, match=r"is larger than the .* MiB that the database of jobs takes; keep the model at"
    ):
        kept.put(tmp_path / "file")
    assert execute(store, "DELETE FROM servefit_blobs") == 0
    monkeypatch.setattr(blobs, "MAX_BYTES", len(CONTENT))
    assert kept.put(tmp_path / "file") == DIGEST


@on_a_file
def test_a_huge_file_is_refused_without_being_read_to_its_end(
    kept: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "MAX_BYTES", 8 * 2**20)
    with (tmp_path / "file").open("wb") as stream:
        stream.truncate(2**42)
    with pytest.raises(SpecError, match="is larger than the 8 MiB"):
        kept.put(tmp_path / "file")


@on_a_file
def test_a_file_that_cannot_be_read_is_refused(kept: Blobs, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SpecError, match=f"file: '{re.escape(str(path))}' cannot be read: "):
            kept.put(path)


@on_a_file
@pytest.mark.parametrize("change", ["longer", "shorter", "otherwise"])
def test_nothing_wrong_is_written_of_a_file_that_changes(
    kept: Blobs, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    contents = {"longer": CONTENT + CONTENT, "shorter": CONTENT[:CHUNK_BYTES], "otherwise": CONTENT[::-1]}
    begin = blob_tables.begin

    def begin_and_change(*arguments: Any, **options: Any) -> bool:
        file.write_bytes(contents[change])
        return begin(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(blob_tables, "begin", begin_and_change)
        with pytest.raises(SpecError, match="changes while it is read; try again"):
            kept.put(file)
    assert not kept.exists(DIGEST)
    kept.put(CONTENT)
    assert fetched(kept, tmp_path) == CONTENT


@on_a_file
def test_a_folder_that_cannot_be_written_is_told(kept: Blobs, tmp_path: Path) -> None:
    kept.put(CONTENT)
    with pytest.raises(StateError, match="cannot write"):
        kept.fetch(DIGEST, tmp_path / "missing" / "fetched")


@pytest.mark.thorough
def test_memory_stays_flat_however_large_the_content_is(url: str, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        for _ in range(64):
            stream.write(os.urandom(2**20))
    command = [sys.executable, "-c", MEMORY, url, str(tmp_path)]
    grown_kib = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    assert grown_kib < 24 * 1024
    assert (tmp_path / "fetched").read_bytes() == (tmp_path / "large").read_bytes()


@on_both
def test_what_is_not_needed_is_deleted_and_nothing_else(kept: Blobs, store: JobStore, tmp_path: Path) -> None:
    kept.put(CONTENT)
    other = kept.put(b"other")
    assert kept.delete_all_but(lambda: None) == 0
    assert kept.delete_all_but(lambda: {DIGEST, "unknown"}) == 1
    assert not kept.exists(other)
    assert chunks_of(store, other) == 0
    assert fetched(kept, tmp_path) == CONTENT
    kept.put(b"other")
    assert fetched(kept, tmp_path, other) == b"other"


def test_what_is_put_again_while_contents_are_deleted_stays(kept: Blobs, tmp_path: Path) -> None:
    kept.put(CONTENT)

    def needed() -> set[str]:
        kept.put(CONTENT)
        return set()

    assert kept.delete_all_but(needed) == 0
    assert fetched(kept, tmp_path) == CONTENT


def test_a_content_that_is_deleted_while_it_is_put_is_told(
    kept: Blobs, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = blob_tables.complete

    def delete_and_complete(connection: Any, digest: str, **options: Any) -> bool:
        connection.exec_driver_sql("DELETE FROM servefit_blob_chunks WHERE nth = 1")
        return complete(connection, digest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(blob_tables, "complete", delete_and_complete)
        with pytest.raises(StorageError, match="was deleted while it was put; try again"):
            kept.put(CONTENT)
    assert not kept.exists(DIGEST)


@pytest.fixture
def patient(postgresql_url: str) -> Iterator[JobStore]:
    """A store that waits for its server."""
    with JobStore.open(postgresql_url, patience_s=60) as store:
        yield store


@pytest.mark.thorough
def test_a_server_that_restarts_meanwhile_is_waited_for(
    postgresql: Server, patient: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_chunk, read_chunk, restarts = blob_tables.put_chunk, blob_tables.read_chunk, []

    def restart_once(name: str, nth: int) -> None:
        if nth == 1 and name not in restarts:
            restarts.append(name)
            postgresql.stop()
            threading.Timer(0.5, postgresql.start).start()

    def put(connection: Any, digest: str, nth: int, content: bytes) -> None:
        put_chunk(connection, digest, nth, content)
        restart_once("put", nth)

    def read(connection: Any, digest: str, nth: int) -> Any:
        restart_once("read", nth)
        return read_chunk(connection, digest, nth)

    monkeypatch.setattr(blob_tables, "put_chunk", put)
    monkeypatch.setattr(blob_tables, "read_chunk", read)
    kept = Blobs.of(patient)
    kept.put(CONTENT)
    assert fetched(kept, tmp_path) == CONTENT
    assert restarts == ["put", "read"]
    assert patient.waited_s > 0.5


def test_mysql_takes_chunks_of_a_megabyte() -> None:
    made = str(CreateTable(blob_tables._tables().chunks).compile(dialect=mysql.dialect()))
    assert "bytes BLOB(16777215) NOT NULL" in made
    assert CHUNK_BYTES <= 16777215
