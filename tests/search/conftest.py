"""Trials with known figures, databases of both kinds, and a PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL
from tests.installed_packages import write_package

from servefit.profiler.evidence.limits import Verdict
from servefit.profiler.evidence.sequential_test import Evidence
from servefit.profiler.evidence.summary import Summary
from servefit.profiler.record.types import Configuration, Measurement
from servefit.search.results.recommendation import Trial
from servefit.search.storage.jobs import JobStore

MakeSummary = Callable[..., Summary]
MakeEvidence = Callable[[Verdict], Evidence]
MakeTrial = Callable[..., Trial]
InstallObjective = Callable[[str, str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """PostgreSQL on ``address``, with a password that URLs have to escape."""

    folder: Path
    programs: Path
    port: int
    user: str = "fit"
    password: str = "p@ss/w%rd: ?#{0}"
    address: str = "127.0.0.1"

    def url(self, database: str = "postgres", *, driver: str = "postgresql", password: str | None = None) -> str:
        password = self.password if password is None else password
        url = URL.create(driver, self.user, password, self.address, self.port, database)
        return url.render_as_string(hide_password=False)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=self.address,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            autocommit=True,
        )

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses={self.address} -c unix_socket_directories='' -c fsync=off "
            # Of fifty agents each has two, and tests have their own.
            "-c max_connections=300"
        )
        self.run("pg_ctl", "start", "--wait", f"--log={self.folder / 'log'}", f"--options={options}")

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "--wait", "--mode=immediate")

    def run(self, program: str, *arguments: str) -> None:
        """As the user postgres where this is root, whom PostgreSQL refuses to serve."""
        user = "postgres" if os.geteuid() == 0 else None
        command = [str(self.programs / program), f"--pgdata={self.folder / 'data'}", *arguments]
        # A server keeps what it is given, so its output goes into files.
        with (self.folder / "output").open("w+") as output:
            ended = subprocess.run(
                command, user=user, group=user, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            output.seek(0)
            assert ended.returncode == 0, f"{program} failed: {output.read()}"


@pytest.fixture(scope="session")
def summary() -> MakeSummary:
    def make(
        *,
        p95_ms: float | None = 1.0,
        interval: tuple[float, float] | None = None,
        throughput_per_s: float = 1000.0,
        loop: str = "open",
        saturated: bool = False,
    ) -> Summary:
        return Summary(
            loop="open" if loop == "open" else "closed",
            throughput_per_s=throughput_per_s,
            offered_per_s=None,
            samples=1000,
            latency_ms={"p50": 0.5, "p90": 0.9, "p95": p95_ms, "p99": None},
            latency_ms_ci95={} if interval is None else {"p95": interval},
            service_ms={},
            lag_ms={},
            saturated=saturated,
            backlog=0,
            cpu_percent=50.0,
            peak_memory_bytes=2**20,
            memory_percent=None,
            steal_percent=None,
            gpu_percent=None,
            gpu_memory_bytes=None,
            gpu_power_w=None,
        )

    return make


@pytest.fixture(scope="session")
def evidence() -> MakeEvidence:
    """What a sequential test of 100 requests, 7 of them too slow, might have said."""

    def make(verdict: Verdict) -> Evidence:
        return Evidence(
            verdict=verdict,
            samples=100,
            violations=7,
            burst=1.0,
            p_pass=1.0,
            p_fail=1.0,
            log_e_fail=0.0,
            decided_by=None,
        )

    return make


@pytest.fixture(scope="session")
def trial(summary: MakeSummary) -> MakeTrial:
    """Closed loop and open loop have the same p95; where ``at_rate`` is false, no rate was asked."""

    def make(
        configuration: Configuration,
        *,
        throughput_per_s: float = 1000.0,
        p95_ms: float | None = 1.0,
        verdict: Verdict = "PASS",
        violation: float = -0.5,
        instances: int = 1,
        memory_bytes: int = 2**20,
        nth_round: int | None = None,
        at_rate: bool = True,
    ) -> Trial:
        return Trial(
            configuration=configuration,
            measurement=Measurement(
                configuration=configuration,
                host_fingerprint="f",
                containment="uncontained",
                envelope="affinity",
                memory_limit_bytes=None,
                cpus=(0,),
                runs=(),
                load_s=0.1,
                peak_memory_bytes=memory_bytes,
            ),
            capacity=summary(p95_ms=p95_ms, throughput_per_s=throughput_per_s, loop="closed"),
            at_rate=summary(p95_ms=p95_ms, throughput_per_s=100.0) if at_rate else None,
            instance_count=instances,
            verdict=verdict,
            reason=None,
            violation=violation,
            round=nth_round,
        )

    return make


@pytest.fixture
def install_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallObjective:
    """Make an installed package that offers an objective under a name, with this source, whose class is Offered."""

    def install(package: str, name: str, source: str) -> None:
        folder = tmp_path / package
        target = f"{package}_objective:Offered"
        write_package(folder, package, group="servefit.objectives", name=name, target=target, source=source)
        monkeypatch.syspath_prepend(str(folder))

    return install


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="servefit-postgresql-"))
    server = Server(folder=folder, programs=_programs(), port=_free_port())
    password = folder / "password"
    password.write_text(server.password)
    if os.geteuid() == 0:
        for path in (folder, password):
            shutil.chown(path, "postgres", "postgres")
    try:
        server.run(
            "initdb", f"--username={server.user}", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8",
            "--locale=C", "--no-sync",
        )  # fmt: skip
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgresql_url(postgresql: Server) -> str:
    """A database in which nobody finds anything. Making a schema takes a hundredth of the time of making a database."""
    name = f"jobs_{time.monotonic_ns()}"
    with postgresql.connect() as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        connection.execute(f"ALTER DATABASE postgres SET search_path = {name}".encode())
    return postgresql.url()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables and nothing in them: copying it takes a tenth of the time of making them."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    JobStore.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def sqlite_url(empty_database: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(empty_database, tmp_path / 'jobs.db')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(url: str) -> Iterator[JobStore]:
    with JobStore.open(url) as store:
        yield store


def _programs() -> Path:
    """Where PostgreSQL's programs are: Debian keeps them out of the path."""
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    debian = sorted(
        (folder for folder in folders if (folder / "initdb").exists()), key=lambda folder: float(folder.parent.name)
    )
    if debian:
        return debian[-1]
    found = shutil.which("initdb")
    if found is None:
        pytest.fail(
            "there is no PostgreSQL server to test with: scripts/test installs one (Debian: apt-get install postgresql)"
        )
    return Path(found).parent


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
