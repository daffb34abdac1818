"""The disk of the database is full: agents and jobs say so, and go on once there is room."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.fleet.conftest import StartAgent, eventually, rows
from tests.search.fleet.faults.conftest import empty_schema, own_server

if TYPE_CHECKING:
    from tests.search.conftest import Server

pytestmark = [pytest.mark.timed, pytest.mark.thorough]

Recommend = Callable[[], subprocess.Popen[str]]

CHEAP = ("--backend", "xgboost", "--deploy", "library", "--no-http", "--allow-noise", "--max-tests", "2")

SIZE_MB = 80
"""A new server takes half of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDisk:
    """The disk that all of a server is on."""

    folder: Path

    def fill(self) -> None:
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            for size in (2**20, 4096, 1):
                try:
                    while ballast.write(bytes(size)):
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    folder = tempfile.mkdtemp(prefix="servefit-small-disk-")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=755", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        Path(folder).rmdir()
        pytest.skip(f"this machine lets nobody mount a small disk: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder=Path(folder))
    finally:
        subprocess.run(["umount", folder], check=True)
        Path(folder).rmdir()


@pytest.fixture(scope="module")
def server(postgresql: Server, disk: SmallDisk) -> Iterator[Server]:
    with own_server(postgresql, folder=disk.folder) as server:
        yield server


@pytest.fixture
def postgresql_url(server: Server, disk: SmallDisk) -> Iterator[str]:
    with empty_schema(server) as url:
        yield url
        disk.make_room()


@pytest.fixture
def recommend(fleet_url: str, environment: dict[str, str], model: Path) -> Iterator[Recommend]:
    """Begins a job, which is ended with the test."""
    with ExitStack() as stack:

        def begin() -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "servefit", "recommend", str(model), *CHEAP, "--fleet", "--name", "fraud"]
            process = stack.enter_context(
                subprocess.Popen(
                    command, env={**environment, "SERVEFIT_STORAGE": fleet_url}, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, text=True,
                )
            )  # fmt: skip
            stack.callback(process.kill)
            return process

        yield begin


def test_an_answer_for_which_there_is_no_room_waits_for_it_and_the_job_says_so(
    disk: SmallDisk, start_agent: StartAgent, fleet_url: str, recommend: Recommend
) -> None:
    agent = start_agent("rack3-07")
    process = recommend()
    assert process.stdout is not None
    eventually(lambda: steps(fleet_url, "service_time") != [], within_s=60)
    disk.fill()
    assert any("waiting for room in the database" in line for line in process.stdout), agent.said()
    disk.make_room()
    assert any("measuring" in line for line in process.stdout)
    assert "No space left on device" in agent.said()
    (timed,) = steps(fleet_url, "service_time")
    assert timed["status"] == "COMPLETED"
    begun = rows(fleet_url, "SELECT token FROM servefit_orders WHERE began_at IS NOT NULL AND state <> 'ANSWERED'")
    assert begun == []


def test_a_job_does_not_begin_without_room_and_its_orders_wait_for_it(
    disk: SmallDisk, start_agent: StartAgent, fleet_url: str, recommend: Recommend
) -> None:
    start_agent("rack3-07")
    disk.fill()
    process = recommend()
    said, _ = process.communicate(timeout=30)
    disk.make_room()
    assert process.returncode == 4
    assert "No space left on device" in said
    assert rows(fleet_url, "SELECT 1 FROM servefit_jobs") == []
    process = recommend()
    assert process.stdout is not None
    eventually(lambda: rows(fleet_url, "SELECT 1 FROM servefit_orders") != [], within_s=60)
    disk.fill()
    waits = next(line for line in process.stdout if "an order for rack3-07 waits" in line)
    disk.make_room()
    assert "No space left on device" in waits
    assert any("compiling" in line for line in process.stdout)


def steps(url: str, kind: str) -> list[dict[str, Any]]:
    found = rows(url, "SELECT text FROM servefit_documents WHERE key LIKE 'servefit:step:%' ORDER BY key")
    return [step for step in (json.loads(str(text)) for (text,) in found) if step["kind"] == kind]
