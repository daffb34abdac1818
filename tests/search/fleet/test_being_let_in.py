"""Who is let into a fleet: the database decides, by TLS, client certificates and roles. Nobody else is an agent."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.search.fleet.conftest import LEASES

from servefit.errors import StorageError
from servefit.search.fleet.database import FleetDatabase, fleet_address, fleet_leases
from servefit.search.fleet.making import make_fleet

if TYPE_CHECKING:
    from tests.search.conftest import Server

pytestmark = pytest.mark.integration

ROLE = "fleet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server that lets in who has a certificate of its authority for a role that it knows, and ``folder``, where
    certificates are."""

    server: Server
    folder: Path

    def url(self, *, certificate: str | None = "agent", role: str = ROLE, mode: str = "verify-full") -> str:
        options = [f"sslmode={mode}"]
        if mode != "disable":
            options.append(f"sslrootcert={self.folder / 'authority.crt'}")
        if certificate is not None:
            options += [f"sslcert={self.folder / certificate}.crt", f"sslkey={self.folder / certificate}.key"]
        return f"postgresql://{role}@localhost:{self.server.port}/postgres?{'&'.join(options)}"


@pytest.fixture(scope="module")
def site(postgresql: Server) -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="servefit-tls-"))
    folder.chmod(0o755)
    server = replace(postgresql, folder=folder / "server", port=_free_port(), user=ROLE)
    server.folder.mkdir()
    try:
        _make_certificates(folder)
        if os.geteuid() == 0:
            shutil.chown(server.folder, "postgres", "postgres")
        server.run("initdb", f"--username={ROLE}", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        data = server.folder / "data"
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 cert\nhostssl all all ::1/128 cert\n")
        for name in ("authority.crt", "localhost.crt", "localhost.key"):
            shutil.copy(folder / name, data / name)
            (data / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(data / name, "postgres", "postgres")
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(
                "ssl = on\nssl_ca_file = 'authority.crt'\nssl_cert_file = 'localhost.crt'\n"
                "ssl_key_file = 'localhost.key'\n"
            )
        server.start()
        yield Site(server=server, folder=folder)
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.mark.thorough
def test_an_agent_with_a_certificate_of_the_authority_is_let_in(site: Site) -> None:
    make_fleet(site.url(), LEASES)
    address = fleet_address(site.url())
    database = FleetDatabase(address)
    assert fleet_leases(database, address) == LEASES
    database.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"certificate": None},
        {"certificate": "stranger"},
        {"mode": "disable", "certificate": None},
        {"role": "nobody"},
        {"role": "postgres"},
    ],
    ids=["no certificate", "another authority", "plain text", "unknown role", "a role that is not the certificate's"],
)
def test_nobody_else_is(site: Site, changes: dict[str, str]) -> None:
    url = site.url(**changes)
    with pytest.raises(StorageError) as refused:
        make_fleet(url)
    assert str(site.folder) not in str(refused.value).partition(":")[0]
    database = FleetDatabase(fleet_address(url))
    with pytest.raises(StorageError):
        fleet_leases(database, database.address)
    database.close()


def test_an_agent_does_not_trust_a_server_of_another_authority(site: Site) -> None:
    url = site.url().replace("authority.crt", "another.crt")
    with pytest.raises(StorageError, match="certificate verify failed"):
        make_fleet(url)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _make_certificates(folder: Path) -> None:
    for authority in ("authority", "another"):
        _openssl(
            folder, "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", f"{authority}.key", "-out",
            f"{authority}.crt", "-subj", f"/CN={authority}", "-days", "2",
        )  # fmt: skip
    for name, subject, authority in (
        ("localhost", "localhost", "authority"), ("agent", ROLE, "authority"), ("stranger", ROLE, "another"),
    ):  # fmt: skip
        _openssl(
            folder, "req", "-newkey", "ed25519", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
            f"/CN={subject}",
        )  # fmt: skip
        _openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key",
            "-out", f"{name}.crt", "-days", "2",
        )  # fmt: skip
        (folder / f"{name}.key").chmod(0o600)


def _openssl(folder: Path, *arguments: str) -> None:
    ended = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
