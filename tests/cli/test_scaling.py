"""``servefit scale`` on a job that ran."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import MADE, keep_told
from tests.report.story import PROFILES, Story, configuration

from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Finished, Servefit, Sources

    from servefit.profiler.machine.instance_profile import InstanceProfile

pytestmark = pytest.mark.integration

JOB = (
    "--sla", "p95=500ms", "--rate", "200/s", "--backend", "xgboost", "--profile", "local-1c",
    "--no-http", "--max-tests", "1", "--batch", "1", "--allow-noise", "--quiet",
)  # fmt: skip


def tell(name: str, profile: InstanceProfile = PROFILES[0]) -> None:
    request = JobRequest(name=name, sla=Sla(thresholds=parse_sla("p95=500ms"), rate_per_s=200.0), max_tests=1)
    story = Story.of(request, profiles=(profile,))
    story.compiles("xgboost")
    story.tests(configuration("xgboost"))
    story.keep()


@pytest.fixture(scope="session")
def scaled(state: Path) -> str:
    """The name of a job whose one test met its SLA."""
    return keep_told(state, "scaled", tell)


@pytest.fixture(scope="session")
def measured(servefit: Servefit, sources: Sources) -> str:
    """The name of another one, which was really measured."""
    ended = servefit("recommend", sources.xgboost, "--payload", sources.payload, "--name", "measured", *JOB)
    assert ended.status == 0, ended.stderr
    return "measured"


@pytest.mark.parametrize("made", MADE)
def test_a_rate_gets_instances_and_a_policy_from_what_the_job_measured(
    servefit: Servefit, request: pytest.FixtureRequest, made: str
) -> None:
    scaled: str = request.getfixturevalue({"told": "scaled", "measured": "measured"}[made])
    ended = servefit("scale", scaled, "--rate", "1000000/s", "--max-rate", "180000000/min", "--format", "json")
    assert ended.status == 0, ended.stderr
    plan = ended.document
    instance, target = plan["instance"], plan["target"]
    assert plan["instances"] > 1
    assert target["min_capacity"] == 1
    assert target["max_capacity"] >= 2 * plan["instances"]
    assert target["rate_per_s"] == pytest.approx(0.8 * instance["highest_rate_per_s"])
    assert instance["highest_rate_per_s"] <= 0.8 * instance["capacity_per_s"] * (1 + 1e-9)
    assert target["scale_out_cooldown_s"] >= 60
    assert plan["DynamicScalingConfiguration"]["MaxCapacity"] == target["max_capacity"]
    verdicts = {point["rate_per_s"]: point["verdict"] for point in plan["curve"] if point["source"] == "measured"}
    assert verdicts == {200.0: "PASS", instance["capacity_per_s"]: None}
    assert not any("raw samples" in note for note in plan["notes"])
    assert servefit("scale", scaled, "--rate", "1000000/s", "--headroom", "60%", "--format", "json").document[
        "instances"
    ] == pytest.approx(2 * plan["instances"], abs=1)


def test_the_table_begins_with_the_answer_and_says_what_was_measured(servefit: Servefit, scaled: str) -> None:
    best = servefit("show", scaled, "--format", "json").document["recommendations"][0]
    ended = servefit("scale", f"{scaled}/{best['id']}", "--rate", "10/s")
    assert ended.status == 0, ended.stderr
    first = ended.stdout.strip().splitlines()[0]
    assert first.startswith(
        "10 requests/s within p95 <= 500 ms: 1 x local-1c, 1 of the machine's 4 CPUs, $0.021 an hour; "
    )
    assert "measured in the closed loop" in ended.stdout
    assert "estimated" in ended.stdout
    assert "Note: one instance serves the rate" in ended.stdout
    assert ended.stderr == ""


def test_what_takes_more_cpus_than_the_machine_has_is_told_in_machines(servefit: Servefit, scaled: str) -> None:
    plan = servefit("scale", scaled, "--rate", "1000000/s", "--format", "json").document
    ended = servefit("scale", scaled, "--rate", "1000000/s")
    machines = f"{plan['instances']} x local-1c, {ceil(plan['instances'] / 4)} such machines"
    assert f"requests/s within p95 <= 500 ms: {machines}, $" in ended.stdout


def test_without_a_price_the_policy_counts_vcpus(servefit: Servefit, state: Path) -> None:
    keep_told(state, "unpriced", lambda name: tell(name, replace(PROFILES[0], price_per_hour=None)))
    ended = servefit("scale", "unpriced", "--rate", "1000000/s", "--format", "csv")
    rows = {row[0]: row[1] for row in csv.reader(io.StringIO(ended.stdout))}
    assert rows["vCPUs at rate"] == rows["instances"]
    assert rows["vCPUs at min"] == "1"


def test_other_forms_hold_the_policy_alone(servefit: Servefit, scaled: str) -> None:
    ended = servefit("scale", scaled, "--rate", "10/s", "--format", "csv")
    rows = list(csv.reader(io.StringIO(ended.stdout)))
    assert rows[0] == ["figure", "value", "where from"]
    assert dict(row[:2] for row in rows)["instances"] == "1"
    assert "warning: one instance serves the rate" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate", "often"], ["rate", "500/s"]),
        (["--rate", "10/s", "--headroom", "much"], ["headroom", "20%"]),
        (["--rate", "10/s", "--min-rate", "often"], ["min_rate", "500/s"]),
        (["--rate", "10/s", "--min-rate", "50/s", "--max-rate", "20/s"], ["min_rate", "20 requests/s"]),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_line(
    servefit: Servefit, scaled: str, arguments: list[str], words: list[str]
) -> None:
    check_refused(servefit("scale", scaled, *arguments), *words)


def check_refused(ended: Finished, *words: str) -> None:
    assert ended.status == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert all(word in line for word in words), line


def test_unknown_jobs_and_recommendations_are_refused_in_one_line(servefit: Servefit, scaled: str) -> None:
    check_refused(servefit("scale", "scalde", "--rate", "10/s"), "job", "scaled")
    check_refused(servefit("scale", f"{scaled}/00000000", "--rate", "10/s"), "recommendation", "00000000")


def test_help_has_an_example(servefit: Servefit) -> None:
    assert "Example: servefit scale" in servefit("scale", "--help").stdout
