"""A job that a file asks for, on the command line."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from servefit.backends.quality.limits import PrecisionLimits
from servefit.cli.commands import app
from servefit.cli.job_options import config_with_options
from servefit.cli.recommend import recommend
from servefit.errors import SpecError
from servefit.profiler.record.traffic import ClosedLoop
from servefit.search.request.config_file import parse_config, read_config
from servefit.search.request.config_schema import JobConfig, config_schema
from servefit.search.request.job_request import EnvironmentRange, JobRequest, with_secrets
from servefit.search.request.sla import Sla, parse_sla

if TYPE_CHECKING:
    from tests.cli.conftest import Servefit, Sources

QUICK = """
model: models/booster.ubj
payload: payload.csv
sla: {p50: 0.1us}
profile: local-1c
backend: xgboost
max_tests: 1
http: false
allow_noise: true
"""


@pytest.fixture
def project(sources: Sources, tmp_path: Path) -> Path:
    """A folder with a config file, and the model and the payload that it names."""
    folder = tmp_path / "project"
    (folder / "models").mkdir(parents=True)
    shutil.copy(sources.xgboost, folder / "models/booster.ubj")
    shutil.copy(sources.payload, folder / "payload.csv")
    (folder / "job.yaml").write_text(QUICK)
    return folder


@pytest.mark.integration
def test_a_job_of_a_file_is_run_with_what_the_command_line_says_in_its_place_and_saved(
    servefit: Servefit, project: Path
) -> None:
    asked = ("--sla", "p95=500ms", "--seed", "3", "--save-config", project / "saved.yaml", "--format", "json")
    ended = servefit("recommend", "--config", project / "job.yaml", *asked)
    assert ended.status == 0, ended.stderr
    assert ended.document["model"]["source"] == str(project / "models/booster.ubj")
    assert (ended.document["payload"]["source"], ended.document["payload"]["synthetic"]) == ("payload.csv", False)
    assert [one["backend"] for one in ended.document["recommendations"]] == ["xgboost"]
    expected = QUICK.replace("p50: 0.1us", "p95: 500ms") + "seed: 3\n"
    saved = (project / "saved.yaml").read_bytes()
    assert parse_config(saved, "saved.yaml").request("job") == parse_config(expected.encode(), "it").request("job")
    assert parse_config(saved, "saved.yaml").model == "models/booster.ubj"
    assert parse_config(saved, "saved.yaml").payload == "payload.csv"


@pytest.mark.integration
def test_paths_elsewhere_are_saved_in_full(servefit: Servefit, project: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ended = servefit(
        "recommend",
        tmp_path / "gone.ubj",
        "--config",
        project / "job.yaml",
        "--save-config",
        tmp_path / "other/it.yaml",
    )
    assert ended.status == 2
    assert "gone.ubj" in ended.stderr
    config = read_config(tmp_path / "other/it.yaml")
    assert (config.model, config.payload) == (str(tmp_path / "gone.ubj"), str(project / "payload.csv"))


@pytest.mark.integration
def test_a_trace_is_saved_relative_to_the_file_and_without_a_rate_that_nobody_asked_for(
    servefit: Servefit, project: Path
) -> None:
    (project / "trace.csv").write_text("0\n0.01\n0.02\n")
    (project / "job.yaml").write_text(QUICK + "arrivals: replay:trace.csv,speed=2\n")
    # The model is not there: nothing is measured.
    asked = (project / "gone.ubj", "--config", project / "job.yaml", "--save-config", project / "saved.yaml")
    assert servefit("recommend", *asked).status == 2
    saved = (project / "saved.yaml").read_text()
    assert 'arrivals: "replay:trace.csv,speed=2"' in saved
    assert "rate:" not in saved
    assert read_config(project / "saved.yaml").arrivals == read_config(project / "job.yaml").arrivals


TYPED = {
    "sla": ["p95=10ms"],
    "rate": "5/s",
    "arrivals": "constant",
    "profile": ["local-1c"],
    "backend": ["xgboost"],
    "env": ["A=1"],
    "secret_env": ["MINE"],
    "batch": "2",
    "batch_delay": "1ms",
    "phase": ["users=1,duration=10s"],
    "flat_invocations": "Continue",
    "goal": "latency",
    "cost_weight": 0.1,
    "budget": "60s",
    "max_tests": 2,
    "max_parallel_tests": 2,
    "rows_per_request": 2,
    "seed": 1,
    "allow_noise": True,
    "allow_batch_dependence": True,
    "allow_precision": "int8,bf16",
    "max_deviation": "top1=0.99",
    "quality": "labels.csv",
    "metric": "f1",
    "quality_drop": "2%",
    "deploy": "library",
    "http": False,
    "wait": "5s",
    "name": "job",
}
COMMAND_LINE = JobRequest(
    name="job",
    sla=Sla(thresholds=parse_sla("p95=10ms"), rate_per_s=5),
    arrivals="constant",
    profiles=("local-1c",),
    backends=("xgboost",),
    environment=with_secrets((EnvironmentRange.parse("A=1"), EnvironmentRange.parse("MINE=secret")), ("MINE",)),
    batch_sizes=(2,),
    batch_delays_us=(1000,),
    phases=ClosedLoop.constant(users=1, duration_s=10),
    flat_invocations="Continue",
    goal="latency",
    cost_weight=0.1,
    budget_s=60,
    max_tests=2,
    max_parallel_tests=2,
    rows_per_request=2,
    seed=1,
    allow_noise=True,
    allow_batch_dependence=True,
    precision=PrecisionLimits.of(
        allow_precision=("int8", "bf16"),
        max_deviation="top1=0.99",
        quality="labels.csv",
        metric="f1",
        quality_drop=0.02,
    ),
    deploy="library",
    over_http=False,
)
FILE = parse_config(
    b"sla: {p99: 1s}\nrate: 9/s\narrivals: sine\nprofile: local-2c\nbackend: forest\nenv: {B: 2}\nbatch: 4\n"
    b"batch_delay: 2ms\n"
    b"stairs: {steps: 2, users: 2, duration: 2s}\ngoal: balanced\ncost_weight: 0.9\nbudget: 90s\nmax_tests: 9\n"
    b"max_parallel_tests: 3\nrows_per_request: 3\nseed: 9\n",
    "job.yaml",
)


def both(config: JobConfig, *given: str) -> JobRequest:
    return config_with_options(config, TYPED, given, no_wait=False).request("job")


def test_every_option_that_is_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "secret")
    every = inspect.signature(recommend).parameters.keys() & TYPED.keys()
    assert every == TYPED.keys()
    assert both(FILE, *every) == COMMAND_LINE
    assert both(FILE) == FILE.request("job")
    assert both(JobConfig()) == JobRequest(name="job")


def test_every_key_of_a_file_is_an_option() -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    parameters = group.commands["recommend"].params
    typed = {text.removeprefix("--").replace("-", "_") for parameter in parameters for text in parameter.opts}
    assert {*JobConfig.__struct_fields__} - {"schema"} <= typed


def test_an_option_replaces_nothing_but_what_it_is_about() -> None:
    rate_alone = both(FILE, "rate")
    assert rate_alone.sla == Sla(thresholds=parse_sla("p99=1s"), rate_per_s=5)
    phases_alone = both(FILE, "phase")
    assert (phases_alone.phases, phases_alone.goal) == (COMMAND_LINE.phases, "balanced")


def test_a_file_and_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SpecError, match="max_parallel_tests: 3 is more than the 2 tests in all"):
        both(FILE, "max_tests")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "config: 'job.yaml' cannot be read: No such file or directory"),
        ("", "config: 'job.yaml' is empty"),
        ("modle: model.ubj", "job.yaml: 'modle' is not known; did you mean 'model'?"),
        ("rate: 500", "job.yaml: rate: 500 has no unit; say 500/s or 500/min"),
        ("budget: 60s", "model is missing; name one, or a file that names it with --config"),
        ("model: gone.ubj", "gone.ubj"),
        (
            "model: gone.ubj\nenv: {OPENSSL_CONF: x.cnf}",
            "env: 'OPENSSL_CONF' is not on the list of variables that others may set; name it yourself with "
            "--allow-env OPENSSL_CONF",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
    servefit: Servefit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("job.yaml").write_text(content)
    ended = servefit("recommend", "--config", "job.yaml", "--quiet")
    assert (ended.status, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("servefit: ")
    assert words in line


@pytest.mark.integration
def test_a_variable_of_a_file_is_on_the_list_or_named_on_the_command_line(
    servefit: Servefit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text("model: gone.ubj\nenv: {OMP_WAIT_POLICY: passive, MY_MODE: 1}\nsecret_env: [HOME]\n")
    refused, allowed, replaced = (
        servefit("recommend", "--config", "job.yaml", "--quiet", *options).stderr
        for options in ((), ("--allow-env", "MY_MODE"), ("--env", "OTHER=2"))
    )
    assert "'MY_MODE' is not on the list" in refused
    assert "gone.ubj" in allowed
    assert "gone.ubj" in replaced
    nothing = servefit("recommend", "gone.ubj", "--allow-env", "MY_MODE", "--quiet").stderr
    assert "'MY_MODE' is for what a job file sets, and none is given; use --env" in nothing


@pytest.mark.integration
def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(servefit: Servefit, project: Path) -> None:
    ended = servefit("recommend", "--config", project / "job.yaml", "--quiet", "--save-config", project)
    assert (ended.status, ended.stdout) == (4, "")
    assert ended.stderr.startswith(f"servefit: cannot write {project}: Is a directory")


@pytest.mark.integration
def test_the_schema_is_printed_and_nothing_else(servefit: Servefit) -> None:
    ended = servefit("schema")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.document == config_schema()
