"""Jobs on a fleet, from the command line, with agents as processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.search.fleet.conftest import Servefit, StartAgent, eventually, rows
from tests.tiny_model import tiny_model

pytestmark = [pytest.mark.timed, pytest.mark.thorough]

_BEGUN = "SELECT token FROM servefit_orders WHERE began_at IS NOT NULL AND state <> 'ANSWERED'"
_JOB = ("--backend", "xgboost", "--deploy", "library", "--no-http", "--allow-noise", "--max-tests", "2")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model.ubj")


def test_a_job_measures_on_every_host_that_is_chosen_and_nowhere_else(
    start_agent: StartAgent, servefit: Servefit, model: Path, fleet_url: str
) -> None:
    # What they may use makes hosts of two classes of them.
    for name, cpus in (("rack3-07", "0"), ("rack3-08", "0,1"), ("desk", "0")):
        start_agent(name, "--label", f"room={name[:4]}", cpus=cpus)
    ended = servefit(
        "recommend", str(model), *_JOB, "--fleet", "--host", "rack3-*", "--label", "room=rack", "--name", "fraud",
        "--format", "json",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    assert sorted(each["hosts"] for each in document["classes"]) == [["rack3-07"], ["rack3-08"]]
    assert all(each["timing"]["arithmetic_ns"] > 0 for each in document["hosts"])
    assert document["status"] == "COMPLETED"
    for each in document["classes"]:
        assert each["job"]["recommendations"], ended.stderr
    steps = [json.loads(str(text)) for (text,) in rows(fleet_url, _STEPS)]
    measured = {(step["attempt"]["host"], step["kind"]) for step in steps}
    assert {host for host, _ in measured} == {"rack3-07", "rack3-08"}
    assert {("rack3-07", "load_test"), ("rack3-08", "load_test")} <= measured
    assert len({step["attempt"]["token"] for step in steps if step["kind"] == "load_test"}) == sum(
        step["kind"] == "load_test" for step in steps
    )
    shown = servefit("show", "fraud", "--storage", fleet_url, "--host", "rack3-08", "--format", "json")
    (there,) = (each["job"] for each in document["classes"] if each["hosts"] == ["rack3-08"])
    assert json.loads(shown.stdout)["recommendations"] == there["recommendations"]
    assert servefit("resume", "fraud", "--storage", fleet_url).returncode == 2


def test_a_job_whose_coordinator_is_killed_goes_on_from_another_host_with_nothing_measured_twice(
    start_agent: StartAgent,
    servefit: Servefit,
    environment: dict[str, str],
    model: Path,
    fleet_url: str,
    tmp_path: Path,
) -> None:
    start_agent("rack3-07")
    # Two tests are made, however long a busy machine takes for them.
    asked = (*_JOB, "--budget", "300s", "--fleet", "--name", "fraud")
    command = [sys.executable, "-m", "servefit", "recommend", str(model), *asked]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        # An order that no agent had begun yet is lost with its coordinator, and its step begins again.
        eventually(lambda: _running(fleet_url, "load_test") and bool(rows(fleet_url, _BEGUN)), within_s=60)
        process.send_signal(signal.SIGKILL)
    ended = servefit("resume", "fraud", "--storage", fleet_url, SERVEFIT_HOME=str(tmp_path / "elsewhere"))
    assert ended.returncode == 0, ended.stderr
    steps = [json.loads(str(text)) for (text,) in rows(fleet_url, _STEPS)]
    assert [step for step in steps if step["status"] != "COMPLETED"] == []
    assert rows(fleet_url, _BEGUN) == []
    tested = [json.dumps(step["configuration"]) for step in steps if step["kind"] == "load_test"]
    assert len(tested) == len(set(tested))


def test_ctrl_c_ends_a_job_and_the_tests_on_its_hosts_and_it_can_be_taken_up(
    start_agent: StartAgent, servefit: Servefit, environment: dict[str, str], model: Path, fleet_url: str
) -> None:
    start_agent("rack3-07")
    command = [sys.executable, "-m", "servefit", "recommend", str(model), *_JOB, "--fleet", "--name", "fraud"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        eventually(lambda: _running(fleet_url, "load_test"), within_s=60)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert rows(fleet_url, "SELECT 1 FROM servefit_orders WHERE state = 'OPEN'") == []
    assert servefit("resume", "fraud", "--storage", fleet_url).returncode == 0


def test_a_class_that_loses_its_agent_for_good_is_named_and_the_others_go_on(
    start_agent: StartAgent, environment: dict[str, str], model: Path, fleet_url: str
) -> None:
    lost = start_agent("rack3-07", cpus="0")
    start_agent("rack3-08", cpus="0,1")
    command = [
        sys.executable, "-m", "servefit", "recommend", str(model), *_JOB, "--fleet", "--name", "fraud", "--format",
        "json",
    ]  # fmt: skip
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: _running(fleet_url, "service_time", "rack3-07"), within_s=60)
        lost.end(signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=100)
    document: dict[str, Any] = json.loads(stdout)
    there = {each["hosts"][0]: each["job"] for each in document["classes"]}
    assert there["rack3-08"]["recommendations"], stderr
    assert not there["rack3-07"]["recommendations"]
    assert any("rack3-07" in warning for warning in document["warnings"]), stderr
    assert process.returncode == 0
    failed = [step for step in map(_step, rows(fleet_url, _STEPS)) if step["status"] == "FAILED"]
    assert failed
    assert all(step["reason"].startswith("lost: rack3-07") for step in failed)
    assert len(failed) <= 2


def test_hosts_of_a_plan_are_confirmed_at_their_planned_rate_and_spot_checked_there(
    start_agent: StartAgent, servefit: Servefit, model: Path, fleet_url: str
) -> None:
    for name in ("rack3-07", "rack3-08"):
        start_agent(name, cpus="0")
    ended = servefit(
        "recommend", str(model), "--backend", "xgboost", "--deploy", "library", "--no-http", "--allow-noise",
        "--budget", "40s", "--rate", "300/s", "--sla", "p95=400ms", "--spare", "1", "--fleet", "--name", "fraud",
        "--format", "json",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    document = json.loads(ended.stdout)
    # Twins that are timed at the same time on one CPU may not look like it.
    rows_of_plan = document["plan"]["fleet"]["rows"]
    assert sum(row["hosts"] for row in rows_of_plan) == 2
    for row in rows_of_plan:
        # After the loss of the other, each carries all.
        assert row["offer"]["rate_per_s"] == pytest.approx(300)
    measured = [_step(row) for row in rows(fleet_url, _STEPS)]
    hosts = {step["attempt"]["host"] for step in measured if step["kind"] in ("confirmation", "spot_check")}
    assert hosts == {"rack3-07", "rack3-08"}
    assert len(rows_of_plan) == 2 or any(step["kind"] == "spot_check" for step in measured)
    tests = [step for step in measured if step["kind"] in ("load_test", "confirmation", "spot_check")]
    assert len(tests) <= 6, "more tests change nothing in the plan"


_STEPS = "SELECT text FROM servefit_documents WHERE key LIKE 'servefit:step:%' ORDER BY key"


def _step(row: tuple[object, ...]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(str(row[0]))
    return document


def _running(url: str, kind: str, host: str | None = None) -> bool:
    steps = map(_step, rows(url, _STEPS))
    return any(
        step["kind"] == kind and step["status"] == "RUNNING" and host in (None, step["attempt"]["host"])
        for step in steps
    )
