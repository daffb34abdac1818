"""``--allow-precision`` and the limits beside it, on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.onnx_models import FLOAT, node, save

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration

INT8 = "onnxruntime/int8-dynamic"
ALLOWED = ("--allow-precision", "int8", "--max-deviation", "20%")
ROWS = np.random.default_rng(3).standard_normal((450, 8)).astype(np.float32)
WEIGHTS = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A network of one layer, and rows."""
    model = tmp_path / "layer.onnx"
    save(model, {"x": (FLOAT, ["n", 8])}, [node("MatMul", ["x", "w"], ["y"])], {"y": FLOAT}, {"w": WEIGHTS})
    np.save(tmp_path / "rows.npy", ROWS)
    return model, tmp_path / "rows.npy"


def test_an_artifact_is_compiled_within_limits(servefit: Servefit, files: tuple[Path, Path], tmp_path: Path) -> None:
    model, rows = files
    given = ("compile", model, "--payload", rows, "-b", INT8, "--format", "json")
    ended = servefit(*given, "-o", tmp_path / "out", *ALLOWED)
    assert ended.status == 0, ended.stderr
    quality = ended.document["quality"]
    assert (quality["verdict"], quality["precision"]) == ("PASS", "int8")
    assert quality["deviations"][0]["limit"] == 0.2
    refused = servefit(*given, "-o", tmp_path / "other")
    assert refused.status != 0
    assert "it computes in int8, which changes predictions; allow it with --allow-precision int8" in refused.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.thorough
def test_a_deviation_from_zeros_is_no_number_in_json(servefit: Servefit, tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["sums"]), node("Relu", ["sums"], ["y"])]
    save(tmp_path / "rectified.onnx", {"x": (FLOAT, ["n", 8])}, nodes, {"y": FLOAT}, {"w": np.abs(WEIGHTS)})
    np.save(tmp_path / "rows.npy", ROWS)
    given = ("compile", tmp_path / "rectified.onnx", "--payload", tmp_path / "rows.npy", "-b", INT8)
    limited = ("--allow-precision", "int8", "--max-deviation", "top1=0.5", "-o", tmp_path / "out", "--format", "json")
    ended = servefit(*given, *limited)
    assert ended.status == 0, ended.stderr
    assert ended.document["max_rel_error"] is None
    assert ended.document["quality"]["largest_deviation"] is None
    assert ended.document["quality"]["largest_error"] > 0


@pytest.mark.parametrize("command", [("serve",), ("export", "-o", "bundle")])
def test_what_no_job_has_judged_is_not_served(
    servefit: Servefit, files: tuple[Path, Path], command: tuple[str, ...]
) -> None:
    ended = servefit(*command, "--model", files[0], "--backend", INT8)
    assert ended.status == 2
    assert "computes in int8, and without rows nobody knows what that changes; servefit recommend MODEL" in ended.stderr


@pytest.mark.thorough
def test_an_exact_backend_is_said_to_be_held_to_no_limit(
    servefit: Servefit, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, rows = files
    words = "onnxruntime predicts as the model's own library does: nothing was held against what is allowed (deviation"
    given = (model, "--payload", rows, "-b", "onnxruntime")
    assert words in servefit("compile", *given, "-o", tmp_path / "out", *ALLOWED).stderr
    assert words in servefit("profile", *given, "--duration", "0.3s", "--allow-noise", *ALLOWED).stderr


def test_a_configuration_is_measured_within_limits(servefit: Servefit, files: tuple[Path, Path]) -> None:
    model, rows = files
    ended = servefit("profile", model, "--payload", rows, "-b", INT8, "--duration", "0.3s", "--allow-noise", *ALLOWED)
    assert ended.status == 0, ended.stderr
    assert "largest deviation" in ended.stdout


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("given", "place"),
    [
        (("--duration", "0.3s"), ()),
        (("--service-time",), ()),
        (("--against", "backend=onnxruntime", "--duration", "2s"), ("a",)),
    ],
)
def test_every_way_of_profiling_tells_what_was_found(
    servefit: Servefit, files: tuple[Path, Path], given: tuple[str, ...], place: tuple[str, ...]
) -> None:
    model, rows = files
    command = ("profile", model, "--payload", rows, "-b", INT8, "--allow-noise", *given, *ALLOWED)
    found = servefit(*command, "--format", "json").document
    for name in place:
        found = found[name]
    assert found["quality"]["verdict"] == "PASS"


@pytest.mark.parametrize("command", [("recommend",), ("profile",), ("compile", "-b", INT8, "-o", "out")])
@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("--allow-precision", "int4", "--max-deviation", "0.1"), "'int4' is not known; did you mean 'int8'?"),
        (("--max-deviation", "0.1"), "limits artifacts that predict less exactly, and none are allowed"),
        (("--allow-precision", ""), "allow_precision: ''"),
        (("--allow-precision", "int8"), "has no limit to what it may change; give --max-deviation 0.01"),
        (("--allow-precision", "int8", "--quality", "l.csv"), "quality needs metric beside it"),
        (("--allow-precision", "int8", "--metric", "f1"), "metric needs quality beside it"),
    ],
)
def test_a_mistake_is_refused_in_one_line(
    servefit: Servefit, files: tuple[Path, Path], command: tuple[str, ...], given: tuple[str, ...], problem: str
) -> None:
    ended = servefit(command[0], files[0], *command[1:], *given)
    assert ended.status == 2
    assert problem in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
