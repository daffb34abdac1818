"""Commands that measure wait for each other, and say for whom, or end; commands that do not measure go on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import COMMAND

from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.record.storage.measurements import load_measurement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Servefit, Sources
    from tests.conftest import HttpServer

pytestmark = pytest.mark.integration

QUICK = (
    "--backend", "xgboost", "--max-tests", "1", "--batch", "1", "--profile", "local-1c", "--no-http", "--allow-noise",
    "--quiet",
)  # fmt: skip
HELD_BY_US = re.compile(rf"job fraud \(process {os.getpid()}, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d\)")
WAITING = re.compile(
    rf"Waiting for another servefit command \(job fraud, pid {os.getpid()}, for \d+ s\)\. "
    r"--no-wait \(wait_s=0\) gives up at once\."
)


@pytest.fixture
def endpoint(http_server: HttpServer) -> Iterator[str]:
    """A server that answers everything."""
    with http_server(lambda path, body: (200, b'{"score": 0.5}', {})) as url:
        yield url


@pytest.mark.parametrize("command", ["recommend", "profile", "service time", "against", "load", "host", "demo"])
def test_who_does_not_wait_ends_with_4_and_says_who_measures(
    servefit: Servefit, sources: Sources, endpoint: str, command: str
) -> None:
    arguments: dict[str, tuple[str | Path, ...]] = {
        "recommend": ("recommend", sources.xgboost),
        "profile": ("profile", sources.xgboost),
        "service time": ("profile", sources.xgboost, "--service-time"),
        "against": ("profile", sources.xgboost, "--against", "batch=2"),
        "load": ("load", endpoint, "--protocol", "json", "--payload", sources.payload),
        "host": ("host",),
        "demo": ("demo",),
    }
    with measuring_slot("job fraud"):
        ended = servefit(*arguments[command], "--no-wait", "--quiet")
    assert (ended.status, ended.stdout) == (4, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("servefit: this machine is still being measured on, by job fraud")
    assert HELD_BY_US.search(line)


@pytest.mark.thorough
def test_who_waits_for_a_while_says_for_whom_first(servefit: Servefit, sources: Sources) -> None:
    with measuring_slot("job fraud"):
        ended = servefit("profile", sources.xgboost, "--wait", "300ms", "--quiet")
    assert ended.status == 4
    waiting, error = ended.stderr.splitlines()
    assert WAITING.fullmatch(waiting)
    assert error.startswith("servefit: this machine is still being measured on after ")


@pytest.mark.thorough
def test_who_waits_says_for_whom_and_the_wait_is_not_the_jobs(sources: Sources, state: Path) -> None:
    command = [*COMMAND, "recommend", str(sources.xgboost), *QUICK, "--budget", "60s", "--format", "json"]
    environment = {**os.environ, "SERVEFIT_HOME": str(state)}
    waited_s = 0.5
    with ExitStack() as measured:
        measured.enter_context(measuring_slot("job fraud"))
        began = time.monotonic()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stderr is not None
            assert any(map(WAITING.match, process.stderr))
            time.sleep(waited_s)
            measured.close()
            stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["elapsed_s"] < time.monotonic() - began - waited_s


def test_a_job_in_a_file_says_how_long_it_waits_and_an_option_wins(
    servefit: Servefit, sources: Sources, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(f"model: {sources.xgboost}\nwait: 0\n")
    with measuring_slot("job fraud"):
        assert servefit("recommend", "--config", file).status == 4
        ended = servefit("recommend", "--config", file, "--wait", "400ms", "--save-config", tmp_path / "saved.yaml")
    assert ended.status == 4
    assert WAITING.search(ended.stderr)
    assert "wait: 0.4s\n" in (tmp_path / "saved.yaml").read_text()


def test_what_is_mistyped_is_told_at_once(servefit: Servefit, sources: Sources, tmp_path: Path) -> None:
    nowhere = tmp_path / "modle.ubj"
    with measuring_slot("job fraud"):
        for arguments in (
            ("recommend", nowhere),
            ("profile", nowhere),
            ("profile", nowhere, "--service-time"),
            ("profile", sources.xgboost, "--against", f"model={nowhere}"),
            ("profile", sources.xgboost, "--users", "-1"),
            ("profile", sources.xgboost, "--wait", "1s", "--no-wait"),
            ("recommend", sources.xgboost, "--payload", nowhere),
            ("resume", "no-such-job"),
        ):
            ended = servefit(*arguments)
            assert ended.status == 2, ended.stderr
            assert "Waiting for" not in ended.stderr


@pytest.mark.parametrize(
    "command",
    [
        "profile",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("recommend", "service time", "against")),
    ],
)
def test_what_is_wrong_with_a_model_or_a_payload_is_told_before_the_wait(
    servefit: Servefit, sources: Sources, tmp_path: Path, command: str
) -> None:
    narrow, broken = tmp_path / "narrow.csv", tmp_path / "broken.ubj"
    narrow.write_text("1,2,3\n4,5,6\n")
    broken.write_bytes(sources.xgboost.read_bytes()[:2000])
    name, *options = {
        "recommend": ("recommend",),
        "profile": ("profile",),
        "service time": ("profile", "--service-time"),
        "against": ("profile", "--against", "batch=2"),
    }[command]
    with measuring_slot("job fraud"):
        for subject in ((sources.xgboost, "--payload", narrow), (broken,)):
            ended = servefit(name, *subject, *options, "--quiet")
            assert ended.status == 2, ended.stderr
            assert ended.stderr.startswith(
                ("servefit: payload narrow.csv: expected 30 columns", "servefit: cannot read")
            )


def test_what_does_not_measure_does_not_wait(servefit: Servefit, sources: Sources, tmp_path: Path) -> None:
    with measuring_slot("job fraud"):
        assert servefit("compile", sources.xgboost, "-b", "forest", "-o", tmp_path / "compiled").status == 0
        facts = servefit("host", "--facts", "--format", "json")
    assert facts.status == 0, facts.stderr
    slot = facts.document["measuring_slot"]
    assert (slot["path"], slot["scope"]) == (f"{os.environ['SERVEFIT_SLOT']}/servefit-measuring", "host")
    assert HELD_BY_US.fullmatch(slot["held_by"])


def test_ctrl_c_while_it_waits_ends_as_usual(sources: Sources) -> None:
    command = [*COMMAND, "profile", str(sources.xgboost)]
    with (
        measuring_slot("job fraud"),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        while "Waiting for" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr.splitlines()[-1]) == (130, "", "servefit: interrupted")


@pytest.mark.thorough
@pytest.mark.timed
def test_two_profiles_started_at_once_measure_one_after_the_other(
    servefit: Servefit, sources: Sources, state: Path, tmp_path: Path
) -> None:
    servefit("profile", sources.xgboost, "--users", "1", "--duration", "0.1s")  # compiles it
    usual = ("--profile", "local-1c", "--users", "1", "--duration", "0.5s", "--allow-noise", "--quiet")
    files = [tmp_path / "one.servefit", tmp_path / "other.servefit"]
    commands = [
        subprocess.Popen(
            [*COMMAND, "profile", str(sources.xgboost), *usual, "--save", str(file)],
            env={**os.environ, "SERVEFIT_HOME": str(state)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for file in files
    ]
    said = [command.communicate(timeout=60)[1] for command in commands]
    assert [command.returncode for command in commands] == [0, 0], said
    assert sum("Waiting for another servefit command (profile of booster.ubj, pid" in stderr for stderr in said) == 1
    first, second = sorted(load_measurement(file).runs[0].plateau_ns for file in files)
    assert first[1] < second[0]
