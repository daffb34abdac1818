"""The commands beside ``recommend``: host, profiles, backends, compile."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

import servefit as package
from servefit.backends.finding.registry import backend_names

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit, Sources

pytestmark = pytest.mark.integration


def test_help_is_quick_and_names_every_command(servefit: Servefit) -> None:
    ended = servefit("--help")
    assert ended.status == 0
    for command in (
        "recommend",
        "serve",
        "export",
        "load",
        "profile",
        "compile",
        "backends",
        "profiles",
        "host",
        "demo",
    ):
        assert command in ended.stdout
        assert "Example: servefit" in servefit(command, "--help").stdout
    assert servefit("--version").stdout == f"servefit {package.__version__}\n"


def test_host_describes_this_machine_at_once(servefit: Servefit) -> None:
    document = servefit("host", "--facts", "--format", "json").document
    assert len(document["cpus"]) >= 1
    assert document["memory_bytes"] > 2**28
    assert document["gpus"] or document["no_gpu_reason"]
    assert len(document["fingerprint"]) == 12
    methods = {method["method"]: method for method in document["methods"]}
    assert methods["affinity"]["available"]
    assert all(method["available"] or method["reason"] for method in methods.values())
    contained = any(method["available"] for name, method in methods.items() if name != "affinity")
    assert document["containment"] == ("cgroup" if contained else "uncontained")
    assert not {cpu["cpu"] for cpu in document["cpus"]} & set(document["tuning"]["shared_siblings"])
    assert (document["activity"], document["noise_floor"]) == (None, None)


@pytest.mark.thorough
def test_host_measures_how_quiet_this_machine_is(servefit: Servefit) -> None:
    ended = servefit("host", "--format", "csv")
    properties = {row[0]: row[1] for row in csv.reader(io.StringIO(ended.stdout))}
    assert "of a CPU" in properties["other load now"]
    assert "A/A run" in properties["smallest difference that shows"]
    assert "timing the same work" in ended.stderr


def test_profiles_lists_what_fits_and_with_all_the_rest_and_why_not(servefit: Servefit) -> None:
    fitting = servefit("profiles", "--format", "json").document["profiles"]
    everything = servefit("profiles", "--all", "--format", "json").document["profiles"]
    assert all(profile["measurable"] for profile in fitting)
    assert {profile["name"] for profile in fitting} < {profile["name"] for profile in everything}
    by_name = {profile["name"]: profile for profile in everything}
    assert by_name["ml.m5.large"]["price_per_hour"] == 0.115
    assert by_name["local-1c"]["measurable"]
    assert "this host has" in by_name["ml.c7i.48xlarge"]["reason"]


def test_the_users_own_profiles_are_listed_and_mistakes_in_their_file_named(servefit: Servefit, tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text("[profiles.mine]\nvcpus = 1\nmemory_gib = 1\nprice_per_hour = 0.01\n")
    listed = servefit("profiles", "--format", "json", SERVEFIT_HOME=str(tmp_path)).document["profiles"]
    assert [profile["price_per_hour"] for profile in listed if profile["name"] == "mine"] == [0.01]
    file.write_text("[profiles.mine]\nvcpu = 1\n")
    ended = servefit("profiles", SERVEFIT_HOME=str(tmp_path))
    assert ended.status == 2
    assert "profiles.toml" in ended.stderr
    assert "vcpus" in ended.stderr


def test_backends_lists_them_all_and_says_which_take_a_model(servefit: Servefit, sources: Sources) -> None:
    listed = servefit("backends", sources.lightgbm, "--format", "json").document["backends"]
    assert [backend["name"] for backend in listed] == list(backend_names())
    takes = {backend["name"]: backend["takes_model"]["available"] for backend in listed}
    assert takes["lightgbm"]
    assert takes["onnxruntime"]
    assert not takes["xgboost"]
    for backend in listed:
        for target in backend["targets"].values():
            assert target["available"] or target["reason"]


def test_csv_and_markdown_hold_the_same_rows(servefit: Servefit) -> None:
    rows = list(csv.reader(io.StringIO(servefit("backends", "--format", "csv").stdout)))
    assert [row[0] for row in rows] == ["backend", *backend_names()]
    markdown = servefit("backends", "--format", "markdown").stdout.splitlines()
    assert len(markdown) == len(rows) + 1
    assert markdown[0] == "| " + " | ".join(rows[0]) + " |"


def test_compile_writes_an_artifact_and_says_how_well_it_agrees(
    servefit: Servefit, sources: Sources, tmp_path: Path
) -> None:
    folder = tmp_path / "compiled"
    arguments = ("compile", sources.xgboost, "-b", "treelite", "--payload", sources.payload, "-o", folder)
    document = servefit(*arguments, "--format", "json").document
    assert document["rows_checked"] > 1000
    assert document["max_abs_error"] < 1e-5
    assert any(path.is_file() for path in folder.rglob("*"))


def test_compile_ends_with_its_budget_and_names_what_took_longer(
    servefit: Servefit, sources: Sources, tmp_path: Path
) -> None:
    asked = ("compile", sources.xgboost, "-b", "treelite", "-o", tmp_path / "new", "--budget", "1ms", "--quiet")
    ended = servefit(*asked, SERVEFIT_HOME=str(tmp_path / "home"))
    assert ended.status == 4
    assert "did not finish before the budget of 1 ms ran out; use --budget 1s or more" in ended.stderr
    assert not (tmp_path / "new").exists()


def test_compile_names_the_columns_that_it_leaves_out(servefit: Servefit, tmp_path: Path) -> None:
    import xgboost

    model, payload = tmp_path / "model.ubj", tmp_path / "payload.csv"
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    matrix = xgboost.DMatrix(rows, rows[:, 0], feature_names=["age", "income"])
    xgboost.train({}, matrix, 1).save_model(model)
    payload.write_text("age,name,income\n1,2,3\n")
    ended = servefit("compile", model, "-b", "xgboost", "--payload", payload, "-o", tmp_path / "compiled", "--quiet")
    assert ended.stderr == (
        "warning: payload.csv has a column that the model does not have, left out of every request: name\n"
    )


@pytest.mark.parametrize("traffic", [("--rate", "600/s"), ("--users", "3")])
def test_profile_measures_one_configuration(servefit: Servefit, sources: Sources, traffic: tuple[str, str]) -> None:
    arguments = (
        "profile",
        sources.xgboost,
        "--payload",
        sources.payload,
        "--duration",
        "0.5s",
        "--allow-noise",
        *traffic,
    )
    ended = servefit(*arguments, "--format", "json")
    assert ended.status == 0, ended.stderr
    summary = ended.document["summary"]
    assert summary["loop"] == ("open" if traffic[0] == "--rate" else "closed")
    assert summary["samples"] > 50
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"]
    assert ended.document["configuration"]["backend"] == "xgboost"
    assert ended.document["telemetry"]


def test_more_workers_than_cpus_are_allowed_by_hand_with_a_warning(servefit: Servefit, sources: Sources) -> None:
    arguments = ("profile", sources.xgboost, "--profile", "local-1c", "--workers", "2", "--duration", "0.2s")
    ended = servefit(*arguments, "--allow-noise")
    assert ended.status == 0, ended.stderr
    assert "warning: 2 workers" in ended.stderr
