"""``servefit profile``: decisions, the highest rate, comparisons, saved files, and failures."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.onnx_models import perceptron

from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.storage.measurements import load_measurement

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Finished, Servefit, Sources
    from tests.conftest import Hog

    Profile = Callable[..., Finished]

pytestmark = pytest.mark.integration

STAIRS = ("--stairs", "steps=2,users=1,duration=1.1s")


@pytest.fixture
def profile(servefit: Servefit, sources: Sources) -> Profile:
    """Profile the XGBoost model; the machine that tests run on may be noisy."""

    def run(*arguments: str | Path) -> Finished:
        usual = ("--payload", sources.payload, "--allow-noise", "--quiet")
        return servefit("profile", sources.xgboost, *usual, *arguments)

    return run


def test_an_sla_that_holds_at_a_rate_is_decided_on_the_whole_run(profile: Profile) -> None:
    ended = profile("--rate", "600/s", "--sla", "p95=5s", "--duration", "1s", "--format", "json")
    assert ended.status == 0, ended.stderr
    decision = ended.document["decision"]
    assert decision["verdict"] == "PASS"
    assert decision["evidence"][0]["violations"] == 0
    assert decision["evidence"][0]["samples"] == 600


@pytest.mark.thorough
def test_a_pass_says_which_disturbances_a_short_run_may_have_missed(profile: Profile) -> None:
    ended = profile("--rate", "300/s", "--sla", "p95=5s", "--duration", "2s")
    assert ended.status == 0, ended.stderr
    said = " ".join(ended.stdout.split())
    assert "PASS: disturbances that come less often than every 434 ms may not have shown" in said


def test_an_sla_that_does_not_hold_ends_with_3(profile: Profile) -> None:
    ended = profile("--rate", "300/s", "--sla", "p95=1us", "--duration", "30s")
    assert ended.status == 3
    assert "FAIL" in ended.stdout


def test_without_a_rate_the_highest_one_is_found(profile: Profile) -> None:
    ended = profile("--sla", "p95=500ms", "--duration", "2s", "--format", "json")
    highest = ended.document["highest_rate"]
    assert ended.status == (3 if highest["rate_per_s"] is None else 0), ended.stderr
    assert len(highest["tried"]) >= 1


@pytest.mark.thorough
def test_stairs_are_reported_step_by_step(profile: Profile) -> None:
    document = profile(*STAIRS, "--format", "json").document
    assert [step["users"] for step in document["steps"]] == [1, 2]
    assert all(step["samples"] > 20 for step in document["steps"])


@pytest.mark.thorough
def test_the_table_has_the_steps_of_stairs(profile: Profile) -> None:
    assert "Steps" in profile(*STAIRS).stdout


def test_evenly_spaced_arrivals_and_delayed_batches_can_be_asked_for(profile: Profile) -> None:
    evenly = ("--rate", "200/s", "--arrivals", "constant", "--duration", "0.4s")
    ended = profile(*evenly, "--batch", "8", "--batch-delay", "20ms", "--format", "json")
    assert "will go" not in ended.stderr
    document = ended.document
    assert document["traffic"]["arrivals"] == "constant"
    assert document["configuration"]["batch_delay_us"] == 20_000
    assert document["summary"]["latency_ms"]["p50"] > 5


def test_constant_says_that_it_will_go(profile: Profile) -> None:
    ended = profile("--rate", "200/s", "--constant", "--duration", "0.2s")
    assert "warning: --constant will go; say --arrivals constant" in ended.stderr


def test_recorded_traffic_is_sent_again(profile: Profile, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("".join(f"{nth / 100}\n" for nth in range(100)))
    asked = ("--arrivals", f"replay:{tmp_path}/trace.csv,speed=2", "--duration", "0.5s")
    ended = profile(*asked, "--format", "json")
    assert ended.status == 0, ended.stderr
    assert ended.document["traffic"]["rate_per_s"] == pytest.approx(200)
    assert ended.document["summary"]["samples"] == 100
    assert "requests arrived as trace.csv recorded them, 2 times as fast" in ended.stderr


@pytest.mark.thorough
def test_calls_are_timed_alone_in_fresh_processes(profile: Profile) -> None:
    ended = profile("--service-time", "--duration", "0.5s", "--format", "json")
    assert ended.status == 0, ended.stderr
    found = ended.document["service_time"]
    assert len(found["processes"]) == 5
    assert 0 < found["p50_ns"] < 1e7
    low, high = found["ci95_ns"]["p50"]
    assert low <= found["p50_ns"] <= high


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_each_layer_of_a_network_is_timed_by_the_runtime(servefit: Servefit, tmp_path: Path, backend: str) -> None:
    network = perceptron(tmp_path / "network.onnx", 64, 1024, 1024, 8)
    asked = ("profile", network, "--layers", "--backend", backend, "--duration", "0.3s")
    ended = servefit(*asked, "--format", "json")
    assert ended.status == 0, ended.stderr
    times = ended.document["layers"]
    largest = max(times["layers"], key=lambda layer: layer["mean_us"])
    # The second of three products has 16 times the weights of the first.
    assert largest["name"] in ("MatMul_2", "sum1")
    assert times["calls"] > 10
    assert times["call_us"] > largest["mean_us"] > 0
    table = servefit(*asked)
    assert table.status == 0, table.stderr
    assert "a whole call" in table.stdout


def test_what_is_kept_gives_the_same_figures_again(profile: Profile, tmp_path: Path) -> None:
    kept, log = tmp_path / "kept.servefit", tmp_path / "times.hlog"
    ended = profile("--users", "2", "--duration", "0.4s", "--save", kept, "--histogram", log, "--format", "json")
    assert ended.status == 0, ended.stderr
    summary = summarize(load_measurement(kept).runs[0], memory_bytes=ended.document["instance_profile"]["memory_bytes"])
    printed = ended.document["summary"]
    assert printed["latency_ms"] == summary.latency_ms
    assert printed["throughput_per_s"] == summary.throughput_per_s
    assert printed["cpu_percent"] == summary.cpu_percent
    assert log.read_text().startswith("#[")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate", "10/s", "--users", "1"], ["users", "rate"]),
        (["--users", "1", "--sla", "p95=1ms"], ["sla", "give a rate"]),
        (["--stairs", "steps=0,users=1,duration=1s"], ["steps", "not above zero"]),
        (["--stairs", "steps=2,users=-1,duration=1s"], ["users", "not above zero"]),
        (["--stairs", "two of them"], ["stairs", "steps=4,users=2"]),
        (["--stairs", "steps=2,users=1,duration=1s", "--phase", "users=1,duration=1s"], ["stairs", "phases"]),
        (["--duration", "-3s"], ["duration"]),
        (["--duration", "1000000h"], ["duration", "a day"]),
        (["--sla", "p95=1ms", "--duration", "0s"], ["duration", "above zero"]),
        (["--sla", "p142=1ms", "--rate", "1/s"], ["sla", "p142"]),
        (["--against", "onnxrunime"], ["onnxrunime", "did you mean 'onnxruntime'"]),
        (["--against", "colour=green"], ["against", "colour"]),
        (["--against", "workers=many"], ["against", "backend=onnxruntime,threads=2"]),
        (["--against", "onnxruntime", "--save", "x"], ["against", "files to write"]),
        (["--against", "onnxruntime", "--rate", "1/s"], ["rate", "to compare at"]),
        (["--service-time", "--rate", "5/s"], ["service-time", "no traffic"]),
        (["--layers", "--users", "2"], ["layers", "no traffic"]),
        (["--layers", "--service-time"], ["layers", "--service-time"]),
        (["--layers", "--backend", "xgboost"], ["layers", "'xgboost'", "--backend onnxruntime"]),
        (["--constant"], ["arrivals", "a rate"]),
        (
            ["--constant", "--arrivals", "poisson", "--rate", "5/s"],
            ["constant", "say --arrivals constant"],
        ),
        (["--arrivals", "sine"], ["arrivals", "a rate"]),
        (["--arrivals", "sine:perod=1s", "--rate", "5/s"], ["perod", "did you mean 'period'"]),
        (["--arrivals", "replay:none.csv"], ["none.csv", "No such file"]),
        (["--arrivals", "ramp:from=0,to=9/s", "--users", "2"], ["arrivals", "a rate"]),
        (["--against", "onnxruntime", "--arrivals", "sine"], ["against", "arrivals"]),
        (["--batch-delay", "5ms"], ["batch_delay_us", "batch size"]),
        (["--phase", "users=1,duration=1s", "--duration", "5s"], ["duration", "phases"]),
        (["--sla", "p95=1ms", "--sla", "p95=2ms"], ["sla", "twice"]),
        (["--sla", "p95=1ms", "--duration", "100ms"], ["duration", "too short"]),
        (["--histogram", "times.csv", "--duration", "1s"], ["histogram", ".hlog"]),
        (["--batch-delay", "soon"], ["batch_delay", "duration"]),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_one_line(
    profile: Profile, arguments: list[str], words: list[str]
) -> None:
    ended = profile(*arguments)
    assert ended.status == 2, ended.stderr
    assert ended.stdout == ""
    assert len(ended.stderr.strip().splitlines()) == 1
    assert all(word in ended.stderr for word in words), ended.stderr


def test_a_file_that_cannot_be_written_is_told_in_one_line(profile: Profile) -> None:
    ended = profile("--users", "1", "--duration", "0.2s", "--save", "/no/such/folder/kept")
    assert ended.status == 4
    assert "cannot write /no/such/folder/kept" in ended.stderr


@pytest.mark.thorough
def test_a_real_endpoint_is_measured_with_what_it_adds(profile: Profile, tmp_path: Path) -> None:
    kept = tmp_path / "kept.servefit"
    arguments = ("--driver", "http", "--users", "2", "--duration", "0.3s")
    ended = profile(*arguments, "--save", kept, "--format", "json")
    assert ended.status == 0, ended.stderr
    document = ended.document
    summary = document["summary"]
    assert document["driver"] == "http"
    assert document["client"]["errors"] == summary["errors"] == {}
    assert document["client"]["connections"] == 2
    assert summary["overhead_ms"]["p50"] + summary["model_latency_ms"]["p50"] < 2 * summary["latency_ms"]["p50"]
    again = summarize(load_measurement(kept).runs[0])
    assert again.model_latency_ms == summary["model_latency_ms"]
    table = profile(*arguments)
    assert re.search(r"overhead p50 +[\d.]+ [mu]s", table.stdout)
    assert "client CPU %" in table.stdout


def test_comparing_takes_no_driver(profile: Profile) -> None:
    ended = profile("--driver", "http", "--against", "threads=2")
    assert ended.status == 2
    assert "driver" in ended.stderr


@pytest.mark.timed
@pytest.mark.parametrize(
    "asked",
    [
        ("--users", "2", "--duration", "500ms"),
        pytest.param(("--rate", "50/s", "--sla", "p95=1s", "--duration", "2s"), marks=pytest.mark.thorough),
        pytest.param(("--sla", "p95=1s", "--duration", "2s"), marks=pytest.mark.thorough),
    ],
)
def test_a_busy_machine_ends_with_5_whatever_was_asked_and_with_a_remedy(
    servefit: Servefit, sources: Sources, hog: Hog, asked: tuple[str, ...]
) -> None:
    with ExitStack() as hogs:
        for cpu in os.sched_getaffinity(0):
            hogs.enter_context(hog(cpu))
        ended = servefit("profile", sources.xgboost, "--payload", sources.payload, *asked, "--format", "json")
    assert ended.status == 5, ended.stderr
    document = ended.document
    assert document["verdict"] == "INVALID"
    assert document["reason"].startswith(document["problems"][0]["reason"])
    assert document["problems"][0]["remedy"] in ended.stderr


@pytest.mark.thorough
@pytest.mark.timed
def test_a_busy_machine_is_judged_where_noise_is_allowed_and_still_told(profile: Profile, hog: Hog) -> None:
    with ExitStack() as hogs:
        for cpu in os.sched_getaffinity(0):
            hogs.enter_context(hog(cpu))
        ended = profile("--sla", "p95=1us", "--duration", "2s", "--format", "json")
    assert ended.status == 3, ended.stderr
    assert ended.document["verdict"] == "FAIL"
    assert ended.document["problems"]
    assert "stop them" in ended.stderr
