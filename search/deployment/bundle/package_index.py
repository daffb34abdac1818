"""The files of a package, with their SHA-256, by the simple repository API [PEP 503, PEP 691]: at an index, on a page
of links, or in a folder."""

from __future__ import annotations

import base64
import json
import netrc
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from hashlib import file_digest
from html.parser import HTMLParser
from http import HTTPStatus
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from servefit.errors import ServefitError

if TYPE_CHECKING:
    from servefit.search.deployment.bundle.pip_settings import PipSettings

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPTED = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_TIMEOUT_S = 10.0
"""Chosen, not measured. An export goes on without digests then."""

_MAX_PAGE_BYTES = 256 << 20
"""Far more than the page of any package, and no burden to a machine that measures. Chosen, not measured."""


class IndexUnreachable(ServefitError):
    """An index does not answer, or not what an index would. Its address is not said: it may hold a password."""


class PackageFile(NamedTuple):
    """A file of a package. ``sha256`` is None where the index does not say it."""

    name: str
    sha256: str | None


class PackageIndex:
    """The package indexes of ``settings``, asked as pip does: only over TLS but for hosts that are trusted, with the
    password of the URL or of ~/.netrc. Raises IndexUnreachable for certificates that cannot be read."""

    def __init__(self, settings: PipSettings) -> None:
        self._settings = settings
        self._certificates = ssl.create_default_context()
        if settings.certificates is not None:
            path = Path(settings.certificates)
            try:
                cafile, capath = (None, path) if path.is_dir() else (path, None)
                self._certificates.load_verify_locations(cafile=cafile, capath=capath)
            except OSError as error:
                raise IndexUnreachable(f"the certificates of pip cannot be read: {error.strerror}") from error

    def files(self, project: str) -> Iterator[PackageFile]:
        """Iterate over the files of ``project``, a canonical name, of all versions; no more than its name is sent.
        Raises IndexUnreachable."""
        for index in self._settings.indexes:
            yield from self._page(f"{index}/{project}/")

    def linked_files(self) -> Iterator[PackageFile]:
        """Iterate over the files on pages of links and in folders, of all projects. Raises IndexUnreachable."""
        for link in self._settings.links:
            folder = Path(unquote(urlsplit(link).path) if link.startswith("file:") else link).expanduser()
            if folder.is_dir():
                yield from map(_local_file, sorted(path for path in folder.iterdir() if path.is_file()))
            elif folder.is_file():
                yield from _anchors(folder.read_text(encoding="utf-8", errors="replace"))
            elif "://" in link:
                yield from self._page(link)

    def _page(self, url: str) -> list[PackageFile]:
        """Return the files on a page, none where there is no such page."""
        try:
            parts = urlsplit(url)
            with self._opener(parts).open(_request(parts), timeout=_TIMEOUT_S) as answer:
                kind, content = answer.headers.get_content_type(), answer.read(_MAX_PAGE_BYTES)
            if kind == _JSON:
                files = json.loads(content)["files"]
                return [PackageFile(file["filename"], file["hashes"].get("sha256")) for file in files]
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return []
            raise IndexUnreachable(f"a package index answers with status {error.code}") from error
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            text = getattr(reason, "strerror", None) or getattr(reason, "verify_message", None) or type(reason).__name__
            raise IndexUnreachable(f"a package index cannot be reached: {text}") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise IndexUnreachable("a package index answers what no index would") from error
        return list(_anchors(content.decode(errors="replace")))

    def _opener(self, parts: SplitResult) -> urllib.request.OpenerDirector:
        trusted = bool({parts.hostname, f"{parts.hostname}:{parts.port}"} & self._settings.trusted)
        if parts.scheme != "https" and not (parts.scheme == "http" and (trusted or _is_loopback(parts.hostname))):
            raise IndexUnreachable("a package index is neither asked over TLS nor trusted, and pip does not use it")
        proxy = self._settings.proxy
        return urllib.request.build_opener(
            urllib.request.ProxyHandler(None if proxy is None else {"http": proxy, "https": proxy}),
            urllib.request.HTTPSHandler(context=_unverified() if trusted else self._certificates),
        )


def _request(parts: SplitResult) -> urllib.request.Request:
    """Return the request for a page. The password is for its host alone, and does not follow a redirect."""
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(bare, headers={"Accept": _ACCEPTED, "User-Agent": "servefit"})  # noqa: S310 - see _opener
    if user := _user(parts):
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    return request


def _user(parts: SplitResult) -> str | None:
    if parts.username is not None:
        return f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    with suppress(OSError, netrc.NetrcParseError):
        if credentials := netrc.netrc().authenticators(parts.hostname or ""):
            return f"{credentials[0]}:{credentials[2]}"
    return None


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_loopback(host: str | None) -> bool:
    with suppress(ValueError):
        return ip_address(host or "").is_loopback
    return host == "localhost"


def _local_file(path: Path) -> PackageFile:
    with path.open("rb") as stream:
        return PackageFile(path.name, file_digest(stream, "sha256").hexdigest())


def _anchors(page: str) -> list[PackageFile]:
    parser = _Anchors()
    parser.feed(page)
    return parser.files


class _Anchors(HTMLParser):
    """A parser that collects the files that the links of a page lead to; the digest is in the fragment of the URL."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[PackageFile] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and (target := dict(attrs).get("href")):
            parts = urlsplit(target)
            kind, _, digest = parts.fragment.partition("=")
            name = unquote(parts.path.rpartition("/")[2])
            self.files.append(PackageFile(name, digest.partition("&")[0] if kind == "sha256" else None))
