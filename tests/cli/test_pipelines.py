"""Pipelines whose columns are numbers, categories and texts, from the command line."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.column_pipelines import TABLE, fitted, mixed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.pkl"
    path.write_bytes(pickle.dumps(mixed()))
    return path


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    TABLE.assign(unused=1).to_csv(path, index=False)
    return path


@pytest.mark.thorough
def test_it_is_profiled_with_the_rows_of_a_table(servefit: Servefit, pipeline: Path, customers: Path) -> None:
    ended = servefit(
        *("profile", pipeline, "--trust-pickle", "--payload", customers, "--backend", "onnxruntime"),
        *("--rate", "100/s", "--duration", "0.3s", "--allow-noise", "--format", "json"),
    )
    assert ended.status == 0, ended.stderr
    assert [size["name"] for size in ended.document["sizes"]] == ["text bytes"]
    assert "a column that the model does not have, left out of every request: unused" in " ".join(ended.stderr.split())


@pytest.mark.thorough
def test_rows_are_drawn_without_a_payload(servefit: Servefit, pipeline: Path) -> None:
    ended = servefit("profile", pipeline, "--trust-pickle", "--service-time", "--allow-noise", "--format", "json")
    assert ended.status == 0, ended.stderr


@pytest.mark.thorough
def test_a_pipeline_that_ends_in_trees_is_compiled_to_a_forest(servefit: Servefit, tmp_path: Path) -> None:
    columns = [
        ("scaled", StandardScaler(), ["age", "income"]),
        ("encoded", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city"]),
    ]
    path = tmp_path / "pipeline.pkl"
    path.write_bytes(pickle.dumps(fitted(*columns, last=HistGradientBoostingClassifier(max_iter=5))))
    ended = servefit("compile", path, "--trust-pickle", "-b", "forest", "-o", tmp_path / "out")
    assert ended.status == 0, ended.stderr
    facts = json.loads((tmp_path / "out" / "artifact.json").read_text())["facts"]
    assert facts["in_library"] == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("age,income,city,note\n1,2,Rome,x\n", "got no column 'zip'"),
        ("age,income,city,note,zip\nold,2,Rome,x,3\n", "expected a number in row 1 of 'age', got 'old'"),
        ("age,income,city,note,zip\n1,2,Rome,x,3.5\n", "expected a whole number in row 1, column 1"),
        ("# Read me\nThis is no table.\n", "expected 5 columns in row 1, got 1"),
        ('{"age": 1}', "no column 'income', nor 3 others"),
    ],
)
def test_a_payload_that_is_no_such_table_is_a_line(
    content: str, problem: str, servefit: Servefit, pipeline: Path, tmp_path: Path
) -> None:
    path = tmp_path / "payload"
    path.write_text(content)
    ended = servefit("profile", pipeline, "--trust-pickle", "--payload", path, "--rate", "5/s")
    assert ended.status == 2
    assert problem in " ".join(ended.stderr.split())
