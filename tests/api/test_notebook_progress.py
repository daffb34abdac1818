"""A job in a notebook, run by a real kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from servefit.api.notebook_progress import default_progress
from servefit.search.optimizer.progress import SilentProgress

CODE = """
import servefit as sf
job = sf.recommend(
    "model.ubj", name="noted", profile="local-1c", backend="xgboost", budget="2m", max_tests=1, http=False,
    allow_noise=True,
)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = np.random.default_rng(0).standard_normal((200, 4), dtype=np.float32)
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, rows[:, 0]), 3)
    booster.save_model(tmp_path / "model.ubj")
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    return tmp_path


RUN = """
import json, sys
import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

kernel = AsyncKernelManager()
command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
kernel._kernel_spec = KernelSpec(argv=command, display_name="this Python", language="python")
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in json.load(sys.stdin)])
NotebookClient(notebook, timeout=120, km=kernel).execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


def outputs_of(folder: Path, *cells: str) -> list[list[Any]]:
    """What each cell shows when all of them are run by a kernel of this Python, in ``folder``."""
    # In a process of its own: a client of notebooks leaves sockets open.
    ended = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(cells), cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    outputs: list[list[Any]] = json.loads(ended.stdout)
    return outputs


@pytest.mark.thorough
@pytest.mark.integration
def test_progress_is_one_line_under_the_cell_and_the_answer_a_table(folder: Path) -> None:
    running, shown, drawn = outputs_of(folder, CODE, "job", "job.plot()")
    assert len(running) == 1
    # The last of what was written over the same place: a test has begun by then.
    assert "1 test" in running[0]["data"]["text/html"]
    assert "<table>" in shown[0]["data"]["text/html"]
    assert "application/vnd.plotly.v1+json" in drawn[0]["data"]


def test_a_program_that_is_no_notebook_is_told_nothing() -> None:
    assert isinstance(default_progress(), SilentProgress)
