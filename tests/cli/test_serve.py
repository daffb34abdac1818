"""``servefit serve``: a real endpoint in the foreground, asked over HTTP, and stopped as services are."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import xgboost
from tests.cli.conftest import COMMAND, model_gone
from tests.onnx_models import texts

import servefit as servefit_package
from servefit.errors import CorruptModel, SpecError
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import describe_host

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit, Sources

pytestmark = pytest.mark.integration

Serve = Callable[..., AbstractContextManager["Serving"]]


@dataclass(kw_only=True)
class Serving:
    """A ``servefit serve`` that is ready. ``line`` is what it printed, ``url`` the address in it."""

    process: subprocess.Popen[str]
    line: str

    @property
    def url(self) -> str:
        return next(word for word in self.line.split() if word.startswith("http://"))

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def ask(self, path: str, body: bytes | None = None, kind: str = "text/csv") -> Any:
        request = urllib.request.Request(f"{self.url}{path}", data=body, headers={"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """The exit status, and what it said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def wait_for_client(self) -> None:
        """Until a connection has been accepted besides that of the question."""
        while not re.search(r"^servefit_connections 2\.0$", self.ask("/metrics"), re.M):
            time.sleep(0.01)


@contextmanager
def serving(
    state: Path, *arguments: str | Path, port: int = 0, by: tuple[str, ...] = (), **environment: str
) -> Iterator[Serving]:
    """Run the command, started ``by`` another one."""
    process = subprocess.Popen(
        [*by, *COMMAND, "serve", *map(str, arguments), "--port", str(port), "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SERVEFIT_HOME": str(state), **environment},
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise AssertionError(process.communicate()[1])
            yield Serving(process=process, line=line)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def running(state: Path, sources: Sources) -> Iterator[Serving]:
    """Two workers of one thread on one vCPU, with a variable of their own."""
    options = ("--backend", "xgboost", "--workers", "2", "--batch", "4", "--env", "GREETING=hello")
    with serving(state, "--model", sources.xgboost, "--profile", "local-1c", *options) as endpoint:
        yield endpoint


@pytest.fixture
def rows(sources: Sources) -> np.ndarray:
    return np.loadtxt(sources.payload, delimiter=",", dtype=np.float32, max_rows=5)


def as_csv(rows: np.ndarray) -> bytes:
    return "\n".join(",".join(map(str, row)) for row in rows.tolist()).encode()


def expected(sources: Sources, rows: np.ndarray) -> list[float]:
    booster = xgboost.Booster(model_file=sources.xgboost)
    found: list[float] = booster.predict(xgboost.DMatrix(rows)).tolist()
    return found


def test_serve_says_where_it_listens_and_what_it_serves_in_which_envelope(running: Serving) -> None:
    assert running.line.startswith("booster is served at http://127.0.0.1:")
    assert "by xgboost, 2 workers x 1 thread, up to 4 requests a call, as local-1c (CPU " in running.line
    assert running.line.rstrip().endswith(("cgroup-v2)", "cgroup-v1)", "systemd-scope)", "affinity alone)"))


def test_its_predictions_are_those_of_the_model(running: Serving, sources: Sources, rows: np.ndarray) -> None:
    answer = running.ask("/invocations", as_csv(rows))
    assert [float(line) for line in answer.split()] == pytest.approx(expected(sources, rows), rel=1e-6)


def test_serve_speaks_the_open_inference_protocol_under_the_name_of_the_file(
    running: Serving, sources: Sources, rows: np.ndarray
) -> None:
    assert json.loads(running.ask("/v2/models/booster"))["name"] == "booster"
    tensor = {"name": "input", "shape": [5, 30], "datatype": "FP32", "data": rows.ravel().tolist()}
    tensor["name"] = json.loads(running.ask("/v2/models/booster"))["inputs"][0]["name"]
    body = json.dumps({"inputs": [tensor]}).encode()
    answer = json.loads(running.ask("/v2/models/booster/infer", body, "application/json"))
    assert answer["outputs"][0]["data"] == pytest.approx(expected(sources, rows), rel=1e-6)


def test_every_thread_of_it_is_held_to_the_cpus_of_the_profile(running: Serving) -> None:
    cpus = set(choose_cpus(describe_host().cpus, 1))
    masks = [os.sched_getaffinity(thread.id) for process in running.children for thread in process.threads()]
    assert len(masks) >= 3
    assert all(mask == cpus for mask in masks)


def test_its_workers_have_the_environment_that_was_asked_for(running: Serving) -> None:
    workers = [process for process in running.children if "servefit.serving.worker" in process.cmdline()]
    assert len(workers) == 2
    for worker in workers:
        environment = worker.environ()
        assert (environment["GREETING"], environment["OMP_NUM_THREADS"]) == ("hello", "1")


def test_a_port_in_use_is_told_in_one_line(running: Serving, servefit: Servefit, sources: Sources) -> None:
    port = running.url.rpartition(":")[2]
    ended = servefit("serve", "--model", sources.xgboost, "--port", port)
    assert (ended.status, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"servefit: port: {port} cannot be listened on at 127.0.0.1: Address already in use")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.thorough)])
def test_a_signal_ends_it_once_what_is_in_flight_is_answered(
    state: Path, sources: Sources, rows: np.ndarray, number: signal.Signals
) -> None:
    # A row waits for others, so it is in flight when the signal comes.
    options = ("--profile", "local-1c", "--batch", "2", "--batch-delay", "600ms")
    answers: list[str] = []
    with serving(state, "--model", sources.xgboost, *options) as endpoint:
        children = endpoint.children
        asking = threading.Thread(target=lambda: answers.append(endpoint.ask("/invocations", as_csv(rows[:1]))))
        asking.start()
        endpoint.wait_for_client()
        status, said = endpoint.stop(number)
        asking.join()
    assert status == 0, said
    assert [float(answer) for answer in answers] == pytest.approx(expected(sources, rows[:1]), rel=1e-6)
    [line] = said.splitlines()
    assert line.startswith("servefit: stops")
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_a_second_signal_ends_it_at_once(state: Path, sources: Sources, rows: np.ndarray) -> None:
    options = ("--profile", "local-1c", "--batch", "2", "--batch-delay", "9s")
    with serving(state, "--model", sources.xgboost, *options) as endpoint:
        children, port = endpoint.children, int(endpoint.url.rpartition(":")[2])
        body = as_csv(rows[:1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            head = f"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\ncontent-length: {len(body)}"
            client.sendall(f"{head}\r\n\r\n".encode() + body)
            endpoint.wait_for_client()
            endpoint.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            status, said = endpoint.stop()
    assert status == 130, said
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.thorough
def test_an_address_beyond_this_machine_is_warned_of_and_a_worker_that_dies_is_told_of(
    state: Path, sources: Sources, rows: np.ndarray
) -> None:
    options = ("--profile", "local-1c", "--host", "0.0.0.0", "--name", "other.name")
    with serving(state, "--model", sources.xgboost, *options) as endpoint:
        assert endpoint.line.startswith("other.name is served at http://0.0.0.0:")
        assert endpoint.process.stderr is not None
        assert endpoint.process.stderr.readline() == (
            "warning: 0.0.0.0 can be reached from other machines, and there is neither authentication nor TLS\n"
        )
        [worker] = [child for child in endpoint.children if "servefit.serving.worker" in child.cmdline()]
        worker.kill()
        line = endpoint.process.stderr.readline()
        assert f"worker 1 (process {worker.pid})" in line
        assert "replaced" in line
        assert len(endpoint.ask("/invocations", as_csv(rows)).split()) == 5


@pytest.mark.thorough
def test_what_happens_while_the_first_line_is_still_being_written_is_told_too(
    state: Path, sources: Sources, rows: np.ndarray
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with suppress(BlockingIOError):
        while True:  # a reader that is late
            os.write(theirs, b"x" * 4096)
    os.set_blocking(theirs, True)
    command = [*COMMAND, "serve", "--model", str(sources.xgboost), "--profile", "local-1c", "--port", str(port)]
    environment = {**os.environ, "SERVEFIT_HOME": str(state)}
    with subprocess.Popen(command, env=environment, stdout=theirs, stderr=subprocess.PIPE, text=True) as process:
        try:
            os.close(theirs)
            _wait_until_served(port)
            children = psutil.Process(process.pid).children(recursive=True)
            [worker] = [child for child in children if "servefit.serving.worker" in child.cmdline()]
            worker.kill()
            _wait_until_served(port, by_another_than=worker)
            while b"is served at" not in os.read(ours, 65536):
                pass
            assert process.stderr is not None
            told = iter(process.stderr.readline, "")
            assert any(f"worker 1 (process {worker.pid}): killed by SIGKILL; it is replaced" in line for line in told)
        finally:
            process.send_signal(signal.SIGTERM)
            os.close(ours)


def _wait_until_served(port: int, *, by_another_than: psutil.Process | None = None) -> None:
    ends_s = time.monotonic() + 60
    while time.monotonic() < ends_s:
        with suppress(OSError):
            gone = by_another_than is None or not by_another_than.is_running()
            if gone and urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).status == 200:
                return
        time.sleep(0.1)
    raise AssertionError("it is not served")


@pytest.mark.thorough
def test_a_worker_that_dies_is_replaced_also_where_no_signal_says_so(
    state: Path, sources: Sources, rows: np.ndarray
) -> None:
    """Who starts the endpoint may have blocked the signal."""
    blocking = (
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    by = (sys.executable, "-c", blocking)
    with serving(state, "--model", sources.xgboost, "--profile", "local-1c", by=by) as endpoint:
        [worker] = [child for child in endpoint.children if "servefit.serving.worker" in child.cmdline()]
        worker.kill()
        assert endpoint.process.stderr is not None
        line = endpoint.process.stderr.readline()
        assert f"worker 1 (process {worker.pid}): killed by SIGKILL; it is replaced" in line
        assert len(endpoint.ask("/invocations", as_csv(rows)).split()) == 5


def test_a_signal_that_python_drops_while_it_loads_is_heard_still(state: Path, sources: Sources) -> None:
    """It comes while a finaliser runs, whose exceptions go nowhere."""
    program = (
        "import os, signal, sys\n"
        "from servefit.cli import serving\n"
        "class Gone:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        os.getpid()\n"
        "deployable = serving.DeploymentOptions.deployable\n"
        "def interrupted(*arguments, **options):\n"
        "    Gone()\n"
        "    return deployable(*arguments, **options)\n"
        "serving.DeploymentOptions.deployable = interrupted\n"
        "sys.argv[0] = 'servefit'\n"
        "from servefit.cli.app import main\n"
        "main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "serve", "--model", str(sources.xgboost), "--port", "0", "--quiet"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "SERVEFIT_HOME": str(state)},
    )
    assert "Exception ignored" in ended.stderr
    assert (ended.returncode, ended.stdout) == (130, "")


def test_what_is_cut_off_when_it_stops_is_said_and_is_its_status(
    state: Path, sources: Sources, rows: np.ndarray
) -> None:
    options = ("--profile", "local-1c", "--batch", "2", "--batch-delay", "9s")
    with serving(state, "--model", sources.xgboost, *options) as endpoint:
        [worker] = [child for child in endpoint.children if "servefit.serving.worker" in child.cmdline()]
        body = as_csv(rows[:1])
        with socket.create_connection(("127.0.0.1", int(endpoint.url.rpartition(":")[2]))) as client:
            head = f"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\ncontent-length: {len(body)}"
            client.sendall(f"{head}\r\n\r\n".encode() + body)
            endpoint.wait_for_client()
            endpoint.process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            # A second one of these hurries nothing.
            endpoint.process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            assert endpoint.process.poll() is None
            worker.kill()
            _, said = endpoint.process.communicate(timeout=30)
    assert endpoint.process.returncode == 4, said
    assert said.splitlines()[-1].endswith("killed by SIGKILL; what it had not answered is cut off")


def test_a_call_of_the_predictor_may_take_as_long_as_asked(servefit: Servefit, sources: Sources) -> None:
    ended = servefit("serve", "--quiet", "--model", sources.xgboost, "--port", "0", "--call-timeout", "soon")
    assert (ended.status, ended.stdout) == (2, "")
    assert "call_timeout: 'soon' is not a duration such as 100ms, 60s or 2m" in ended.stderr


@pytest.mark.thorough
def test_the_largest_size_of_a_row_may_be_said(state: Path, tmp_path: Path) -> None:
    with serving(state, "--model", texts(tmp_path / "texts.onnx"), "--max-size", "5") as endpoint:

        def ask(length: int) -> str:
            row = {"input_ids": [1] * length, "attention_mask": [1] * length}
            answer: str = endpoint.ask("/invocations", json.dumps({"instances": [row]}).encode(), "application/json")
            return answer

        assert "predictions" in ask(5)
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(6)
        told = json.loads(refused.value.read())["error"]
    assert (refused.value.code, told.endswith("got 6: send shorter rows, or serve with --max-size 6")) == (413, True)


def test_nothing_is_left_of_it_when_it_is_killed_outright(state: Path, sources: Sources) -> None:
    with serving(state, "--model", sources.xgboost, "--profile", "local-1c") as endpoint:
        children = endpoint.children
        endpoint.process.kill()
        endpoint.process.communicate()
        assert len(children) >= 2
        assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "job is missing; name a job, or a model with --model"),
        (("nothing",), "job: 'nothing' is not known"),
        (("simulated/nothing",), "recommendation: 'nothing' is not known"),
        (("--host", "192.0.2.1"), "port: 8080 cannot be listened on at 192.0.2.1: Cannot assign requested address"),
        (("--model", "gone.ubj"), "gone.ubj"),
    ],
)
@pytest.mark.usefixtures("simulated")
def test_what_cannot_be_served_is_said_in_one_line(servefit: Servefit, arguments: tuple[str, ...], said: str) -> None:
    ended = servefit("serve", "--quiet", *arguments)
    assert (ended.status, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert said in line


def test_a_backend_that_does_not_take_the_model_ends_it_with_status_4(servefit: Servefit, sources: Sources) -> None:
    ended = servefit("serve", "--quiet", "--model", sources.xgboost, "--backend", "lightgbm", "--port", "0")
    assert (ended.status, len(ended.stderr.splitlines())) == (4, 1)
    assert "lightgbm: it serves" in ended.stderr


def test_a_job_is_served_exactly_as_recommended(state: Path, kept: dict[str, Any], rows: np.ndarray) -> None:
    best = kept["recommendations"][0]
    with serving(state, f"listed/{best['id']}") as endpoint:
        workers = [child for child in endpoint.children if "servefit.serving.worker" in child.cmdline()]
        assert len(endpoint.ask("/invocations", as_csv(rows)).split()) == 5
    assert f"by {best['backend']}, " in endpoint.line
    assert f"as {best['instance_profile']} (" in endpoint.line
    largest = best["settings"]["max_batch"]
    assert (f", up to {largest} requests a call" in endpoint.line) == (largest > 1)
    assert len(workers) == int(best["environment"]["MODEL_SERVER_WORKERS"])


def test_python_serves_the_best_recommendation_until_it_is_told_to_stop(
    state: Path, kept: dict[str, Any], sources: Sources, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(state))
    best = servefit_package.load_job("listed").best
    assert best is not None
    with best.serve() as endpoint:
        pids = [psutil.Process(pid) for pid in endpoint.pids]
        request = urllib.request.Request(
            f"{endpoint.url}/invocations", data=as_csv(rows), headers={"Content-Type": "text/csv"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            predictions = [float(word) for word in answer.read().split()]
        assert repr(endpoint).startswith(f"<ServedEndpoint booster at {endpoint.url}: xgboost, ")
        assert len(endpoint.cpus) == 1
    assert predictions == pytest.approx(expected(sources, rows), rel=1e-6)
    assert psutil.wait_procs(pids, timeout=5)[1] == []
    assert endpoint.pids == ()
    assert "stopped" in repr(endpoint)
    endpoint.stop()


def test_an_endpoint_that_python_forgets_is_stopped(
    state: Path, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(state))
    best = servefit_package.load_job("listed").best
    assert best is not None
    endpoint = best.serve()
    processes = [psutil.Process(pid) for pid in endpoint.pids]
    with pytest.raises(SpecError, match="Address already in use"):
        best.serve(port=int(endpoint.url.rpartition(":")[2]))
    del endpoint
    assert psutil.wait_procs(processes, timeout=5)[1] == []


@pytest.mark.thorough
def test_a_model_that_is_gone_since_the_job_is_not_served(
    servefit: Servefit, state: Path, kept: dict[str, Any], sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(state))
    best = servefit_package.load_job("listed").best
    assert best is not None
    with model_gone(sources.xgboost, state):
        ended = servefit("serve", "--quiet", "listed", "--port", "0")
        with pytest.raises(CorruptModel, match="it is gone, or not what it was"):
            best.serve()
    assert ended.status == 2
    [line] = ended.stderr.splitlines()
    assert "it is gone, or not what it was when it was measured" in line
