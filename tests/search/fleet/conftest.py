"""A fleet in a database of its own, agents as processes, a job that orders belong to, and a cable that can be cut."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool
from tests.tiny_model import tiny_model

from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.profiles import find_profile
from servefit.profiler.record.types import Configuration
from servefit.search.fleet.classes.host_facts import host_facts
from servefit.search.fleet.database import fleet_address
from servefit.search.fleet.dispatcher import Dispatcher
from servefit.search.fleet.host import FleetHost, Leases
from servefit.search.fleet.making import make_fleet
from servefit.search.fleet.orders import Order, Ordered
from servefit.search.fleet.plan import many_models, mix, rate_costs
from servefit.search.fleet.registry import Registry
from servefit.search.fleet.subject import publish
from servefit.search.fleet.tables import SCHEMA
from servefit.search.jobs.beginning import keep_new_job, new_header, open_subject
from servefit.search.jobs.orders import Load
from servefit.search.request.job_request import JobRequest
from servefit.search.results.measure_trial import Durations
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.header import JobHeader, JobHost
from servefit.search.storage.job_folder import PAYLOAD_FILE
from servefit.search.storage.jobs import JobStore
from servefit.version import __version__

if TYPE_CHECKING:
    from tests.search.conftest import Server

    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.search.storage.log import JobLog

LEASES = Leases(silent_s=6, lost_s=12)
"""Agents are heard of every second, and on a machine that is busy a few seconds late: they have the lowest priority."""

EMPTY_FLEET = "empty_fleet"
"""The database of which those of tests are copies."""

MakeHost = Callable[..., FleetHost]
NewFleet = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def fleet_host() -> MakeHost:
    """This host under another name."""
    host = describe_host()
    facts = host_facts(host)

    def make(name: str, **fields: Any) -> FleetHost:
        values: dict[str, Any] = {"name": name, "host": host, "facts": facts, "servefit": __version__, "schema": SCHEMA}
        return FleetHost(**{**values, **fields})

    return make


@pytest.fixture(scope="session")
def new_fleet(postgresql: Server) -> NewFleet:
    """Makes a fleet in a database of its own, by a copy: that takes a fifth of the time that its tables take."""
    statements = ("CREATE DATABASE {0}", "ALTER DATABASE {0} SET search_path = fleet")
    _administer(postgresql, *statements, name=EMPTY_FLEET)
    with postgresql.connect(EMPTY_FLEET) as connection:
        connection.execute("CREATE SCHEMA fleet")
    make_fleet(postgresql.url(EMPTY_FLEET), LEASES)

    @contextmanager
    def make() -> Iterator[str]:
        name = f"fleet_{time.monotonic_ns()}"
        _administer(postgresql, f"{statements[0]} TEMPLATE {EMPTY_FLEET}", statements[1], name=name)
        try:
            yield postgresql.url(name)
        finally:
            _administer(postgresql, "DROP DATABASE {0} WITH (FORCE)", name=name)

    return make


def _administer(server: Server, *statements: str, name: str) -> None:
    with server.connect() as connection:
        for statement in statements:
            connection.execute(statement.format(name).encode())


@pytest.fixture
def fleet_url(new_fleet: NewFleet) -> Iterator[str]:
    with new_fleet() as url:
        yield url


@pytest.fixture
def solved_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are worked out in this process."""

    def call(function: str, *arguments: object, **_: object) -> object:
        return resolve_name(function)(*arguments)

    for module in (mix, many_models, rate_costs):
        monkeypatch.setattr(module, "call_isolated", call)


@dataclass
class Cable:
    """A TCP connection to the database through this process, which can be cut: nothing comes through then, and nobody
    is told, as when a cable is pulled."""

    target: tuple[str, int]
    port: int = 0
    _whole: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._whole.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def close(self) -> None:
        self._ended.set()
        self._whole.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        with near, far, selectors.DefaultSelector() as selector, suppress(OSError):
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while not self._ended.is_set():
                self._whole.wait()
                for key, _ in selector.select(0.1):
                    if not self._whole.is_set():
                        break
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    if not (content := source.recv(65536)):
                        return
                    key.data.sendall(content)


@dataclass
class AgentProcess:
    """``servefit agent`` as a process, in a state folder of its own."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(f"agent {self.name} takes orders"), self.said()

    def children(self) -> list[int]:
        """All processes below it."""
        found, waiting = [], [self.process.pid]
        while waiting:
            pid = waiting.pop()
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    below = [int(word) for word in task.read_text().split()]
                    found += below
                    waiting += below
        return found

    def end(self, number: int = signal.SIGTERM, *, within_s: float = 10.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(within_s)

    def said(self) -> str:
        return self.log.read_text()


StartAgent = Callable[..., AgentProcess]
Servefit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start_agent(fleet_url: str, tmp_path: Path) -> Iterator[StartAgent]:
    with ExitStack() as stack:
        started = 0

        def start(
            name: str, *options: str, url: str = fleet_url, wait: bool = True, cpus: str | None = None
        ) -> AgentProcess:
            nonlocal started
            started += 1
            log = tmp_path / f"{name}-{started}.log"
            taskset = [] if cpus is None else ["taskset", "--cpu-list", cpus]
            process = stack.enter_context(
                subprocess.Popen(
                    [*taskset, sys.executable, "-m", "servefit", "agent", "--name", name, *options],
                    env={**os.environ, "SERVEFIT_STORAGE": url, "SERVEFIT_HOME": str(tmp_path / name)},
                    stdout=subprocess.PIPE,
                    stderr=stack.enter_context(log.open("w")),
                    text=True,
                )
            )
            stack.callback(process.kill)
            agent = AgentProcess(name, process, log)
            if wait:
                agent.wait_until_ready()
            return agent

        yield start


@dataclass
class OpenJob:
    """A job in the fleet, owned by this process, and the dispatcher of its orders."""

    store: JobStore
    log: JobLog
    header: JobHeader
    dispatcher: Dispatcher
    url: str
    given: int = 0

    def load(self, seconds: float = 0.3, **changes: Any) -> Load:
        """A load for so long, by a worker of the model's own library."""
        durations = Durations(capacity_s=seconds, at_rate_s=0.0, at_rate_max_s=0.0)
        self.given += 1
        return replace(
            Load(
                configuration=Configuration(backend="xgboost", vcpus=1),
                request=self.header.request,
                durations=durations,
                started="asked",
                memory_bytes=None,
                seed=1,
                step=self.given,
            ),
            **changes,
        )

    def order(self, host: str, asked: Ordered | None = None, *, limit_s: float | None = 20.0) -> Order:
        self.given += 1
        return Order(
            token=f"token-{self.given}-{time.monotonic_ns()}",
            host=host,
            job=self.header.request.name,
            asked=asked or self.load(),
            limit_s=limit_s,
            elapsed_s=0.0,
        )


MakeJob = Callable[..., OpenJob]

REQUEST: dict[str, Any] = {"backends": ("xgboost",), "deploy": "library", "over_http": False}
"""What all jobs here are asked for."""


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Payload]:
    """The model of all jobs here, and its payload."""
    source = tiny_model(tmp_path_factory.mktemp("subject") / "model.ubj")
    return open_subject(JobRequest(name="any", **REQUEST), source, None, trust_pickle=False)


@contextmanager
def open_jobs(url: str, subject: tuple[Model, Payload]) -> Iterator[MakeJob]:
    """Makes jobs in the fleet at ``url``, which are owned until the block ends."""
    model, payload = subject
    with ExitStack() as stack:

        def make(*hosts: str, leases: Leases = LEASES, look_s: float = 0.05, **request: Any) -> OpenJob:
            store = stack.enter_context(JobStore.open(url, patience_s=20))
            asked = JobRequest(name=f"job-{time.monotonic_ns()}", **REQUEST, **request)
            here = describe_host()
            registry = Registry(store.database, fleet_address(url), leases)
            # A host whose agent runs is what that says; others are as this one.
            known = {state.host.name: state.host.host for state in registry.hosts()}
            seen = {name: known.get(name, here) for name in hosts}
            there = tuple(
                JobHost(name=name, host=host, profiles=(find_profile("local-1c", host),), host_class=name)
                for name, host in seen.items()
            )
            header = new_header(asked, model, payload, here, (), there)
            log, folder = keep_new_job(header, payload, store)
            publish(Blobs.of(store), header, folder / PAYLOAD_FILE)
            stack.enter_context(log.owned())
            dispatcher = Dispatcher(store.database, fleet_address(url), leases, look_s=look_s)
            stack.enter_context(dispatcher.running())
            return OpenJob(store, log, header, dispatcher, url)

        yield make


@pytest.fixture
def open_job(
    fleet_url: str, subject: tuple[Model, Payload], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeJob]:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "coordinator"))
    with open_jobs(fleet_url, subject) as make:
        yield make


@pytest.fixture
def cable(fleet_url: str) -> Iterator[Cable]:
    url = make_url(fleet_url)
    assert url.host is not None
    assert url.port is not None
    cable = Cable((url.host, url.port))
    yield cable
    cable.close()


def through(cable: Cable, url: str) -> str:
    return make_url(url).set(port=cable.port).render_as_string(hide_password=False)


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[list[object]]:
    """Do ``work`` beside the block, which finds what it gave or raised in the list once that is over."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - it is looked at by the test
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        thread.join(60)
        assert not thread.is_alive()


def eventually(holds: Callable[[], bool], within_s: float = 15.0) -> None:
    ends_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends_s, "it did not happen"
        time.sleep(0.02)


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


@pytest.fixture
def environment(fleet_url: str, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "SERVEFIT_STORAGE": fleet_url, "SERVEFIT_HOME": str(tmp_path / "coordinator")}


@pytest.fixture
def servefit(environment: dict[str, str]) -> Servefit:
    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "servefit", *arguments]
        return subprocess.run(command, env={**environment, **changes}, capture_output=True, text=True, timeout=120)

    return run
