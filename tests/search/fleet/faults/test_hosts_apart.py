"""Hosts with a network, a CPU and a measuring slot of their own: what docs/fleet.md says to do there, a cable that is
out, and a neighbour that computes on one of them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.search.fleet.conftest import LEASES, MakeJob, eventually, in_thread, rows
from tests.search.fleet.plan.balancer_programs import command
from tests.tiny_model import ROWS

from servefit.search.fleet.host import USUAL
from servefit.search.fleet.making import make_fleet
from servefit.search.fleet.orders import Answer
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from tests.conftest import Hog
    from tests.search.fleet.faults.conftest import Site, StartThere

pytestmark = [pytest.mark.timed, pytest.mark.thorough]

PAGE = Path(__file__).parents[4] / "docs/fleet.md"
CHEAP = ("--backend", "xgboost", "--deploy", "library", "--no-http", "--allow-noise", "--max-tests", "2")
STEPS = "SELECT text FROM servefit_documents WHERE key LIKE 'servefit:step:%' ORDER BY key"

TRIES = 3
"""What else runs on this machine may disturb the quiet host now and then."""


@pytest.fixture
def fleet_url(site_url: str) -> str:
    make_fleet(site_url, USUAL)
    return site_url


def test_what_the_page_on_fleets_says_to_do_by_hand_works_on_two_hosts_of_a_network(
    site: Site, site_url: str, start_there: StartThere, environment: dict[str, str], model: Path, tmp_path: Path
) -> None:
    np.savetxt(tmp_path / "payload.csv", ROWS, delimiter=",")

    def servefit(*arguments: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "servefit", *arguments],
            env={**environment, "SERVEFIT_STORAGE": site_url},
            capture_output=True,
            text=True,
            timeout=120,
            cwd=model.parent,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    servefit(*said("fleet init"))
    for name in site.network.hosts:
        start_there(name, "--address", site.network.hosts[name].address, "--label", "rack=3", "--cost", "per_hour=0.21")
    listed = servefit(*said("fleet hosts"))
    assert all(re.search(rf"{name}.* idle", listed) for name in site.network.hosts), listed
    document = json.loads(servefit(*said("recommend"), *CHEAP, "--budget", "30s", "--format", "json"))
    assert document["status"] == "COMPLETED"
    assert {each["hosts"][0] for each in document["classes"]} == set(site.network.hosts)
    assert all(each["timing"]["arithmetic_ns"] > 0 for each in document["hosts"])
    assert document["plan"] is not None, document["warnings"]
    fleet = document["plan"]["fleet"]
    assert fleet["kept_rate_per_s"] >= 500, document["warnings"]
    assert fleet["cost"] == pytest.approx(0.21 * sum(row["hosts"] for row in fleet["rows"]))
    measured = [json.loads(str(text))["attempt"]["host"] for (text,) in rows(site_url, STEPS)]
    assert set(measured) == set(site.network.hosts)
    assert "500 requests/s are carried by" in servefit(*said("show farm"))
    servefit(*said("export farm"))
    (exported,) = (tmp_path / "balancer").iterdir()
    checked = subprocess.run(command("nginx", exported, check=True), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    serving = [
        host.address for host in site.network.hosts.values() if f"server {host.address}:8080 " in exported.read_text()
    ]
    assert len(serving) == sum(row["hosts"] for row in fleet["rows"])


def test_a_cable_that_is_out_for_25_s_costs_nothing_and_nothing_is_measured_twice(
    site: Site, start_there: StartThere, open_job: MakeJob
) -> None:
    agent, host = start_there("rack3-07"), site.network.hosts["rack3-07"]
    job = open_job("rack3-07")
    first = job.order("rack3-07")
    assert isinstance(job.dispatcher.ask(first).result, Trial)
    order = job.order("rack3-07", job.load(6), limit_s=60)
    with in_thread(lambda: job.dispatcher.ask(order)) as found:
        eventually(lambda: job.dispatcher.registry.hosts()[0].status == "measuring")
        host.unplug()
        time.sleep(25)
        assert found == []
        host.plug_in()
        eventually(lambda: found != [], within_s=40)
    assert isinstance(found[0], Answer), agent.said()
    assert isinstance(found[0].result, Trial)
    begun = rows(job.url, "SELECT token FROM servefit_orders WHERE began_at IS NOT NULL ORDER BY began_at")
    assert begun == [(first.token,), (order.token,)]


def test_a_host_that_is_out_for_good_is_named_and_the_other_goes_on(
    site: Site, site_url: str, start_there: StartThere, environment: dict[str, str], model: Path
) -> None:
    make_fleet(site_url, LEASES)
    for name in site.network.hosts:
        start_there(name)
    command = [
        sys.executable, "-m", "servefit", "recommend", str(model), *CHEAP, "--fleet", "--name", "farm", "--format",
        "json",
    ]  # fmt: skip
    environment = {**environment, "SERVEFIT_STORAGE": site_url}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: _runs_on(site_url, "rack3-07"), within_s=60)
        site.network.hosts["rack3-07"].unplug()
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    document = json.loads(stdout)
    there = {each["hosts"][0]: each["job"] for each in document["classes"]}
    assert there["rack3-08"]["recommendations"], stderr
    assert not there["rack3-07"]["recommendations"]
    assert any("rack3-07" in warning for warning in document["warnings"]), document["warnings"]
    print(document["warnings"], there["rack3-07"].get("warnings"), there["rack3-07"]["status"])


def test_a_process_that_computes_on_one_host_spoils_the_tests_there_and_nowhere_else(
    site: Site, start_there: StartThere, open_job: MakeJob, hog: Hog
) -> None:
    for name in site.network.hosts:
        start_there(name)
    job = open_job(*site.network.hosts)

    def tested(name: str) -> Trial:
        trial = job.dispatcher.ask(job.order(name, job.load(1.5))).result
        assert isinstance(trial, Trial)
        return trial

    with hog(site.network.hosts["rack3-07"].cpu), ThreadPoolExecutor() as pool:
        for _ in range(TRIES):
            noisy, quiet = pool.map(tested, site.network.hosts)
            assert noisy.verdict == "INVALID"
            assert "other processes used" in (noisy.reason or "")
            if quiet.verdict != "INVALID":
                break
        else:
            pytest.fail(f"the other host was disturbed too: {quiet.reason}")


def _runs_on(url: str, host: str) -> bool:
    steps = [json.loads(str(text)) for (text,) in rows(url, STEPS)]
    return any(
        step["kind"] == "service_time" and step["status"] == "RUNNING" and step["attempt"]["host"] == host
        for step in steps
    )


def said(command: str) -> list[str]:
    """The arguments of the first line of the page that begins with that command."""
    found = re.search(rf"(?m)^servefit ({command}\b[^&\n]*)", PAGE.read_text())
    assert found is not None, f"{PAGE} has no {command!r} any more"
    return shlex.split(found[1])
