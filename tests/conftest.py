"""What all tests need, and how several processes share the CPUs when they run them."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tests.kinds import Kinds, kind_of

Hog = Callable[[int], AbstractContextManager[None]]
NOT_PURE_PATHS = (
    *(
        "aws",
        "backends/engines/torch",
        "benchmarks",
        "demo",
        "docs",
        "examples",
        "packaging",
        "real_models",
        "serving/clients",
    ),
    "api/test_notebook_progress.py",
    "backends/inspection/test_onnx_test_data.py",
    "golden/test_artifacts.py",
)
"""Tests that start programs of others, install packages, need PyTorch, or are about this repository. Each version of
onnx brings other models to test with. The kept models were written by XGBoost 3, and XGBoost 2.1, the lowest, reads
them without their base score: it predicts something else without a word."""
NOT_PURE_FIXTURES = {"balancer_programs", "browser", "postgresql", "sshd", "zsh"}
"""What takes a program that no Python package brings."""

Respond = Callable[[str, bytes], tuple[int, bytes, Mapping[str, str]]]
"""Gives status, body and headers for a path and a body."""
HttpServer = Callable[[Respond], AbstractContextManager[str]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pure",
        action="store_true",
        help="only tests that need a C compiler and the packages of the extra `test`, and that assert on no times",
    )
    parser.addoption("--list-timed", metavar="FILE", help="list the files of timed tests in FILE")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``--pure`` other tests are not even imported: their packages are not there."""
    if not config.getoption("--pure"):
        return None
    here = Path(__file__).parent
    return any(collection_path.is_relative_to(here / path) for path in NOT_PURE_PATHS) or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Reading the tests makes millions of objects that stay: garbage is not looked for among them then, nor later. It
    would take a third of the time that reading takes, and half a second whenever a test collects garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The folders below have said by now which of their tests are alone."""
    if config.getoption("--pure"):
        pure = [item for item in items if _is_pure(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in pure])
        items[:] = pure


def _is_pure(item: pytest.Item) -> bool:
    used = set(item.fixturenames) if isinstance(item, pytest.Function) else set()
    if callspec := getattr(item, "callspec", None):
        # A fixture may be asked for by the name that is its parameter.
        used.update(value for value in callspec.params.values() if isinstance(value, str))
    return kind_of(item) not in ("timed", "thorough") and not NOT_PURE_FIXTURES & used


def _load_newest_tbb() -> None:
    """oneDAL and OpenVINO bring a libtbb each, under one name: in a process that has both, which servefit never has but
    in tests, the second finds the first one's. That of oneDAL is the newer, and serves both."""
    for library in sorted((Path(sys.prefix) / "lib").glob("libtbb.so.12")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def pytest_configure(config: pytest.Config) -> None:
    """Each of several processes that run tests (pytest-xdist) keeps to CPUs of its own, before any library is loaded
    that counts them. So no test competes with what another one measures.

    Hypothesis has no deadline but where a test sets one: the first example of a test may import. Its examples are the
    same in each run, but with ``--hypothesis-profile=drawing``, as in ``scripts/test --thorough``.
    """
    _load_newest_tbb()
    hypothesis.settings.register_profile("servefit", deadline=None, derandomize=True)
    hypothesis.settings.register_profile("drawing", deadline=None)
    hypothesis.settings.load_profile(config.getoption("--hypothesis-profile") or "servefit")
    config.pluginmanager.register(Kinds(), "kinds")
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        cpus, processes = sorted(os.sched_getaffinity(0)), worker["workercount"]
        nth = int(worker["workerid"].removeprefix("gw")) % processes
        os.sched_setaffinity(0, cpus[nth::processes] or cpus)


@pytest.fixture(scope="session", autouse=True)
def _own_slot(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A process that runs tests waits for no other one to measure, and for nobody else on this machine."""
    os.environ["SERVEFIT_SLOT"] = str(tmp_path_factory.mktemp("slot"))


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard() -> None:
    """A suite that is started in the background, or by nohup, ignores signals, and so would every command it tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def hog() -> Hog:
    """Starts a process that wants all of a CPU, for as long as the block lasts."""

    @contextmanager
    def start(cpu: int) -> Iterator[None]:
        program = f"import os\nos.sched_setaffinity(0, [{cpu}])\nprint(flush=True)\nwhile True: pass"
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield
            finally:
                process.kill()

    return start


@pytest.fixture(scope="session")
def http_server() -> HttpServer:
    """Starts a plain HTTP server in threads of this process, and gives its URL without a path."""

    @contextmanager
    def start(respond: Respond) -> Iterator[str]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client has hung up
                    self.close_connection = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, content, headers = respond(self.path, body)
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None: ...

            do_GET = do_POST = answer  # noqa: N815 - http.server calls them so

        class Server(ThreadingHTTPServer):
            request_queue_size = 128

            def shutdown_request(self, request: Any) -> None:
                open_connections.discard(request)
                super().shutdown_request(request)

            def process_request(self, request: Any, client_address: Any) -> None:
                open_connections.add(request)
                super().process_request(request, client_address)

        open_connections: set[socket.socket] = set()
        with Server(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()
                for connection in list(open_connections):
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    return start
