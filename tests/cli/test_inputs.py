"""``--input``, ``--size`` and ``--pad``: what goes into a network besides the payload."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.onnx_models import FLOAT, node, save, texts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration


SHORT = ("--backend", "onnxruntime", "--max-tests", "1", "--batch", "1", "--deploy", "library", "--allow-noise")


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """A network of which one input has its rows in the second dimension."""
    nodes = [node("Add", ["x", "state"], ["sum"]), node("ReduceMean", ["sum"], ["y"], axes=[0], keepdims=0)]
    return save(tmp_path / "stream.onnx", {"x": (FLOAT, ["n", 4]), "state": (FLOAT, [2, "n", 4])}, nodes, {"y": FLOAT})


@pytest.mark.thorough
def test_an_input_that_never_changes_is_said_once(servefit: Servefit, stream: Path, tmp_path: Path) -> None:
    without = servefit("compile", stream, "-b", "onnxruntime", "-o", tmp_path / "out")
    assert without.status == 2
    assert "say so: --input state=zeros" in without.stderr
    ended = servefit("compile", stream, "-b", "onnxruntime", "-o", tmp_path / "out", "--input", "state=zeros")
    assert ended.status == 0, ended.stderr


def test_what_takes_a_model_is_said_of_it_with_its_inputs(servefit: Servefit, stream: Path) -> None:
    assert "say so: --input state=zeros" in servefit("backends", stream).stderr
    listed = servefit("backends", stream, "--input", "state=zeros", "--format", "json").document["backends"]
    assert next(each for each in listed if each["name"] == "onnxruntime")["takes_model"]["available"]
    ended = servefit("backends", "--input", "state=zeros")
    assert ended.status == 2
    assert "name it: servefit backends MODEL" in ended.stderr


@pytest.mark.thorough
def test_requests_of_given_sizes_are_drawn(servefit: Servefit, tmp_path: Path) -> None:
    path = texts(tmp_path / "texts.onnx")
    ended = servefit(
        "profile",
        path,
        "--size",
        "tokens=3,9",
        "--rate",
        "100/s",
        "--duration",
        "0.3s",
        "--allow-noise",
        "--format",
        "json",
    )
    assert ended.status == 0, ended.stderr
    assert ended.document["sizes"] == [{"name": "tokens", "least": 3, "median": 3, "most": 9}]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--size", "tokens"), "size: 'tokens' is not NAME=VALUE"),
        (("--size", "=3"), "is not NAME=VALUE"),
        (("--size", "tokens=a"), "is not whole numbers with commas between them"),
        (("--size", "tokens=0"), "size: 0"),
        (("--size", "token=3"), "did you mean 'tokens'?"),
        (("--input", "ids=3"), "input: 'ids' is not known"),
        (("--input", "input_ids=many"), "is no value of 'input_ids'"),
        (("--input", "input_ids=nan"), "is no value of int64"),
        (("--input", "input_ids=1", "--input", "input_ids=2"), "is said of 'input_ids' a second time; say it once"),
        (("--size", "tokens=3", "--size", "tokens=9"), "is said of 'tokens' a second time"),
    ],
)
def test_what_makes_no_sense_is_a_line(
    arguments: tuple[str, ...], problem: str, servefit: Servefit, tmp_path: Path
) -> None:
    ended = servefit("profile", texts(tmp_path / "texts.onnx"), "--rate", "5/s", *arguments)
    assert ended.status == 2
    assert problem in " ".join(ended.stderr.split())


def test_sizes_are_for_requests_that_are_drawn(servefit: Servefit, tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    payload.write_text(json.dumps([{"input_ids": [1], "attention_mask": [1]}]))
    path = texts(tmp_path / "texts.onnx")
    ended = servefit("profile", path, "--payload", payload, "--size", "tokens=3", "--rate", "5/s")
    assert ended.status == 2
    assert "is for requests that are drawn, and a payload is given" in " ".join(ended.stderr.split())


@pytest.mark.thorough
def test_a_config_file_keeps_them(servefit: Servefit, stream: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    file = tmp_path / "jobs" / "job.yaml"
    path = texts(tmp_path / "texts.onnx")
    said = ("--size", "tokens=3,9", "--pad", "attention_mask")
    first = servefit("recommend", path, *SHORT, *said, "--save-config", file, "--name", "first", "--format", "json")
    assert first.status == 0, first.stderr
    assert {"size: {tokens: [3, 9]}", "pad: attention_mask"} <= set(file.read_text().splitlines())
    again = servefit("recommend", "--config", file, "--name", "again", "--format", "json")
    assert again.status == 0, again.stderr
    assert again.document["model"] == first.document["model"]
    report = tmp_path / "report.html"
    assert servefit("report", "again", "-o", report).status == 0
    assert "pad: attention_mask" in report.read_text()


@pytest.mark.thorough
def test_an_input_that_never_changes_is_in_the_file_too(servefit: Servefit, stream: Path, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    first = servefit("recommend", stream, *SHORT, "--input", "state=0.5", "--save-config", file, "--format", "json")
    assert first.status == 0, first.stderr
    assert "input: {state: 0.5}" in file.read_text().splitlines()
    again = servefit("recommend", "--config", file, "--input", "state=1", "--format", "json")
    assert again.status == 0, again.stderr
    assert again.document["model"] != first.document["model"]


@pytest.mark.thorough
def test_requests_are_padded_where_a_mask_is_named(servefit: Servefit, tmp_path: Path) -> None:
    path = texts(tmp_path / "texts.onnx")
    out = tmp_path / "out"
    ended = servefit("compile", path, "-b", "onnxruntime", "-o", out, "--pad", "attention_mask")
    assert ended.status == 0, ended.stderr
    assert json.loads((out / "artifact.json").read_bytes())["facts"]["padding"]["mask"] == "attention_mask"
    ended = servefit("profile", path, "--pad", "attention_masks", "--rate", "5/s")
    assert ended.status == 2
    assert "pad: 'attention_masks' is not known; did you mean 'attention_mask'?" in " ".join(ended.stderr.split())


@pytest.mark.thorough
def test_requests_are_padded_with_zeros_where_that_changes_nothing(servefit: Servefit, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "job.yaml"
    frames: dict[str, tuple[int, list[Any]]] = {"x": (FLOAT, ["n", "frames", 3])}
    each = save(tmp_path / "each.onnx", frames, [node("Sigmoid", ["x"], ["y"])], {"y": FLOAT})
    ended = servefit("compile", each, "-b", "onnxruntime", "-o", out, "--pad", "zeros")
    assert ended.status == 0, ended.stderr
    padding = json.loads((out / "artifact.json").read_bytes())["facts"]["padding"]
    assert (padding["mask"], padding["sizes"]) == (None, ["frames"])
    said = ("--size", "frames=3,9", "--pad", "zeros", "--save-config", file)
    first = servefit("recommend", each, *SHORT, *said, "--format", "json")
    assert first.status == 0, first.stderr
    assert "pad: zeros" in file.read_text().splitlines()


def test_padding_with_zeros_that_changes_predictions_is_refused(servefit: Servefit, tmp_path: Path) -> None:
    mean = node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)
    path = save(tmp_path / "mean.onnx", {"x": (FLOAT, ["n", "frames", 3])}, [mean], {"y": FLOAT})
    ended = servefit("compile", path, "-b", "onnxruntime", "-o", tmp_path / "out", "--pad", "zeros")
    assert ended.status == 4
    told = " ".join(ended.stderr.split())
    assert "(padding with zeros changes its predictions): largest error" in told
    assert "leave --pad (pad=) out: requests of each size are then a call of their own" in told


@pytest.mark.parametrize("command", [("recommend",), ("profile", "--driver", "http")])
def test_rows_that_cannot_be_one_request_are_refused_before_anything_is_compiled(
    command: tuple[str, ...], servefit: Servefit, tmp_path: Path
) -> None:
    path = texts(tmp_path / "texts.onnx")
    name, *options = command
    home = tmp_path / "home"
    said = ("--size", "tokens=3,9", "--rows-per-request", "2", "--rate", "5/s")
    ended = servefit(name, path, *options, *said, SERVEFIT_HOME=str(home))
    assert ended.status == 2
    assert "puts rows of different sizes into one request" in " ".join(ended.stderr.split())
    assert not list(home.glob("artifacts/*"))
