"""Whatever is wrong with what was asked or given: one clear line, the right exit status, and no traceback."""

from __future__ import annotations

import gzip
import io
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Finished, Servefit, Sources

pytestmark = pytest.mark.integration

COMMAND = (sys.executable, "-m", "servefit")


def check_refused(ended: Finished, *words: str, status: int = 2) -> None:
    assert ended.status == status, ended.stderr
    assert ended.stdout == ""
    lines = [line for line in ended.stderr.splitlines() if line.startswith("servefit: ")]
    assert len(lines) == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture
def recommend(servefit: Servefit, sources: Sources) -> Servefit:
    def run(*arguments: str | Path, model: Path = sources.xgboost) -> Finished:
        return servefit("recommend", model, "--quiet", *arguments)

    return run


def test_a_missing_model(recommend: Servefit, tmp_path: Path) -> None:
    check_refused(recommend(model=tmp_path / "nothing.ubj"), "nothing.ubj")


@pytest.mark.parametrize("deploy", ["endpoint", "library"])
def test_an_endpoint_that_runs_is_no_model(servefit: Servefit, deploy: str) -> None:
    ended = servefit("recommend", "http://localhost:8080", "--deploy", deploy)
    check_refused(ended, "http://localhost:8080", "servefit load measures one that runs")


@pytest.mark.parametrize(
    "content", [b"", b"hello world", b"\x89PNG\r\n\x1a\n" + bytes(100), b"{}", b"tree\nversion=v4\n", b"a,b\n1,2\n"]
)
def test_an_empty_or_foreign_file(recommend: Servefit, tmp_path: Path, content: bytes) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(content)
    check_refused(recommend(model=model), "model.bin")


@pytest.mark.parametrize("kind", ["xgboost", pytest.param("lightgbm", marks=pytest.mark.thorough), "onnx"])
def test_a_truncated_model(recommend: Servefit, sources: Sources, tmp_path: Path, kind: str) -> None:
    whole = getattr(sources, kind)
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    check_refused(recommend(model=cut), f"cut{whole.suffix}")


def test_a_model_with_zero_trees(recommend: Servefit, tmp_path: Path) -> None:
    import numpy as np
    import xgboost

    rows = np.zeros((10, 3), dtype=np.float32)
    empty = xgboost.train({}, xgboost.DMatrix(rows, np.arange(10)), num_boost_round=0)
    empty.save_model(tmp_path / "empty.json")
    check_refused(recommend(model=tmp_path / "empty.json"), "trees")


def test_a_pickle_that_nobody_trusts(recommend: Servefit, sources: Sources) -> None:
    check_refused(recommend(model=sources.sklearn), "--trust-pickle")


def test_an_archive_that_holds_no_model(recommend: Servefit, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("README"), io.BytesIO())
    check_refused(recommend(model=archive), "model.tar.gz")


def test_a_truncated_archive(recommend: Servefit, sources: Sources, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(sources.xgboost, "model.ubj")
    archive.write_bytes(archive.read_bytes()[:500])
    check_refused(recommend(model=archive), "model.tar.gz")


def test_an_archive_made_to_do_harm(recommend: Servefit, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("model")
        member.pax_headers = {"GNU.sparse.map": "1,x"}
        tar.addfile(member, io.BytesIO())
    check_refused(recommend(model=archive), "model.tar.gz", "sparse")


def test_a_payload_of_another_format(recommend: Servefit, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1\x15\x04\x15 \x15$L\x15\x04")
    check_refused(recommend("--payload", tmp_path / "rows.parquet"), "a Parquet file that does not load")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,2,3\n", ["30", "3"]),
        (",".join(["1"] * 31) + "\n", ["30", "31"]),
        (",".join(["1"] * 29 + ["fraud"]) + "\n" + ",".join(["1"] * 29 + ["honest"]) + "\n", ["number"]),
        ("", ["row"]),
        (",".join(["1"] * 29 + ["inf"]) + "\n", ["inf"]),
    ],
)
def test_a_payload_that_does_not_fit(recommend: Servefit, tmp_path: Path, content: str, words: list[str]) -> None:
    payload = tmp_path / "payload.csv"
    payload.write_text(content)
    check_refused(recommend("--payload", payload), "payload.csv", *words)


def test_a_payload_that_is_not_there(recommend: Servefit, tmp_path: Path) -> None:
    check_refused(recommend("--payload", tmp_path / "gone.csv"), "gone.csv")


def test_a_payload_of_binary_junk(recommend: Servefit, tmp_path: Path) -> None:
    payload = tmp_path / "payload.csv"
    payload.write_bytes(gzip.compress(b"junk") + bytes(range(256)))
    check_refused(recommend("--payload", payload), "payload.csv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "local-1d"], ["profile", "local-1c"]),
        (["--profile", "ml.m5.lage"], ["ml.m5.large"]),
        (["--cloud", "asw"], ["cloud", "aws"]),
        (["--cloud", "aws,"], ["cloud", "aws, azure, gcp"]),
        (["--cloud", "aws", "--cloud", "aws"], ["cloud", "is named twice"]),
        (["--backend", "onnxruntimes"], ["backend", "onnxruntime"]),
        (["--sla", "p95"], ["sla", "p95=100ms"]),
        (["--sla", "p95=fast"], ["sla"]),
        (["--sla", "p95=0ms"], ["sla"]),
        (["--rate", "often"], ["rate", "500/s"]),
        (["--rate", "-5/s"], ["rate"]),
        (["--budget", "soon"], ["budget"]),
        (["--max-tests", "0"], ["max_tests"]),
        (["--goal", "speed"], ["goal"]),
        (["--env", "OMP_NUM_THREADS"], ["env"]),
        (["--phase", "users=1"], ["phase"]),
        (["--phase", "users=0,duration=1s"], ["users"]),
        (["--phase", "users=1,duration=0s"], ["phase"]),
        (["--phase", "users=1,lasting=1s"], ["phase"]),
        (["--name", "a/b"], ["name"]),
        (["--rows-per-request", "0"], ["rows_per_request"]),
        (["--seed", "-1"], ["seed"]),
    ],
)
def test_an_option_that_makes_no_sense(recommend: Servefit, arguments: list[str], words: list[str]) -> None:
    check_refused(recommend(*arguments), *words)


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("recommend MODEL --sla p95=10", "say 10ms, 10s or 10m"),
        ("recommend MODEL --rate 500", "say 500/s or 500/min"),
        ("recommend MODEL --budget 5", "say 5ms, 5s or 5m"),
        ("recommend MODEL --batch-delay 0,1", "say 1ms, 1s or 1m"),
        ("recommend MODEL --phase users=1,duration=5", "say 5ms, 5s or 5m"),
        ("recommend MODEL --phase users=1,spawn=2,duration=5s", "say 2/s or 2/min"),
        ("recommend MODEL --stairs steps=2,users=1,duration=5", "say 5ms, 5s or 5m"),
        ("profile MODEL --duration 5", "say 5ms, 5s or 5m"),
        ("load http://127.0.0.1:9 --rate 500", "say 500/s or 500/min"),
        ("load http://127.0.0.1:9 --timeout 5", "say 5ms, 5s or 5m"),
        ("scale JOB --rate 500", "say 500/s or 500/min"),
        ("demo --budget 5", "say 5ms, 5s or 5m"),
    ],
)
def test_whatever_has_a_unit_is_refused_without(
    servefit: Servefit, sources: Sources, command: str, remedy: str
) -> None:
    ended = servefit(*(sources.xgboost if word == "MODEL" else word for word in command.split()))
    check_refused(ended, "has no unit", remedy)


def test_a_profile_that_this_host_cannot_be_is_told_with_the_reason(recommend: Servefit) -> None:
    ended = recommend("--profile", "ml.m5.24xlarge")
    assert ended.status == 4
    assert "Not measurable on this host: ml.m5.24xlarge needs 96 vCPUs, this host has " in ended.stdout


def test_an_unknown_option_and_a_missing_argument(servefit: Servefit) -> None:
    for arguments in (["recommend", "model", "--nonsense"], ["recommend"], ["nonsense"]):
        ended = servefit(*arguments)
        assert ended.status == 2
        assert ended.stdout == ""
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers", "0"],
        ["--threads", "0"],
        ["--batch", "0"],
        ["--users", "0"],
        ["--duration", "0s"],
        ["--rate", "0/s"],
    ],
)
def test_a_configuration_that_makes_no_sense(servefit: Servefit, sources: Sources, arguments: list[str]) -> None:
    check_refused(servefit("profile", sources.xgboost, "--quiet", *arguments), arguments[0].strip("-"))


def test_a_profile_that_this_host_cannot_be_is_not_measured(recommend: Servefit) -> None:
    ended = recommend("--profile", "ml.c7i.48xlarge", "--format", "json")
    assert ended.status == 4
    assert ended.document["status"] == "FAILED"
    assert ended.document["recommendations"] == []
    (skipped,) = [one for one in ended.document["skipped"] if "instance_profile" in one]
    assert "192 vCPUs" in skipped["reason"]
    assert "nothing could be measured: ml.c7i.48xlarge needs 192 vCPUs" in ended.stderr


def test_a_backend_that_does_not_take_the_model_leaves_nothing_to_measure(recommend: Servefit) -> None:
    ended = recommend("--backend", "lightgbm", "--format", "json")
    assert ended.status == 4
    (skipped,) = [one for one in ended.document["skipped"] if "backend" in one]
    assert skipped["backend"] == "lightgbm"
    assert "nothing could be measured: lightgbm: it serves" in ended.stderr
    assert skipped["reason"]


def test_a_state_folder_that_cannot_be_written(servefit: Servefit, sources: Sources, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    ended = servefit("recommend", sources.xgboost, "--quiet", SERVEFIT_HOME=str(blocked))
    check_refused(ended, "SERVEFIT_HOME", status=4)


def test_a_name_in_use(recommend: Servefit, state: Path) -> None:
    (state / "jobs" / "taken").mkdir(parents=True)
    check_refused(recommend("--name", "taken"), "taken", "in use")


def test_a_compiled_artifact_is_not_written_over_what_is_there(
    servefit: Servefit, sources: Sources, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("data")
    check_refused(servefit("compile", sources.xgboost, "-b", "xgboost", "-o", tmp_path), str(tmp_path))
    assert (tmp_path / "precious").read_text() == "data"


def test_a_full_disk_behind_stdout_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*COMMAND, "host", "--facts"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 4
    assert ended.stderr.splitlines() == [
        "servefit: cannot write standard output: No space left on device; free space, or write elsewhere"
    ]


def test_a_reader_that_has_seen_enough_ends_the_command_quietly() -> None:
    ended = subprocess.run(
        f"{shlex.join(COMMAND)} profiles --all | true", shell=True, capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""
