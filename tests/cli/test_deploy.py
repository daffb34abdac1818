"""What a job is about: the endpoint, measured over HTTP or predicted, or the library."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.cli.conftest import MADE, keep_told
from tests.report.story import PROFILES, Story, configuration

from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Servefit, Sources

    Make = Callable[[str], dict[str, Any]]

pytestmark = pytest.mark.integration

ASKED = (
    "--rate", "200/s", "--sla", "p95=500ms", "--backend", "xgboost", "--batch", "1", "--max-tests", "2",
    "--budget", "20s", "--allow-noise", "--quiet", "--format", "json",
)  # fmt: skip
ALL_CPUS = f"local-{len(os.sched_getaffinity(0))}c"
OPTIONS: dict[str, tuple[str, ...]] = {
    "endpoint": ("--profile", "local-1c"),
    "predicted": ("--profile", ALL_CPUS),
    "library": ("--profile", "local-1c", "--deploy", "library"),
    "no-http": ("--profile", "local-1c", "--no-http"),
}
ENDED = re.compile(r"\] step \d+, over HTTP: ")
"""What is said on stderr when a test has ended."""

SLA = Sla(thresholds=parse_sla("p95=500ms"), rate_per_s=200.0)
TESTED = configuration("xgboost")


def begun(name: str, deploy: Any) -> Story:
    story = Story.of(JobRequest(name=name, sla=SLA, deploy=deploy), profiles=PROFILES[:1])
    story.compiles("xgboost")
    return story


def tell_endpoint(name: str) -> None:
    story = begun(name, "endpoint")
    for kind in ("load_test", "confirmation"):
        story.tests(TESTED, kind=kind, http_us=120.0)
    story.tests(TESTED, kind="model_alone")
    story.keep()


def tell_predicted(name: str) -> None:
    story = begun(name, "endpoint")
    story.learns_endpoint_costs(TESTED)
    story.predicts(TESTED)
    story.keep()


def tell_library(name: str) -> None:
    story = begun(name, "library")
    for kind in ("load_test", "confirmation"):
        story.tests(TESTED, kind=kind)
    story.tests(TESTED, kind="endpoint", http_us=120.0)
    story.keep()


TOLD = {"endpoint": tell_endpoint, "predicted": tell_predicted, "library": tell_library}


@pytest.fixture(scope="module", params=MADE)
def make(request: pytest.FixtureRequest, state: Path, servefit: Servefit) -> Make:
    """Makes a job of OPTIONS, and gives its only recommendation, with its name."""

    def made(kind: str) -> dict[str, Any]:
        name = f"{request.param}-{kind}"
        if request.param == "told":
            ended = servefit("show", keep_told(state, name, TOLD[kind]), "--format", "json")
        else:
            sources: Sources = request.getfixturevalue("sources")
            asked = ("--payload", sources.payload, "--name", name, *OPTIONS[kind], *ASKED)
            ended = servefit("recommend", sources.xgboost, *asked)
        assert ended.status == 0, ended.stderr
        [found] = ended.document["recommendations"]
        return {**found, "job": name, "warnings": ended.document["warnings"]}

    return made


@pytest.fixture(scope="module")
def endpoint(make: Make) -> dict[str, Any]:
    return make("endpoint")


@pytest.fixture(scope="module")
def predicted(make: Make) -> dict[str, Any]:
    return make("predicted")


@pytest.fixture(scope="module")
def library(make: Make) -> dict[str, Any]:
    return make("library")


def steps_of(servefit: Servefit, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = servefit("steps", name, "--format", "json").document["steps"]
    return found


def kinds(steps: list[dict[str, Any]]) -> set[str]:
    return {step["kind"] for step in steps}


def test_the_endpoint_is_what_is_deployed_and_is_measured_over_http(
    servefit: Servefit, endpoint: dict[str, Any]
) -> None:
    assert (endpoint["deployment"], endpoint["driver"], endpoint["verdict"]) == ("endpoint", "http", "PASS")
    assert endpoint["capacity"]["basis"] == "measured"
    assert endpoint["max_invocations"] == round(60 * endpoint["capacity"]["rate_per_s"])
    tests = [step for step in steps_of(servefit, endpoint["job"]) if step["kind"] in ("load_test", "confirmation")]
    assert {(test["metrics"]["driver"], test["metrics"]["basis"]) for test in tests} == {("http", "measured")}
    assert endpoint["step"] in {test["step"] for test in tests}


def test_the_model_alone_is_shown_beside_its_endpoint_under_its_own_name(
    servefit: Servefit, endpoint: dict[str, Any]
) -> None:
    alone = endpoint["model_alone"]
    assert (alone["driver"], alone["loop"]) == ("inprocess", "open")
    # HTTP costs something.
    assert alone["capacity_rate_per_s"] > endpoint["capacity"]["rate_per_s"]
    assert alone["latency_ms"]["p50"] < endpoint["model_latency_ms"]["p50"]
    [step] = [step for step in steps_of(servefit, endpoint["job"]) if step["kind"] == "model_alone"]
    assert step["step"] == alone["step"] != endpoint["step"]
    said = servefit("show", endpoint["job"]).stdout
    assert "deploy local-1c as an endpoint of xgboost" in " ".join(said.split())
    assert "The model alone, called in process: " in " ".join(said.split())


def test_the_instances_of_an_endpoint_are_planned_by_what_it_answers(
    servefit: Servefit, endpoint: dict[str, Any]
) -> None:
    plan = servefit("scale", endpoint["job"], "--rate", "1000/s", "--format", "json").document
    instance = plan["instance"]
    assert (plan["deployment"], plan["driver"]) == ("endpoint", "http")
    assert (instance["capacity_per_s"], instance["capacity_source"]) == (endpoint["capacity"]["rate_per_s"], "measured")
    assert instance["highest_rate_per_s"] <= 0.8 * instance["capacity_per_s"] * (1 + 1e-9)


@pytest.mark.parametrize(("policy", "kind"), [("hpa", "HorizontalPodAutoscaler"), ("keda", "ScaledObject")])
def test_a_policy_for_kubernetes_keeps_the_endpoint_at_the_target_of_the_plan(
    servefit: Servefit, endpoint: dict[str, Any], policy: str, kind: str
) -> None:
    asked = ("scale", f"{endpoint['job']}/{endpoint['id']}", "--rate", "1000/s")
    target = servefit(*asked, "--format", "json").document["target"]
    ended = servefit(*asked, "--policy", policy)
    assert ended.status == 0, ended.stderr
    manifest = yaml.safe_load(ended.stdout)
    assert manifest["kind"] == kind
    spec = manifest["spec"]
    if policy == "hpa":
        value = spec["metrics"][0]["pods"]["target"]["averageValue"]
        assert float(value.removesuffix("m")) / 1000 == pytest.approx(target["rate_per_s"], abs=0.001)
        assert (spec["minReplicas"], spec["maxReplicas"]) == (target["min_capacity"], target["max_capacity"])
    else:
        [trigger] = spec["triggers"]
        assert float(trigger["metadata"]["threshold"]) == pytest.approx(target["rate_per_s"], rel=1e-5)
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (target["min_capacity"], target["max_capacity"])


def test_a_library_has_no_policy_for_kubernetes_and_an_unknown_policy_is_refused(
    servefit: Servefit, library: dict[str, Any], endpoint: dict[str, Any]
) -> None:
    refused = servefit("scale", f"{library['job']}/{library['id']}", "--rate", "1000/s", "--policy", "hpa")
    assert (refused.status, refused.stdout) == (2, "")
    assert "this job deploys the model as a library; run the job with --deploy endpoint" in refused.stderr
    unknown = servefit("scale", f"{endpoint['job']}/{endpoint['id']}", "--rate", "1000/s", "--policy", "kede")
    assert (unknown.status, unknown.stdout) == (2, "")
    assert "did you mean 'keda'?" in unknown.stderr
    named = servefit("scale", f"{endpoint['job']}/{endpoint['id']}", "--rate", "1000/s", "--name", "payments")
    assert (named.status, named.stderr) == (
        2,
        "servefit: name: 'payments' is only for a policy; give --policy hpa or --policy keda\n",
    )


def test_an_endpoint_that_leaves_no_cpu_to_a_client_is_predicted_and_says_so(
    servefit: Servefit, predicted: dict[str, Any]
) -> None:
    assert (predicted["deployment"], predicted["driver"]) == ("endpoint", "http")
    assert predicted["capacity"]["basis"] == "predicted"
    assert predicted["samples"] == 0
    assert predicted["model_latency_ms_ci95"] == {}
    assert any("the endpoint's figures on local-" in line and "are predicted" in line for line in predicted["warnings"])
    said = " ".join(servefit("show", predicted["job"]).stdout.split())
    assert "is predicted to be met: deploy local-" in said
    assert "Predicted p50 " in said
    assert "Measured" not in said


def test_a_prediction_rests_on_what_was_measured_in_process_and_on_what_requests_cost(
    servefit: Servefit, predicted: dict[str, Any]
) -> None:
    alone, steps = predicted["model_alone"], steps_of(servefit, predicted["job"])
    assert alone["driver"] == "inprocess"
    assert alone["samples"] > 20
    assert alone["capacity_rate_per_s"] > predicted["capacity"]["rate_per_s"] > 0
    assert alone["latency_ms"]["p50"] < predicted["model_latency_ms"]["p50"]
    # It is the same test that both are of.
    assert alone["step"] == predicted["step"]
    assert "model_alone" not in kinds(steps)
    costs = [step for step in steps if step["kind"] == "endpoint_costs" and step["status"] == "COMPLETED"]
    assert len(costs) == 1
    assert costs[0]["metrics"]["request_ms"] > 0
    assert costs[0]["metrics"]["call_ms"] >= 0
    assert {step["metrics"]["basis"] for step in steps if step["kind"] == "load_test"} == {"predicted"}


def test_instances_of_a_predicted_endpoint_are_planned_with_a_note_that_they_are(
    servefit: Servefit, predicted: dict[str, Any]
) -> None:
    plan = servefit("scale", predicted["job"], "--rate", "1000/s", "--format", "json").document
    assert plan["instance"]["capacity_per_s"] == predicted["capacity"]["rate_per_s"]
    assert plan["instance"]["capacity_source"] == "estimated"
    assert any("figures are predicted" in note for note in plan["notes"])


def test_the_library_is_measured_in_process_and_its_endpoint_is_shown_beside_it(
    servefit: Servefit, library: dict[str, Any]
) -> None:
    assert (library["deployment"], library["driver"], library["verdict"]) == ("library", "inprocess", "PASS")
    assert library["capacity"]["basis"] == "measured"
    assert library["model_alone"] is None
    over_http = library["endpoint"]
    assert over_http["driver"] == "http"
    assert over_http["step"] != library["step"]
    assert over_http["max_invocations"] < library["max_invocations"]
    steps = steps_of(servefit, library["job"])
    assert kinds(steps) >= {"load_test", "endpoint"}
    assert not kinds(steps) & {"model_alone", "endpoint_costs"}
    assert "deploy local-1c as a library with xgboost" in " ".join(servefit("show", library["job"]).stdout.split())


def test_an_endpoint_keeps_less_of_what_it_was_asked_than_its_model(
    endpoint: dict[str, Any], library: dict[str, Any]
) -> None:
    assert endpoint["max_invocations"] < library["max_invocations"]


@pytest.mark.timed
@pytest.mark.thorough
def test_a_killed_job_about_an_endpoint_goes_on_with_its_endpoint_and_measures_nothing_twice(
    servefit: Servefit, sources: Sources, state: Path
) -> None:
    asked = [option for option in ASKED if option != "--quiet"]
    command = ["recommend", sources.xgboost, "--name", "cut-endpoint", "--profile", "local-1c", *asked]
    with subprocess.Popen(
        [sys.executable, "-m", "servefit", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SERVEFIT_HOME": str(state)},
    ) as process:
        assert process.stderr is not None
        assert any(ENDED.search(line) for line in process.stderr)
        process.send_signal(signal.SIGKILL)
    before = [step for step in steps_of(servefit, "cut-endpoint") if step["status"] == "COMPLETED"]
    ended = servefit("resume", "cut-endpoint", "--format", "json")
    assert ended.status == 0, ended.stderr
    [best] = ended.document["recommendations"]
    assert (ended.document["status"], best["deployment"], best["driver"]) == ("COMPLETED", "endpoint", "http")
    after = steps_of(servefit, "cut-endpoint")
    assert [step for step in after if step["step"] in {each["step"] for each in before}] == before
    measured = [
        json.dumps(step["configuration"])
        for step in after
        if step["kind"] == "load_test" and step["status"] == "COMPLETED"
    ]
    assert len(measured) == len(set(measured))
    assert "model_alone" in kinds(after)


@pytest.mark.parametrize("make", MADE[1:], indirect=True)
def test_without_http_the_library_is_deployed_unless_something_else_is_said(make: Make) -> None:
    found = make("no-http")
    assert (found["deployment"], found["driver"], found["endpoint"]) == ("library", "inprocess", None)
