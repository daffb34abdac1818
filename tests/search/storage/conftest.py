"""Databases of both kinds, a PostgreSQL server of the tests' own, and processes that work on jobs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL

from servefit.backends.model import Model
from servefit.backends.model.types import Format, Signature, Task
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import JobRequest
from servefit.search.storage.header import JobHeader, PayloadFacts
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from servefit.search.storage.log import JobLog

MakeHeader = Callable[[str], JobHeader]
Holding = Callable[[str, str], AbstractContextManager[subprocess.Popen[str]]]

HOLD = """
import sys
from servefit.search.storage.jobs import JobStore

def hang(trial):
    print("owned", flush=True)
    sys.stdin.read()
    return 1.0, 2.0

with JobStore.open(sys.argv[1]) as store:
    job = store.job(sys.argv[2])
    with job.owned():
        job.begin("compilation", "treelite", None)
        job.study().optimize(hang, n_trials=1)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """PostgreSQL on 127.0.0.1, with a password that URLs have to escape."""

    folder: Path
    programs: Path
    port: int
    user: str = "fit"
    password: str = "p@ss/w%rd: ?#{0}"

    def url(self, database: str = "postgres", *, driver: str = "postgresql", password: str | None = None) -> str:
        password = self.password if password is None else password
        host = "127.0.0.1"
        url = URL.create(driver, self.user, password, host, self.port, database)
        return url.render_as_string(hide_password=False)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=self.user, password=self.password, dbname="postgres", autocommit=True
        )

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
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


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def store(url: str) -> Iterator[JobStore]:
    with JobStore.open(url) as store:
        yield store


@pytest.fixture
def plain_storage(url: str) -> Iterator[RDBStorage]:
    """The same database as anybody else with Optuna opens it."""
    storage = RDBStorage(url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def job(store: JobStore, header: MakeHeader) -> JobLog:
    return store.create(header("fraud"))


@pytest.fixture(scope="session")
def header() -> MakeHeader:
    host, numbers = describe_host(), count()
    model = Model(
        source="model.onnx",
        file=Path("/models/model.onnx"),
        format=Format.ONNX,
        digest="0" * 64,
        size_bytes=1024,
        signature=Signature(task=Task.BINARY, features=30, outputs=1),
    )

    def make(name: str) -> JobHeader:
        return JobHeader(
            request=JobRequest(name=name, profiles=("local-1c",)),
            model=model,
            payload=PayloadFacts(source="rows.csv", rows=10, digest="1" * 64, synthetic=False, truncated_from=None),
            host=host,
            profiles=(InstanceProfile(name="local-1c", vcpus=1, memory_bytes=2**30),),
            servefit="0.1",
            created_at=1e9 + next(numbers),
        )

    return make


@pytest.fixture(scope="session")
def configuration() -> Configuration:
    return Configuration(vcpus=2, backend="treelite", environment=(("OMP_WAIT_POLICY", "passive"),))


@pytest.fixture
def holding() -> Holding:
    """A process that has begun a step and a trial of a job, and owns the job for as long as the block lasts."""

    @contextmanager
    def hold(url: str, name: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-c", HOLD, url, name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "owned\n"
                yield process
            finally:
                process.kill()

    return hold


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
