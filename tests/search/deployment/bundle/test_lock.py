"""The digests in the lock of a bundle, from the index that pip uses, or the reason why there are none."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import venv
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from servefit.search.deployment.bundle.lock import Lock
from servefit.search.deployment.bundle.pip_settings import PipSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.deployment.bundle.conftest import Export

pytestmark = pytest.mark.integration

JSON = "application/vnd.pypi.simple.v1+json"
PIN = "small-thing==1.2"
DIGESTS = {
    "small_thing-1.2-cp311-cp311-manylinux_2_28_x86_64.whl": "a" * 64,
    "small_thing-1.2-cp312-cp312-macosx_11_0_arm64.whl": "b" * 64,
    "small_thing-1.2.tar.gz": "c" * 64,
}
OTHERS = {
    "small_thing-1.2.1-py3-none-any.whl": "d" * 64,
    "small_thing_else-1.2-py3-none-any.whl": "e" * 64,
    "small_thing-1.2.exe": "f" * 64,
}
Serve = Callable[..., AbstractContextManager[str]]


def listing(digests: Mapping[str, str] = DIGESTS | OTHERS) -> bytes:
    files = [
        {"filename": name, "url": f"/files/{name}", "hashes": {"sha256": digest}} for name, digest in digests.items()
    ]
    return json.dumps({"meta": {"api-version": "1.0"}, "name": "small-thing", "files": files}).encode()


def page(digests: Mapping[str, str] = DIGESTS | OTHERS) -> bytes:
    links = "".join(f'<a href="../../{name}#sha256={digest}">{name}</a><br>' for name, digest in digests.items())
    return f"<!DOCTYPE html><html><body>{links}<a>nowhere</a></body></html>".encode()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """An index on this machine, that pip is told of; ``seen`` gets the headers of every request."""
    monkeypatch.delenv("PIP_NO_INDEX")

    @contextmanager
    def start(
        pages: Mapping[str, tuple[int, str, bytes]], *, user: str = "", seen: list[dict[str, str]] | None = None
    ) -> Iterator[str]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if seen is not None:
                    seen.append({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
                status, kind, content = pages.get(self.path, (404, "text/plain", b""))
                self.send_response(status)
                self.send_header("location" if status == 302 else "content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None: ...

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            url = f"http://{user}127.0.0.1:{server.server_address[1]}/simple"
            monkeypatch.setenv("PIP_INDEX_URL", url)
            try:
                yield url
            finally:
                server.shutdown()
                thread.join()

    return start


def hashes_of(pin: str = PIN) -> tuple[str, ...]:
    lock = Lock.of_indexes((pin,))
    assert lock.reason is None
    return lock.hashes[pin]


@pytest.mark.parametrize(("kind", "content"), [(JSON, listing()), ("text/html; charset=utf-8", page())])
def test_a_lock_has_the_digests_of_all_files_of_the_version_whatever_they_are_for(
    serve: Serve, kind: str, content: bytes
) -> None:
    with serve({"/simple/small-thing/": (200, kind, content)}):
        assert hashes_of() == tuple(DIGESTS.values())


def test_other_indexes_folders_and_pages_that_pip_is_told_of_are_looked_through_too(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small_thing-1.2-py3-none-any.whl").write_bytes(b"a wheel")
    pages = {
        "/simple/small-thing/": (200, JSON, listing({"small_thing-1.2.tar.gz": "1" * 64})),
        "/extra/small-thing/": (200, JSON, listing({"small_thing-1.2.zip": "2" * 64})),
        "/links.html": (200, "text/html", page({"small-thing-1.2.tar.gz": "3" * 64})),
    }
    with serve(pages) as url:
        host = url.removesuffix("/simple")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{host}/extra/ {host}/nothing")
        monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path} {host}/links.html")
        assert set(hashes_of()) == {"1" * 64, "2" * 64, "3" * 64, sha256(b"a wheel").hexdigest()}


@pytest.mark.thorough
def test_an_index_without_digests_or_without_the_version_makes_a_lock_without(serve: Serve) -> None:
    without = [{"filename": "small_thing-1.2.tar.gz", "url": "x", "hashes": {}}]
    for content in (listing(OTHERS), json.dumps({"files": without}).encode()):
        with serve({"/simple/small-thing/": (200, JSON, content)}):
            lock = Lock.of_indexes((PIN,))
        assert lock.reason == f"no package index has the digest of a file of {PIN}"
        assert "--hash" not in lock.text
        assert lock.reason in lock.text


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, "text/html", b""), "a package index answers with status 500"),
        ((401, "text/html", b""), "a package index answers with status 401"),
        ((200, JSON, b"{"), "a package index answers what no index would"),
        ((200, JSON, b'{"files": [1]}'), "a package index answers what no index would"),
    ],
)
def test_an_index_that_does_not_say_leaves_the_lock_without_digests(
    serve: Serve, answer: tuple[int, str, bytes], reason: str
) -> None:
    with serve({"/simple/small-thing/": answer}):
        assert Lock.of_indexes((PIN,)) == Lock(pins=(PIN,), reason=reason)


def test_without_an_index_a_bundle_is_written_that_says_why_it_has_no_digests_and_names_no_host(
    serve: Serve, export: Export
) -> None:
    with serve({}, user="me:hunter2@"):
        pass
    bundle = export()
    assert bundle.lock.reason == "a package index cannot be reached: Connection refused"
    text = (bundle.folder / "requirements.lock").read_text()
    assert "Connection refused. For digests export again where pip reaches its package index, or with --wheels." in text
    for name in bundle.files:
        if not name.startswith("lib/"):
            assert b"hunter2" not in (bundle.folder / name).read_bytes()
    assert "127.0.0.1" not in text


def test_pip_that_is_told_to_ask_nobody_is_taken_at_its_word() -> None:
    assert Lock.of_indexes((PIN,)).reason == "pip is told to ask no package index"


def test_without_pip_nobody_says_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path, with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert "No module named pip" in (Lock.of_indexes((PIN,)).reason or "")


@pytest.mark.thorough
def test_an_index_of_another_machine_is_asked_over_tls_unless_it_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://192.0.2.1/simple")
    reason = "a package index is neither asked over TLS nor trusted, and pip does not use it"
    assert Lock.of_indexes((PIN,)).reason == reason


@pytest.mark.parametrize("of", ["url", "netrc"])
def test_a_password_goes_to_its_own_host_alone(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if of == "netrc":
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2@\n")
        (tmp_path / ".netrc").chmod(0o600)
    elsewhere: list[dict[str, str]] = []
    here: list[dict[str, str]] = []
    with serve({"/simple/small-thing/": (200, JSON, listing())}, seen=elsewhere) as target:
        moved = target.replace("127.0.0.1", "localhost") + "/small-thing/"
        user = "me:hunter2%40@" if of == "url" else ""
        with serve({"/simple/small-thing/": (302, moved, b"")}, user=user, seen=here):
            assert hashes_of() == tuple(DIGESTS.values())
    [asked], [redirected] = here, elsewhere
    assert asked["authorization"] == f"Basic {base64.b64encode(b'me:hunter2@').decode()}"
    assert "authorization" not in redirected


def test_settings_of_pip_are_read_as_pip_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://one.test/simple/\ncert = /one.pem\nextra-index-url =\n  https://two.test/a\n"
        "  https://three.test/b\n[install]\ncert = /two.pem\ntrusted-host = two.test\n[download]\nproxy = http://no\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setenv("PIP_TRUSTED_HOST", "three.test:8443 four.test")
    assert PipSettings.read() == PipSettings(
        indexes=("https://one.test/simple", "https://two.test/a", "https://three.test/b"),
        trusted=frozenset({"three.test:8443", "four.test"}),
        certificates="/two.pem",
    )


@pytest.mark.thorough
def test_without_settings_it_is_pips_own_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    [index] = PipSettings.read().indexes
    assert index.startswith("https://")
    assert index.endswith("/simple")


def wheel_of(folder: Path) -> Path:
    """A wheel of the small thing, which holds one module."""
    path = folder / "small_thing-1.2-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: small-thing\nVersion: 1.2\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("small_thing.py", "")
        wheel.writestr("small_thing-1.2.dist-info/METADATA", about)
        wheel.writestr("small_thing-1.2.dist-info/WHEEL", tags)
        wheel.writestr("small_thing-1.2.dist-info/RECORD", "")
    return path


@pytest.mark.parametrize("changed", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_pip_installs_what_has_a_digest_of_the_lock_and_nothing_else(
    serve: Serve, tmp_path: Path, changed: bool
) -> None:
    wheel = wheel_of(tmp_path).read_bytes()
    name = "small_thing-1.2-py3-none-any.whl"
    lock = tmp_path / "requirements.lock"
    served = wheel + b"more" if changed else wheel
    pages = {
        "/simple/small-thing/": (200, JSON, listing({**DIGESTS, name: sha256(wheel).hexdigest()})),
        f"/files/{name}": (200, "application/zip", served),
    }
    with serve(pages):
        lock.write_text(Lock.of_indexes((PIN,)).text)
        # As an index that was tampered with would have it, which vouches for what it serves
        pages["/simple/small-thing/"] = (200, JSON, listing({name: sha256(served).hexdigest()}))
        options = ("--require-hashes", "--no-deps", "--no-cache-dir", "--target", tmp_path / "installed", "-r", lock)
        command = [sys.executable, "-m", "pip", "install", *map(str, options)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode != 0) == changed, ended.stderr
    assert (tmp_path / "installed" / "small_thing.py").exists() != changed


def test_a_bundle_with_its_wheels_has_the_digests_of_these(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path)
    lock = Lock.of_wheels((PIN,), tmp_path)
    assert lock.hashes == {PIN: (sha256(wheel.read_bytes()).hexdigest(),)}
    assert f"{PIN} \\\n    --hash=sha256:" in lock.text
