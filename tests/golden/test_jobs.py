"""Jobs that an earlier servefit kept: listed, shown, scaled and reported, with every field and figure they had."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.golden.kept import assert_kept, kept, of_each

import servefit as sf

if TYPE_CHECKING:
    from tests.golden.conftest import Servefit


@pytest.fixture(scope="module")
def opened(copy: Path) -> dict[str, Any]:
    """All jobs, opened from Python."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SERVEFIT_HOME", str(copy / "home"))
        return {job["job"]: sf.load_job(job["job"]) for job in kept(copy, "jobs")["jobs"]}


def test_all_of_them_are_listed(servefit: Servefit, copy: Path) -> None:
    listed = servefit("jobs", "--format", "json")
    assert (listed.status, "cannot be read" in listed.stderr) == (0, False)
    assert_kept(listed.document, kept(copy, "jobs"))
    table = servefit("jobs").stdout
    assert all(job["job"] in table for job in listed.document["jobs"])


@of_each("show/*.json")
def test_one_is_shown_with_every_field_and_figure(servefit: Servefit, copy: Path, name: str) -> None:
    shown = servefit("show", name, "--format", "json")
    assert shown.status == 0, shown.stderr
    assert_kept(shown.document, kept(copy, "show", name))


@pytest.mark.parametrize(
    "name", ["rounds", "sla-unmet", "default", "phases", "secret", "some-fail", "disturbed", "onnx"]
)
def test_one_is_shown_to_people(servefit: Servefit, copy: Path, name: str) -> None:
    shown = servefit("show", name)
    assert shown.status == 0, shown.stderr
    for recommendation in kept(copy, "show", name)["recommendations"]:
        assert recommendation["instance_profile"] in shown.stdout
        assert recommendation["backend"] in shown.stdout


@of_each("steps/*.json")
def test_its_steps_are_listed_with_what_came_of_them(servefit: Servefit, copy: Path, name: str) -> None:
    listed = servefit("steps", name, "--format", "json")
    assert listed.status == 0, listed.stderr
    assert_kept(listed.document, kept(copy, "steps", name))


@of_each("show/*.json")
def test_it_is_opened_from_python(opened: dict[str, Any], copy: Path, name: str) -> None:
    assert_kept(json.loads(json.dumps(opened[name].to_dict())), kept(copy, "show", name))


def test_what_a_recommendation_was_called_still_finds_it(opened: dict[str, Any], copy: Path) -> None:
    found = 0
    for name, job in opened.items():
        document = kept(copy, "show", name)
        for old in (*document["recommendations"], *document["pareto"]):
            new = job.recommendation(old["id"])
            assert (new.profile.name, new.step) == (old["instance_profile"], old["step"])
            assert (new.trial.configuration.backend, dict(new.environment)) == (old["backend"], old["environment"])
            assert new.max_invocations == pytest.approx(old["max_invocations"])
            found += 1
    assert found > len(opened)


@of_each("scale/*.json")
def test_a_rate_is_planned_for_as_it_was(servefit: Servefit, copy: Path, name: str) -> None:
    planned = servefit("scale", name, "--rate", "1000/s", "--format", "json")
    assert planned.status == 0, planned.stderr
    assert_kept(measured(planned.document), measured(kept(copy, "scale", name)))


def measured(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan without what is estimated: a later servefit may estimate better."""
    curve = [point for point in plan["curve"] if point["source"] == "measured"]
    instance = {"capacity_per_s": plan["instance"]["capacity_per_s"], **dict.fromkeys(plan["instance"], 0)}
    target = dict.fromkeys(plan["target"], 0)
    return {**plan, "curve": curve, "instance": instance, "target": target, "DynamicScalingConfiguration": {}}


@pytest.mark.parametrize("name", ["rounds", "two-profiles", "default"])
def test_a_plan_is_made_of_one_that_is_called_as_it_was(servefit: Servefit, copy: Path, name: str) -> None:
    for old in kept(copy, "show", name)["recommendations"][-2:]:
        planned = servefit("scale", f"{name}/{old['id']}", "--rate", "1000/s", "--format", "json")
        assert planned.status == 0, planned.stderr
        assert planned.document["instance_profile"] == old["instance_profile"]
        assert planned.document["backend"] == old["backend"]


def test_a_plan_is_made_from_python(opened: dict[str, Any], copy: Path) -> None:
    plan = sf.scale(opened["two-profiles"], rate_per_s=1000)
    assert_kept(measured(plan.to_dict()), measured(kept(copy, "scale", "two-profiles")))


@of_each("report/*.json")
def test_it_is_reported_with_every_field_and_figure(servefit: Servefit, copy: Path, name: str) -> None:
    reported = servefit("report", name, "--format", "json")
    assert reported.status == 0, reported.stderr
    assert_kept(reported.document, kept(copy, "report", name))


@pytest.mark.parametrize("name", ["rounds", "phases", "all-fail"])
def test_it_is_reported_in_every_form(servefit: Servefit, copy: Path, name: str, tmp_path: Path) -> None:
    for suffix in ("html", "json", "csv", "md"):
        file = tmp_path / f"report.{suffix}"
        reported = servefit("report", name, "-o", file)
        assert reported.status == 0, reported.stderr
        assert name in file.read_text()
    rows = list(csv.reader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert len(rows) > len(kept(copy, "show", name)["recommendations"])


def test_no_job_lost_a_field_that_it_was_asked_with(opened: dict[str, Any]) -> None:
    asked = {name: opened[name].request for name in ASKED}
    for name, fields in ASKED.items():
        found = {field: getattr(asked[name], field) for field in fields}
        assert found == fields
    stairs, phases = asked["stairs"].phases, asked["phases"].phases
    assert [dataclasses.astuple(phase) for phase in stairs.phases] == [(2, 0.0, 1.0)] * 2
    assert [dataclasses.astuple(phase) for phase in phases.phases] == [(1, 60.0, 1.0), (2, 0.0, 1.0)]


ASKED: dict[str, dict[str, Any]] = {
    "goal-balanced": {"goal": "balanced", "cost_weight": 0.7, "max_tests": 4},
    "no-http": {"over_http": False, "budget_s": 20.0, "allow_noise": True},
    "rows": {"rows_per_request": 10, "seed": 7},
    "parallel": {"max_parallel_tests": 2, "batch_sizes": (1, 8)},
    "two-profiles": {"profiles": ("rack-2", "rack-1"), "batch_delays_us": (0, 1000)},
    "stairs": {"flat_invocations": "Continue"},
    "phases": {"flat_invocations": "Stop"},
    "default": {"budget_s": None, "max_tests": None},
}
