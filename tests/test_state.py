"""The state folder, and files in it that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.process_limits import NOBODY, as_user, no_room_beyond

from servefit.errors import StateError
from servefit.processes import own_mark
from servefit.state import (
    filling,
    read_sealed,
    state_folder,
    temporary_folder,
    write_atomically,
    write_sealed,
    writing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEBIBYTE = 2**20


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that everybody can reach and nobody but root can write to."""
    folder = Path(tempfile.mkdtemp(prefix="servefit-read-only-"))
    folder.chmod(0o555)
    yield folder
    shutil.rmtree(folder)


def test_the_folder_is_where_the_variables_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SERVEFIT_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert state_folder("jobs") == tmp_path / "home" / ".local" / "share" / "servefit" / "jobs"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert state_folder("jobs") == tmp_path / "xdg" / "servefit" / "jobs"
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "own"))
    assert state_folder("jobs", "one") == tmp_path / "own" / "jobs" / "one"
    assert (tmp_path / "own" / "jobs" / "one").is_dir()


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVEFIT_HOME", "state")
    assert state_folder() == tmp_path / "state"


def test_a_file_in_the_way_of_the_folder_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("not a folder")
    monkeypatch.setenv("SERVEFIT_HOME", str(in_the_way))
    with pytest.raises(StateError) as caught:
        state_folder("jobs")
    assert caught.value.path == in_the_way / "jobs"
    assert str(caught.value) == (
        f"cannot write {in_the_way / 'jobs'}: a file is in the way; "
        f"free space, or point SERVEFIT_HOME at a writable folder"
    )


def test_a_folder_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", "/proc/servefit")
    with pytest.raises(StateError, match="cannot write /proc/servefit"):
        state_folder()


def test_a_folder_without_permission_to_write_is_told(read_only_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(read_only_folder))
    with as_user():
        with pytest.raises(StateError, match="permission denied"):
            state_folder()
        with pytest.raises(StateError, match="Permission denied"):
            state_folder("jobs")


def test_a_user_without_a_home_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown_user = 4_000_000
    for variable in ("HOME", "SERVEFIT_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: unknown_user)
    with pytest.raises(StateError, match="this user has no home folder"):
        state_folder()


def test_writing_replaces_the_content_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_atomically(path, b"old")
    with no_room_beyond(MEBIBYTE), pytest.raises(StateError, match=r"cannot write .*facts\.json: File too large"):
        write_atomically(path, bytes(2 * MEBIBYTE))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_reason_is_the_one_that_the_system_gave(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="No space left on device"), writing(tmp_path):
        Path("/dev/full").write_bytes(b"content")


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "a1"
    with filling(folder) as unfinished:
        (unfinished / "model").write_bytes(b"content")
        assert not folder.exists()
    assert (folder / "model").read_bytes() == b"content"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_failure_while_filling_leaves_nothing(tmp_path: Path) -> None:
    with (
        no_room_beyond(MEBIBYTE),
        pytest.raises(OSError, match="File too large"),
        filling(tmp_path / "a1") as unfinished,
    ):
        (unfinished / "model").write_bytes(bytes(2 * MEBIBYTE))
    assert list(tmp_path.iterdir()) == []


def test_of_two_processes_that_fill_a_folder_the_first_to_finish_wins(tmp_path: Path) -> None:
    folder = tmp_path / "a1"
    with filling(folder) as slower:
        (slower / "model").write_bytes(b"slower")
        with filling(folder) as faster:
            (faster / "model").write_bytes(b"faster")
    assert (folder / "model").read_bytes() == b"faster"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "a1"
    folder.write_text("not a folder")
    with pytest.raises(StateError, match="Not a directory"), filling(folder) as unfinished:
        (unfinished / "model").write_bytes(b"content")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("content", [b"", b"one line", b"several\n\nlines\n", bytes(range(256))])
def test_what_is_sealed_is_read_as_it_was_written(content: bytes, tmp_path: Path) -> None:
    write_sealed(tmp_path / "file", content, about="a model")
    assert read_sealed(tmp_path / "file", about="a model") == content


def test_what_is_known_of_something_else_is_not_read(tmp_path: Path) -> None:
    write_sealed(tmp_path / "file", b"content", about="a model")
    assert read_sealed(tmp_path / "file", about="another model") is None


@pytest.mark.parametrize(
    "damage", [lambda kept: kept[:-1], lambda kept: kept + b"?", lambda kept: kept[65:], lambda _: b""]
)
def test_what_is_sealed_and_damaged_is_not_read(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read_sealed(path, about="a model") is None
    write_sealed(path, b"content", about="a model")
    path.write_bytes(damage(path.read_bytes()))
    assert read_sealed(path, about="a model") is None


LEAVES = """
import os, sys
from pathlib import Path
from servefit.state import filling, temporary_folder
with filling(Path(sys.argv[1]) / "a1") as folder, temporary_folder("test") as temporary:
    (folder / "model").write_bytes(b"content")
    print("made", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def leave(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a process that fills a folder "a1", has a temporary one besides, and goes on until it is killed."""
    with ExitStack() as stack:

        def start() -> subprocess.Popen[str]:
            command = [sys.executable, "-c", LEAVES, str(tmp_path)]
            environment = {**os.environ, "TMPDIR": str(tmp_path)}
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "made\n"
            return process

        yield start


@pytest.mark.integration
def test_the_next_process_removes_what_a_killed_one_left_and_nothing_that_is_in_use(
    tmp_path: Path, leave: Callable[[], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, living = leave(), leave()
    assert len(list(tmp_path.iterdir())) == 4
    killed.kill()
    killed.wait()
    with filling(tmp_path / "a2") as unfinished:
        (unfinished / "model").write_bytes(b"content")
    left = [path.name for path in tmp_path.iterdir() if path.name != "a2"]
    assert len(left) == 2
    assert all(f"-{living.pid}-" in name for name in left)
    living.kill()
    living.wait()
    with temporary_folder("test") as folder:
        assert [path for path in tmp_path.iterdir() if path.name != "a2"] == [folder]


@pytest.mark.integration
def test_a_write_that_was_killed_is_swept_by_the_next_one_in_the_state_folder(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    left = tmp_path / f".facts.json.{own_mark().replace(f'-{os.getpid()}-', f'-{dead.pid}-')}.abcd1234"
    left.write_bytes(b"half of it")
    write_atomically(tmp_path / "asked.json", b"{}", variable=None)
    assert left.exists(), "where the user writes nothing is removed"
    write_atomically(tmp_path / "facts.json", b"{}")
    assert not left.exists()


@pytest.mark.integration
@pytest.mark.parametrize(
    "name",
    [
        "servefit-notes",
        ".hidden.folder.abc",
        ".a1.00000000-{namespace}-{dead}-1.abcd1234",
        ".a1.{boot}-1-{dead}-1.abcd1234",
        "a1.{boot}-{namespace}-{dead}-1.abcd1234",
        ".a1.{boot}-{namespace}-{dead}-1",
    ],
    ids=["of people", "hidden", "of another boot", "of another container", "not hidden", "without a suffix"],
)
def test_what_is_not_known_to_be_of_a_dead_process_stays(tmp_path: Path, name: str) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    boot, namespace, _, _ = own_mark().split("-")
    folder = tmp_path / name.format(boot=boot, namespace=namespace, dead=dead.pid)
    folder.mkdir()
    with filling(tmp_path / "a1"):
        pass
    assert folder.is_dir()


@pytest.mark.integration
def test_what_another_user_left_stays_and_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    mark = own_mark().replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    kept, link = tmp_path / "kept", tmp_path / f".link.{mark}.abcd1234"
    kept.mkdir()
    link.symlink_to(kept)
    foreign = tmp_path / f".foreign.{mark}.abcd1234"
    foreign.mkdir()
    if os.geteuid() == 0:
        os.chown(foreign, NOBODY, NOBODY)
    with filling(tmp_path / "a1"):
        pass
    assert kept.is_dir()
    assert not link.is_symlink()
    assert foreign.is_dir() == (os.geteuid() == 0)
