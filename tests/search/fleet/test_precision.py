"""Jobs on a fleet that allow less exact artifacts: every host decides for itself, by rows and labels that come with the
job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.onnx_models import perceptron
from tests.search.fleet.conftest import Servefit, StartAgent, rows

from servefit.backends.checking.reference import reference
from servefit.backends.model import Model

pytestmark = [pytest.mark.timed, pytest.mark.thorough]

INT8 = "onnxruntime/int8-dynamic"

_FEW_TESTS = ("--deploy", "library", "--no-http", "--allow-noise", "--max-tests", "2")


def test_limits_are_kept_on_the_hosts_of_a_fleet(
    start_agent: StartAgent, servefit: Servefit, tmp_path: Path, fleet_url: str
) -> None:
    model = perceptron(tmp_path / "perceptron.onnx", 8, 64, 3)
    sample = np.random.default_rng(3).standard_normal((600, 8)).astype(np.float32)
    np.save(tmp_path / "rows.npy", sample)
    labels = reference(Model.load(model))(sample).argmax(axis=1)
    (tmp_path / "labels.csv").write_text("\n".join(["label", *map(str, labels)]) + "\n")
    start_agent("rack3-07")
    asked = (
        "recommend", str(model), "--payload", str(tmp_path / "rows.npy"), *_FEW_TESTS, "--fleet", "--format", "json",
        "--backend", INT8, "--allow-precision", "int8", "--quality", str(tmp_path / "labels.csv"),
        "--metric", "accuracy",
    )  # fmt: skip
    kept = servefit(*asked, "--quality-drop", "10%", "--name", "kept")
    assert kept.returncode == 0, kept.stderr
    (there,) = json.loads(kept.stdout)["classes"]
    (report,) = there["job"]["compilation"]
    assert (report["backend"], report["status"]) == (INT8, "COMPLETED")
    assert report["quality"]["verdict"] == "PASS"
    assert there["job"]["recommendations"][0]["quality"] == report["quality"]
    # Of so few rows nobody can tell so small a drop.
    refused = servefit(*asked, "--quality-drop", "0.01%", "--name", "refused")
    assert refused.returncode != 0
    (there,) = json.loads(refused.stdout)["classes"]
    (report,) = there["job"]["compilation"]
    assert report["status"] == "FAILED"
    assert "accuracy" in report["reason"]
    assert there["job"]["recommendations"] == []
    tested = [json.loads(str(text)) for (text,) in rows(fleet_url, _LOAD_TESTS_OF_REFUSED)]
    assert tested == []


_LOAD_TESTS_OF_REFUSED = """SELECT text FROM servefit_documents
WHERE key LIKE 'servefit:step:refused%' AND text LIKE '%"load_test"%'"""
