"""Kept copies of models are found by digest, and stay as they are when the file changes."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from servefit.backends.model import keeping
from servefit.backends.model.keeping import (
    ModelFile,
    content_as_named,
    digest_in_name,
    file_digest,
    find_kept,
    has_digest,
    keep,
    name_by_content,
    named_by_format,
    read_once,
    unchanged,
)
from servefit.backends.model.types import Format
from servefit.errors import CorruptModel

SIZE = 3 * 2**20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.write_bytes(b"a" * SIZE)
    return path


def after_each_copy(monkeypatch: pytest.MonkeyPatch, *actions: Any) -> None:
    """Have the actions happen one after another, each when the file has been copied and before anybody looks again."""
    copy, left = keeping._copied, list(actions)

    def copied(*arguments: Any) -> str:
        digest = copy(*arguments)
        if left:
            left.pop(0)()
        return digest

    monkeypatch.setattr(keeping, "_copied", copied)


@pytest.mark.integration
def test_what_is_read_is_copied_under_its_digest(source: Path, tmp_path: Path) -> None:
    digest = read_once(source, tmp_path / "copy")
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


@pytest.mark.integration
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"b" * SIZE),
        lambda path: os.truncate(path, 10),
        lambda path: path.with_name("new").write_bytes(b"b" * SIZE) and path.with_name("new").replace(path),
    ],
    ids=["in place", "cut off", "by another file"],
)
def test_a_file_that_changes_while_it_is_read_is_read_again(
    change: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_each_copy(monkeypatch, lambda: change(source))
    digest = read_once(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest()


@pytest.mark.integration
def test_a_file_that_does_not_stop_changing_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_each_copy(monkeypatch, *[lambda: os.utime(source)] * 100)
    with pytest.raises(CorruptModel, match="it changes while it is read; try again when it has been written"):
        read_once(source, tmp_path / "copy")


@pytest.mark.integration
def test_a_copy_is_never_a_mixture_of_two_contents(source: Path, tmp_path: Path) -> None:
    over = threading.Event()

    def overwrite() -> None:
        while not over.is_set():
            for content in (b"b", b"a"):
                source.write_bytes(content * SIZE)
                over.wait(0.05)

    thread = threading.Thread(target=overwrite)
    thread.start()
    try:
        for _ in range(5):
            read_once(source, tmp_path / "copy")
            # Whoever overwrites a file first empties it, and may rest there.
            assert len(set((tmp_path / "copy").read_bytes())) <= 1
    finally:
        over.set()
        thread.join()


@pytest.mark.integration
@pytest.mark.timeout(10)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CorruptModel, match="no regular file"):
        read_once(tmp_path / "pipe", tmp_path / "copy")


def test_a_kept_file_is_found_by_its_digest_until_it_is_damaged(source: Path, tmp_path: Path) -> None:
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    found = named_by_format(ModelFile(file=source, digest=digest, format=Format.ONNX))
    kept = keep(found)
    assert find_kept(found.digest) == kept
    assert not found.file.exists(), "it was moved"
    kept.file.chmod(0o600)
    kept.file.write_bytes(b"damaged")
    assert find_kept(found.digest) is None
    found.file.write_bytes(content)
    assert keep(found) == kept
    assert kept.file.read_bytes() == content


@pytest.mark.integration
def test_of_several_that_keep_the_same_file_at_once_one_does(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others leave it alone, so that nobody who reads it already sees it change."""
    content, together, seen = source.read_bytes(), threading.Barrier(6), list[int]()

    def has_digest_slowly(path: Path, digest: str) -> bool:
        found = has_digest(path, digest)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(keeping, "has_digest", has_digest_slowly)

    def keep_own(number: int) -> None:
        own = tmp_path / str(number) / "model.onnx"
        own.parent.mkdir()
        own.write_bytes(content)
        together.wait()
        kept = keep(ModelFile(file=own, digest=hashlib.sha256(content).hexdigest(), format=Format.ONNX))
        seen.append(kept.file.stat().st_ino)

    threads = [threading.Thread(target=keep_own, args=(number,)) for number in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(threads)
    assert len(set(seen)) == 1


def overwrite_and_fail(path: Path) -> None:
    path.write_bytes(b"b" * SIZE)
    raise ZeroDivisionError


def test_a_block_is_refused_a_file_that_is_another_or_changes_whatever_came_of_it(source: Path) -> None:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    with unchanged(source, digest):
        source.read_bytes()
    with pytest.raises(CorruptModel, match="not what it was when it was opened"), unchanged(source, "0" * 64):
        raise AssertionError
    with pytest.raises(CorruptModel, match="changed while it was read"), unchanged(source, digest):
        overwrite_and_fail(source)
    source.unlink()
    with pytest.raises(CorruptModel, match="it is gone"), unchanged(source, digest):
        raise AssertionError


def test_a_file_named_by_its_content_is_read_only_with_that_content(source: Path) -> None:
    named = source.with_name(name_by_content(source))
    assert has_digest(named, digest_in_name(named) or "")
    assert content_as_named(named) == b"a" * SIZE
    named.chmod(0o600)
    named.write_bytes(b"damaged")
    with pytest.raises(CorruptModel, match="not what it was when it was written; open the model again"):
        content_as_named(named)
    named.unlink()
    with pytest.raises(CorruptModel, match="No such file"):
        content_as_named(named)


@pytest.mark.parametrize("name", ["splits.npz", "splits-.npz", f"splits-{'0' * 63}.npz", f"{'0' * 64}.npz"])
def test_no_digest_is_found_in_other_names(name: str) -> None:
    assert digest_in_name(Path(name)) is None


@pytest.mark.parametrize("kind", Format)
def test_a_kept_copy_is_found_in_the_format_that_it_was_kept_in(kind: Format, source: Path) -> None:
    source.write_text(kind)  # the state is that of all tests
    digest = file_digest(source)
    kept = keep(named_by_format(ModelFile(file=source, digest=digest, format=kind)))
    assert find_kept(digest) == kept
