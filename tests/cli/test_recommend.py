"""The main job on real models, as a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.cli.conftest import keep_told
from tests.report.story import PROFILES, Story, configuration

from servefit.cli.job_output import exit_status
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.storage.measurements import load_measurement
from servefit.search.jobs.lifecycle import load_job
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit, Sources
    from tests.conftest import Hog

pytestmark = pytest.mark.integration

ALONE = ("--profile", "local-1c", "--no-http", "--allow-noise", "--format", "json")
SHORT = ("--budget", "15s", "--max-tests", "2", "--batch", "1", *ALONE)
QUICK = ("--backend", "xgboost", "--max-tests", "1", "--batch", "1", *ALONE)
"""For what depends neither on a choice nor on measuring the winner again. The machine of the tests may be noisy."""

COLUMNS = {
    "id": str,
    "instance_profile": str,
    "instance_count": int,
    "backend": str,
    "environment": dict,
    "settings": dict,
    "max_invocations": int,
    "model_latency_ms": dict,
    "model_latency_ms_ci95": dict,
    "cpu_utilization": float,
    "memory_utilization": float,
    "containment": str,
    "verdict": str,
    "samples": int,
    "measured_rate_per_s": float,
    "driver": str,
    "measurement": str,
    "vcpu_s_per_million": float,
    "same_as": list,
}


def check_document(document: dict[str, Any]) -> None:
    """The names and types that programs rely on."""
    assert document["schema"] == 1
    assert document["job_type"] in ("Default", "Advanced")
    assert document["status"] == "COMPLETED"
    assert document["host"]["fingerprint"]
    for recommendation in document["recommendations"]:
        for column, kind in COLUMNS.items():
            assert isinstance(recommendation[column], kind), column
        optional = {"overhead_latency_ms", "gpu_utilization", "cost_per_hour", "cost_per_inference"}
        optional |= {"currency", "region", "price_date", "energy_j_per_million"}
        assert optional <= recommendation.keys()
        assert recommendation["settings"]["max_batch"] >= 1
        assert set(recommendation["environment"]) >= {"OMP_NUM_THREADS", "MODEL_SERVER_WORKERS"}
    for compilation in document["compilation"]:
        assert {"backend", "status", "seconds", "speedup", "reason"} <= compilation.keys()


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["xgboost", "lightgbm", "sklearn", "onnx"])
def test_a_model_of_every_library_gets_a_recommendation(servefit: Servefit, sources: Sources, kind: str) -> None:
    # scikit-learn takes seconds to import, and does so in every process that opens a model of it.
    trust = ["--trust-pickle", "--budget", "30s"] if kind == "sklearn" else []
    ended = servefit("recommend", getattr(sources, kind), "--payload", sources.payload, *SHORT, *trust)
    assert ended.status == 0, ended.stderr
    check_document(ended.document)
    assert ended.document["model"]["library"] == kind
    assert [recommendation["instance_profile"] for recommendation in ended.document["recommendations"]] == ["local-1c"]
    assert ended.document["recommendations"][0]["samples"] > 20
    assert 1 <= ended.document["tests"] <= 2


@pytest.mark.thorough
def test_every_sample_of_a_job_is_kept_and_gives_its_figures_again(
    servefit: Servefit, sources: Sources, state: Path
) -> None:
    document = servefit("recommend", sources.xgboost, "--name", "kept", *QUICK).document
    (best,) = document["recommendations"]
    measurement = load_measurement(state / "jobs" / "kept" / best["measurement"])
    summary = summarize(measurement.runs[-1])
    assert best["model_latency_ms"] == summary.latency_ms
    assert best["samples"] == summary.samples
    assert measurement.host_fingerprint == document["host"]["fingerprint"]
    assert measurement.runs[-1].telemetry


@pytest.mark.timed
def test_an_sla_that_holds_is_said_to_hold_at_the_rate_asked(servefit: Servefit, sources: Sources) -> None:
    ended = servefit("recommend", sources.xgboost, "--sla", "p95=500ms", "--rate", "30000/min", *QUICK)
    assert ended.status == 0, ended.stderr
    best = ended.document["recommendations"][0]
    assert (best["verdict"], best["loop"]) == ("PASS", "open")
    assert best["measured_rate_per_s"] == pytest.approx(500, rel=0.5)
    assert best["model_latency_ms"]["p95"] < 500
    assert ended.document["job_type"] == "Advanced"
    assert any("synthetic payload" in warning for warning in ended.document["warnings"])


@pytest.mark.timed
def test_an_sla_that_nothing_meets_ends_with_status_3_and_the_nearest_answer(
    servefit: Servefit, sources: Sources
) -> None:
    ended = servefit("recommend", sources.xgboost, "--sla", "p50=0.1us", *QUICK)
    assert ended.status == 3, ended.stderr
    best = ended.document["recommendations"][0]
    assert best["verdict"] == "FAIL"
    assert "limit 0.1 us" in best["reason"]


@pytest.mark.thorough
def test_a_machine_that_is_too_noisy_to_tell_ends_with_status_5(servefit: Servefit, sources: Sources, hog: Hog) -> None:
    with ExitStack() as hogs:
        for cpu in os.sched_getaffinity(0):
            hogs.enter_context(hog(cpu))
        quick = [argument for argument in QUICK if argument != "--allow-noise"]
        ended = servefit("recommend", sources.xgboost, "--sla", "p95=1s", "--rate", "50/s", *quick)
    assert ended.status == 5, ended.stderr
    best = ended.document["recommendations"][0]
    assert best["verdict"] == "INVALID"
    assert any("the machine got in the way" in warning for warning in ended.document["warnings"])


def _tell_disturbed(name: str) -> None:
    request = JobRequest(name=name, sla=Sla(thresholds=parse_sla("p95=1s"), rate_per_s=50.0), max_tests=1)
    story = Story.of(request, profiles=PROFILES[:1])
    story.compiles("xgboost")
    story.tests(configuration("xgboost"), steal_percent=7.5)
    story.keep()


def test_a_job_whose_machine_was_too_noisy_has_status_5(
    servefit: Servefit, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = servefit("show", keep_told(state, "too-noisy", _tell_disturbed), "--format", "json").document
    assert shown["recommendations"][0]["verdict"] == "INVALID"
    assert any("the machine got in the way" in warning for warning in shown["warnings"])
    monkeypatch.setenv("SERVEFIT_HOME", str(state))
    assert exit_status(load_job("too-noisy")) == 5


@pytest.mark.thorough
@pytest.mark.timed
def test_a_budget_is_kept_within_a_tenth_on_a_machine_that_others_use_and_what_did_not_fit_is_said(
    servefit: Servefit, sources: Sources, hog: Hog
) -> None:
    budget_s = 12
    asked = ("--profile", "local-1c", "--sla", "p95=1s", "--rate", "50/s", "--budget", f"{budget_s}s")
    with ExitStack() as hogs:
        for cpu in [*os.sched_getaffinity(0)] * 2:
            hogs.enter_context(hog(cpu))
        began = time.monotonic()
        ended = servefit("recommend", sources.xgboost, "--payload", sources.payload, *asked, "--format", "json")
        took_s = time.monotonic() - began
    assert took_s <= 1.1 * budget_s
    said = " ".join(ended.document["warnings"])
    best = next(iter(ended.document["recommendations"]), None)
    assert best is None or best["confirmed"] or "not confirmed" in said or ended.status == 5


@pytest.mark.thorough
def test_more_instances_are_planned_for_a_rate_beyond_one(servefit: Servefit, sources: Sources) -> None:
    ended = servefit("recommend", sources.xgboost, "--rate", "1000000/s", *QUICK)
    best = ended.document["recommendations"][0]
    assert best["instance_count"] > 1
    assert best["max_invocations"] >= 60e6


@pytest.mark.thorough
def test_a_recommendation_is_for_the_arrivals_asked_for(servefit: Servefit, sources: Sources) -> None:
    arrivals = ("--rate", "200/s", "--arrivals", "sine:period=500ms", "--sla", "p95=2s", "--budget", "2m")
    ended = servefit("recommend", sources.xgboost, "--payload", sources.payload, *arrivals, *QUICK)
    assert ended.status == 0, ended.stderr
    assert ended.document["arrivals"] == "sine:amplitude=0.5,period=0.5s"
    [best] = ended.document["recommendations"]
    assert (best["verdict"], best["loop"], best["model_latency_ms_ci95"]) == ("PASS", "open", {})
    assert best["samples"] >= 200 * 2
    assert any("arrived as sine" in line for line in ended.document["warnings"])


@pytest.mark.thorough
def test_more_threads_than_cpus_are_allowed_by_hand_with_a_warning(servefit: Servefit, sources: Sources) -> None:
    asked = ("--env", "OMP_NUM_THREADS=1", "--env", "MODEL_SERVER_WORKERS=3")
    ended = servefit("recommend", sources.xgboost, *asked, *QUICK)
    assert ended.status == 0, ended.stderr
    assert ended.document["recommendations"][0]["environment"]["MODEL_SERVER_WORKERS"] == "3"
    assert any("3 workers" in warning for warning in ended.document["warnings"])


@pytest.mark.thorough
def test_phases_of_users_are_carried_out(servefit: Servefit, sources: Sources) -> None:
    phase = ("--phase", "users=2,spawn=240/min,duration=1s")
    ended = servefit("recommend", sources.xgboost, *phase, *QUICK)
    assert ended.status == 0, ended.stderr
    assert ended.document["recommendations"][0]["loop"] == "closed"


def test_the_table_begins_with_the_answer_and_stderr_has_the_progress(servefit: Servefit, sources: Sources) -> None:
    ended = servefit("recommend", sources.xgboost, "--sla", "p95=500ms", *QUICK[:-2])
    assert ended.status == 0, ended.stderr
    assert ended.stdout.strip().startswith("P95 <= 500 ms is met: deploy local-1c as a library with")
    assert "compiling with xgboost" in ended.stderr
    assert re.search(r"step \d+: 1 vCPU, ", ended.stderr)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("form", "beginning"),
    [
        ("csv", "id,profile,count,backend"),
        pytest.param("markdown", "| id | profile |", marks=pytest.mark.thorough),
    ],
)
def test_other_forms_hold_the_table_alone(servefit: Servefit, sources: Sources, form: str, beginning: str) -> None:
    ended = servefit("recommend", sources.xgboost, "--quiet", *QUICK[:-1], form)
    assert ended.status == 0, ended.stderr
    assert ended.stdout.startswith(beginning)
    assert len(ended.stdout.splitlines()) == (2 if form == "csv" else 3)


def test_an_interrupted_job_keeps_what_it_has_and_leaves_no_process(
    servefit: Servefit, state: Path, sources: Sources
) -> None:
    asked = ("--backend", "xgboost", "--deploy", "library", "--allow-noise", "--format", "json", "--name", "cut")
    command = [sys.executable, "-m", "servefit", "recommend", str(sources.xgboost), *asked]
    environment = {**os.environ, "SERVEFIT_HOME": str(state)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(r"\] step \d+: ", line):
                break
        time.sleep(0.3)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert '"status": "STOPPED"' in stdout
    assert '"instance_profile"' in stdout
    assert "was not kept" not in stdout
    assert servefit("show", "cut", "--format", "json").document["status"] == "STOPPED"
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
