"""The database as an agent sees it at the far end of an SSH connection.

The starter's end of a tunnel (``ssh -R``) is where the starter itself finds the server: a TCP address, or a Unix
socket. The agent's end is a port of the loopback interface of its host. The name of the server stays in the URL beside
that address (``host`` and ``hostaddr`` of libpq), so that ``sslmode=verify-full`` checks the certificate against the
name of the server, and the entry of a password file is found as without a tunnel. Files that a URL names, such as those
of ``sslrootcert`` and ``sslkey``, are looked for on the agent's host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.search.fleet.database import FleetDatabase, fleet_address, fleet_leases

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from servefit.search.storage.addresses import DatabaseAddress

LOOPBACK = "127.0.0.1"

PORT = 5432
"""The port of PostgreSQL where a URL names none, as libpq has it."""

_SERVER_KEYS = ("host", "hostaddr", "port")

_SOCKET_FOLDER = "/var/run/postgresql"
"""Where Debian's and Fedora's libpq look for a server that no URL names; others name it as ?host=/tmp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelledDatabase:
    """The database at ``address``, as the starter reaches it. ``target`` is what ssh connects the tunnel to, in its own
    notation: "db.lan:5432", "[::1]:5432", or the path of a socket."""

    address: DatabaseAddress
    target: str

    def url_through(self, port: int) -> str:
        """Return the URL of the database, password included, for an agent whose end of the tunnel is ``port``."""
        query = {name: value for name, value in self.address.url.query.items() if name not in ("host", "port")}
        name = _server_name(self.address.url)
        through = self.address.url.set(host=name, port=port, query={**query, "hostaddr": LOOPBACK})
        return through.render_as_string(hide_password=False)

    def check(self) -> None:
        """Look whether there is a fleet. Raises StorageError, which is better told once than by every agent."""
        database = FleetDatabase(self.address)
        try:
            fleet_leases(database, self.address)
        finally:
            database.close()


def tunnelled(storage: str | None) -> TunnelledDatabase:
    """Return the database at the URL ``storage``. Raises SpecError for none, for one that cannot hold a fleet, and for
    one of several servers."""
    address = fleet_address(storage)
    url, query = address.url, address.url.query
    if "service" in query:
        raise address.refused("has a service, of a file that agents lack", remedy="write the server into the URL")
    named = [url.host or "", *(value for key in _SERVER_KEYS if (value := query.get(key)))]
    if any(not isinstance(value, str) or "," in value for value in named):
        raise address.refused("names several servers", remedy="name the one that takes writes")
    return TunnelledDatabase(address=address, target=_target(address))


def _target(address: DatabaseAddress) -> str:
    url = address.url
    host = _option(url, "hostaddr") or _host(url)
    port = _port(address)
    if host.startswith("/"):
        return f"{host.rstrip('/')}/.s.PGSQL.{port}"
    if host.startswith("@"):
        raise address.refused("names an abstract socket, which ssh does not forward", remedy="name a server")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _server_name(url: URL) -> str:
    """Return what the server is called where the agent connects, which is what its certificate is checked against."""
    host = _host(url)
    return LOOPBACK if host.startswith("/") else host


def _host(url: URL) -> str:
    return _option(url, "host") or url.host or _option(url, "hostaddr") or _SOCKET_FOLDER


def _port(address: DatabaseAddress) -> int:
    text = _option(address.url, "port") or str(address.url.port or PORT)
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise address.refused(f"has the port {text!r}, which is none", remedy="write a number such as 5432")
    return int(text)


def _option(url: URL, name: str) -> str | None:
    value = url.query.get(name)
    return value if isinstance(value, str) and value else None
