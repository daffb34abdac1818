"""The database is restored from a backup that was made before, while agents and a job are at work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.fleet.conftest import StartAgent, eventually, rows

if TYPE_CHECKING:
    from tests.search.conftest import Server

pytestmark = [pytest.mark.timed, pytest.mark.thorough]

CHEAP = ("--backend", "xgboost", "--deploy", "library", "--no-http", "--allow-noise", "--max-tests", "2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup of all schemas of the database, which can be put over it while it is used."""

    server: Server
    path: Path

    def make(self) -> None:
        self._run("pg_dump", "--format=custom", f"--file={self.path}")

    def restore(self) -> None:
        self._run("pg_restore", "--clean", "--if-exists", "--single-transaction", str(self.path))

    def _run(self, program: str, *arguments: str) -> None:
        command = [
            str(self.server.programs / program), "--host=127.0.0.1", f"--port={self.server.port}",
            f"--username={self.server.user}", "--dbname=postgres", *arguments,
        ]  # fmt: skip
        environment = {**os.environ, "PGPASSWORD": self.server.password}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
        assert ended.returncode == 0, ended.stderr


@pytest.fixture
def backup(postgresql: Server, tmp_path: Path) -> Backup:
    return Backup(server=postgresql, path=tmp_path / "backup")


@pytest.fixture
def job(fleet_url: str, environment: dict[str, str], model: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begins a command of the job, which is ended with the test."""
    with ExitStack() as stack:

        def begin(*arguments: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "servefit", *arguments], env={**environment, "SERVEFIT_STORAGE": fleet_url},
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=model.parent,
                )
            )  # fmt: skip
            stack.callback(process.kill)
            return process

        yield begin


BEGUN = "SELECT 1 FROM servefit_orders WHERE began_at IS NOT NULL AND state = 'OPEN'"
RECOMMEND = ("recommend", "model.ubj", *CHEAP, "--fleet", "--name", "fraud")


def test_a_backup_of_before_the_job_and_its_agents_is_restored(
    backup: Backup, start_agent: StartAgent, fleet_url: str, job: Callable[..., subprocess.Popen[str]]
) -> None:
    backup.make()
    agent = start_agent("rack3-07")
    process = job(*RECOMMEND)
    eventually(lambda: steps(fleet_url, "load_test") != [], within_s=60)
    backup.restore()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 4, said
    last = said.splitlines()[-1]
    assert last.startswith("servefit: cannot use job 'fraud'"), said
    assert "was restored" in last
    eventually(lambda: rows(fleet_url, "SELECT name FROM servefit_agents") == [("rack3-07",)])
    assert "does not know this agent any more: it is registered again" in agent.said()
    again = job(*RECOMMEND[:-1], "fraud-2")
    assert again.stdout is not None
    assert any("timing calls" in line for line in again.stdout)


def test_a_backup_of_a_job_in_its_middle_is_restored_and_nothing_is_measured_twice(
    backup: Backup, start_agent: StartAgent, fleet_url: str, job: Callable[..., subprocess.Popen[str]]
) -> None:
    agent = start_agent("rack3-07")
    process = job(*RECOMMEND)
    eventually(lambda: [step["status"] for step in steps(fleet_url, "load_test")][:1] == ["RUNNING"], within_s=60)
    eventually(lambda: rows(fleet_url, BEGUN) != [])
    backup.make()
    eventually(lambda: [step["status"] for step in steps(fleet_url, "load_test")][:1] == ["COMPLETED"], within_s=60)
    (tested,) = [step["attempt"]["token"] for step in steps(fleet_url, "load_test")[:1]]
    backup.restore()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 4, said
    last = said.splitlines()[-1]
    assert last.startswith("servefit: cannot use job 'fraud'"), said
    assert "restored from an earlier backup; servefit resume fraud goes on from what is there" in last
    again = job("resume", "fraud")
    said, _ = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert f"order {tested} was carried out before, and is answered with what was measured then" in agent.said()
    assert [step["status"] for step in steps(fleet_url, "load_test") if step["attempt"]["token"] == tested] == [
        "COMPLETED"
    ]
    assert rows(fleet_url, "SELECT token FROM servefit_orders WHERE state <> 'ANSWERED'") == []


def steps(url: str, kind: str) -> list[dict[str, Any]]:
    found = rows(url, "SELECT text FROM servefit_documents WHERE key LIKE 'servefit:step:%' ORDER BY key")
    return [step for step in (json.loads(str(text)) for (text,) in found) if step["kind"] == kind]
