"""Jobs that an earlier servefit kept are listed, shown, scaled and reported with every field and figure they had."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.golden.kept import assert_kept, kept, of_each

import servefit as sf
from servefit.backends.variables.secret import revealed
from servefit.profiler.record.traffic import ClosedLoop, TrafficPhase

if TYPE_CHECKING:
    from tests.golden.conftest import Servefit

pytestmark = pytest.mark.integration


Opened = Callable[[str], Any]

DAILY = ("rounds", "sla-unmet", "packages", "secret", "some-fail", "default", "phases")
"""Jobs that have most fields between them."""


@pytest.fixture
def opened(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens a job from Python."""
    monkeypatch.setenv("SERVEFIT_HOME", str(copy / "home"))
    return sf.load_job


def test_all_jobs_are_listed(servefit: Servefit, copy: Path) -> None:
    listed = servefit("jobs", "--format", "json")
    assert (listed.status, "cannot be read" in listed.stderr) == (0, False)
    assert_kept(listed.document, kept(copy, "jobs"))
    table = servefit("jobs").stdout
    assert all(job["job"] in table for job in listed.document["jobs"])


@of_each("show/*.json", daily=DAILY)
def test_a_job_is_shown_with_every_field_and_figure(servefit: Servefit, copy: Path, name: str) -> None:
    shown = servefit("show", name, "--format", "json")
    assert shown.status == 0, shown.stderr
    assert_kept(shown.document, kept(copy, "show", name))


@of_each("show/*.json", names=(*DAILY, "sine", "disturbed", "onnx"), daily=("rounds", "sla-unmet"))
def test_a_job_is_shown_to_people(servefit: Servefit, copy: Path, name: str) -> None:
    shown = servefit("show", name)
    assert shown.status == 0, shown.stderr
    for recommendation in kept(copy, "show", name)["recommendations"]:
        assert recommendation["instance_profile"] in shown.stdout
        assert recommendation["backend"] in shown.stdout


@of_each("steps/*.json", daily=DAILY)
def test_the_steps_of_a_job_are_listed_with_every_field_and_figure(servefit: Servefit, copy: Path, name: str) -> None:
    listed = servefit("steps", name, "--format", "json")
    assert listed.status == 0, listed.stderr
    assert_kept(listed.document, kept(copy, "steps", name))


@pytest.mark.thorough
@of_each("show/*.json")
def test_a_job_is_opened_from_python(opened: Opened, copy: Path, name: str) -> None:
    assert_kept(json.loads(json.dumps(opened(name).to_dict())), kept(copy, "show", name))


@of_each("show/*.json", daily=DAILY)
def test_a_recommendation_is_found_by_the_name_that_it_had(opened: Opened, copy: Path, name: str) -> None:
    job, document = opened(name), kept(copy, "show", name)
    for old in (*document["recommendations"], *document["pareto"]):
        new = job.recommendation(old["id"])
        assert (new.profile.name, new.step) == (old["instance_profile"], old["step"])
        assert (new.trial.configuration.backend, dict(new.environment)) == (old["backend"], old["environment"])
        assert new.max_invocations == pytest.approx(old["max_invocations"])


@of_each("scale/*.json")
def test_the_scaling_plan_of_a_job_has_every_field_and_measured_figure(
    servefit: Servefit, copy: Path, name: str
) -> None:
    planned = servefit("scale", name, "--rate", "1000/s", "--format", "json")
    assert planned.status == 0, planned.stderr
    assert_kept(measured(planned.document), measured(kept(copy, "scale", name)))


def measured(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan without what is estimated, and intervals: a later servefit may estimate better."""
    curve = [{**point, "latency_ms_ci95": {}} for point in plan["curve"] if point["source"] == "measured"]
    instance = {"capacity_per_s": plan["instance"]["capacity_per_s"], **dict.fromkeys(plan["instance"], 0)}
    target = dict.fromkeys(plan["target"], 0)
    return {**plan, "curve": curve, "instance": instance, "target": target, "DynamicScalingConfiguration": {}}


@of_each("show/*.json", names=("rounds", "two-profiles", "default"), daily=("default", "two-profiles"))
def test_a_scaling_plan_is_made_for_a_recommendation_by_the_name_that_it_had(
    servefit: Servefit, copy: Path, name: str
) -> None:
    for old in kept(copy, "show", name)["recommendations"][-2:]:
        planned = servefit("scale", f"{name}/{old['id']}", "--rate", "1000/s", "--format", "json")
        assert planned.status == 0, planned.stderr
        assert planned.document["instance_profile"] == old["instance_profile"]
        assert planned.document["backend"] == old["backend"]


def test_a_scaling_plan_is_made_from_python(opened: Opened, copy: Path) -> None:
    plan = sf.scale(opened("two-profiles"), rate_per_s=1000)
    assert_kept(measured(plan.to_dict()), measured(kept(copy, "scale", "two-profiles")))


@of_each("report/*.json")
def test_the_report_of_a_job_has_every_field_and_figure(servefit: Servefit, copy: Path, name: str) -> None:
    reported = servefit("report", name, "--format", "json")
    assert reported.status == 0, reported.stderr
    assert_kept(as_measured(reported.document), as_measured(kept(copy, "report", name)))


def as_measured(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what is expected: a later servefit may predict better."""
    tables = dict(report["tables"])
    for name in tables.keys() & {"expected_and_measured"}:
        tables[name] = [{**row, **dict.fromkeys(row.keys() & EXPECTED)} for row in tables[name]]
    return {**report, "tables": tables}


EXPECTED = {"expected per s", "from", "to", "measured / expected"}


@of_each("show/*.json", names=("rounds", "phases", "all-fail"), daily=("rounds",))
def test_a_job_is_reported_in_every_format(servefit: Servefit, copy: Path, name: str, tmp_path: Path) -> None:
    for suffix in ("html", "json", "csv", "md"):
        file = tmp_path / f"report.{suffix}"
        reported = servefit("report", name, "-o", file)
        assert reported.status == 0, reported.stderr
        assert name in file.read_text()
    rows = list(csv.reader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert len(rows) > len(kept(copy, "show", name)["recommendations"])


ASKED: dict[str, dict[str, Any]] = {
    "goal-balanced": {"goal": "balanced", "cost_weight": 0.7, "max_tests": 4},
    "no-http": {"over_http": False, "budget_s": 20.0, "allow_noise": True},
    "rows": {"rows_per_request": 10, "seed": 7},
    "large-requests": {"rows_per_request": 40, "seed": 7, "over_http": False, "budget_s": 40.0, "allow_noise": True},
    "parallel": {"max_parallel_tests": 2, "batch_sizes": (1, 8)},
    "two-profiles": {"profiles": ("rack-2", "rack-1"), "batch_delays_us": (0, 1000)},
    "stairs": {
        "flat_invocations": "Continue",
        "phases": ClosedLoop.stairs(steps=2, users_per_step=2, step_duration_s=1),
    },
    "phases": {
        "flat_invocations": "Stop",
        "phases": ClosedLoop(
            phases=(
                TrafficPhase(initial_users=1, spawn_per_minute=60.0, duration_s=1.0),
                TrafficPhase(initial_users=2, spawn_per_minute=0.0, duration_s=1.0),
            )
        ),
    },
    "sine": {"arrivals": "sine:amplitude=0.5,period=0.5s", "goal": "balanced", "cost_weight": 0.7},
    "packages": {"arrivals": "cosine:amplitude=0.5,period=0.5s", "goal": "cost"},
    "default": {"budget_s": None, "max_tests": None},
}
"""Fields of requests by job, with the values that ``cases`` asked with."""


@of_each("show/*.json", names=ASKED)
def test_a_job_has_the_fields_that_it_was_asked_with(opened: Opened, name: str) -> None:
    request = opened(name).request
    assert {field: getattr(request, field) for field in ASKED[name]} == ASKED[name]


def test_a_secret_is_read_from_the_folder_of_its_job_and_hidden_everywhere_else(
    servefit: Servefit, opened: Opened, copy: Path
) -> None:
    job = opened("secret")
    assert job.best.environment["API_TOKEN"] in ("***1", "***2")
    assert revealed(job.best.environment)["API_TOKEN"] in ("invented-1", "invented-2")
    assert "invented-" not in servefit("show", "secret", "--format", "json").stdout
    assert b"invented-" not in (copy / "home" / "jobs.db").read_bytes()
