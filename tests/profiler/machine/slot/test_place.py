"""The file of the slot, in a folder that anybody may write to."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.process_limits import NOBODY, as_user

from servefit.errors import MeasurementError, StateError
from servefit.profiler.machine.slot import place
from servefit.profiler.machine.slot.place import SlotFile, open_slot_file

if TYPE_CHECKING:
    from collections.abc import Iterator

SOMEBODY = 65533


@pytest.fixture
def own_slot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like /run/lock, which every user reaches."""
    folder = Path(tempfile.mkdtemp(prefix="servefit-slot-"))
    folder.chmod(0o1777)
    monkeypatch.setenv("SERVEFIT_SLOT", str(folder))
    yield folder
    shutil.rmtree(folder)


def opened() -> SlotFile:
    file = open_slot_file()
    os.close(file.descriptor)
    return file


def test_every_user_may_use_a_file_that_another_has_made_whatever_the_umask(own_slot: Path) -> None:
    before = os.umask(0o077)
    try:
        with as_user(SOMEBODY):
            made = opened()
    finally:
        os.umask(before)
    assert (made.path.parent, made.scope) == (own_slot, "host")
    found = made.path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o666
    assert found.st_uid == (SOMEBODY if os.geteuid() == 0 else os.geteuid())
    with as_user(NOBODY):
        assert opened().path.stat().st_ino == found.st_ino


def test_a_file_that_root_has_made_is_everybodys(own_slot: Path) -> None:
    made = opened().path.stat().st_ino
    with as_user(NOBODY):
        assert opened().path.stat().st_ino == made


def test_a_link_is_not_followed(own_slot: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (own_slot / "servefit-measuring").symlink_to(target)
    with pytest.raises(MeasurementError, match="it is a link; remove it, or name another folder in SERVEFIT_SLOT"):
        open_slot_file()
    assert target.read_text() == "mine"


def test_a_link_to_nothing_makes_nothing(own_slot: Path, tmp_path: Path) -> None:
    (own_slot / "servefit-measuring").symlink_to(tmp_path / "target")
    with pytest.raises(MeasurementError, match="it is a link"):
        open_slot_file()
    assert not (tmp_path / "target").exists()


def test_a_file_with_a_second_name_is_refused(own_slot: Path) -> None:
    (own_slot / "of somebody").write_text("")
    (own_slot / "servefit-measuring").hardlink_to(own_slot / "of somebody")
    with pytest.raises(MeasurementError, match="it has another name too"):
        open_slot_file()


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["a pipe", "a folder"])
def test_nobody_waits_at_what_is_no_file(own_slot: Path, kind: str) -> None:
    path = own_slot / "servefit-measuring"
    os.mkfifo(path) if kind == "a pipe" else path.mkdir()
    with pytest.raises(MeasurementError, match="cannot be used: "):
        open_slot_file()


@pytest.mark.integration
def test_a_file_that_another_user_keeps_to_themselves_is_told_and_not_passed_over(own_slot: Path) -> None:
    path = own_slot / "servefit-measuring"
    path.touch()
    path.chmod(0o600 if os.geteuid() == 0 else 0o000)
    with as_user(NOBODY), pytest.raises(MeasurementError, match="this user may not open it"):
        open_slot_file()


@pytest.mark.integration
def test_a_file_that_becomes_everybodys_in_a_moment_is_waited_for(
    own_slot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_PATIENCE_S", 60)
    path = own_slot / "servefit-measuring"
    path.touch()
    path.chmod(0o000)
    fork = os.fork()
    if fork == 0:
        time.sleep(0.05)
        path.chmod(0o666)
        os._exit(0)
    try:
        with as_user(NOBODY):
            assert opened().path == path
    finally:
        os.waitpid(fork, 0)


def test_a_folder_that_does_not_exist_is_told_with_the_variable_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_SLOT", "/proc/nowhere")
    with pytest.raises(StateError, match="cannot write /proc/nowhere/servefit-measuring") as caught:
        open_slot_file()
    assert caught.value.variable == "SERVEFIT_SLOT"


def test_without_the_variable_it_lies_in_the_hosts_folder(own_slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVEFIT_SLOT")
    file = open_slot_file(host_folder=own_slot)
    os.close(file.descriptor)
    assert (file.path, file.scope) == (own_slot / "servefit-measuring", "host")


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/proc"], ids=["that is not there", "that nobody may write to"])
def test_without_such_a_folder_it_lies_in_the_state_folder(
    folder: str, own_state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVEFIT_SLOT")
    file = open_slot_file(host_folder=Path(folder))
    os.close(file.descriptor)
    assert file.path.parent == own_state_folder / "slot"
    assert file.scope == "user"
