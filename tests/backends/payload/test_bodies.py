"""Payloads of opaque requests: files as they are, with the content types that their extensions tell."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.scripts import JPEG, archive, photos

from servefit.backends.model.opaque import MAX_BODY_BYTES, SIGNATURE, OpaqueRequest, request_in
from servefit.backends.payload import bodies as module
from servefit.backends.payload.bodies import Bodies, bodies_payload
from servefit.backends.payload.reading import payload_of
from servefit.errors import PayloadMismatch, SpecError

if TYPE_CHECKING:
    from pathlib import Path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _zip_of(path: Path, name: str, *, mode: int = 0o644) -> Path:
    with zipfile.ZipFile(path, "w") as written:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        written.writestr(member, b"/etc/passwd")
    return path


def _damaged(path: Path, compression: int) -> Path:
    with zipfile.ZipFile(path, "w", compression) as written:
        written.writestr("a.jpg", bytes(range(256)) * 10)
    content = bytearray(path.read_bytes())
    content[46:60] = b"\xff" * 14
    path.write_bytes(content)
    return path


def requests_of(source: Any) -> list[OpaqueRequest]:
    return [request_in(row) for row in bodies_payload(source, SIGNATURE).rows]


def test_a_folder_is_a_request_a_file_in_the_order_of_names(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "more").mkdir()
    (tmp_path / "photos" / "more" / "a.PNG").write_bytes(b"png")
    (tmp_path / "photos" / ".hidden").write_bytes(b"x")
    payload = bodies_payload(tmp_path / "photos", SIGNATURE)
    requests = [request_in(row) for row in payload.rows]
    assert [each.content_type for each in requests] == ["image/jpeg"] * 3 + ["image/png"]
    assert requests[1].body == JPEG + b"\1" * 110
    assert [str(size) for size in payload.sizes] == ["bytes 3 to 214, median 14"]


@pytest.mark.integration
def test_archives_hold_what_folders_do(tmp_path: Path) -> None:
    files = {f"{path.name}": path.read_bytes() for path in photos(tmp_path / "photos").iterdir()}
    archive(tmp_path / "photos.tar.gz", files)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in files.items():
            written.writestr(f"inner/{name}", content)
        written.writestr("__MACOSX/._0.jpg", b"x")
    expected = requests_of(tmp_path / "photos")
    assert requests_of(tmp_path / "photos.tar.gz") == expected
    assert requests_of(tmp_path / "photos.zip") == expected


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("a.csv", "text/csv"), ("a.json", "application/json"), ("a.npy", "application/x-npy"), ("a.txt", "text/plain")],
)
def test_a_file_is_one_request_of_the_type_that_its_extension_tells(
    name: str, content_type: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"1,2\n3,4\n")
    assert requests_of(tmp_path / name) == [OpaqueRequest(body=b"1,2\n3,4\n", content_type=content_type)]


def test_a_file_may_be_a_request_a_line(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_bytes(b"one\r\n\ntwo\n three")
    found = requests_of(Bodies(source=tmp_path / "texts.csv", each_line=True, accept="text/csv"))
    assert [each.body for each in found] == [b"one", b"two", b" three"]
    assert {(each.content_type, each.accept) for each in found} == {("text/csv", "text/csv")}
    (tmp_path / "texts.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n')  # as Excel and Windows begin files
    [line] = requests_of(Bodies(source=tmp_path / "texts.jsonl", each_line=True))
    assert (line.content_type, line.body) == ("application/json", b'{"a": 1}')


def test_python_gives_bytes_with_their_content_type() -> None:
    found = requests_of(Bodies(source=[b"a", bytearray(b"bc")], content_type="text/plain"))
    assert [each.body for each in found] == [b"a", b"bc"]


def test_no_more_is_kept_than_fits_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAYLOAD_BYTES", 4 * 3 * 1000)
    payload = bodies_payload(photos(tmp_path / "photos"), SIGNATURE)
    assert 1 < len(payload.rows) < 6
    assert payload.truncated_from == 6


def test_a_payload_is_needed_since_nothing_can_be_drawn() -> None:
    with pytest.raises(PayloadMismatch, match="nobody but the script knows what it takes; give one with --payload"):
        bodies_payload(None, SIGNATURE)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder, "at least one request, got none"),
        (lambda folder: folder / "missing", "no such file"),
        (
            lambda folder: (folder / "a.bin").write_bytes(b"x") and folder,
            "expected an extension that tells the content",
        ),
        (lambda folder: (folder / "big.jpg").write_bytes(bytes(MAX_BODY_BYTES + 1)) and folder, "are the most"),
        (lambda folder: (folder / "out.jpg").symlink_to(__file__) or folder, "a link that leads out of it"),
        (lambda folder: (folder / "gone.jpg").symlink_to("/nowhere") or folder, "a link that leads out of it"),
        (lambda folder: (folder / "more").symlink_to("/tmp") or folder, "a link that leads out of it"),
        (lambda folder: _pipe(folder / "a.jpg").parent, "a pipe or a device"),
        (lambda folder: _pipe(folder / "a.jpg"), "a pipe or a device"),
        (lambda folder: (folder / "a.zip").write_bytes(b"PK\3\4x") and folder / "a.zip", "a ZIP archive of files"),
        (lambda folder: _damaged(folder / "a.zip", zipfile.ZIP_DEFLATED), "a ZIP archive of files, got Error -3"),
        (lambda folder: _damaged(folder / "a.zip", zipfile.ZIP_LZMA), "a ZIP archive of files, got Corrupt input"),
        (lambda folder: _zip_of(folder / "a.zip", "../../a.jpg"), "a name that leads out of it: '../../a.jpg'"),
        (lambda folder: _zip_of(folder / "a.zip", "/a.jpg"), "a name that leads out of it: '/a.jpg'"),
        (lambda folder: _zip_of(folder / "a.zip", "a.jpg", mode=stat.S_IFLNK | 0o777), "a.zip:a.jpg: expected a file"),
        (
            lambda folder: (folder / "a.npy").write_bytes(b"\x93NUMPY\n\0") and Bodies(source=folder, each_line=True),
            "a.npy, line 2: expected text, of which each line is a request",
        ),
        (lambda folder: (folder / "a.tar.gz").write_bytes(b"\x1f\x8bx") and folder / "a.tar.gz", "a .tar.gz of files"),
        (lambda folder: archive(folder / "b.tgz", {"../../a.jpg": b"x"}), "not safe to unpack"),
        (lambda _: np.ones((3, 4)), "bytes, a list of them, or a path, got a ndarray"),
        (lambda _: [[1, 2], [3, 4]], "encode rows as the script reads them"),
        (lambda _: [b"a"], "expected a content type, got bytes"),
        (lambda _: Bodies(source=b"a", content_type="text/é"), "no line of ASCII"),
    ],
)
def test_what_is_no_payload_for_a_script_is_refused(make: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(PayloadMismatch, match=said):
        bodies_payload(make(tmp_path), SIGNATURE)


def test_a_zip_that_says_less_than_it_holds_is_read_no_further_than_a_request_may_be(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("bomb.jpg", bytes(4 * MAX_BODY_BYTES))
    (tmp_path / "a.zip").write_bytes(content.getvalue())
    with pytest.raises(PayloadMismatch, match=r"bytes, and .* are the most"):
        bodies_payload(tmp_path / "a.zip", SIGNATURE)


def test_bytes_are_for_no_model_that_takes_rows(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="this model takes rows"):
        payload_of(Bodies(source=tmp_path, content_type="image/jpeg"))
