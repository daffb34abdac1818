"""The address of an endpoint: a URL, taken apart and checked once, and the address that its name led to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from servefit.errors import SpecError

_PORTS: dict[str, int] = {"http": 80, "https": 443}
_PATH = re.compile(r"[!-~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """``host`` is a name or an address, without brackets; ``path`` begins with a slash and holds the query too. ``ip``
    is where connections go: ``host`` itself, or what it led to when it was looked up (``resolution``); else None."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    path: str = "/"
    ip: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take ``url`` apart. Raises SpecError for anything but http://HOST[:PORT][/PATH] and the same with https."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise SpecError("url", url, f"is no URL: {error}") from error
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        if parts.scheme not in _PORTS or not parts.hostname:
            raise SpecError("url", url, "is no address of a server", remedy="write it like http://127.0.0.1:8080")
        if parts.username is not None:
            raise SpecError("url", parts.hostname, "cannot come with a user name and a password")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not _PATH.fullmatch(path):
            raise SpecError("url", url, "holds what no URL may hold", remedy="write it like %20")
        return cls(
            scheme=scheme,
            host=parts.hostname,
            port=_PORTS[scheme] if port is None else port,
            path=path,
            ip=parts.hostname if _is_numeric(parts.hostname) else None,
        )

    def at(self, path: str) -> Address:
        """Return the same server at another ``path``."""
        return replace(self, path=path)

    @property
    def connects_to(self) -> tuple[str, int]:
        """Address and port for a socket. No name is looked up on the way, so this raises RuntimeError for one that
        nobody has looked up before."""
        if self.ip is None:
            raise RuntimeError(f"{self.host} has not been looked up")
        return self.ip, self.port

    @property
    def authority(self) -> str:
        """The content of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
